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

    board: Board
    now: Callable[[], int]  # core ticks
    changed: Callable[[], None]  # call when an interrupt may be due at another time than before
    set_pending: Callable[[int], None]  # make the exception of that number pending


@dataclass(frozen=True, slots=True)
class Chip:
    """The modelled peripherals of a microcontroller besides core and UART.

    `boot` does what the chip's ROM does between reset and the firmware. `uart_fault` says
    what the firmware has left undone before it uses the board's UART, None if nothing.
    """

    peripherals: tuple[Peripheral, ...] = ()
    timers: tuple[Timer, ...] = ()
    uart_nbytes: int = 0  # address space of a UART if more than the kind's own
    boot: Callable[[Machine, int], None] | None = None
    uart_fault: Callable[[], str | None] = lambda: None
