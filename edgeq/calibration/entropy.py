"""Entropy: the threshold at which the quantized distribution tells most of the real one.

Migacz 2017, "8-bit Inference with TensorRT": for each threshold, P is the histogram of the
magnitudes with all beyond it in its last bin, Q the histogram brought to the levels of the
grid and spread again over the bins that are not empty; the least KL(P || Q) wins. Zeros are
left out: every grid holds them exactly, and after a RELU they would outweigh all else.
"""

from __future__ import annotations

import numpy as np

from edgeq.calibration.histogram import HALF, HistogramObserver
from edgeq.calibration.observer import Range
from edgeq.graph import Array

BINS = 2048
CANDIDATES = 256


class EntropyObserver(HistogramObserver):
    """One threshold for both signs."""

    def range(self, *, symmetric: bool) -> Range:
        """[-threshold, threshold] within what was seen."""
        seen = self.histogram
        if seen.exponent is None or seen.low == seen.high:
            return Range(seen.low, seen.high)
        # |x| in [i * width, (i + 1) * width): bin i above zero, bin -i - 1 below.
        magnitudes = seen.counts[HALF:] + seen.counts[:HALF][::-1]
        counts = magnitudes.reshape(BINS, -1).sum(1)
        one_sided = not symmetric and (seen.low >= 0 or seen.high <= 0)
        bins = threshold_bins(counts.astype(np.float64), 255 if one_sided else 127)
        threshold = bins * seen.width * (HALF // BINS)
        return Range(max(seen.low, -threshold), min(seen.high, threshold))


def threshold_bins(counts: Array, levels: int) -> int:
    """How many bins to keep, at least `levels`; `counts` ascending in magnitude."""
    used = int(np.flatnonzero(counts)[-1]) + 1
    best, least = used, np.inf
    for keep in np.unique(np.linspace(min(levels, used), used, CANDIDATES).astype(int)):
        divergence = _divergence(counts, int(keep), levels)
        if divergence <= least:
            best, least = int(keep), divergence
    return best


def _divergence(counts: Array, keep: int, levels: int) -> float:
    inside = counts[:keep]
    p = inside.copy()
    p[-1] += counts[keep:].sum()
    filled = inside > 0
    edges = (np.arange(levels) * keep) // levels
    totals = np.add.reduceat(inside, edges)
    occupied = np.add.reduceat(filled.astype(np.float64), edges)
    share = totals / np.maximum(occupied, 1)
    q = np.repeat(share, np.diff(np.append(edges, keep))) * filled
    total = q.sum()
    if total == 0:
        return float(np.inf)
    # An empty last bin that takes in the tail has no counterpart in Q: a small share instead.
    q = np.where((q == 0) & (p > 0), 1e-4, q) / total
    p = p / p.sum()
    some = p > 0
    return float(np.dot(p[some], np.log(p[some] / q[some])))
