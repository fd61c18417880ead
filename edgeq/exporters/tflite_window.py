"""How a .tflite file says a window's padding: VALID, SAME, or not at all."""

from __future__ import annotations

from dataclasses import replace

import tflite

from edgeq.errors import GraphError
from edgeq.graph import Tensor
from edgeq.ops.window import Window


def same_window(window: Window, height: int, width: int) -> Window:
    """The window with TFLite's SAME padding."""
    pads = []
    for extent, stride, reach in (
        (height, window.stride_h, window.reach_h),
        (width, window.stride_w, window.reach_w),
    ):
        total = max((-(-extent // stride) - 1) * stride + reach - extent, 0)
        pads += [total // 2, total - total // 2]
    top, bottom, left, right = pads
    return replace(window, pad_top=top, pad_bottom=bottom, pad_left=left, pad_right=right)


def file_padding(window: Window, source: Tensor) -> tuple[int, Window] | None:
    """(Padding, the window that it stands for) with the same results; None: neither fits."""
    _, height, width, _ = source.shape
    plain = replace(window, pad_top=0, pad_bottom=0, pad_left=0, pad_right=0)
    for code, other in (
        (tflite.Padding.VALID, plain),
        (tflite.Padding.SAME, same_window(window, height, width)),
    ):
        starts = (other.pad_top, other.pad_left) == (window.pad_top, window.pad_left)
        if not starts or (height + other.pad_bottom < other.reach_h - other.pad_top):
            continue
        try:
            extent = other.output_extent(height, width)
        except GraphError:
            continue
        if extent == window.output_extent(height, width):
            return code, other
    return None
