"""CONV_2D in C: the zero point folded into the bias. Twin of edgeq/ops/conv_2d.py."""

from __future__ import annotations

import math

from edgeq.graph import Shape
from edgeq.ops.conv_2d import QuantizedConv2D
from firmware_gen.cores import Target
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
            "taps_nbytes": padded_taps(rows.shape[1]),
            "tile": tile_parameters(op, *rows.shape),
        },
        calls=((layer.read(0), layer.own("filter"), layer.write(), layer.scratch("uint32_t")),),
    )


def dsp_scratch_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """Two widened pixels, and the bytes of one where they are gathered first."""
    taps = padded_taps(math.prod(shapes[1][1:]))
    return 4 * taps + (taps if shapes[1][3] % TAPS else 0)


KERNEL = Kernel(
    "conv_2d.h",
    emit,
    no_scratch,
    (Variant("dsp", "conv_2d_dsp.h", why_not_dsp, emit_dsp, dsp_scratch_nbytes),),
)
