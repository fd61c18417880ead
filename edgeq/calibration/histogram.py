"""A histogram that grows with its data: one pass, bounded memory, no range needed beforehand.

Bin i holds [i * width, (i + 1) * width) with width = 2**exponent, the least that covers the
largest magnitude seen. Bins are anchored at 0 and widths are powers of two, so two bins merge
into one exactly: the result does not depend on the order or the batches of the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeq.graph import Array

HALF = 4096  # bins on each side of 0, a power of two; the peak lies in the outer half of them


@dataclass(frozen=True, slots=True)
class Distribution:
    """The bins of a histogram that are not empty, ascending; exact zeros are one of them."""

    values: Array  # float64, the middle of each bin, 0.0 for zeros
    counts: Array  # float64
    low: float
    high: float


class Histogram:
    """Counts of the values of one tensor."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.zeros = 0
        self.exponent: int | None = None  # None: nothing but zeros so far
        self.counts = np.zeros(2 * HALF, np.int64)

    @property
    def width(self) -> float:
        """Of a bin; 0 while there were only zeros."""
        return 0.0 if self.exponent is None else math.ldexp(1.0, self.exponent)

    def update(self, x: Array) -> None:
        """Count finite values of any shape."""
        flat = x.ravel()
        low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        zeros = flat.size - int(np.count_nonzero(flat))
        self.zeros += zeros
        peak = max(-low, high)
        if peak == 0:
            return
        self._reach(peak)
        assert self.exponent is not None
        scaled = (
            np.ldexp(flat, -self.exponent)
            if abs(self.exponent) > 120
            else (flat * np.float32(math.ldexp(1.0, -self.exponent)))
        )
        index = np.floor(scaled).astype(np.int64)
        index += HALF
        counts = np.bincount(index, minlength=2 * HALF)
        counts[HALF] -= zeros
        self.counts += counts

    def _reach(self, peak: float) -> None:
        """Widen the bins until `peak` lies in one; frexp: peak / HALF < 2**wanted."""
        wanted = math.frexp(peak / HALF)[1]
        if self.exponent is None:
            self.exponent = wanted
        if wanted <= self.exponent:
            return
        factor = 1 << min(wanted - self.exponent, HALF.bit_length() - 1)
        merged = self.counts.reshape(-1, factor).sum(1)
        self.counts = np.zeros(2 * HALF, np.int64)
        first = HALF - HALF // factor
        self.counts[first : first + merged.size] = merged
        self.exponent = wanted

    def distribution(self) -> Distribution:
        """The bins that hold something."""
        filled = np.flatnonzero(self.counts)
        values = (filled - HALF + 0.5) * self.width
        counts = self.counts[filled].astype(np.float64)
        if self.zeros:
            place = int(np.searchsorted(values, 0.0))
            values = np.insert(values, place, 0.0)
            counts = np.insert(counts, place, float(self.zeros))
        return Distribution(values, counts, self.low, self.high)


class HistogramObserver:
    """Base of the methods that choose a range from the whole distribution."""

    def __init__(self) -> None:
        self.histogram = Histogram()

    def update(self, x: Array) -> None:
        """Count the values."""
        self.histogram.update(x)
