"""MEAN over height and width (global average with its own output scale).

Twin: firmware_gen/kernels/mean.h and mean.py.
Rule: TFLM reference/reduce.h, QuantizedMeanOrSum: 1 / count is folded into the multiplier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgeq.arith import (
    INT8_MAX,
    INT8_MIN,
    INT32_MAX,
    Rounding,
    clamp,
    quantize_multiplier,
    requantize_by,
    short_multipliers,
)
from edgeq.arith_jit import clamp as clamp_jit
from edgeq.arith_jit import code_of
from edgeq.arith_jit import requantize_by as requantize_by_jit
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.op import (
    FloatOp,
    IntegerOp,
    image_shape,
    is_rounded,
    one_input,
    quant_of,
    require_product,
)


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


def _sum_peak(x: Tensor) -> int:
    """What the sum of q - z over an image stays within."""
    _, height, width, _ = x.shape
    return 255 * height * width


@dataclass(frozen=True, slots=True)
class QuantizedMean(IntegerOp):
    """q3 = z3 + M * sum(q1 - z1), clamped to int8."""

    name = "mean"
    keep_dims: bool
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    rounding: Rounding = "tflm"

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, C) -> (1, 1, 1, C), or (1, C) without keep_dims."""
        return _output_shape(self.keep_dims, *shapes)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8; the sum, shifted left as the multiplier wants, fits in int32."""
        IntegerOp.verify_types(self, inputs, outputs)
        _, height, width, _ = inputs[0].shape
        if _sum_peak(inputs[0]) << max(self.shift, 0) > INT32_MAX:
            raise GraphError(f"mean: the sum of {height}x{width} values could overflow int32")
        if self.rounding == "shift":
            require_product("mean", _sum_peak(inputs[0]), self.multiplier, self.shift)

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """In `shift`, M0 has the bits that the sum leaves."""
        if is_rounded(self, rounding):
            return self
        if rounding != "shift":
            return replace(self, rounding=rounding)
        term = self.multiplier, self.shift - 31, _sum_peak(inputs[0])
        (short,), shift = short_multipliers([term])
        return replace(self, rounding=rounding, multiplier=short, shift=shift)

    def scratch_nbytes(self, *shapes: Shape) -> int:
        """One int32 sum per channel."""
        return 4 * shapes[0][3]

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Channel by channel."""
        (shape,) = self.infer_shapes(arrays[0].shape)
        out = []
        for channel in np.moveaxis(arrays[0], 3, 0):
            total = sum(q - self.input_zero_point for q in channel.ravel().tolist())
            y = requantize_by(self.rounding, total, self.multiplier, self.shift)
            out.append(clamp(y + self.output_zero_point, INT8_MIN, INT8_MAX))
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
            code_of(self.rounding),
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
    rounding: int,
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
        y = requantize_by_jit(rounding, acc, multiplier, shift) + output_zero_point
        out[c] = clamp_jit(y, -128, 127)
