"""Mean squared error: the range whose grid rounds and clips the values with the least error.

Choukroun et al. 2019, "Low-bit Quantization of Neural Networks for Efficient Inference";
Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1.
"""

from __future__ import annotations

import numpy as np

from edgeq.calibration.histogram import Distribution, HistogramObserver
from edgeq.calibration.observer import Range
from edgeq.graph import Array
from edgeq.ops.weights import TINY_RANGE, range_params

STEPS = 64  # bounds tried at a time
LEAST = 0.05  # of the full bound, the tightest that is tried
ROUNDS = 2


class MseObserver(HistogramObserver):
    """Trades clipping of what is rare for finer steps."""

    def range(self, *, symmetric: bool) -> Range:
        """Search on the very grid that the tensor will have."""
        return mse_range(self.histogram.distribution(), symmetric=symmetric)


def mse_range(data: Distribution, *, symmetric: bool) -> Range:
    """The best of each bound in turn, the other held; twice, the second time finer."""
    low, high = ends = min(data.low, 0.0), max(data.high, 0.0)
    if data.high - data.low < TINY_RANGE:
        return Range(data.low, data.high)
    if symmetric:
        low, high = ends = min(low, -high), max(high, -low)
    fractions = np.linspace(1.0, LEAST, STEPS)
    for _ in range(ROUNDS):
        if symmetric:
            high = _best(data, [(-high * f, high * f) for f in fractions], symmetric)[1]
            low = -high
        else:
            high = _best(data, [(low, high * f) for f in fractions], symmetric)[1]
            low = _best(data, [(low * f, high) for f in fractions], symmetric)[0]
        fractions = np.linspace(1.0 + 1 / STEPS, 1.0 - 1 / STEPS, STEPS // 2)
    return Range(float(max(low, ends[0])), float(min(high, ends[1])))


def _best(
    data: Distribution, bounds: list[tuple[float, float]], symmetric: bool
) -> tuple[float, float]:
    return min(bounds, key=lambda b: grid_error(data, *b, symmetric=symmetric))


def grid_error(data: Distribution, low: float, high: float, *, symmetric: bool) -> float:
    """Sum of squared differences between the values and their places on the int8 grid."""
    quant = range_params(low, high, symmetric=symmetric)
    scale, zero_point = quant.scale[0], quant.zero_point
    q: Array = np.clip(np.rint(data.values / scale), -128 - zero_point, 127 - zero_point)
    error = q * scale - data.values
    return float(np.dot(data.counts, error * error))
