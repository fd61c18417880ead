"""FULLY_CONNECTED in C: the zero point folded into the bias.

Twin of edgeq/ops/fully_connected.py.
"""

from __future__ import annotations

import math

import numpy as np

from edgeq.graph import Shape
from edgeq.ops.fully_connected import QuantizedFullyConnected
from firmware_gen.cores import Target
from firmware_gen.kernels import mve
from firmware_gen.kernels.fully_connected_pairs import PAIRS
from firmware_gen.kernels.fully_connected_winograd import WINOGRAD
from firmware_gen.kernels.kernel import (
    BIAS_NOTE,
    Constant,
    Kernel,
    Layer,
    LayerCode,
    Variant,
    folded_bias,
    multiplier_constants,
    no_scratch,
    parameters_of,
    product_parameters,
    why_not_one_row,
)
from firmware_gen.kernels.tile import MAX_RIGHT, padded_rows, pair_words, why_not_pairs


def emit(op: QuantizedFullyConnected, layer: Layer) -> LayerCode:
    """Filter OI as it is."""
    weights, bias = layer.filter_and_bias()
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", weights, f"OI {weights.shape}"),
            Constant("bias", "int32_t", folded_bias(op, bias, weights), BIAS_NOTE),
            *multiplier_constants(op),
        ),
        function="edgeq_fully_connected",
        parameters={
            **product_parameters(op, layer),
            "rows": math.prod(layer.inputs[0].shape[:-1]),
            "input_channels": weights.shape[1],
            "output_channels": weights.shape[0],
        },
        calls=((layer.read(0), layer.own("filter"), layer.own("bias"), layer.write()),),
    )


ROW_GROUP = 8  # channels
ROW_TAPS = 16  # taps are filled up to a multiple of this
ROW_NOTE = (
    "the biases of channels 1, 0, 3, 2 .. of each eight, then for each two taps 256 * w1 + w0 "
    "of the four pairs as int16"
)


def why_not_row(op: QuantizedFullyConnected, layer: Layer, target: Target) -> str | None:
    """The reasons of the weights, the number of rows and the core."""
    weights, bias = layer.filter_and_bias()
    if not target.has_dsp:
        return "the core has no DSP extension"
    if (reason := why_not_one_row(op, layer)) is not None:
        return reason
    if not -MAX_RIGHT <= op.shift[0] < 0:
        return f"shift is {op.shift[0]}, must be within -{MAX_RIGHT} .. -1"
    folded = folded_bias(op, bias, weights).astype(np.int64)
    return why_not_pairs(weights, folded, ROW_GROUP)


def emit_row(op: QuantizedFullyConnected, layer: Layer) -> LayerCode:
    """Filter in groups of eight channels, two in a word."""
    weights, bias = layer.filter_and_bias()
    channels, depth = weights.shape
    words = pair_words(padded_rows(weights, ROW_GROUP, ROW_TAPS))
    groups = len(words) * 2 // ROW_GROUP
    taps = words.reshape(groups, ROW_GROUP // 2, -1).transpose(0, 2, 1).reshape(groups, -1)
    biases = np.zeros((groups, ROW_GROUP), np.int64)
    biases.flat[:channels] = folded_bias(op, bias, weights)
    swapped = biases.reshape(groups, -1, 2)[..., ::-1].reshape(groups, ROW_GROUP)
    packed = np.concatenate([swapped & 0xFFFFFFFF, taps], axis=1)
    right = -op.shift[0] - 1
    return LayerCode(
        constants=(
            Constant("filter", "int32_t", packed.astype(np.uint32).view(np.int32), ROW_NOTE),
        ),
        function="edgeq_fully_connected_dsp",
        parameters={
            "input_channels": depth,
            "output_channels": channels,
            **parameters_of(op, "activation_min", "activation_max"),
            "row": {
                "nbytes": row_scratch_nbytes(op, *layer.shapes()),
                "groups": channels // ROW_GROUP,
                "half": (2 * op.output_zero_point + 1) << right,
                "multiplier": op.multiplier[0],
                "right": right,
            },
        },
        calls=((layer.read(0), layer.own("filter"), layer.write(), layer.scratch("uint32_t")),),
    )


def row_scratch_nbytes(op: QuantizedFullyConnected, *shapes: Shape) -> int:
    """The widened row."""
    return 2 * -(-shapes[1][1] // ROW_TAPS) * ROW_TAPS


KERNEL = Kernel(
    "fully_connected.h",
    emit,
    no_scratch,
    (
        Variant("mve_row", "fully_connected_mve.h", mve.why_not_row, mve.emit_row),
        Variant("mve", "conv_2d_mve.h", mve.why_not_rows, mve.emit_rows),
        WINOGRAD,
        Variant(
            "dsp_row",
            "fully_connected_dsp.h",
            why_not_row,
            emit_row,
            row_scratch_nbytes,
            code_nbytes=900,
        ),
        PAIRS,
    ),
)
