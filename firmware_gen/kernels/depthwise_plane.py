"""Channels of a 3 x 3 depthwise filter for the DSP kernel that takes a channel's whole image.

Twin of depthwise_conv_2d_plane.h, which derives the rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.window import Window
from firmware_gen.c_text import Value
from firmware_gen.cores import Target
from firmware_gen.kernels.depthwise_3x3 import channels_of
from firmware_gen.kernels.depthwise_channel import (
    PlaneChannel,
    channel_bytes,
    channel_words,
    filter_words,
)
from firmware_gen.kernels.kernel import Constant, Layer, LayerCode

T = TypeVar("T")

PREFERRED_SHIFT = 12  # EDGEQ_LINES_SHIFT
SHIFTS = (PREFERRED_SHIFT, 11, 13, 10, 14, 9, 15, 8, 7, 6, 5, 4, 3, 2, 1)
GROUP = 4  # channels beside each other
BLOCK_NBYTES = 4 * 3 * GROUP  # of two pixels of three lines
TABLE_NBYTES = GROUP * 28  # of a group's channels
NOTE = "of each channel: 9 weights; 8 - s (3 bits), multiplier (26), bias (27)"
COMPACT_NOTE = "a byte; of each channel 8 weights, multiplier (3 bytes), weight, bias (3 bytes)"


def why_not(op: QuantizedDepthwiseConv2D, layer: Layer, target: Target) -> str | None:
    """The core, the shape, the clamp, or numbers that leave their words."""
    if not target.has_dsp:
        return "the core has no DSP extension"
    window = op.window
    if (window.filter_h, window.filter_w) != (3, 3):
        return "the filter is not 3 x 3"
    if window.stride_h != window.stride_w or window.stride_w > 2:
        return "the stride is not 1 or 2 in both directions"
    if (window.dilation_h, window.dilation_w) != (1, 1):
        return "the filter is dilated"
    _, height, width, channels = layer.inputs[0].shape
    _, out_h, out_w, outputs = layer.outputs[0].shape
    if channels < GROUP or outputs != channels:
        return f"not one output channel for each of {GROUP} or more"
    if out_h > height or out_w > width or max(window.pad_top, window.pad_left) > 2:
        return "the output is larger than the input, or begins more than 2 pixels before it"
    if max(width * channels, height) >= 1 << 16:
        return "a row has 65,536 bytes or more, or the image as many rows"
    if (op.activation_min, op.activation_max) != (-128, 127):
        return "the clamp is narrower than int8"
    if _packing(op, layer) is None:
        if op.rounding == "tflm" and op.output_zero_point > -128:
            return "some outputs are below the zero point, where ties round the other way"
        return "no multipliers and biases of one shift give each channel's outputs"
    return None


def is_upright(window: Window, shape: Shape) -> bool:
    """Whether the lines are columns: the longer side of the image is cheaper to run along."""
    return shape[1] > shape[2]


def length_of(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """Of a line of the output."""
    _, out_h, out_w, _ = op.infer_shapes(*shapes)[0]
    return out_h if is_upright(op.window, shapes[0]) else out_w


def blocks_of(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """How often two pixels of a line are laid out."""
    return ((length_of(op, *shapes) - 1) * op.window.stride_w + 4) // 2


def scratch_nbytes(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """The table of a group's channels, then a block for every two pixels of a line."""
    return TABLE_NBYTES + BLOCK_NBYTES * blocks_of(op, *shapes)


def emit(op: QuantizedDepthwiseConv2D, layer: Layer) -> LayerCode:
    """15 bytes a channel, or 16."""
    packing = _packing(op, layer)
    assert packing is not None
    is_compact = packing.data.ndim == 1
    filter_ = layer.own("filter")
    return LayerCode(
        constants=(
            Constant("filter", "uint32_t", packing.data, COMPACT_NOTE if is_compact else NOTE),
        ),
        function="edgeq_depthwise_conv_2d_plane",
        parameters={"shift": packing.shift, "image": _image(op, layer)},
        defines=("EDGEQ_CHANNELS_COMPACT" if is_compact else "EDGEQ_CHANNELS_WIDE",),
        calls=(
            (
                layer.read(0),
                f"(const uint8_t *){filter_}" + (" + 1" if is_compact else ""),
                layer.scratch("uint32_t"),
                layer.write(),
            ),
        ),
    )


def _image(op: QuantizedDepthwiseConv2D, layer: Layer) -> dict[str, Value]:
    """A struct edgeq_plane_image."""
    _, height, width, channels = layer.inputs[0].shape
    _, out_h, out_w, _ = layer.outputs[0].shape
    rows = (op.window.pad_top, height, out_h)
    columns = (op.window.pad_left, width, out_w)
    upright = is_upright(op.window, layer.inputs[0].shape)
    line, run = (columns, rows) if upright else (rows, columns)
    return {
        "channels": channels,
        "zero_point": op.input_zero_point & 0xFF,
        "stride": op.window.stride_w,
        "line_pad": line[0],
        "run_pad": run[0],
        "is_upright": int(upright),
        "input": (run[1], line[1]),
        "output": (run[2], line[2]),
    }


def shift_of(op: QuantizedDepthwiseConv2D, layer: Layer) -> int | None:
    """The t that serves all channels; None: none does."""
    packing = _packing(op, layer)
    return None if packing is None else packing.shift


@dataclass(frozen=True, slots=True)
class _Packing:
    shift: int  # t
    data: Array  # uint32; (C, 4), or a byte and then 15 for each channel


def _packing(op: QuantizedDepthwiseConv2D, layer: Layer) -> _Packing | None:
    """The words with the preferred shift, or the next that serves; None: none does."""
    weights, bias = layer.filter_and_bias()
    upright = is_upright(op.window, layer.inputs[0].shape)
    return _packed(op, upright, weights.tobytes(), bias.tobytes())


@lru_cache(maxsize=256)  # two variants ask, to be chosen and to be written
def _packed(
    op: QuantizedDepthwiseConv2D, upright: bool, weights: bytes, bias: bytes
) -> _Packing | None:
    filter_ = np.frombuffer(weights, np.int8)
    channels = [
        PlaneChannel(*numbers, op.output_zero_point, op.rounding)
        for numbers in channels_of(op, filter_, np.frombuffer(bias, np.int32))
    ]
    filters = [filter_words(c, op.window.stride_w, upright) for c in channels]
    for shift in SHIFTS:
        packed = _all(channel.compact(shift) for channel in channels)
        if packed is not None:
            data = b"".join(
                channel_bytes(taps, *found) for taps, found in zip(filters, packed, strict=True)
            )
            padded = b"\0" + data + bytes(-(1 + len(data)) % 4)
            return _Packing(shift, np.frombuffer(padded, "<u4"))
        wide = _all(channel.numbers(shift) for channel in channels)
        if wide is not None:
            words = [
                channel_words(taps, *found) for taps, found in zip(filters, wide, strict=True)
            ]
            return _Packing(shift, np.array(words, np.int64).astype(np.uint32))
    return None


def _all(found: Iterable[T | None]) -> list[T] | None:
    """As a list; None if one is."""
    result = []
    for one in found:
        if one is None:
            return None
        result.append(one)
    return result
