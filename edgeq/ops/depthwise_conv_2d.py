"""DEPTHWISE_CONV_2D: filters HWC, channel c of the output from input channel c // multiplier.

Twin: firmware_gen/kernels/depthwise_conv_2d.h and depthwise_conv_2d.py.
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
from edgeq.ops.product_jit import requantize_row
from edgeq.ops.weights import filter_channels, quantize_filter_tensors
from edgeq.ops.window import Window


def _output_shape(window: Window, *shapes: Shape) -> tuple[Shape, ...]:
    x, weights, *bias = shapes
    _, height, width, channels = image_shape("depthwise_conv_2d", x)
    if len(weights) != 3 or weights[:2] != (window.filter_h, window.filter_w):
        raise GraphError(
            f"filter shape is {weights}, must be ({window.filter_h}, {window.filter_w}, C)"
        )
    if weights[2] % channels:
        raise GraphError(
            f"input has {channels} channels, filter {weights[2]}, no multiple of it"
        )
    filter_channels("depthwise_conv_2d", weights[2], bias[0] if bias else None)
    out_h, out_w = window.output_extent(height, width)
    return ((1, out_h, out_w, weights[2]),)


@dataclass(frozen=True, slots=True)
class DepthwiseConv2D(FloatOp):
    """Depthwise convolution of float tensors: input, filter, bias (optional)."""

    name = "depthwise_conv_2d"
    window: Window
    activation_min: float = NO_MIN
    activation_max: float = NO_MAX

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C), (h, w, C * m)[, (C * m,)] -> (1, out_h, out_w, C * m)."""
        return _output_shape(self.window, *shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """Sum over taps of the patch times the filter, channel by channel."""
        x, weights, *bias = arrays
        patches = self.window.patches(x, 0.0)
        if weights.shape[2] != x.shape[3]:
            patches = np.repeat(patches, weights.shape[2] // x.shape[3], axis=-1)
        y = np.einsum("nyxhwc,hwc->nyxc", patches, weights, optimize=False)
        if bias:
            y = y + bias[0]
        return (clamp_float(y, self.activation_min, self.activation_max),)

    def quantize_constants(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Filter symmetric per channel, bias int32."""
        return quantize_filter_tensors(inputs, axis=2)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """M[c] = s_input * s_filter[c] / s_output, in double precision."""
        fused = self.activation_min, self.activation_max
        return QuantizedDepthwiseConv2D(
            self.window, *lower_product(inputs, outputs[0], fused, float32_product=False)
        )


@dataclass(frozen=True, slots=True)
class QuantizedDepthwiseConv2D(IntegerOp):
    """q3 = z3 + M * (bias + sum((q1 - z1) * q2)) within one channel, clamped."""

    name = "depthwise_conv_2d"
    window: Window
    input_zero_point: int
    output_zero_point: int
    activation_min: int
    activation_max: int
    multiplier: tuple[int, ...]  # (C,), or (1,) if one serves all channels
    shift: tuple[int, ...]  # as multiplier
    rounding: Rounding = "tflm"

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C), (h, w, C * m), (C * m,) -> (1, out_h, out_w, C * m)."""
        check_product("depthwise_conv_2d", shapes, -1, self.multiplier, self.shift)
        return _output_shape(self.window, *shapes)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8 input, filter and output, int32 bias; filter and bias constant."""
        IntegerOp.verify_types(self, inputs, outputs)
        verify_weights(inputs)

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """In `shift`, M0 has the bits that the accumulators of the filter leave."""
        weights = inputs[1].data
        assert weights is not None  # verify_weights
        rows = weights.reshape(-1, weights.shape[2]).T
        return replace(self, **rounded_product(self, rounding, rows, inputs[2]))

    def macs(self, *shapes: Shape) -> int:
        """One per tap of the filter and output element, padding included."""
        (output,) = self.infer_shapes(*shapes)
        return output[1] * output[2] * int(np.prod(shapes[1]))

    def scratch_nbytes(self, *shapes: Shape) -> int:
        """Two offsets for each tap, in C; Numba's kernel has a row of its own."""
        return 8 * self.window.filter_h * self.window.filter_w

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """By output rows."""
        return window_overlap(self.window, shapes[0], self.infer_shapes(*shapes)[0])

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Sum over taps inside the image; outside, q1 - z1 is 0."""
        x, weights, bias = (a.tolist() for a in arrays)
        (shape,) = self.infer_shapes(*(a.shape for a in arrays))
        out = np.empty(shape, np.int8)
        depth_multiplier = shape[3] // arrays[0].shape[3]
        for index in np.ndindex(*shape[1:]):
            out_y, out_x, c = index
            acc = bias[c]
            for filter_y, filter_x, in_y, in_x in self.window.taps(
                out_y, out_x, arrays[0].shape
            ):
                q1 = x[0][in_y][in_x][c // depth_multiplier] - self.input_zero_point
                acc += q1 * weights[filter_y][filter_x][c]
            m = c if len(self.multiplier) > 1 else 0
            y = requantize_by(self.rounding, acc, self.multiplier[m], self.shift[m])
            y += self.output_zero_point
            out[(0, *index)] = clamp(y, self.activation_min, self.activation_max)
        return (out,)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """A row of output pixels at a time; the filter is repeated along it."""
        x, weights, bias = inputs
        channels = weights.shape[2]
        out = outputs[0][0]
        width = out.shape[1]
        taps = weights.reshape(-1, channels).astype(np.int16)
        is_flat = self.window.stride_w == 1 and channels == x.shape[3]
        return partial(
            depthwise_conv_2d_kernel,
            x[0],
            np.tile(taps, (1, width if is_flat else 1)),
            np.tile(bias, width),
            self.window.as_array(),
            is_flat,
            self.input_zero_point,
            code_of(self.rounding),
            self.output_zero_point,
            self.activation_min,
            self.activation_max,
            np.tile(per_channel(self.multiplier, channels), width),
            np.tile(per_channel(self.shift, channels), width),
            np.empty(width * channels, np.int32),
            out,
        )


@kernel
def depthwise_conv_2d_kernel(
    x: Array,  # (H, W, C) int8
    weights: Array,  # (h * w, C * m) int16; (h * w, out_w * C) if flat
    bias: Array,  # (out_w * C * m,) int32
    window: Array,  # Window.as_array()
    is_flat: bool,  # stride_w and m are 1: a tap meets the row's input in one piece
    input_zero_point: int,
    rounding: int,
    output_zero_point: int,
    activation_min: int,
    activation_max: int,
    multiplier: Array,  # (out_w * C * m,) int32
    shift: Array,  # (out_w * C * m,) int32
    acc: Array,  # (out_w * C * m,) int32, private
    out: Array,  # (out_h, out_w, C * m) int8
) -> None:
    """QuantizedDepthwiseConv2D on one image, a row of the output at a time."""
    height, width, channels = x.shape
    out_h, out_w, out_channels = out.shape
    stride_w = window[3]
    depth_multiplier = np.uint64(out_channels // channels)
    size = np.uint64(out_w * out_channels if is_flat else out_channels)
    flat = x.reshape(x.size)
    z1 = np.int32(input_zero_point)
    for out_y in range(out_h):
        for i in range(acc.shape[0]):
            acc[i] = bias[i]
        for filter_y in range(window[0]):
            in_y = out_y * window[2] - window[6] + filter_y * window[4]
            if in_y < 0 or in_y >= height:
                continue
            for filter_x in range(window[1]):
                # Input column for output column 0; first <= out_x < last are in the image.
                left = filter_x * window[5] - window[8]
                first = max(0, -(left // stride_w))
                last = min(out_w, (width - 1 - left) // stride_w + 1)
                tap = np.uint64(filter_y * window[1] + filter_x)
                # Unsigned indices, modulo 2**64: Numba need not look whether one is negative.
                if is_flat:
                    source = np.uint64((in_y * width + left) * channels)
                    for i in range(
                        np.uint64(first * channels), np.uint64(max(first, last) * channels)
                    ):
                        q1 = np.int32(flat[source + i]) - z1
                        acc[i] += np.int32(q1 * np.int32(weights[tap, i]))
                    continue
                for out_x in range(first, last):
                    source = np.uint64((in_y * width + left + out_x * stride_w) * channels)
                    target = np.uint64(out_x * out_channels)
                    if depth_multiplier == 1:
                        for c in range(size):
                            q1 = np.int32(flat[source + c]) - z1
                            acc[target + c] += np.int32(q1 * np.int32(weights[tap, c]))
                    else:
                        for c in range(size):
                            q1 = np.int32(flat[source + c // depth_multiplier]) - z1
                            acc[target + c] += np.int32(q1 * np.int32(weights[tap, c]))
        requantize_row(
            rounding,
            acc,
            multiplier,
            shift,
            output_zero_point,
            activation_min,
            activation_max,
            out[out_y].reshape(out_w * out_channels),
        )
