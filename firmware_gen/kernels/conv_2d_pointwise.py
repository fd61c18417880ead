"""CONV_2D of single pixels with the DSP extension. Twin of conv_2d_pointwise.h."""

from __future__ import annotations

import math

from edgeq.graph import Shape
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.window import Window
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import Constant, Layer, LayerCode, Variant
from firmware_gen.kernels.tile import (
    GROUP,
    TAPS,
    filter_nbytes,
    padded_taps,
    tile_of,
    why_no_tile,
)
from firmware_gen.kernels.tile_packed import PackedTile, packed_tile

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
    t = tile.t if tile.is_signed else 0
    return _code(op, layer, tile.constant(), (channels, count, t), tile.defines)


def emit_packed(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """The same filter, packed."""
    tile = _packed(op, layer)
    assert not isinstance(tile, str)
    numbers = tile.taps, tile.channels, tile.how
    return _code(op, layer, tile.constant(), numbers, ("EDGEQ_CONV_2D_POINTWISE_PACKED",))


def _code(
    op: QuantizedConv2D,
    layer: Layer,
    constant: Constant,
    numbers: tuple[int, int, int],
    defines: tuple[str, ...],
) -> LayerCode:
    pixels = math.prod(layer.inputs[0].shape[1:3])
    channels, count, t = numbers
    return LayerCode(
        constants=(constant,),
        function="edgeq_conv_2d_pointwise",
        parameters={
            "pixels": pixels,
            "channels": channels,
            "output_channels": count,
            "output_zero_point": op.output_zero_point,
            "t": t,
        },
        calls=((layer.read(0), layer.own("filter"), layer.write(), layer.scratch("uint32_t")),),
        defines=(*defines, *(("EDGEQ_CONV_2D_POINTWISE_ODD",) if pixels % 2 else ())),
    )


def why_not_packed(op: QuantizedConv2D, layer: Layer, target: Target) -> str | None:
    """As for the words that are not packed; and the channels' numbers."""
    reason = why_not(op, layer, target)
    if reason is not None:
        return reason
    packed = _packed(op, layer)
    return packed if isinstance(packed, str) else None


def saved_nbytes(op: QuantizedConv2D, layer: Layer) -> int:
    """Bytes of flash that packing takes away."""
    count, *_, channels = layer.shapes()[1]
    tile = _packed(op, layer)
    assert not isinstance(tile, str)
    return filter_nbytes(count, channels) - int(tile.words.nbytes)


def _packed(op: QuantizedConv2D, layer: Layer) -> PackedTile | str:
    weights, bias = layer.filter_and_bias()
    return packed_tile(op, weights.reshape(weights.shape[0], -1), bias)


def scratch_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """Two widened pixels."""
    return 4 * padded_taps(shapes[1][3])


def packed_scratch_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """The same, and the words of the filter."""
    count, *_, channels = shapes[1]
    return scratch_nbytes(op, *shapes) + filter_nbytes(count, channels)


POINTWISE = Variant(
    "dsp_pointwise",
    "conv_2d_pointwise.h",
    why_not,
    emit,
    scratch_nbytes,
    roundings=frozenset({"tflm", "single"}),
)

PACKED = Variant(
    "dsp_pointwise_packed",
    "conv_2d_pointwise.h",
    why_not_packed,
    emit_packed,
    packed_scratch_nbytes,
    saved_nbytes=saved_nbytes,
)
