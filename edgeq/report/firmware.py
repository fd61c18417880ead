"""Pictures of boards, images, streams and verifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Group, RenderableType
from rich.text import Text

from edgeq.board import Board
from edgeq.emulator.stack import StackBound
from edgeq.graph import Array
from edgeq.report.model import new_table, titled
from edgeq.stream import Result
from edgeq.stream.protocol import Identity
from edgeq.stream.verify import Verification
from edgeq.stream.wire import Statistics

SHADES = " ░▒▓█"


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One board as `edgeq boards` shows it."""

    name: str
    title: str
    core: str
    core_hz: int
    flash_nbytes: int
    ram_nbytes: int  # of all regions
    virtual: bool  # whether the virtual board has its core
    qemu_machine: str | None
    flashing: str | None
    fits: str | None  # of the model asked about: "yes", or why not; None if none was
    sources: tuple[str, ...]


def board_row(board: Board, virtual: bool, fits: str | None = None) -> BoardRow:
    """The facts of a board."""
    return BoardRow(
        board.name,
        board.title,
        board.core,
        board.clock.core_hz,
        board.flash.nbytes,
        sum(memory.nbytes for memory in board.of_kind("ram")),
        virtual,
        board.qemu_machine,
        board.flashing.tool if board.flashing else None,
        fits,
        board.sources,
    )


def boards_picture(rows: Sequence[BoardRow]) -> Group:
    """The boards as a table."""
    table = new_table()
    for name, justify in (
        ("board", "left"),
        ("core", "left"),
        ("MHz", "right"),
        ("flash", "right"),
        ("RAM", "right"),
        ("emulators", "left"),
        ("flash by", "left"),
    ):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    asked = any(row.fits is not None for row in rows)
    if asked:
        table.add_column("fits")
    for row in rows:
        emulators = ["virtual"] * row.virtual + ["qemu"] * (row.qemu_machine is not None)
        cells = [
            row.name,
            row.core.removeprefix("cortex-").upper().replace("PLUS", "+"),
            f"{row.core_hz / 1e6:g}",
            kib(row.flash_nbytes),
            kib(row.ram_nbytes),
            ", ".join(emulators),
            row.flashing or "-",
        ]
        if asked:
            cells.append(_short_fit(row.fits or ""))
        table.add_row(*cells, style="dim" if asked and row.fits != "yes" else None)
    return titled(f"{len(rows)} boards", table)


def _short_fit(fits: str) -> str:
    """The answer "yes", or which memories are too small; `edgeq generate` says by how much."""
    if fits == "yes":
        return fits
    return "no: " + " and ".join(m for m in ("ram", "flash") if f"bytes of {m} needed" in fits)


def kib(nbytes: int) -> str:
    """Bytes in the binary unit that suits them."""
    if nbytes >= 1 << 20:
        return f"{nbytes / (1 << 20):g} MiB"
    return f"{nbytes / 1024:g} KiB"


@dataclass(frozen=True, slots=True)
class KernelRow:
    """The kernel of one layer."""

    layer: str
    operator: str
    kernel: str  # the variant, or "portable"
    copy: str  # "own", or "shared" with other layers
    constant_nbytes: int
    why_not: Mapping[str, str]  # variants that were tried before, and what each says


def kernels_picture(
    rows: Sequence[KernelRow], optimize: str, core: str, has_dsp: bool, why: bool
) -> Group:
    """Which kernel serves each layer; of those left to the portable one on a DSP core, why."""
    table = new_table()
    for name in ("layer", "operator", "kernel", "copy"):
        table.add_column(name, no_wrap=True)
    table.add_column("constants", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.layer, row.operator, row.kernel, row.copy, f"{row.constant_nbytes:,}")
    reasons: dict[str, list[str]] = {}
    for row in rows:
        is_left = has_dsp and row.kernel == "portable"
        if is_left or (why and row.why_not):
            said = "; ".join(f"not {variant}: {text}" for variant, text in row.why_not.items())
            note = ", no DSP instructions" if is_left else ""
            text = f"the {row.kernel} kernel{note}: {said or 'there is no other'}"
            reasons.setdefault(text, []).append(row.layer)
    lines = [Text(f"{', '.join(layers)}: {text}") for text, layers in reasons.items()]
    title = f"kernels for {core.removeprefix('cortex-')}, --optimize {optimize}"
    return Group(titled(title, table), *lines)


class Taken(Protocol):
    """What an image takes of a memory, as firmware_gen.toolchain says it."""

    @property
    def name(self) -> str:
        """Of the memory, in the board file."""

    @property
    def kind(self) -> str:
        """Flash or ram."""

    @property
    def used_nbytes(self) -> int:
        """Bytes that it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes that there are."""

    @property
    def holds(self) -> str:
        """What it takes them for."""


def memory_picture(board: Board, memories: Sequence[Taken]) -> Group:
    """How much of each of the board's memories an image takes, and for what."""
    table = new_table()
    table.add_column("memory", no_wrap=True)
    table.add_column("used", justify="right", no_wrap=True)
    table.add_column("of", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("holds")
    for memory in memories:
        share = memory.used_nbytes / memory.nbytes
        length = max(1, round(12 * share))
        bar = Text("█" * length, style="cyan")
        bar.append("░" * (12 - length), style="dim")
        table.add_row(
            f"{memory.kind} {memory.name}",
            f"{memory.used_nbytes:,}",
            f"{memory.nbytes:,}",
            bar + Text(f" {100 * share:.1f} %"),
            memory.holds,
        )
    return titled(f"linked image for {board.title}", table)


def stack_text(bound: StackBound | None, reserved_nbytes: int) -> Text:
    """The most stack that the program can take, of what is reserved for it."""
    if bound is None:
        return Text("stack: its bound needs the package capstone: pip install 'edgeq[board]'")
    if bound.unresolved:
        return Text(f"stack: no bound is known: {'; '.join(bound.unresolved)}", style="yellow")
    text = f"stack: the program takes at most {bound.nbytes:,} bytes, {reserved_nbytes:,} are"
    return Text(f"{text} reserved", style="red" if bound.nbytes > reserved_nbytes else "")


def identity_text(identity: Identity, port: str) -> Text:
    """What answered on a port."""
    return Text(
        f"{port}: '{identity.model}' on {identity.board}, "
        f"clock {identity.ticks_hz / 1e6:g} MHz, arena {identity.arena_nbytes:,} bytes, "
        f"{identity.samples} samples in flash, "
        f"digest {identity.digest.hex()[:12]}"
    )


def verification_picture(found: Verification, where: str) -> Group:
    """How many samples are equal; the first differences."""
    lines: list[RenderableType] = []
    if found.is_equal:
        lines.append(
            Text(
                f"{where}: all {found.samples} samples equal the interpreter, "
                f"{found.compared_nbytes:,} bytes compared",
                style="bold green",
            )
        )
    else:
        wrong = found.samples - found.equal_samples
        lines.append(
            Text(
                f"{where}: {wrong} of {found.samples} samples differ from the interpreter",
                style="bold red",
            )
        )
        table = new_table()
        for name in ("sample", "output", "element", "board", "interpreter"):
            table.add_column(name, justify="right")
        for d in found.differences:
            table.add_row(
                str(d.sample), d.output, str(d.element), f"{d.board:g}", f"{d.interpreter:g}"
            )
        lines.append(table)
    return Group(*lines)


def run_time_text(found: Verification, provenance: str) -> Text:
    """Mean time of a run; `provenance` says whether it was emulated or measured."""
    mean = sum(found.ticks) / len(found.ticks)
    return Text(
        f"{mean:,.0f} ticks of a {found.ticks_hz / 1e6:g} MHz clock an inference ({provenance})"
    )


def stream_picture(
    results: Sequence[tuple[Result, Sequence[Array]]],
    count: int,
    rate: float,
    identity: Identity,
    statistics: Statistics,
) -> Group:
    """The last results of a stream, live: bars of the outputs, rate and losses."""
    table = new_table()
    table.add_column("run", justify="right", no_wrap=True)
    table.add_column("ms on board", justify="right", no_wrap=True)
    table.add_column("top", justify="right", no_wrap=True)
    table.add_column("outputs", no_wrap=True)
    for result, tensors in results:
        values = [float(v) for v in tensors[0].reshape(-1)] if tensors else []
        top = max(range(len(values)), key=values.__getitem__) if values else ""
        table.add_row(
            str(result.run_id),
            f"{1e3 * result.ticks / identity.ticks_hz:.3f}",
            str(top),
            spark(values) if values else result.output[:16].hex(),
        )
    status = (
        f"{count} results, {rate:.1f}/s; frames lost {statistics.frames_lost}, "
        f"damaged {sum(statistics.bad_frames.values())}, retries {statistics.retries}, "
        f"reconnects {statistics.reconnects}"
    )
    return Group(table, Text(status))


def spark(values: Sequence[float]) -> str:
    """Values as a row of small bars, the largest full."""
    if len(values) > 48:
        values = values[:48]
    low, high = min(0.0, *values), max(values)
    span = high - low or 1.0
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * (v - low) / span))] for v in values)


def digit_picture(image: Array) -> Text:
    """An image (H, W, 1) of values 0 to 1, two characters a pixel."""
    text = Text()
    for row in image[:, :, 0].tolist():
        for value in row:
            text.append(SHADES[min(4, int(value * 5))] * 2)
        text.append("\n")
    text.rstrip()
    return text
