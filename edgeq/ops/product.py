"""What the three operators with a filter share: checks of filter, bias and multipliers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.arith import Rounding, short_multipliers
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.ops.activation import quantized_range
from edgeq.ops.op import INT8, INT32, is_rounded, quant_of
from edgeq.ops.weights import product_multipliers


def lower_product(
    inputs: tuple[Tensor, ...],
    output: Tensor,
    activation: tuple[float, float],
    *,
    float32_product: bool,
) -> tuple[int, int, int, int, tuple[int, ...], tuple[int, ...]]:
    """The fields that the three share, in their order: zero points, clamp, multiplier, shift.

    M = s_input * s_filter / s_output; `float32_product` as in weights.product_multipliers.

    Raises:
        GraphError: the quantization of a tensor does not fit.
    """
    multiplier, shift = product_multipliers(
        inputs[0], inputs[1], output, float32_product=float32_product
    )
    low, high = quantized_range(output, *activation)
    return quant_of(inputs[0])[1], quant_of(output)[1], low, high, multiplier, shift


def check_product(
    op: str,
    shapes: tuple[Shape, ...],
    channel_axis: int,
    multiplier: tuple[int, ...],
    shift: tuple[int, ...],
) -> None:
    """Check that there are input, filter and bias, and multipliers for the filter's channels.

    Raises:
        GraphError: there are not.
    """
    if len(shapes) != 3:
        raise GraphError(f"{op}: {len(shapes)} inputs, must be input, filter and bias")
    channels = shapes[1][channel_axis] if shapes[1] else 0
    if len(multiplier) not in (1, channels) or len(shift) != len(multiplier):
        raise GraphError(
            f"{op}: {len(multiplier)} multipliers, {len(shift)} shifts for {channels} channels"
        )


def verify_weights(inputs: tuple[Tensor, ...]) -> None:
    """Check that filter and bias are constants of int8 and int32.

    Raises:
        GraphError: they are not.
    """
    for tensor, dtype in zip(inputs[1:], (INT8, INT32), strict=True):
        if tensor.data is None or tensor.dtype != dtype:
            kind = "an activation" if tensor.data is None else str(tensor.dtype)
            raise GraphError(f"{tensor.name} is {kind}, must be a constant of {dtype}")


def accumulator_ends(input_zero_point: int, rows: Array, bias: Array) -> tuple[Array, Array]:
    """(O,) int64: the least and the largest accumulator of each channel; rows: (O, taps) int8.

    q1 - z1 is within [-128 - z1, 127 - z1], which has the 0 of a tap in the padding.
    """
    wide = rows.astype(np.int64)
    below, above = wide * (-128 - input_zero_point), wide * (127 - input_zero_point)
    low: Array = bias + np.minimum(below, above).sum(1)
    high: Array = bias + np.maximum(below, above).sum(1)
    return low, high


def rounded_product(op: Any, rounding: Rounding, rows: Array, bias: Tensor) -> dict[str, Any]:
    """The fields that differ in another profile of rounding; rows: (O, taps), the filter.

    A multiplier of `shift` has as many bits as the accumulators that it meets leave in int32:
    those of its channel, or of all if it serves all.

    Raises:
        GraphError: the operator is in the profile `shift`, whose multipliers have lost bits.
    """
    if is_rounded(op, rounding):
        return {}
    if rounding != "shift":
        return {"rounding": rounding}
    assert bias.data is not None  # verify_weights
    low, high = accumulator_ends(op.input_zero_point, rows, bias.data)
    peaks = np.maximum(np.abs(low), np.abs(high))
    if len(op.multiplier) == 1:
        peaks = peaks.max(keepdims=True)
    pairs = []
    for channel, (multiplier, shift) in enumerate(zip(op.multiplier, op.shift, strict=True)):
        try:
            (short,), right = short_multipliers([(multiplier, shift - 31, int(peaks[channel]))])
        except ValueError as error:
            raise GraphError(f"channel {channel}: {error}") from None
        pairs.append((short, right))
    return {
        "rounding": rounding,
        "multiplier": tuple(m for m, _ in pairs),
        "shift": tuple(s for _, s in pairs),
    }


def per_channel(values: tuple[int, ...], channels: int) -> Array:
    """(O,) int32 from one value per channel or one for all."""
    return np.broadcast_to(np.array(values, np.int32), (channels,)).copy()
