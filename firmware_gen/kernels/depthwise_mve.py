"""Channels of a 3 x 3 depthwise filter as the Helium kernel reads them.

Twin of depthwise_conv_2d_mve.h.
"""

from __future__ import annotations

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import (
    Constant,
    Layer,
    LayerCode,
    folded_bias,
    spatial_parameters,
)
from firmware_gen.kernels.mve import NO_MVE

BLOCK = 16  # channels
ORDER = (0, 2, 1, 3)  # of the four vectors of a block: the first channel of each
TAPS = (5, 3, 2)  # that may be added as int16, the most first; two of int8 always may
NOTE = "of each 16 channels, the last with the last channel: nine taps"
PARAMS_NOTE = (
    "of channels 0, 4, 8, 12 of each 16, then from 2, 1, 3: biases less the input's zero "
    "point, multipliers, shifts as bytes"
)


def why_not(op: QuantizedDepthwiseConv2D, layer: Layer, target: Target) -> str | None:
    """The core, the shape, or weights of -128."""
    if not target.has_mve:
        return NO_MVE
    if (op.window.filter_h, op.window.filter_w) != (3, 3):
        return "the filter is not 3 x 3"
    channels = layer.inputs[0].shape[3]
    if channels < BLOCK or layer.outputs[0].shape[3] != channels:
        return f"not one output channel for each of {BLOCK} or more"
    return None if taps_as_int16(_rows(layer)) else "two products may leave int16"


def scratch_nbytes(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """A pixel of the input's zero point."""
    return shapes[0][3]


def emit(op: QuantizedDepthwiseConv2D, layer: Layer) -> LayerCode:
    """Blocks of 16 channels."""
    bias = layer.inputs[2].data
    assert bias is not None
    rows = _rows(layer)
    count = len(rows)
    firsts = [*range(0, count - BLOCK + 1, BLOCK), *([count - BLOCK] if count % BLOCK else [])]
    columns = np.array(
        [
            folded_bias(op, bias, rows),
            *(np.resize(v, count) for v in (op.multiplier, op.shift)),
        ],
        np.int64,
    )
    words = []
    for first in firsts:
        for channel in ORDER:
            biases, multipliers, shifts = columns[:, first + channel : first + BLOCK : 4]
            words.append([*biases, *multipliers, *shifts.astype(np.int8).view("<i4")])
    weights = np.stack([rows[first : first + BLOCK].T for first in firsts])
    has_clamp = (op.activation_min, op.activation_max) != (-128, 127)
    is_full = has_clamp or max(op.shift) > 0 or op.activation_min < op.output_zero_point
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", weights, NOTE),
            Constant("bias", "int32_t", np.array(words, np.int32), PARAMS_NOTE),
        ),
        function="edgeq_depthwise_mve",
        parameters={
            **spatial_parameters(op, layer),
            "taps": taps_as_int16(rows),
            "is_full": int(is_full),
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


def _rows(layer: Layer) -> Array:
    """(C, 9)."""
    weights = layer.inputs[1].data
    assert weights is not None
    rows: Array = weights.reshape(9, -1).T
    return rows


def taps_as_int16(rows: Array) -> int:
    """How many taps of every channel may be added as int16 at a time; 0: not two."""
    magnitude = np.abs(rows.astype(np.int64))
    for taps in TAPS:
        sums = [magnitude[:, at : at + taps].sum(1) for at in range(0, 9, taps)]
        if max(int(s.max()) for s in sums) * 128 < 1 << 15:
            return taps
    return 0
