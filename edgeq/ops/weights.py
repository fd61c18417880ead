"""Quantization of constants, and the multipliers of products: Jacob et al. 2018, eq. 1 to 7.

All scales are float32 values held in Python floats, as a .tflite file holds them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.arith import INT8_MAX, INT8_MIN, clamp, quantize_multiplier, round_half_away
from edgeq.errors import GraphError
from edgeq.graph import Array, QuantParams, Shape, Tensor

TINY_RANGE = 1e-20  # a range below this is taken as nothing but 0
BIAS_LIMIT = 2**29  # |bias| at most; leaves three quarters of int32 to the products


def range_params(low: float, high: float, *, symmetric: bool = False) -> QuantParams:
    """int8 parameters of the range [low, high], first widened to hold 0.

    scale = (r_max - r_min) / (q_max - q_min),  zero_point = round(q_min - r_min / scale),
    clamped; symmetric: scale = max(|r_min|, |r_max|) / q_max, zero_point = 0.
    A range of nothing but 0 gets scale 1.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if high - low < TINY_RANGE:
        return QuantParams((1.0,), 0)
    if symmetric:
        return QuantParams((float(np.float32(max(-low, high) / INT8_MAX)),), 0)
    scale = float(np.float32((high - low) / (INT8_MAX - INT8_MIN)))
    return QuantParams(
        (scale,), clamp(round_half_away(INT8_MIN - low / scale), INT8_MIN, INT8_MAX)
    )


def quantize_array(real: Array, quant: QuantParams) -> Array:
    """round(real / scale) + zero_point, clamped to int8; ties away from zero.

    The division is in float32, as TFLM's QUANTIZE has it (reference/quantize.h).
    """
    with np.errstate(over="ignore"):  # an infinite quotient is clamped like any large one
        quotient = np.asarray(real, np.float32) / np.float32(quant.scale[0])
    magnitude = np.floor(np.abs(quotient.astype(np.float64)) + 0.5)
    q: Array = np.copysign(magnitude, quotient) + quant.zero_point
    return np.clip(q, INT8_MIN, INT8_MAX).astype(np.int8)


def quantize_tensor(tensor: Tensor, quant: QuantParams) -> Tensor:
    """The constant `tensor` as int8 with these per-tensor parameters."""
    assert tensor.data is not None
    return replace(
        tensor, dtype=np.dtype(np.int8), quant=quant, data=quantize_array(tensor.data, quant)
    )


def quantize_filter(
    weights: Array,
    bias: Array | None,
    input_scale: float,
    axis: int,
    *,
    grid: QuantParams | None = None,
) -> tuple[Array, QuantParams, Array]:
    """int8 filter, its scales along `axis`, int32 bias (O,).

    Filters are symmetric, zero_point 0, q in [-127, 127]: scale_w[o] = max|w[o]| / 127, or that
    of the `grid` that the weights are on already, per channel or one for all.
    Bias: scale = input_scale * scale_w[o]. A scale is raised where the bias would else leave
    +-BIAS_LIMIT, as it would in a channel of tiny or zero weights.
    """
    per_channel = grid is None or grid.axis is not None
    channels = weights.shape[axis]
    rows = np.moveaxis(weights, axis, 0).reshape(channels, -1).astype(np.float64)
    real_bias = np.zeros(channels) if bias is None else bias.astype(np.float64)
    peak = np.abs(rows).max(axis=1)
    natural = peak / 127
    if grid is not None:
        filled = peak > 0 if per_channel else peak.max(keepdims=True) > 0
        natural = np.where(filled, grid.scale, 0.0)
    floor = np.abs(real_bias) / (input_scale * BIAS_LIMIT)
    wanted = np.maximum(natural, floor if per_channel else floor.max())
    wanted = np.broadcast_to(wanted, (channels,)).copy()
    wanted[wanted < np.finfo(np.float32).tiny] = 1.0  # nothing to represent: any scale will do
    scales = wanted.astype(np.float32).astype(np.float64)
    q = np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8)
    moved = np.moveaxis(weights, axis, 0).shape
    filter_q = np.ascontiguousarray(np.moveaxis(q.reshape(moved), 0, axis))
    bias_q = np.rint(real_bias / (input_scale * scales)).astype(np.int32)
    if per_channel:
        quant = QuantParams(tuple(scales.tolist()), axis=axis)
    else:
        quant = QuantParams((float(scales[0]),))
    return filter_q, quant, bias_q


def quantize_filter_tensors(inputs: tuple[Tensor, ...], axis: int) -> tuple[Tensor, ...]:
    """(input, filter[, bias]) with float constants -> (input, int8 filter, int32 bias).

    A filter that has `quant` while its data is float is on that grid (edgeq/scheme.py).
    """
    source, weights, *rest = inputs
    if weights.data is None or source.quant is None:
        raise GraphError(f"{weights.name}: a filter must be a constant")
    bias = rest[0].data if rest else None
    filter_q, quant, bias_q = quantize_filter(
        weights.data, bias, source.quant.scale[0], axis, grid=weights.quant
    )
    bias_name = rest[0].name if rest else f"{weights.name}/bias"
    bias_scales = tuple(float(np.float32(source.quant.scale[0] * s)) for s in quant.scale)
    bias_quant = QuantParams(bias_scales, axis=None if len(bias_scales) == 1 else 0)
    return (
        source,
        replace(weights, dtype=filter_q.dtype, quant=quant, data=filter_q),
        Tensor(bias_name, bias_q.shape, bias_q.dtype, bias_quant, bias_q),
    )


def product_multipliers(
    source: Tensor, weights: Tensor, output: Tensor, *, float32_product: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(multiplier, shift) of  M = s1 * s2 / s3,  one each per scale of the filter.

    `float32_product`: s1 * s2 is rounded to float32 first, as TFLM does for a fully connected
    filter with one scale (kernel_util.cc, GetQuantizedConvolutionMultipler).
    """
    if source.quant is None or weights.quant is None or output.quant is None:
        raise GraphError(f"{weights.name}: input, filter and output must all have a scale")
    if source.quant.axis is not None or output.quant.axis is not None:
        raise GraphError(f"{weights.name}: input and output must be quantized per tensor")
    if weights.quant.zero_point != 0:
        raise GraphError(
            f"{weights.name}: filter zero point is {weights.quant.zero_point}, must be 0"
        )
    s1, s3 = source.quant.scale[0], output.quant.scale[0]
    pairs = []
    for s2 in weights.quant.scale:
        product = float(np.float32(s1) * np.float32(s2)) if float32_product else s1 * s2
        pairs.append(quantize_multiplier(product / s3))
    if len(set(pairs)) == 1:
        pairs = pairs[:1]
    return tuple(m for m, _ in pairs), tuple(s for _, s in pairs)


def filter_channels(op: str, extent: int, bias: Shape | None) -> None:
    """Check that the bias has one entry per output channel.

    Raises:
        GraphError: it has not.
    """
    if bias is not None and bias != (extent,):
        raise GraphError(f"{op}: bias shape is {bias}, must be ({extent},)")
