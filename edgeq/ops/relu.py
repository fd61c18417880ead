"""RELU and RELU6 that stand alone; fused ones are the clamp of the operator before.

Twin: firmware_gen/kernels/relu.h and relu.py. Rule: TFLM micro/kernels/activations_common.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgeq.arith import (
    Rounding,
    clamp,
    quantize_multiplier,
    requantize_by,
    short_multipliers,
)
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.ops.activation import NO_MAX, clamp_float, quantized_range
from edgeq.ops.lookup import lookup_kernel
from edgeq.ops.op import (
    FloatOp,
    IntegerOp,
    is_rounded,
    one_input,
    quant_of,
    require_product,
)


@dataclass(frozen=True, slots=True)
class Relu(FloatOp):
    """x clamped to [activation_min, activation_max]; RELU is [0, inf), RELU6 is [0, 6]."""

    name = "relu"
    activation_min: float = 0.0
    activation_max: float = NO_MAX

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return (one_input("relu", shapes),)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """The clamp."""
        return (clamp_float(arrays[0], self.activation_min, self.activation_max),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """M = s1 / s3."""
        (s1, z1), (s3, z3) = quant_of(inputs[0]), quant_of(outputs[0])
        low, high = quantized_range(outputs[0], self.activation_min, self.activation_max)
        return QuantizedRelu(z1, z3, *quantize_multiplier(s1 / s3), low, high)


@dataclass(frozen=True, slots=True)
class QuantizedRelu(IntegerOp):
    """q3 = z3 + M * (q1 - z1), clamped."""

    name = "relu"
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    activation_min: int
    activation_max: int
    rounding: Rounding = "tflm"

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return (one_input("relu", shapes),)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8; a difference shifted left by `shift` fits in int32."""
        IntegerOp.verify_types(self, inputs, outputs)
        if self.shift > 22:
            raise GraphError(
                f"relu: scales differ by a factor of 2**{self.shift}, at most 2**22"
            )
        if self.rounding == "shift":
            require_product("relu", 255, self.multiplier, self.shift)

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """In `shift`, M0 has the bits that a difference of two bytes leaves."""
        if is_rounded(self, rounding):
            return self
        if rounding != "shift":
            return replace(self, rounding=rounding)
        (short,), shift = short_multipliers([(self.multiplier, self.shift - 31, 255)])
        return replace(self, rounding=rounding, multiplier=short, shift=shift)

    def value(self, q: int) -> int:
        """The output for one input value."""
        x = q - self.input_zero_point
        y = requantize_by(self.rounding, x, self.multiplier, self.shift)
        return clamp(y + self.output_zero_point, self.activation_min, self.activation_max)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Element by element."""
        return 0

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Element by element."""
        x = arrays[0]
        return (
            np.array([self.value(q) for q in x.ravel().tolist()], np.int8).reshape(x.shape),
        )

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """A table of the 256 values."""
        table = np.array([self.value(q) for q in range(-128, 128)], np.int8)
        return partial(
            lookup_kernel, inputs[0].reshape(-1), -128, table, outputs[0].reshape(-1)
        )
