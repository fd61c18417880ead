"""Board: one file of boards/ read and checked; an unknown or missing key is an error.

A board is data only. Sizes are bytes, addresses and origins are absolute, clocks are hertz.
`settings` of a clock, UART or tick counter are integers for the C driver that its `kind` names;
the drivers and the settings each wants are listed in firmware_gen/runtime/drivers.py.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from edgeq.errors import BoardError

CORES = (
    "cortex-m0",
    "cortex-m0plus",
    "cortex-m3",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
)


@dataclass(frozen=True, slots=True)
class Memory:
    """One contiguous memory region of the microcontroller."""

    name: str
    kind: Literal["flash", "ram"]
    origin: int
    nbytes: int
    wait_states: int = 0  # core cycles that a read of data waits at least, at the board's clock
    read_nbytes: int = 4  # that one read fetches
    cache_nbytes: int = 0  # of the cache for data in front of it


@dataclass(frozen=True, slots=True)
class Clock:
    """How the core reaches its clock; `kind` names the C driver, "reset" changes nothing."""

    kind: str
    core_hz: int
    settings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Uart:
    """The serial port that the firmware talks on; `kind` names the C driver."""

    kind: str
    base: int
    clock_hz: int
    baud: int
    settings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ticks:
    """What counts core clock ticks; `kind` names the C driver, "systick" the core's own."""

    kind: str = "systick"
    settings: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flashing:
    """How an image gets onto the board: `tool` is "pyocd" or "uf2" (copy to the USB drive)."""

    tool: Literal["pyocd", "uf2"]
    target: str


_TABLES = (("clock", Clock), ("uart", Uart), ("flashing", Flashing), ("ticks", Ticks))


@dataclass(frozen=True, slots=True)
class Board:
    """A microcontroller board, or the machine of an emulator."""

    name: str
    title: str
    mcu: str
    core: str
    clock: Clock
    memories: tuple[Memory, ...]  # of each kind the fastest, or first to be used, first
    uart: Uart
    sources: tuple[str, ...]  # documents that the figures come from
    qemu_machine: str | None = None  # name of QEMU's machine, None if it has none
    flashing: Flashing | None = None  # None: an emulator's machine only
    ticks: Ticks = field(default_factory=Ticks)

    @property
    def flash(self) -> Memory:
        """The memory that holds vectors, code and constants."""
        return next(m for m in self.memories if m.kind == "flash")

    @property
    def ram(self) -> Memory:
        """The memory that holds data, stack, and the arena or its hottest part."""
        return next(m for m in self.memories if m.kind == "ram")

    def of_kind(self, kind: Literal["flash", "ram"]) -> tuple[Memory, ...]:
        """All memories of a kind, in order."""
        return tuple(m for m in self.memories if m.kind == kind)


def boards_folder() -> Path:
    """The folder of the board files: in the installed package, or in the source checkout."""
    installed = Path(__file__).parent / "_boards"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "boards"


def board_names() -> list[str]:
    """Names of all boards, sorted."""
    return sorted(path.stem for path in boards_folder().glob("*.toml"))


def load_board(name: str) -> Board:
    """The board of that name, or of that path if it ends in .toml.

    Raises:
        BoardError: no such board (names the nearest), or its file is wrong.
    """
    if name.endswith(".toml"):
        return read_board(Path(name))
    names = board_names()
    if name not in names:
        near = difflib.get_close_matches(name.lower().replace("-", "_"), names, 1, cutoff=0.0)
        hint = f"; nearest: {near[0]}" if near else ""
        raise BoardError(f"unknown board '{name}'{hint} (`edgeq boards` lists all)")
    return read_board(boards_folder() / f"{name}.toml")


def read_board(path: Path) -> Board:
    """Read and check one board file.

    Raises:
        BoardError: unreadable, not TOML, or a key is unknown, missing or of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BoardError(f"{path}: cannot read the board file: {error}") from error
    where = str(path)
    table = {"name": path.stem, **table}
    memories = table.get("memories")
    if not isinstance(memories, list) or not memories:
        raise BoardError(f"{where}: 'memories' must be a list of tables")
    table["memories"] = tuple(
        _record(Memory, m, f"{where}: memories[{i}]") for i, m in enumerate(memories)
    )
    for key, record in _TABLES:
        if key in table:
            table[key] = _record(record, table[key], f"{where}: {key}")
    if isinstance(table.get("sources"), list):
        table["sources"] = tuple(table["sources"])
    board = _record(Board, table, where)
    _check(board, where)
    return board


_R = TypeVar("_R")


def _record(kind: type[_R], table: Any, where: str) -> _R:
    if not isinstance(table, dict):
        raise BoardError(f"{where}: is {table!r}, must be a table")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise BoardError(f"{where}: unknown key '{key}'{hint}")
    for name, spec in known.items():
        if name not in table and spec.default is MISSING and spec.default_factory is MISSING:
            raise BoardError(f"{where}: missing key '{name}'")
        if name in table:
            _check_type(str(spec.type), table[name], f"{where}: {name}")
    values = dict(table)
    if "settings" in values:
        values["settings"] = MappingProxyType(dict(values["settings"]))
    return kind(**values)


def _check_type(annotation: str, value: Any, where: str) -> None:
    if annotation == "int" and (type(value) is not int or value < 0):  # true is an int
        raise BoardError(f"{where}: is {value!r}, must be a whole number >= 0")
    if annotation in ("str", "str | None") and not isinstance(value, str):
        raise BoardError(f"{where}: is {value!r}, must be a text")
    if annotation == "tuple[str, ...]" and not (
        isinstance(value, tuple) and all(isinstance(v, str) for v in value)
    ):
        raise BoardError(f"{where}: is {value!r}, must be a list of texts")
    if annotation == "Mapping[str, int]" and not (
        isinstance(value, dict) and all(type(v) is int for v in value.values())
    ):
        raise BoardError(f"{where}: is {value!r}, must be a table of whole numbers")
    if annotation.startswith("Literal["):
        allowed = [part.strip(" \"'") for part in annotation[8:-1].split(",")]
        if value not in allowed:
            raise BoardError(f"{where}: is {value!r}, must be one of {', '.join(allowed)}")


def _check(board: Board, where: str) -> None:
    if board.core not in CORES:
        raise BoardError(f"{where}: core is '{board.core}', must be one of {', '.join(CORES)}")
    for kind in ("flash", "ram"):
        if not any(m.kind == kind for m in board.memories):
            raise BoardError(f"{where}: no memory of kind '{kind}'")
    for memory in board.memories:
        end = memory.origin + memory.nbytes
        if memory.nbytes == 0 or end > 2**32:
            raise BoardError(
                f"{where}: memory '{memory.name}' is {memory.nbytes} bytes at "
                f"0x{memory.origin:08x}, must have some and end within 32 bits"
            )
        if memory.read_nbytes == 0:
            raise BoardError(f"{where}: memory '{memory.name}': read_nbytes is 0, must be more")
        for other in board.memories:
            if other is not memory and memory.origin <= other.origin < end:
                raise BoardError(
                    f"{where}: memories '{memory.name}' and '{other.name}' overlap"
                )
    for figure, value in (
        ("clock: core_hz", board.clock.core_hz),
        ("uart: clock_hz", board.uart.clock_hz),
        ("uart: baud", board.uart.baud),
    ):
        if not 0 < value < 2**32:
            raise BoardError(f"{where}: {figure} is {value}, must be within 1 .. 2**32 - 1")
    if board.uart.clock_hz < board.uart.baud:
        raise BoardError(
            f"{where}: uart: clock_hz is {board.uart.clock_hz}, must be above the baud rate"
        )
    if not board.sources:
        raise BoardError(f"{where}: 'sources' must name where the figures come from")
