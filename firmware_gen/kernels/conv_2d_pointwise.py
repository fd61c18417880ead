"""CONV_2D of single pixels with the DSP extension. Twin of conv_2d_pointwise.h."""

from __future__ import annotations

import math

from edgeq.graph import Shape
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.window import Window
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import Layer, LayerCode, Variant
from firmware_gen.kernels.tile import GROUP, TAPS, padded_taps, tile_of, why_no_tile

MOST = (1 << 16) - 1  # of pixels and channels


def why_not(op: QuantizedConv2D, layer: Layer, target: Target) -> str | None:
    """The window, the sizes, the clamp, or the weights."""
    weights, bias = layer.filter_and_bias()
    count, channels = weights.shape[0], weights.shape[-1]
    pixels = math.prod(layer.inputs[0].shape[1:3])
    if op.window != Window(1, 1):
        return "an output is made of other pixels than the one at its place"
    if count % GROUP or channels % TAPS:
        return f"{channels} channels become {count}, the kernel wants multiples of 4"
    if max(pixels, count, channels) > MOST:
        return f"a size is above {MOST}"
    if (op.activation_min, op.activation_max) != (-128, 127):
        return "the activation clamps to less than int8"
    return why_no_tile(op, weights.reshape(count, channels), bias, target)


def emit(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Filter in groups of four channels, two in a word."""
    weights, bias = layer.filter_and_bias()
    count, channels = weights.shape[0], weights.shape[-1]
    tile = tile_of(op, weights.reshape(count, channels), bias)
    assert not isinstance(tile, str)
    pixels = math.prod(layer.inputs[0].shape[1:3])
    return LayerCode(
        constants=(tile.constant(),),
        function="edgeq_conv_2d_pointwise",
        parameters={
            "pixels": pixels,
            "channels": channels,
            "output_channels": count,
            "output_zero_point": op.output_zero_point,
            "t": tile.t if tile.is_signed else 0,
        },
        calls=((layer.read(0), layer.own("filter"), layer.write(), layer.scratch("uint32_t")),),
        defines=(*tile.defines, *(("EDGEQ_CONV_2D_POINTWISE_ODD",) if pixels % 2 else ())),
    )


def scratch_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """Two widened pixels."""
    return 4 * padded_taps(shapes[1][3])


POINTWISE = Variant(
    "dsp_pointwise",
    "conv_2d_pointwise.h",
    why_not,
    emit,
    scratch_nbytes,
    roundings=frozenset({"tflm", "single"}),
)
