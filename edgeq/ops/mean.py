"""MEAN over height and width (global average with its own output scale).

Twin: firmware_gen/kernels/mean.h and mean.py.
Rule: TFLM reference/reduce.h, QuantizedMeanOrSum: 1 / count is folded into the multiplier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeq.arith import INT8_MAX, INT8_MIN, clamp, quantize_multiplier, requantize
from edgeq.arith_jit import clamp as clamp_jit
from edgeq.arith_jit import requantize as requantize_jit
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.op import FloatOp, IntegerOp, image_shape, one_input, quant_of


def _output_shape(keep_dims: bool, *shapes: Shape) -> tuple[Shape, ...]:
    _, _, _, channels = image_shape("mean", one_input("mean", shapes))
    return ((1, 1, 1, channels) if keep_dims else (1, channels),)


@dataclass(frozen=True, slots=True)
class Mean(FloatOp):
    """Mean of a float image over height and width."""

    name = "mean"
    keep_dims: bool

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C) -> (1, 1, 1, C), or (1, C) without keep_dims."""
        return _output_shape(self.keep_dims, *shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """Mean over axes 1 and 2."""
        return (arrays[0].mean((1, 2), keepdims=self.keep_dims, dtype=np.float32),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """M = s1 / s3 / count:  the fraction is shifted up before the integer division."""
        (s1, z1), (s3, z3) = quant_of(inputs[0]), quant_of(outputs[0])
        _, height, width, _ = image_shape("mean", inputs[0].shape)
        count = height * width
        multiplier, shift = quantize_multiplier(s1 / s3)
        up = min(count.bit_length() - 1, 32, 31 + shift)
        return QuantizedMean(self.keep_dims, z1, z3, (multiplier << up) // count, shift - up)


@dataclass(frozen=True, slots=True)
class QuantizedMean(IntegerOp):
    """q3 = z3 + M * sum(q1 - z1), clamped to int8."""

    name = "mean"
    keep_dims: bool
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C) -> (1, 1, 1, C), or (1, C) without keep_dims."""
        return _output_shape(self.keep_dims, *shapes)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8; the sum, shifted left as the multiplier wants, fits in int32."""
        IntegerOp.verify_types(self, inputs, outputs)
        _, height, width, _ = inputs[0].shape
        if (255 * height * width) << max(self.shift, 0) >= 2**31:
            raise GraphError(f"mean: the sum of {height}x{width} values could overflow int32")

    def scratch_nbytes(self, *shapes: Shape) -> int:
        """One int32 sum per channel."""
        return 4 * shapes[0][3]

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Channel by channel."""
        (shape,) = self.infer_shapes(arrays[0].shape)
        out = []
        for channel in np.moveaxis(arrays[0], 3, 0):
            total = sum(q - self.input_zero_point for q in channel.ravel().tolist())
            y = requantize(total, self.multiplier, self.shift) + self.output_zero_point
            out.append(clamp(y, INT8_MIN, INT8_MAX))
        return (np.array(out, np.int8).reshape(shape),)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Sums in scratch."""
        x = inputs[0]
        channels = x.shape[3]
        return partial(
            mean_kernel,
            x.reshape(-1, channels),
            self.input_zero_point,
            self.output_zero_point,
            self.multiplier,
            self.shift,
            scratch[: 4 * channels].view(np.int32),
            outputs[0].reshape(-1),
        )


@kernel
def mean_kernel(
    x: Array,  # (H * W, C) int8
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    total: Array,  # (C,) int32, scratch
    out: Array,  # (C,) int8
) -> None:
    """QuantizedMean on one image."""
    pixels, channels = x.shape
    total[:] = 0
    for p in range(pixels):
        for c in range(channels):
            total[c] += x[p, c]
    for c in range(channels):
        acc = total[c] - pixels * input_zero_point
        y = requantize_jit(acc, multiplier, shift) + output_zero_point
        out[c] = clamp_jit(y, -128, 127)
