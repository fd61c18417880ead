"""The fused activation of an operator: a clamp, in reals and in quantized units."""

from __future__ import annotations

import math

import numpy as np

from edgeq.arith import INT8_MAX, INT8_MIN, round_half_away
from edgeq.errors import GraphError
from edgeq.graph import Array, Tensor

NO_MIN, NO_MAX = -math.inf, math.inf


def clamp_float(x: Array, activation_min: float, activation_max: float) -> Array:
    """X clamped to the activation's range, as float32."""
    if activation_min == NO_MIN and activation_max == NO_MAX:
        return x.astype(np.float32, copy=False)
    return np.clip(x, np.float32(activation_min), np.float32(activation_max)).astype(np.float32)


def quantized_range(
    output: Tensor, activation_min: float, activation_max: float
) -> tuple[int, int]:
    """The clamp in units of `output`: zero_point + round(bound / scale) within int8.

    The division is in float32: kernel_util.cc, CalculateActivationRangeQuantized.
    """
    if output.quant is None or output.quant.axis is not None:
        raise GraphError(f"{output.name} must have one scale")
    scale, zero_point = np.float32(output.quant.scale[0]), output.quant.zero_point
    low, high = INT8_MIN, INT8_MAX
    if activation_min != NO_MIN:
        low = max(low, zero_point + round_half_away(float(np.float32(activation_min) / scale)))
    if activation_max != NO_MAX:
        high = min(
            high, zero_point + round_half_away(float(np.float32(activation_max) / scale))
        )
    if low > high:
        raise GraphError(
            f"{output.name}: activation [{activation_min}, {activation_max}] leaves no value "
            f"of scale {scale}, zero point {zero_point}"
        )
    return low, high
