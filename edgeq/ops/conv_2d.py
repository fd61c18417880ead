"""CONV_2D: filters OHWI, one accumulator per output pixel and channel.

Twin: firmware_gen/kernels/conv_2d.h and conv_2d.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgeq.arith import Rounding, clamp, requantize_by
from edgeq.arith_jit import code_of
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.activation import NO_MAX, NO_MIN, clamp_float
from edgeq.ops.op import FloatOp, IntegerOp, image_shape
from edgeq.ops.overlap import window_overlap
from edgeq.ops.product import (
    check_product,
    lower_product,
    per_channel,
    rounded_product,
    verify_weights,
)
from edgeq.ops.product_jit import (
    DEPTH_STEP,
    block_rows,
    dot_rows,
    folded_bias,
    padded_depth,
    requantize_row,
)
from edgeq.ops.weights import filter_channels, quantize_filter_tensors
from edgeq.ops.window import Window


def _output_shape(window: Window, *shapes: Shape) -> tuple[Shape, ...]:
    x, weights, *bias = shapes
    _, height, width, channels = image_shape("conv_2d", x)
    if len(weights) != 4 or weights[1:3] != (window.filter_h, window.filter_w):
        raise GraphError(
            f"filter shape is {weights}, must be (O, {window.filter_h}, {window.filter_w}, I)"
        )
    if weights[3] != channels:
        raise GraphError(f"input has {channels} channels, filter wants {weights[3]}")
    filter_channels("conv_2d", weights[0], bias[0] if bias else None)
    out_h, out_w = window.output_extent(height, width)
    return ((1, out_h, out_w, weights[0]),)


@dataclass(frozen=True, slots=True)
class Conv2D(FloatOp):
    """Convolution of float tensors: input, filter, bias (optional)."""

    name = "conv_2d"
    window: Window
    activation_min: float = NO_MIN
    activation_max: float = NO_MAX

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, I), (O, h, w, I)[, (O,)] -> (1, out_h, out_w, O)."""
        return _output_shape(self.window, *shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """Patches times the filter matrix."""
        x, weights, *bias = arrays
        patches = self.window.patches(x, 0.0)
        rows = patches.reshape(*patches.shape[:3], -1)
        y = rows @ weights.reshape(weights.shape[0], -1).T
        if bias:
            y = y + bias[0]
        return (clamp_float(y, self.activation_min, self.activation_max),)

    def quantize_constants(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Filter symmetric per output channel, bias int32."""
        return quantize_filter_tensors(inputs, axis=0)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """M[o] = s_input * s_filter[o] / s_output, in double precision."""
        fused = self.activation_min, self.activation_max
        return QuantizedConv2D(
            self.window, *lower_product(inputs, outputs[0], fused, float32_product=False)
        )


@dataclass(frozen=True, slots=True)
class QuantizedConv2D(IntegerOp):
    """q3 = z3 + M * (bias + sum((q1 - z1) * q2)), clamped; padding stands for 0.0."""

    name = "conv_2d"
    window: Window
    input_zero_point: int
    output_zero_point: int
    activation_min: int
    activation_max: int
    multiplier: tuple[int, ...]  # (O,), or (1,) if one serves all channels
    shift: tuple[int, ...]  # as multiplier
    rounding: Rounding = "tflm"

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, I), (O, h, w, I), (O,) -> (1, out_h, out_w, O)."""
        check_product("conv_2d", shapes, 0, self.multiplier, self.shift)
        return _output_shape(self.window, *shapes)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8 input, filter and output, int32 bias; filter and bias constant."""
        IntegerOp.verify_types(self, inputs, outputs)
        verify_weights(inputs)

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """In `shift`, M0 has the bits that the accumulators of the filter leave."""
        weights = inputs[1].data
        assert weights is not None  # verify_weights
        rows = weights.reshape(weights.shape[0], -1)
        return replace(self, **rounded_product(self, rounding, rows, inputs[2]))

    def macs(self, *shapes: Shape) -> int:
        """One per tap of the filter and output element, padding included."""
        (output,) = self.infer_shapes(*shapes)
        return output[1] * output[2] * int(np.prod(shapes[1]))

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """By output rows."""
        return window_overlap(self.window, shapes[0], self.infer_shapes(*shapes)[0])

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Sum over taps inside the image; outside, q1 - z1 is 0."""
        x, weights, bias = (a.tolist() for a in arrays)
        (shape,) = self.infer_shapes(*(a.shape for a in arrays))
        out = np.empty(shape, np.int8)
        channels = arrays[0].shape[3]
        for index in np.ndindex(*shape[1:]):
            out_y, out_x, o = index
            acc = bias[o]
            for filter_y, filter_x, in_y, in_x in self.window.taps(
                out_y, out_x, arrays[0].shape
            ):
                for i in range(channels):
                    q1 = x[0][in_y][in_x][i] - self.input_zero_point
                    acc += q1 * weights[o][filter_y][filter_x][i]
            m = o if len(self.multiplier) > 1 else 0
            y = requantize_by(self.rounding, acc, self.multiplier[m], self.shift[m])
            y += self.output_zero_point
            out[(0, *index)] = clamp(y, self.activation_min, self.activation_max)
        return (out,)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Blocks of patches, or of pixels as they are; padding is z1, folded into the bias."""
        x, weights, bias = inputs
        channels = weights.shape[0]
        flat = weights.reshape(channels, -1)
        pixels = outputs[0].size // channels
        is_pointwise = self.window == Window(1, 1) and flat.shape[1] % DEPTH_STEP == 0
        filters = flat if is_pointwise else padded_depth(flat)
        block = block_rows(pixels, channels)
        return partial(
            conv_2d_kernel,
            x[0],
            np.ascontiguousarray(filters),
            folded_bias(bias, weights, self.input_zero_point),
            self.window.as_array(),
            is_pointwise,
            self.input_zero_point,
            code_of(self.rounding),
            self.output_zero_point,
            self.activation_min,
            self.activation_max,
            np.tile(per_channel(self.multiplier, channels), block),
            np.tile(per_channel(self.shift, channels), block),
            np.zeros((block, filters.shape[1]), np.int8),
            np.empty((block, channels), np.int32),
            outputs[0][0],
        )


@kernel
def conv_2d_kernel(
    x: Array,  # (H, W, I) int8
    weights: Array,  # (O, K) int8: h*w*I taps, then zeros
    bias: Array,  # (O,) int32, folded_bias
    window: Array,  # Window.as_array()
    is_pointwise: bool,  # 1x1, stride 1, no padding: a pixel is its own patch
    input_zero_point: int,
    rounding: int,
    output_zero_point: int,
    activation_min: int,
    activation_max: int,
    multiplier: Array,  # (B * O,) int32
    shift: Array,  # (B * O,) int32
    patches: Array,  # (B, K) int8, private; zeros after the taps
    acc: Array,  # (B, O) int32, private
    out: Array,  # (out_h, out_w, O) int8
) -> None:
    """QuantizedConv2D on one image, B pixels at a time."""
    out_h, out_w, out_channels = out.shape
    pixels = x.reshape(x.shape[0] * x.shape[1], x.shape[2])
    results = out.reshape(out_h * out_w * out_channels)
    for first in range(0, out_h * out_w, patches.shape[0]):
        count = min(patches.shape[0], out_h * out_w - first)
        rows = patches[:count]
        if is_pointwise:
            rows = pixels[first : first + count]
        else:
            copy_patches(x, window, input_zero_point, out_w, first, count, patches)
        dot_rows(rows, weights, bias, acc[:count])
        requantize_row(
            rounding,
            acc[:count].reshape(count * out_channels),
            multiplier,
            shift,
            output_zero_point,
            activation_min,
            activation_max,
            results[first * out_channels : (first + count) * out_channels],
        )


@kernel
def copy_patches(
    x: Array,  # (H, W, I) int8
    window: Array,  # Window.as_array()
    fill: int,
    out_w: int,
    first: int,
    count: int,
    patches: Array,  # (B, h*w*I or more) int8, written
) -> None:
    """The taps of output pixels `first` to first + count - 1; `fill` where there is padding."""
    height, width, channels = x.shape
    flat = x.reshape(x.size)
    filter_h, filter_w, dilation_w = window[0], window[1], window[5]
    value = np.int8(fill)
    for row in range(count):
        out_y, out_x = divmod(first + row, out_w)
        left = out_x * window[3] - window[8]
        is_inside = left >= 0 and left + filter_w <= width and dilation_w == 1
        # A run of taps is one piece of a row of the image; else it is a single tap.
        runs = 1 if is_inside else filter_w
        size = np.uint64(filter_w * channels if is_inside else channels)
        k = np.uint64(0)
        for filter_y in range(filter_h):
            in_y = out_y * window[2] - window[6] + filter_y * window[4]
            for run in range(runs):
                in_x = left + run * dilation_w
                if 0 <= in_y < height and 0 <= in_x < width:
                    source = np.uint64((in_y * width + in_x) * channels)
                    for i in range(size):
                        patches[row, k + i] = flat[source + i]
                else:
                    for i in range(size):
                        patches[row, k + i] = value
                k += size
