"""Min/max, over all samples or averaged over them.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", section 3 and 3.1 (exponential moving average).
"""

from __future__ import annotations

import math

from edgeq.calibration.observer import Range
from edgeq.graph import Array

# Weight of a new sample. The first samples are averaged plainly, so that the very first does
# not count for more than those after it.
NEWEST = 0.01


class MinMaxObserver:
    """Nothing seen is clipped; one outlier widens every step of the grid."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf

    def update(self, x: Array) -> None:
        """Widen the range to hold x."""
        self._low = min(self._low, float(x.min()))
        self._high = max(self._high, float(x.max()))

    def range(self, *, symmetric: bool) -> Range:
        """The same for both kinds of grid."""
        return Range(self._low, self._high)


class MovingAverageObserver:
    """Average of each sample's smallest value, and of its largest."""

    def __init__(self) -> None:
        self._count = 0
        self._low = self._high = 0.0

    def update(self, x: Array) -> None:
        """The n-th sample: m <- m + (x - m) * max(1 / n, NEWEST)."""
        rows = x.reshape(x.shape[0], -1)
        for low, high in zip(rows.min(1).tolist(), rows.max(1).tolist(), strict=True):
            self._count += 1
            weight = max(1 / self._count, NEWEST)
            self._low += (low - self._low) * weight
            self._high += (high - self._high) * weight

    def range(self, *, symmetric: bool) -> Range:
        """The same for both kinds of grid."""
        return Range(self._low, self._high)
