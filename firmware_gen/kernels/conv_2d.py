"""CONV_2D in C: the zero point folded into the bias. Twin of edgeq/ops/conv_2d.py."""

from __future__ import annotations

import math

from edgeq.graph import Shape
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.window import Window
from firmware_gen.cores import Target
from firmware_gen.kernels import mve
from firmware_gen.kernels.conv_2d_lanes import LANES, LANES_V6M
from firmware_gen.kernels.kernel import (
    BIAS_NOTE,
    Constant,
    Kernel,
    Layer,
    LayerCode,
    Variant,
    folded_bias,
    image_of,
    multiplier_constants,
    no_scratch,
    parameters_of,
    product_parameters,
    window_of,
)
from firmware_gen.kernels.tile import (
    TAPS,
    padded_taps,
    tile_constant,
    tile_parameters,
    why_no_tile,
)


def emit(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Filter OHWI as it is."""
    weights, bias = layer.inputs[1].data, layer.inputs[2].data
    assert weights is not None
    assert bias is not None
    rows = weights.reshape(weights.shape[0], -1)
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", weights, f"OHWI {weights.shape}"),
            Constant("bias", "int32_t", folded_bias(op, bias, rows), BIAS_NOTE),
            *multiplier_constants(op),
        ),
        function="edgeq_conv_2d",
        parameters={
            "window": window_of(op),
            **product_parameters(op, layer),
            "input": image_of(layer.inputs[0]),
            "output": image_of(layer.outputs[0]),
        },
        calls=((layer.read(0), layer.own("filter"), layer.own("bias"), layer.write()),),
    )


def why_not_dsp(op: QuantizedConv2D, layer: Layer, target: Target) -> str | None:
    """The reasons of the weights and the core."""
    weights, bias = layer.inputs[1].data, layer.inputs[2].data
    assert weights is not None
    assert bias is not None
    return why_no_tile(op, weights.reshape(weights.shape[0], -1), bias, target)


def emit_dsp(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Filter in groups of four channels, two in a word."""
    weights, bias = layer.inputs[1].data, layer.inputs[2].data
    assert weights is not None
    assert bias is not None
    rows = weights.reshape(weights.shape[0], -1)
    return LayerCode(
        constants=(tile_constant(op, rows, bias),),
        function="edgeq_conv_2d_dsp",
        parameters={
            "window": window_of(op),
            **parameters_of(op, "input_zero_point", "activation_min", "activation_max"),
            "input": image_of(layer.inputs[0]),
            "output": image_of(layer.outputs[0]),
            "is_inside": int(_is_inside(op.window, layer)),
            "taps_nbytes": padded_taps(rows.shape[1]),
            "tile": tile_parameters(op, *rows.shape),
        },
        calls=((layer.read(0), layer.own("filter"), layer.write(), layer.scratch("uint32_t")),),
    )


def _is_inside(window: Window, layer: Layer) -> bool:
    """Whether no tap of any pixel is in the padding."""
    _, height, width, _ = layer.inputs[0].shape
    _, out_h, out_w, _ = layer.outputs[0].shape
    bottom = (out_h - 1) * window.stride_h + (window.filter_h - 1) * window.dilation_h
    right = (out_w - 1) * window.stride_w + (window.filter_w - 1) * window.dilation_w
    starts_inside = window.pad_top == window.pad_left == 0
    return starts_inside and bottom < height and right < width


def dsp_scratch_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """Two widened pixels, and the bytes of one where they are gathered first."""
    taps = padded_taps(math.prod(shapes[1][1:]))
    return 4 * taps + (taps if shapes[1][3] % TAPS else 0)


KERNEL = Kernel(
    "conv_2d.h",
    emit,
    no_scratch,
    (
        Variant(
            "mve", "conv_2d_mve.h", mve.why_not_conv, mve.emit_conv, mve.conv_scratch_nbytes
        ),
        Variant(
            "dsp", "conv_2d_dsp.h", why_not_dsp, emit_dsp, dsp_scratch_nbytes, is_shared=False
        ),
        LANES,
        LANES_V6M,
    ),
)
