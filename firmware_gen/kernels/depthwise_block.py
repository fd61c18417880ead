"""3 x 3 depthwise filters for cores without DSP. Twin of depthwise_conv_2d_block.h."""

from __future__ import annotations

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import (
    Constant,
    Layer,
    LayerCode,
    Variant,
    spatial_parameters,
)
from firmware_gen.kernels.lanes import narrow_words, why_dsp, why_not_narrow

COLUMN = 24  # bytes: three rows of eight channels
WORDS_NOTE = "of each channel: bias * 256 + n - 2, multiplier"


def why_not(op: QuantizedDepthwiseConv2D, layer: Layer, target: Target) -> str | None:
    """The core, the shape, or numbers that leave their words."""
    window = op.window
    if (reason := why_dsp(target)) is not None:
        return reason
    if (window.filter_h, window.filter_w) != (3, 3) or window.stride_w > 2:
        return "the filter is not 3 x 3 with a horizontal stride of 1 or 2"
    if (window.dilation_h, window.dilation_w) != (1, 1):
        return "the filter is dilated"
    if layer.outputs[0].shape[3] != layer.inputs[0].shape[3]:
        return "not one output channel for each channel"
    return why_not_narrow(op, *_rows_and_bias(layer))


def emit(op: QuantizedDepthwiseConv2D, layer: Layer) -> LayerCode:
    """Filter channel by channel."""
    rows, words = narrow_words(op, *_rows_and_bias(layer))
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", rows.astype(np.int8), "of each channel"),
            Constant("bias", "int32_t", words, WORDS_NOTE),
        ),
        function="edgeq_depthwise_conv_2d_block",
        parameters={
            **spatial_parameters(op, layer),
        },
        calls=(
            (
                layer.read(0),
                layer.own("filter"),
                layer.own("bias"),
                layer.write(),
                layer.scratch("int8_t"),
            ),
        ),
    )


def scratch_nbytes(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """The columns that a row of the output reads."""
    _, _, width, _ = op.infer_shapes(*shapes)[0]
    return COLUMN * ((width - 1) * op.window.stride_w + 3)


def _rows_and_bias(layer: Layer) -> tuple[Array, Array]:
    weights, bias = layer.filter_and_bias()
    return weights.reshape(-1, weights.shape[2]).T, bias


BLOCK = Variant("block_3x3", "depthwise_conv_2d_block.h", why_not, emit, scratch_nbytes)
