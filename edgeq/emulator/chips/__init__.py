"""What surrounds the core on a real microcontroller, as far as its start-up code needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeq.board import Board
from edgeq.emulator.peripherals import Peripheral, Timer

if TYPE_CHECKING:
    from edgeq.emulator.machine import Machine


@dataclass(frozen=True, slots=True)
class Context:
    """What a chip's peripherals may use of the board that they are on."""

    now: Callable[[], int]  # core ticks
    changed: Callable[[], None]  # call when an interrupt may be due at another time than before
    set_pending: Callable[[int], None]  # make the exception of that number pending


@dataclass(frozen=True, slots=True)
class Chip:
    """The modelled peripherals of a microcontroller besides core and UART.

    `boot` does what the chip's ROM does between reset and the firmware.
    """

    peripherals: tuple[Peripheral, ...] = ()
    timers: tuple[Timer, ...] = ()
    uart_nbytes: int = 0  # address space of a UART if more than the kind's own
    boot: Callable[[Machine, int], None] | None = None


def chip_of(
    board: Board,
    now: Callable[[], int],
    changed: Callable[[], None],
    set_pending: Callable[[int], None],
) -> Chip:
    """The chip of a board: the entry of CHIPS that begins as `board.mcu` does, or only the core."""
    from edgeq.emulator.chips import table

    for prefix, build in table.CHIPS.items():
        if board.mcu.upper().startswith(prefix):
            return build(Context(now, changed, set_pending))
    return Chip()
