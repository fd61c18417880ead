"""Window: how a filter slides over an image; padding explicit on four sides.

Twin of struct edgeq_window in firmware_gen/kernels/edgeq_window.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.errors import GraphError
from edgeq.graph import Array, Shape


@dataclass(frozen=True, slots=True)
class Window:
    """Extent, stride, dilation and padding of a convolution or pooling filter."""

    filter_h: int
    filter_w: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_bottom: int = 0
    pad_left: int = 0
    pad_right: int = 0

    def __post_init__(self) -> None:
        """Refuse extents, strides and dilations below 1 and negative padding.

        Raises:
            GraphError: names the field.
        """
        for name in (
            "filter_h",
            "filter_w",
            "stride_h",
            "stride_w",
            "dilation_h",
            "dilation_w",
        ):
            if getattr(self, name) < 1:
                raise GraphError(f"{name} is {getattr(self, name)}, must be >= 1")
        for name in ("pad_top", "pad_bottom", "pad_left", "pad_right"):
            if getattr(self, name) < 0:
                raise GraphError(f"{name} is {getattr(self, name)}, must be >= 0")

    @property
    def reach_h(self) -> int:
        """Rows from the first to the last tap, inclusive."""
        return (self.filter_h - 1) * self.dilation_h + 1

    @property
    def reach_w(self) -> int:
        """Columns from the first to the last tap, inclusive."""
        return (self.filter_w - 1) * self.dilation_w + 1

    def output_extent(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output for an input of this height and width.

        Raises:
            GraphError: the filter is larger than the padded input.
        """
        padded_h = height + self.pad_top + self.pad_bottom
        padded_w = width + self.pad_left + self.pad_right
        if padded_h < self.reach_h or padded_w < self.reach_w:
            raise GraphError(
                f"filter reaches over {self.reach_h}x{self.reach_w}, the padded input has "
                f"{padded_h}x{padded_w}"
            )
        return (
            (padded_h - self.reach_h) // self.stride_h + 1,
            (padded_w - self.reach_w) // self.stride_w + 1,
        )

    def sees_only_padding(self, height: int, width: int) -> bool:
        """Whether the window of some output pixel has no tap inside the image."""
        out_h, out_w = self.output_extent(height, width)

        def row_is_empty(start: int, taps: int, step: int, extent: int) -> bool:
            return not any(0 <= start + tap * step < extent for tap in range(taps))

        return any(
            row_is_empty(
                y * self.stride_h - self.pad_top, self.filter_h, self.dilation_h, height
            )
            for y in range(out_h)
        ) or any(
            row_is_empty(
                x * self.stride_w - self.pad_left, self.filter_w, self.dilation_w, width
            )
            for x in range(out_w)
        )

    def taps(self, out_y: int, out_x: int, shape: Shape) -> list[tuple[int, int, int, int]]:
        """(filter_y, filter_x, in_y, in_x) of the taps of one output pixel inside the image."""
        _, height, width, _ = shape
        inside = []
        for filter_y in range(self.filter_h):
            in_y = out_y * self.stride_h - self.pad_top + filter_y * self.dilation_h
            for filter_x in range(self.filter_w):
                in_x = out_x * self.stride_w - self.pad_left + filter_x * self.dilation_w
                if 0 <= in_y < height and 0 <= in_x < width:
                    inside.append((filter_y, filter_x, in_y, in_x))
        return inside

    def as_array(self) -> Array:
        """The ten fields in order, int32: how Numba kernels take a window."""
        return np.array(
            [getattr(self, name) for name in self.__dataclass_fields__], dtype=np.int32
        )

    def patches(self, x: Array, fill: float) -> Array:
        """Float patches (N, out_h, out_w, filter_h, filter_w, C) of x (N, H, W, C)."""
        pads = (
            (0, 0),
            (self.pad_top, self.pad_bottom),
            (self.pad_left, self.pad_right),
            (0, 0),
        )
        padded = np.pad(x, pads, constant_values=fill)
        view = np.lib.stride_tricks.sliding_window_view(
            padded, (self.reach_h, self.reach_w), axis=(1, 2)
        )
        view = view[
            :, :: self.stride_h, :: self.stride_w, :, :: self.dilation_h, :: self.dilation_w
        ]
        return view.transpose(0, 1, 2, 4, 5, 3)
