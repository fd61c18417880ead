"""What a calibration method is: it sees the values of one activation and names its range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgeq.graph import Array


@dataclass(frozen=True, slots=True)
class Range:
    """The real values that a tensor's int8 grid reaches from and to, before 0 is put in."""

    low: float
    high: float


class Observer(Protocol):
    """Sees one activation, batch by batch."""

    def update(self, x: Array) -> None:
        """Take in finite float32 values (samples, ...), at least one."""
        ...

    def range(self, *, symmetric: bool) -> Range:
        """The range by this method; `symmetric`: the grid will have zero point 0."""
        ...
