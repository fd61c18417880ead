"""CONV_2D in C: the zero point folded into the bias. Twin of edgeq/ops/conv_2d.py."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.window import Window
from firmware_gen.cores import Target
from firmware_gen.kernels import mve
from firmware_gen.kernels.conv_2d_lanes import LANES, LANES_V6M
from firmware_gen.kernels.conv_2d_pointwise import PACKED, POINTWISE
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
    GROUP,
    TAPS,
    padded_taps,
    tile_of,
    why_no_tile,
)

PATCH_ROW = 20  # EDGEQ_CONV_2D_PATCH_ROW
MOST_TAPS = (1 << 14) - 1  # bytes of two widened pixels, and all sizes, fit 16 bits
MOST_IN_WINDOW = (1 << 8) - 1


def emit(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Filter OHWI as it is."""
    weights, bias = layer.filter_and_bias()
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
    """The reasons of the weights, the sizes and the core."""
    rows, bias = _rows_of(layer)
    reason = why_no_tile(op, rows, bias, target)
    largest = max(*layer.inputs[0].shape, *layer.outputs[0].shape, rows.shape[1])
    if reason is None and largest > MOST_TAPS:
        reason = f"a size is {largest}, the kernel wants at most {MOST_TAPS}"
    widest = max(dataclasses.astuple(op.window))
    if reason is None and widest > MOST_IN_WINDOW:
        reason = f"{widest} in the window, the kernel wants at most {MOST_IN_WINDOW}"
    return reason


def _rows_of(layer: Layer) -> tuple[Array, Array]:
    """The filter by channel, in the order in which the kernel has the taps, and the bias."""
    weights, bias = layer.filter_and_bias()
    count, filter_h, *row = weights.shape
    rows = weights.reshape(count, filter_h, -1)
    whole = math.prod(row) // TAPS * TAPS
    parts = (rows[..., :whole], rows[..., whole:])
    return np.concatenate([p.reshape(count, -1) for p in parts], axis=1), bias


def emit_dsp(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Filter in groups of four channels, two in a word."""
    rows, bias = _rows_of(layer)
    tile = tile_of(op, rows, bias)
    assert not isinstance(tile, str)
    window = op.window
    _, height, width, channels = layer.inputs[0].shape
    _, out_h, out_w, out_channels = layer.outputs[0].shape
    if is_pointwise(window) and height * width <= MOST_TAPS:  # the image is one row
        height, width, out_h, out_w = 1, height * width, 1, out_h * out_w
    row_taps = window.filter_w * channels
    is_nines = (window.filter_h, row_taps) == (3, 9)
    has_runs = out_channels % GROUP == 0 and (row_taps % TAPS == 0 or is_nines)
    has_edges = not is_inside(window, layer.shapes()[0])
    has_nine_edges = _is_gathered_by_rows(op, *layer.shapes())
    is_even = not has_edges and (out_h == 1 or out_w % 2 == 0)  # runs take all pixels
    has_word_edges = has_edges and _has_word_rows(op, *layer.shapes())
    has_other_edges = has_edges and not (has_nine_edges or has_word_edges)
    has_pairs = not (has_runs and (has_nine_edges or is_even))
    needs = {
        "EDGEQ_CONV_2D_WORD_ROWS": has_pairs and has_word_edges,
        "EDGEQ_CONV_2D_ROWS": has_pairs and not has_word_edges,
        "EDGEQ_CONV_2D_PAIRS": has_pairs,
        "EDGEQ_CONV_2D_NINE_EDGES": has_nine_edges,
        "EDGEQ_CONV_2D_EDGES": has_other_edges,
        "EDGEQ_CONV_2D_PARTS": (row_taps % TAPS != 0 and not has_nine_edges)
        or (channels % TAPS != 0 and has_other_edges),
        "EDGEQ_CONV_2D_REST": out_channels % GROUP != 0,
        "EDGEQ_CONV_2D_CLAMPED": (op.activation_min, op.activation_max) != (-128, 127),
        "EDGEQ_TILE_NINE_TAPS": is_nines,
    }
    last_left = width - window.filter_w if _has_rows(window) else -1
    return LayerCode(
        constants=(tile.constant(),),
        function="edgeq_conv_2d_dsp",
        parameters={
            "input_height": height,
            "input_width": width,
            "channels": channels,
            "output_height": out_h,
            "output_width": out_w,
            "output_channels": out_channels,
            "first_inside": -(-window.pad_left // window.stride_w),
            "end_inside": min((last_left + window.pad_left) // window.stride_w + 1, out_w),
            "filter_h": window.filter_h,
            "filter_w": window.filter_w,
            "stride_h": window.stride_h,
            "stride_w": window.stride_w,
            "dilation_h": window.dilation_h,
            "dilation_w": window.dilation_w,
            "pad_top": window.pad_top,
            "pad_left": window.pad_left,
            **parameters_of(op, "input_zero_point", "output_zero_point"),
            **parameters_of(op, "activation_min", "activation_max"),
            "t": tile.t if tile.is_signed else 0,
            "has_word_rows": int(has_word_edges),
            "has_runs": int(has_runs),
            "has_nine_edges": int(has_nine_edges),
        },
        calls=((layer.read(0), layer.own("filter"), layer.write(), layer.scratch("uint32_t")),),
        defines=(*tile.defines, *(name for name, wanted in needs.items() if wanted)),
    )


def is_pointwise(window: Window) -> bool:
    """Whether each output pixel is made of the input's pixel at its place."""
    return window == Window(1, 1)


def _has_rows(window: Window) -> bool:
    """Whether the taps of a filter row are neighbours in the image."""
    return window.dilation_w == 1 or window.filter_w == 1


def is_inside(window: Window, image: Shape) -> bool:
    """Whether no tap of any pixel is in the padding, and rows of taps are contiguous."""
    _, height, width, _ = image
    out_h, out_w = window.output_extent(height, width)
    bottom = (out_h - 1) * window.stride_h + window.reach_h
    right = (out_w - 1) * window.stride_w + window.reach_w
    starts_inside = window.pad_top == window.pad_left == 0
    return starts_inside and bottom <= height and right <= width and _has_rows(window)


def _is_gathered_by_rows(op: QuantizedConv2D, *shapes: Shape) -> bool:
    """Whether pixels of three rows of nine taps are gathered in pairs where some have taps in
    the padding.
    """
    out_channels, *_, channels = shapes[1]
    return (
        (op.window.filter_h, op.window.filter_w * channels) == (3, 9)
        and out_channels % GROUP == 0
        and _has_rows(op.window)
        and not is_inside(op.window, shapes[0])
    )


def _has_word_rows(op: QuantizedConv2D, *shapes: Shape) -> bool:
    """Whether the taps of a filter row are one word, in which there always is image."""
    _, _, width, channels = shapes[0]
    window = op.window
    _, out_w = window.output_extent(*shapes[0][1:3])
    after = (out_w - 1) * window.stride_w - window.pad_left + window.filter_w - width
    return (
        window.filter_w * channels == TAPS <= width * channels
        and _has_rows(window)
        and max(window.pad_left, after) < window.filter_w
    )


def dsp_scratch_nbytes(op: QuantizedConv2D, *shapes: Shape) -> int:
    """Two widened pixels, and what is gathered first: bytes of one, or three rows of two."""
    taps = padded_taps(math.prod(shapes[1][1:]))
    if _is_gathered_by_rows(op, *shapes):
        return 4 * taps + 3 * PATCH_ROW
    is_gathered = (
        shapes[1][3] % TAPS != 0
        and not is_inside(op.window, shapes[0])
        and not _has_word_rows(op, *shapes)
    )
    return 4 * taps + (taps if is_gathered else 0)


KERNEL = Kernel(
    "conv_2d.h",
    emit,
    no_scratch,
    (
        Variant(
            "mve", "conv_2d_mve.h", mve.why_not_conv, mve.emit_conv, mve.conv_scratch_nbytes
        ),
        PACKED,
        POINTWISE,
        Variant(
            "dsp",
            "conv_2d_dsp.h",
            why_not_dsp,
            emit_dsp,
            dsp_scratch_nbytes,
            roundings=frozenset({"tflm", "single"}),
        ),
        LANES,
        LANES_V6M,
    ),
)
