"""Percentile: half of what is left out lies above the range, half below.

Wu et al. 2020, "Integer Quantization for Deep Learning Inference", section 5.2.
"""

from __future__ import annotations

import numpy as np

from edgeq.calibration.histogram import Distribution, HistogramObserver
from edgeq.calibration.observer import Range

DEFAULT_PERCENT = 99.99


class PercentileObserver(HistogramObserver):
    """Keeps `percent` % of the values."""

    def __init__(self, percent: float = DEFAULT_PERCENT) -> None:
        super().__init__()
        self.percent = percent

    def range(self, *, symmetric: bool) -> Range:
        """The same for both kinds of grid."""
        return percentile_range(self.histogram.distribution(), self.percent)


def percentile_range(data: Distribution, percent: float) -> Range:
    """The smallest range with at most (100 - percent) / 2 % of the values beyond either end."""
    total = data.counts.sum()
    allowed = total * (1 - percent / 100) / 2
    below = np.cumsum(data.counts)  # up to and with a bin
    above = total - below + data.counts
    first = int(np.argmax(below > allowed))
    last = len(below) - 1 - int(np.argmax((above > allowed)[::-1]))
    low = data.low if first == 0 else float(data.values[first])
    high = data.high if last == len(below) - 1 else float(data.values[last])
    return Range(low, high)
