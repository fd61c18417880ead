"""How far below its input an output must start to overlap it: the order contract in numbers.

A kernel computes its output rows in ascending order and, once it has begun a row, reads nothing
of its inputs that only earlier rows need. Within one row the order is its own. So

    out_offset + end_of_row(y) <= in_offset + first byte that rows >= y need

for every row y keeps each byte until it has been read: in_offset - out_offset must be at least
the largest end_of_row(y) - first_needed(y). Rows after the last that reads anything are free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgeq.graph import Shape
from edgeq.ops.window import Window


def rows_overlap(row_nbytes: int, first_needed: Iterable[int | None]) -> int:
    """The distance for rows of row_nbytes; of each, the first input byte it needs (None: none).

    A row's own first byte may lie after that of a later row: the smallest from there on counts.
    """
    distance, needed = 0, math.inf
    for y, first in reversed(list(enumerate(first_needed))):
        if first is not None:
            needed = min(needed, first)
        if needed < math.inf:
            distance = max(distance, (y + 1) * row_nbytes - int(needed))
    return distance


def window_overlap(window: Window, x: Shape, output: Shape) -> int:
    """The distance of a window that slides over x (1, H, W, C) in int8, row by row."""
    _, height, width, channels = x
    row_nbytes = width * channels
    firsts: list[int | None] = []
    for y in range(output[1]):
        top = y * window.stride_h - window.pad_top
        taps = (top + tap * window.dilation_h for tap in range(window.filter_h))
        firsts.append(
            min((in_y * row_nbytes for in_y in taps if 0 <= in_y < height), default=None)
        )
    return rows_overlap(output[2] * output[3], firsts)
