"""ADD: both inputs brought to a common fine scale, added, brought to the output's scale.

Extents of 1 are repeated (numpy's broadcasting). Twin: firmware_gen/kernels/add.h and add.py.
Rule: TFLM micro/kernels/add_common.cc and reference/integer_ops/add.h.
"""

from __future__ import annotations

import math
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
from edgeq.arith_jit import code_of
from edgeq.arith_jit import requantize_by as requantize_by_jit
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.activation import NO_MAX, NO_MIN, clamp_float, quantized_range
from edgeq.ops.op import FloatOp, IntegerOp, is_rounded, quant_of, require_product

ROW = 1024  # elements at a time, where the inputs have one shape
LEFT_SHIFT = 20  # fraction bits of the common scale


def _output_shape(*shapes: Shape) -> tuple[Shape, ...]:
    if len(shapes) != 2:
        raise GraphError(f"add: {len(shapes)} inputs, must be 2")
    a, b = shapes
    if len(a) > 4 or len(b) > 4:
        raise GraphError(f"add: shapes are {a} and {b}, at most 4 extents")
    try:
        return (np.broadcast_shapes(a, b),)
    except ValueError:
        raise GraphError(f"add: shapes {a} and {b} do not fit together") from None


@dataclass(frozen=True, slots=True)
class Add(FloatOp):
    """Sum of two float tensors."""

    name = "add"
    activation_min: float = NO_MIN
    activation_max: float = NO_MAX

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Two shapes -> their common shape."""
        return _output_shape(*shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """A + b."""
        a, b = arrays
        return (clamp_float(a + b, self.activation_min, self.activation_max),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """Common scale s = 2 * max(s1, s2) / 2**20;  M_i = s_i / (2 * max),  M_out = s / s3."""
        (s1, z1), (s2, z2), (s3, z3) = (quant_of(t) for t in (*inputs, *outputs))
        twice_max = 2 * max(s1, s2)
        input1 = quantize_multiplier(s1 / twice_max)
        input2 = quantize_multiplier(s2 / twice_max)
        output = quantize_multiplier(twice_max / ((1 << LEFT_SHIFT) * s3))
        low, high = quantized_range(outputs[0], self.activation_min, self.activation_max)
        return QuantizedAdd(z1, z2, z3, *input1, *input2, *output, low, high)


@dataclass(frozen=True, slots=True)
class QuantizedAdd(IntegerOp):
    """q3 = z3 + M3 * (M1 * ((q1 - z1) << 20) + M2 * ((q2 - z2) << 20)), clamped.

    In the profile `shift` there are no 20 bits more: M1 and M2 are integers, M3 is 2**-n, and
    the sum of the two products is what is rounded, once.
    """

    name = "add"
    input1_zero_point: int
    input2_zero_point: int
    output_zero_point: int
    input1_multiplier: int
    input1_shift: int
    input2_multiplier: int
    input2_shift: int
    output_multiplier: int
    output_shift: int
    activation_min: int
    activation_max: int
    rounding: Rounding = "tflm"

    @property
    def left_shift(self) -> int:
        """Fraction bits that an input gets before it is multiplied."""
        return 0 if self.rounding == "shift" else LEFT_SHIFT

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Two shapes -> their common shape."""
        return _output_shape(*shapes)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """All int8; the multipliers of the inputs are below 1."""
        IntegerOp.verify_types(self, inputs, outputs)
        for tensor in inputs:
            if tensor.dtype != np.int8:
                raise GraphError(f"{tensor.name} is {tensor.dtype}, must be int8")
        if self.output_shift > 0:
            raise GraphError(
                f"add: the output's scale is over 2**{LEFT_SHIFT} times finer than the inputs'"
            )
        if self.rounding == "shift":
            if (self.input1_shift, self.input2_shift, self.output_multiplier) != (0, 0, 1):
                raise GraphError("add: the rounding 'shift' shifts the sum only")
            factor = self.input1_multiplier + self.input2_multiplier
            require_product("add", 255, factor, self.output_shift)

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """`shift`: M_i * M3 * 2**20 over 2**n, with the bits that the sum leaves."""
        if is_rounded(self, rounding):
            return self
        if rounding != "shift":
            return replace(self, rounding=rounding)
        exponent = LEFT_SHIFT + self.output_shift - 62
        (input1, input2), shift = short_multipliers(
            [
                (self.output_multiplier * multiplier, exponent + input_shift, 255)
                for multiplier, input_shift in (
                    (self.input1_multiplier, self.input1_shift),
                    (self.input2_multiplier, self.input2_shift),
                )
            ]
        )
        return replace(
            self,
            input1_multiplier=input1,
            input1_shift=0,
            input2_multiplier=input2,
            input2_shift=0,
            output_multiplier=1,
            output_shift=shift,
            rounding=rounding,
        )

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Element by element over an input of the output's shape; another is read again."""
        (output,) = self.infer_shapes(*shapes)
        return 0 if shapes[position] == output else None

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Element by element after broadcasting."""
        (shape,) = self.infer_shapes(*(a.shape for a in arrays))
        a, b = (np.broadcast_to(x, shape).ravel().tolist() for x in arrays)
        out = np.empty(math.prod(shape), np.int8)
        for i, (q1, q2) in enumerate(zip(a, b, strict=True)):
            total = self.rescaled(q1, 1) + self.rescaled(q2, 2)
            y = requantize_by(self.rounding, total, self.output_multiplier, self.output_shift)
            out[i] = clamp(y + self.output_zero_point, self.activation_min, self.activation_max)
        return (out.reshape(shape),)

    def rescaled(self, q: int, number: int) -> int:
        """Value q of input `number` on the common scale."""
        zero_point, multiplier, shift = (
            (self.input1_zero_point, self.input1_multiplier, self.input1_shift),
            (self.input2_zero_point, self.input2_multiplier, self.input2_shift),
        )[number - 1]
        x = (q - zero_point) << self.left_shift
        return requantize_by(self.rounding, x, multiplier, shift)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Each int8 value of an input has one rescaled value: two tables of 256."""
        out = outputs[0]
        values = range(-128, 128)
        tables = [
            np.array([self.rescaled(q, number) for q in values], np.int32) for number in (1, 2)
        ]
        shapes = [x.shape for x in inputs]
        shape = out.shape
        if shapes[0] == shapes[1]:  # rows of any length will do
            shape = (out.size // ROW, ROW) if out.size % ROW == 0 else (out.size,)
            shapes = [shape, shape]
        strides = [broadcast_strides(x, shape) for x in shapes]
        return partial(
            add_kernel,
            inputs[0].ravel(),
            inputs[1].ravel(),
            np.array(strides, np.int64),
            np.array(padded_shape(shape), np.int64),
            tables[0],
            tables[1],
            code_of(self.rounding),
            self.output_multiplier,
            self.output_shift,
            self.output_zero_point,
            self.activation_min,
            self.activation_max,
            np.empty(padded_shape(shape)[3], np.int32),
            out.reshape(-1),
        )


def padded_shape(shape: Shape) -> Shape:
    """The shape with leading ones, four extents in all."""
    return (1,) * (4 - len(shape)) + tuple(shape)


def broadcast_strides(shape: Shape, output: Shape) -> list[int]:
    """Elements to step in an input for a step along each of the output's four axes."""
    extents, strides, step = padded_shape(shape), [0, 0, 0, 0], 1
    for axis in reversed(range(4)):
        strides[axis] = 0 if extents[axis] == 1 and padded_shape(output)[axis] != 1 else step
        step *= extents[axis]
    return strides


@kernel
def add_kernel(
    a: Array,  # flat int8
    b: Array,  # flat int8
    strides: Array,  # (2, 4) elements
    extents: Array,  # (4,) of the output
    table1: Array,  # (256,) int32: rescaled a - z1, by a + 128
    table2: Array,  # (256,) int32: rescaled b - z2, by b + 128
    rounding: int,
    output_multiplier: int,
    output_shift: int,
    output_zero_point: int,
    activation_min: int,
    activation_max: int,
    total: Array,  # (extents[3],) int32, private
    out: Array,  # flat int8; may be a or b
) -> None:
    """QuantizedAdd; strides of 0 repeat an input along an axis.

    A row's sums are kept apart: a loop that may overwrite its input does not vectorize.
    """
    multiplier, shift = np.int32(output_multiplier), np.int32(output_shift)
    zero_point = np.int32(output_zero_point)
    low, high = np.int32(activation_min), np.int32(activation_max)
    row_size = extents[3]
    first = 0
    for n in range(extents[0]):
        for y in range(extents[1]):
            for x in range(extents[2]):
                p = n * strides[0, 0] + y * strides[0, 1] + x * strides[0, 2]
                q = n * strides[1, 0] + y * strides[1, 1] + x * strides[1, 2]
                for c in range(row_size):
                    q1, q2 = a[p + c * strides[0, 3]], b[q + c * strides[1, 3]]
                    total[c] = table1[q1 + 128] + table2[q2 + 128]
                row = out[first : first + row_size]
                for c in range(row_size):
                    v = requantize_by_jit(rounding, total[c], multiplier, shift)
                    row[c] = max(low, min(high, np.int32(v + zero_point)))
                first += row_size
