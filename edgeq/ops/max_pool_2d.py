"""MAX_POOL_2D: the largest value of the taps inside the image.

Twin: firmware_gen/kernels/max_pool_2d.h and max_pool_2d.py.
Rule: TFLM reference/integer_ops/pooling.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from edgeq.arith import clamp
from edgeq.arith_jit import clamp as clamp_jit
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.activation import NO_MAX, NO_MIN, clamp_float, quantized_range
from edgeq.ops.average_pool_2d import pool_shape
from edgeq.ops.op import FloatOp, IntegerOp, OutputRule, require_same_quant
from edgeq.ops.overlap import window_overlap
from edgeq.ops.window import Window


@dataclass(frozen=True, slots=True)
class MaxPool2D(FloatOp):
    """Maximum pooling of a float image."""

    name = "max_pool_2d"
    output_rule: ClassVar[OutputRule] = "same"
    window: Window
    activation_min: float = NO_MIN
    activation_max: float = NO_MAX

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C) -> (1, out_h, out_w, C)."""
        return pool_shape("max_pool_2d", self.window, *shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """Maximum over the window."""
        y = self.window.patches(arrays[0], -np.inf).max((3, 4))
        return (clamp_float(y, self.activation_min, self.activation_max),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """Input and output have one scale."""
        require_same_quant("max_pool_2d", inputs[0], outputs[0])
        return QuantizedMaxPool2D(
            self.window, *quantized_range(outputs[0], self.activation_min, self.activation_max)
        )


@dataclass(frozen=True, slots=True)
class QuantizedMaxPool2D(IntegerOp):
    """max(q) over the window, clamped."""

    name = "max_pool_2d"
    window: Window
    activation_min: int
    activation_max: int

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C) -> (1, out_h, out_w, C)."""
        return pool_shape("max_pool_2d", self.window, *shapes)

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
            y = max(x[0][in_y][in_x][index[2]] for _, _, in_y, in_x in taps)
            out[(0, *index)] = clamp(y, self.activation_min, self.activation_max)
        return (out,)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """The maximum grows in the output itself."""
        return partial(
            max_pool_2d_kernel,
            inputs[0][0],
            self.window.as_array(),
            self.activation_min,
            self.activation_max,
            outputs[0][0],
        )


@kernel
def max_pool_2d_kernel(
    x: Array,  # (H, W, C) int8
    window: Array,  # Window.as_array()
    activation_min: int,
    activation_max: int,
    out: Array,  # (out_h, out_w, C) int8
) -> None:
    """QuantizedMaxPool2D on one image."""
    height, width, channels = x.shape
    for out_y in range(out.shape[0]):
        for out_x in range(out.shape[1]):
            pixel = out[out_y, out_x]
            pixel[:] = -128
            for filter_y in range(window[0]):
                in_y = out_y * window[2] - window[6] + filter_y * window[4]
                if in_y < 0 or in_y >= height:
                    continue
                for filter_x in range(window[1]):
                    in_x = out_x * window[3] - window[8] + filter_x * window[5]
                    if in_x < 0 or in_x >= width:
                        continue
                    for c in range(channels):
                        pixel[c] = max(pixel[c], x[in_y, in_x, c])
            for c in range(channels):
                pixel[c] = clamp_jit(pixel[c], activation_min, activation_max)
