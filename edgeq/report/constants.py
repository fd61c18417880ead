"""Where the constants of layers are while a model runs, and what reading them waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import Group
from rich.text import Text

from edgeq.board import Board
from edgeq.report.model import new_table, titled


class Constants(Protocol):
    """The constants of one function, as firmware_gen.manifest says it."""

    @property
    def layer(self) -> str:
        """The C function."""

    @property
    def nbytes(self) -> int:
        """Their bytes."""

    @property
    def memory(self) -> str:
        """Of the board's file."""

    @property
    def readings(self) -> int:
        """Of all of them, in a run."""

    @property
    def wait_cycles(self) -> int:
        """A run, where they are."""

    @property
    def saved_cycles(self) -> int:
        """A run, by the copy."""

    @property
    def why_not(self) -> str:
        """Why they stay in flash."""


def constants_picture(constants: Sequence[Constants], board: Board) -> Group | Text:
    """What is copied, and why the rest is not; one line where nothing could be gained."""
    if not board.flash.wait_states and all(c.why_not for c in constants):
        reasons = sorted({c.why_not for c in constants})
        return Text(f"constants stay in flash: {'; '.join(reasons) or 'no layer has any'}")
    table = new_table()
    table.add_column("constants of", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("in", no_wrap=True)
    for name in ("read a run", "cycles waited", "saved"):
        table.add_column(name, justify="right", no_wrap=True)
    reasons_of: dict[str, list[str]] = {}
    for c in constants:
        table.add_row(
            c.layer,
            f"{c.nbytes:,}",
            c.memory,
            f"{c.readings:,} x",
            f"{c.wait_cycles:,}",
            f"{c.saved_cycles:,}",
        )
        if c.why_not:
            reasons_of.setdefault(c.why_not, []).append(c.layer)
    lines = [
        Text(f"{', '.join(layers)}: in {board.flash.name}: {text}")
        for text, layers in reasons_of.items()
    ]
    return Group(titled("where the constants of layers are while it runs", table), *lines)


def waits_text(constants: Sequence[Constants], board: Board) -> Text:
    """What a profile's cycles, which know no wait states, leave out for constants."""
    copied = sum(c.nbytes for c in constants if not c.why_not)
    waited = sum(c.wait_cycles for c in constants)
    saved = sum(c.saved_cycles for c in constants)
    flash = board.flash
    text = f"constants: {copied:,} bytes copied into ram"
    if not flash.wait_states:
        return Text(f"{text}; the board's file gives '{flash.name}' no wait states")
    return Text(
        f"{text}; by the wait states of the board's file, in no figure above, those left in "
        f"'{flash.name}' wait at least {waited:,} cycles an inference, the copies save at "
        f"least {saved:,}"
    )
