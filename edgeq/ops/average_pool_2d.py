"""AVERAGE_POOL_2D: the mean over the taps inside the image; padding does not count.

Twin: firmware_gen/kernels/average_pool_2d.h and average_pool_2d.py.
Rule: TFLM reference/integer_ops/pooling.h: ties away from zero, no rescaling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from edgeq.arith import clamp, divide_rounding
from edgeq.arith_jit import clamp as clamp_jit
from edgeq.arith_jit import divide_rounding as divide_rounding_jit
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.activation import NO_MAX, NO_MIN, clamp_float, quantized_range
from edgeq.ops.op import (
    FloatOp,
    IntegerOp,
    OutputRule,
    image_shape,
    one_input,
    require_same_quant,
)
from edgeq.ops.overlap import window_overlap
from edgeq.ops.window import Window


def pool_shape(op: str, window: Window, *shapes: Shape) -> tuple[Shape, ...]:
    """(1, H, W, C) -> (1, out_h, out_w, C).

    Raises:
        GraphError: not one image, or an output pixel would see nothing but padding.
    """
    _, height, width, channels = image_shape(op, one_input(op, shapes))
    out_h, out_w = window.output_extent(height, width)
    if window.sees_only_padding(height, width):
        raise GraphError(f"{op}: a window of {window} lies wholly in the padding")
    return ((1, out_h, out_w, channels),)


@dataclass(frozen=True, slots=True)
class AveragePool2D(FloatOp):
    """Average pooling of a float image."""

    name = "average_pool_2d"
    output_rule: ClassVar[OutputRule] = "same"
    window: Window
    activation_min: float = NO_MIN
    activation_max: float = NO_MAX

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C) -> (1, out_h, out_w, C)."""
        return pool_shape("average_pool_2d", self.window, *shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """Sum over the window divided by the taps inside the image."""
        total = self.window.patches(arrays[0], 0.0).sum((3, 4))
        ones = np.ones((1, *arrays[0].shape[1:3], 1), np.float32)
        count = self.window.patches(ones, 0.0).sum((3, 4))
        return (clamp_float(total / count, self.activation_min, self.activation_max),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """Input and output have one scale."""
        require_same_quant("average_pool_2d", inputs[0], outputs[0])
        return QuantizedAveragePool2D(
            self.window, *quantized_range(outputs[0], self.activation_min, self.activation_max)
        )


@dataclass(frozen=True, slots=True)
class QuantizedAveragePool2D(IntegerOp):
    """round(sum(q) / taps), ties away from zero, clamped."""

    name = "average_pool_2d"
    window: Window
    activation_min: int
    activation_max: int

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C) -> (1, out_h, out_w, C)."""
        return pool_shape("average_pool_2d", self.window, *shapes)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """By output rows."""
        return window_overlap(self.window, shapes[0], self.infer_shapes(*shapes)[0])

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Pixel by pixel."""
        x = arrays[0].tolist()
        (shape,) = self.infer_shapes(arrays[0].shape)
        out = np.empty(shape, np.int8)
        for index in np.ndindex(*shape[1:]):
            taps = self.window.taps(index[0], index[1], arrays[0].shape)
            total = sum(x[0][in_y][in_x][index[2]] for _, _, in_y, in_x in taps)
            y = divide_rounding(total, len(taps))
            out[(0, *index)] = clamp(y, self.activation_min, self.activation_max)
        return (out,)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Sums of a pixel in an array of its own."""
        x = inputs[0][0]
        return partial(
            average_pool_2d_kernel,
            x,
            self.window.as_array(),
            self.activation_min,
            self.activation_max,
            np.empty(x.shape[2], np.int32),
            outputs[0][0],
        )


@kernel
def average_pool_2d_kernel(
    x: Array,  # (H, W, C) int8
    window: Array,  # Window.as_array()
    activation_min: int,
    activation_max: int,
    total: Array,  # (C,) int32, private
    out: Array,  # (out_h, out_w, C) int8
) -> None:
    """QuantizedAveragePool2D on one image."""
    height, width, channels = x.shape
    for out_y in range(out.shape[0]):
        for out_x in range(out.shape[1]):
            total[:] = 0
            count = 0
            for filter_y in range(window[0]):
                in_y = out_y * window[2] - window[6] + filter_y * window[4]
                if in_y < 0 or in_y >= height:
                    continue
                for filter_x in range(window[1]):
                    in_x = out_x * window[3] - window[8] + filter_x * window[5]
                    if in_x < 0 or in_x >= width:
                        continue
                    for c in range(channels):
                        total[c] += x[in_y, in_x, c]
                    count += 1
            for c in range(channels):
                y = divide_rounding_jit(total[c], count)
                out[out_y, out_x, c] = clamp_jit(y, activation_min, activation_max)
