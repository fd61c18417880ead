"""Parameters of products as the Helium kernels read them. Twin of edgeq_mve.h."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.window import Window
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import (
    Constant,
    Layer,
    LayerCode,
    folded_bias,
    parameters_of,
    spatial_parameters,
    why_not_one_row,
)

GROUP = 4  # channels
PIXELS = 3
NO_MVE = "the core has no vector extension"
NOTE = "of each four channels: biases less the input's zero point, multipliers, shifts as bytes"
FEW = 30  # pixels in a row; below, those that fill the last three cost more than a copy


def why_no_groups(channels: int, target: Target) -> str | None:
    """Why products cannot be taken in groups of four channels."""
    if not target.has_mve:
        return NO_MVE
    return (
        f"{channels} channels, the kernel wants {GROUP} or more" if channels < GROUP else None
    )


def params_constant(op: Any, rows: Array, bias: Array) -> Constant:
    """Nine words a group; the last group ends with the last channel. rows: (O, taps)."""
    count = len(rows)
    multiplier, shift = (
        np.broadcast_to(np.asarray(values, np.int64), (count,))
        for values in (op.multiplier, op.shift)
    )
    folded = folded_bias(op, bias, rows)
    firsts = [*range(0, count - GROUP + 1, GROUP), *([count - GROUP] if count % GROUP else [])]
    words = []
    for first in firsts:
        group = slice(first, first + GROUP)
        shifts = shift[group].astype(np.int8).view("<i4")
        words.append([*folded[group], *multiplier[group], *shifts])
    return Constant("bias", "int32_t", np.array(words, np.int32), NOTE)


def is_full(op: Any) -> bool:
    """Whether a shift is positive or something below the zero point is wanted."""
    return bool(max(op.shift) > 0 or op.activation_min < op.output_zero_point)


def why_not_conv(op: QuantizedConv2D, layer: Layer, target: Target) -> str | None:
    """The core, or fewer channels than a group has."""
    return why_no_groups(layer.outputs[0].shape[3], target)


def emit_conv(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Filter OHWI as it is."""
    weights, bias = layer.filter_and_bias()
    rows = weights.reshape(weights.shape[0], -1)
    in_place = _is_in_place(op, *layer.shapes())
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", weights, f"OHWI {weights.shape}"),
            params_constant(op, rows, bias),
        ),
        function="edgeq_conv_2d_mve",
        parameters={
            **spatial_parameters(op, layer),
            "depth": rows.shape[1],
            "taps_nbytes": _taps_nbytes(rows.shape[1]),
            "is_in_place": int(in_place),
            "is_full": int(is_full(op)),
        },
        calls=(
            (
                layer.read(0),
                layer.own("filter"),
                layer.own("bias"),
                layer.write(),
                "0" if in_place else layer.scratch("int8_t"),
            ),
        ),
    )


def conv_scratch_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """The gathered taps of three pixels."""
    return 0 if _is_in_place(op, *shapes) else PIXELS * _taps_nbytes(math.prod(shapes[1][1:]))


def _taps_nbytes(taps: int) -> int:
    return -(-taps // 4) * 4


def _is_in_place(op: QuantizedConv2D, *shapes: Shape) -> bool:
    """Whether the taps of pixels in a row are beside each other, and rows not too short."""
    w = op.window
    width = op.infer_shapes(*shapes)[0][2]
    return (
        (w.filter_h, w.filter_w, w.stride_w) == (1, 1, 1)
        and (w.pad_top, w.pad_bottom, w.pad_left, w.pad_right) == (0, 0, 0, 0)
        and (width % PIXELS == 0 or width >= FEW)
    )


ROW_GROUP = 8  # channels
CHUNK = 16  # taps
ROW_NOTE = "of each eight channels: biases, then weights of each 16 taps, channel by channel"


def why_not_row(op: QuantizedFullyConnected, layer: Layer, target: Target) -> str | None:
    """The core, the number of rows and channels, or the rounding."""
    if not target.has_mve:
        return NO_MVE
    if (reason := why_not_one_row(op, layer)) is not None:
        return reason
    channels = layer.inputs[1].shape[0]
    if channels % ROW_GROUP:
        return f"{channels} channels, the kernel wants a multiple of {ROW_GROUP}"
    most = 0 if _is_relu(op) else -1
    return f"shift is {op.shift[0]}, must be {most} or less" if op.shift[0] > most else None


def emit_row(op: QuantizedFullyConnected, layer: Layer) -> LayerCode:
    """Filter in groups of eight channels."""
    weights, bias = layer.filter_and_bias()
    channels, depth = weights.shape
    folded = folded_bias(op, bias, weights)
    whole = depth - depth % CHUNK
    groups = [
        np.concatenate(
            [
                folded[first : first + ROW_GROUP].view(np.int8),
                *(
                    weights[first : first + ROW_GROUP, start : start + CHUNK].ravel()
                    for start in (*range(0, whole, CHUNK), whole)
                ),
            ]
        )
        for first in range(0, channels, ROW_GROUP)
    ]
    return LayerCode(
        constants=(Constant("filter", "int32_t", np.stack(groups).view("<i4"), ROW_NOTE),),
        function="edgeq_fully_connected_mve",
        parameters={
            "row": {
                "multiplier": op.multiplier[0],
                "shift": op.shift[0],
                "zero_point": op.output_zero_point,
                "activation_min": op.activation_min,
                "activation_max": op.activation_max,
                "groups": channels // ROW_GROUP,
                "depth": depth,
                "is_relu": int(_is_relu(op)),
            }
        },
        calls=((layer.read(0), layer.own("filter"), layer.write()),),
    )


def _is_relu(op: QuantizedFullyConnected) -> bool:
    return (op.output_zero_point, op.activation_min, op.activation_max) == (-128, -128, 127)


def why_not_rows(op: QuantizedFullyConnected, layer: Layer, target: Target) -> str | None:
    """The core, or fewer channels than a group has."""
    return why_no_groups(layer.inputs[1].shape[0], target)


def emit_rows(op: QuantizedFullyConnected, layer: Layer) -> LayerCode:
    """A 1 x 1 convolution of an image whose pixels are the rows."""
    weights, bias = layer.filter_and_bias()
    count, depth = math.prod(layer.inputs[0].shape[:-1]), weights.shape[1]
    one = Window(1, 1, 1, 1, 1, 1, 0, 0, 0, 0)
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", weights, f"OI {weights.shape}"),
            params_constant(op, weights, bias),
        ),
        function="edgeq_conv_2d_mve",
        parameters={
            "window": {f.name: int(getattr(one, f.name)) for f in fields(one)},
            **parameters_of(
                op, "input_zero_point", "output_zero_point", "activation_min", "activation_max"
            ),
            "input": {"height": 1, "width": count, "channels": depth},
            "output": {"height": 1, "width": count, "channels": weights.shape[0]},
            "depth": depth,
            "taps_nbytes": depth,
            "is_in_place": 1,
            "is_full": int(is_full(op)),
        },
        calls=((layer.read(0), layer.own("filter"), layer.own("bias"), layer.write(), "0"),),
    )
