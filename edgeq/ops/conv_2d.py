"""CONV_2D: filters OHWI, one accumulator per output pixel and channel.

Twin: firmware_gen/kernels/conv_2d.h and conv_2d.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeq.arith import clamp, requantize
from edgeq.arith_jit import clamp as clamp_jit
from edgeq.arith_jit import requantize as requantize_jit
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.activation import NO_MAX, NO_MIN, clamp_float, quantized_range
from edgeq.ops.op import FloatOp, IntegerOp, image_shape, quant_of
from edgeq.ops.product import check_product, per_channel, verify_weights
from edgeq.ops.weights import filter_channels, product_multipliers, quantize_filter_tensors
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
        multiplier, shift = product_multipliers(
            inputs[0], inputs[1], outputs[0], float32_product=False
        )
        low, high = quantized_range(outputs[0], self.activation_min, self.activation_max)
        return QuantizedConv2D(
            self.window,
            input_zero_point=quant_of(inputs[0])[1],
            output_zero_point=quant_of(outputs[0])[1],
            activation_min=low,
            activation_max=high,
            multiplier=multiplier,
            shift=shift,
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

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, I), (O, h, w, I), (O,) -> (1, out_h, out_w, O)."""
        check_product("conv_2d", shapes, 0, self.multiplier, self.shift)
        return _output_shape(self.window, *shapes)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8 input, filter and output, int32 bias; filter and bias constant."""
        IntegerOp.verify_types(self, inputs, outputs)
        verify_weights(inputs)

    def macs(self, *shapes: Shape) -> int:
        """One per tap of the filter and output element, padding included."""
        (output,) = self.infer_shapes(*shapes)
        return output[1] * output[2] * int(np.prod(shapes[1]))

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
            y = requantize(acc, self.multiplier[m], self.shift[m]) + self.output_zero_point
            out[(0, *index)] = clamp(y, self.activation_min, self.activation_max)
        return (out,)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Rows of patches as int16, then int16 dot products, which vectorize."""
        x, weights, bias = inputs
        channels = weights.shape[0]
        out = outputs[0][0]
        depth = int(np.prod(weights.shape[1:]))
        return partial(
            conv_2d_kernel,
            x[0],
            np.ascontiguousarray(weights.reshape(channels, depth).astype(np.int16)),
            bias.copy(),
            self.window.as_array(),
            self.input_zero_point,
            self.output_zero_point,
            self.activation_min,
            self.activation_max,
            per_channel(self.multiplier, channels),
            per_channel(self.shift, channels),
            np.empty((out.shape[1], depth), np.int16),
            out,
        )


@kernel
def conv_2d_kernel(
    x: Array,  # (H, W, I) int8
    weights: Array,  # (O, h*w*I) int16
    bias: Array,  # (O,) int32
    window: Array,  # Window.as_array()
    input_zero_point: int,
    output_zero_point: int,
    activation_min: int,
    activation_max: int,
    multiplier: Array,  # (O,) int32
    shift: Array,  # (O,) int32
    columns: Array,  # (out_w, h*w*I) int16, private
    out: Array,  # (out_h, out_w, O) int8
) -> None:
    """QuantizedConv2D on one image."""
    height, width, channels = x.shape
    out_h, out_w, out_channels = out.shape
    filter_h, filter_w, stride_h, stride_w = window[0], window[1], window[2], window[3]
    depth = weights.shape[1]
    for out_y in range(out_h):
        for out_x in range(out_w):
            k = 0
            for filter_y in range(filter_h):
                in_y = out_y * stride_h - window[6] + filter_y * window[4]
                for filter_x in range(filter_w):
                    in_x = out_x * stride_w - window[8] + filter_x * window[5]
                    if 0 <= in_y < height and 0 <= in_x < width:
                        for i in range(channels):
                            columns[out_x, k + i] = np.int16(x[in_y, in_x, i]) - np.int16(
                                input_zero_point
                            )
                    else:
                        for i in range(channels):
                            columns[out_x, k + i] = 0
                    k += channels
        for o in range(out_channels):
            row = weights[o]
            for out_x in range(out_w):
                column = columns[out_x]
                acc = np.int32(bias[o])
                for k in range(depth):
                    acc = np.int32(acc + np.int32(row[k]) * np.int32(column[k]))
                y = requantize_jit(acc, multiplier[o], shift[o]) + output_zero_point
                out[out_y, out_x, o] = clamp_jit(y, activation_min, activation_max)
