"""The cycle counter of the virtual board's DWT: Arm DDI0403E, section C1.8.

It counts what all time is counted in there, executed instructions: no cycles. The
identification registers read as zero, which no real DWT has, so that firmware can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeq.emulator.peripherals import NotModelledError

BASE = 0xE0001000
NBYTES = 0x1000
_CTRL, _CYCCNT, _LAR, _IDENTIFICATION = 0x000, 0x004, 0xFB0, range(0xFB4, 0x1000, 4)
_CYCCNTENA = 1


@dataclass(slots=True)
class Dwt:
    """`now` tells the time, `is_traced` whether DEMCR.TRCENA is set: else nothing counts."""

    now: Callable[[], int]
    is_traced: Callable[[], bool]
    _control: int = 0
    _value: int = 0  # while it stands still
    _zero_at: int = 0  # while it counts: when it was 0

    def reset(self) -> None:
        """As after reset."""
        self._control = self._value = 0

    def read(self, offset: int, nbytes: int) -> int:
        """A register."""
        if not self.is_traced():
            return 0
        if offset == _CTRL:
            return self._control
        if offset == _CYCCNT:
            return self._count() & 0xFFFFFFFF
        if offset in _IDENTIFICATION:
            return 0
        raise NotModelledError(BASE + offset, "data watchpoint and trace unit")

    def write(self, offset: int, nbytes: int, value: int) -> None:
        """A register is written."""
        if not self.is_traced():
            return
        if offset == _CTRL:
            count = self._count()
            self._control = value & _CYCCNTENA
            self._set(count)
        elif offset == _CYCCNT:
            self._set(value)
        elif offset not in (_LAR, *_IDENTIFICATION):
            raise NotModelledError(BASE + offset, "data watchpoint and trace unit")

    def _count(self) -> int:
        return self.now() - self._zero_at if self._control & _CYCCNTENA else self._value

    def _set(self, value: int) -> None:
        self._value, self._zero_at = value, self.now() - value
