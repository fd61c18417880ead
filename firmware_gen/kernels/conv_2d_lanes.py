"""CONV_2D for cores without DSP: two pixels in one multiplication. Twin of conv_2d_lanes.h."""

from __future__ import annotations

import math

from edgeq.graph import Shape
from edgeq.ops.conv_2d import QuantizedConv2D
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import (
    Layer,
    LayerCode,
    Variant,
    image_of,
    parameters_of,
    window_of,
)
from firmware_gen.kernels.lanes import (
    lanes_arguments,
    lanes_constants,
    lanes_nbytes,
    lanes_parameters,
    why_no_mla,
    why_no_v6m,
    why_not_narrow,
)


def why_not(op: QuantizedConv2D, layer: Layer, target: Target) -> str | None:
    """The reasons of the core and of the weights."""
    return why_no_mla(target) or _why_not_weights(op, layer)


def why_not_v6m(op: QuantizedConv2D, layer: Layer, target: Target) -> str | None:
    """The reasons of the core and of the weights."""
    return why_no_v6m(target) or _why_not_weights(op, layer)


def _why_not_weights(op: QuantizedConv2D, layer: Layer) -> str | None:
    weights, bias = layer.filter_and_bias()
    return why_not_narrow(op, weights.reshape(weights.shape[0], -1), bias)


def emit(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Weights channel by channel."""
    return _emit(op, layer, 1)


def emit_v6m(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Weights of eight channels side by side."""
    return _emit(op, layer, 8)


def _emit(op: QuantizedConv2D, layer: Layer, step: int) -> LayerCode:
    weights, bias = layer.filter_and_bias()
    rows = weights.reshape(weights.shape[0], -1)
    return LayerCode(
        constants=lanes_constants(op, rows, bias, step),
        function="edgeq_conv_2d_lanes",
        parameters={
            "window": window_of(op),
            **parameters_of(op, "input_zero_point"),
            "padding_nbytes": padding_nbytes(op, *layer.shapes()),
            "input": image_of(layer.inputs[0]),
            "output": image_of(layer.outputs[0]),
            "lanes": lanes_parameters(op, *rows.shape, step),
        },
        calls=(
            (
                layer.read(0),
                *lanes_arguments(layer),
                layer.write(),
                layer.scratch("uint32_t"),
            ),
        ),
    )


def padding_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """A pixel of the input, if there is padding."""
    window = op.window
    pads = window.pad_top + window.pad_bottom + window.pad_left + window.pad_right
    return shapes[0][3] if pads else 0


def scratch_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """Two words a tap, and the pixel of padding."""
    return lanes_nbytes(math.prod(shapes[1][1:])) + padding_nbytes(op, *shapes)


LANES = Variant("lanes", "conv_2d_lanes.h", why_not, emit, scratch_nbytes)
LANES_V6M = Variant("lanes_v6m", "conv_2d_lanes.h", why_not_v6m, emit_v6m, scratch_nbytes)
