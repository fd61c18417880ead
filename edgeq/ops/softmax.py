"""SOFTMAX over the last axis; output scale 1/256, zero point -128.

Twin: firmware_gen/kernels/softmax.h and softmax.py. Rule: TFLM reference/softmax.h. The
exponential of each difference to the row's maximum comes from fixed_point.softmax_exp_table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from edgeq.arith import clamp, doubling_high_mul, rounding_shift_right
from edgeq.errors import GraphError
from edgeq.fixed_point import SOFTMAX_SUM_INTEGER_BITS, one_over_one_plus_x, softmax_exp_table
from edgeq.graph import Array, QuantParams, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.logistic import UNIT_INTERVAL, require_unit_interval
from edgeq.ops.op import FloatOp, IntegerOp, OutputRule, one_input, quant_of

MAX_CLASSES = 2**SOFTMAX_SUM_INTEGER_BITS - 1  # the sum of exponentials stays in Q12.19


def _output_shape(*shapes: Shape) -> tuple[Shape, ...]:
    shape = one_input("softmax", shapes)
    if shape[-1] > MAX_CLASSES:
        raise GraphError(f"softmax: {shape[-1]} classes, at most {MAX_CLASSES}")
    return (shape,)


@dataclass(frozen=True, slots=True)
class Softmax(FloatOp):
    """exp(beta * x) / sum(exp(beta * x)) over the last axis of a float tensor."""

    name = "softmax"
    output_rule: ClassVar[OutputRule] = "fixed"
    fixed_output: ClassVar[QuantParams | None] = UNIT_INTERVAL
    beta: float = 1.0

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return _output_shape(*shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """With the row's maximum taken off first."""
        x = arrays[0] * np.float32(self.beta)
        e = np.exp(x - x.max(-1, keepdims=True))
        return ((e / e.sum(-1, keepdims=True)).astype(np.float32),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """The table for the input's scale."""
        require_unit_interval("softmax", outputs[0])
        return QuantizedSoftmax(softmax_exp_table(quant_of(inputs[0])[0], self.beta))


@dataclass(frozen=True, slots=True)
class QuantizedSoftmax(IntegerOp):
    """q3 = exp(d) / sum(exp(d)) * 256 - 128 with d = q1 - max(q1), clamped to int8."""

    name = "softmax"
    exp_table: tuple[int, ...]  # (256,) Q0.31, by d + 255

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return _output_shape(*shapes)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """A row is read whole before an element of it is written."""
        return 0

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Row by row."""
        rows = arrays[0].reshape(-1, arrays[0].shape[-1]).tolist()
        return (np.array([self._row(r) for r in rows], np.int8).reshape(arrays[0].shape),)

    def _row(self, row: list[int]) -> list[int]:
        exps = [self.exp_table[q - max(row) + 255] for q in row]
        total = sum(rounding_shift_right(e, SOFTMAX_SUM_INTEGER_BITS) for e in exps)
        reciprocal, bits_over_unit = reciprocal_of_sum(total)
        shift = bits_over_unit + 31 - 8
        return [
            clamp(
                rounding_shift_right(doubling_high_mul(reciprocal, e), min(shift, 31)) - 128,
                -128,
                127,
            )
            for e in exps
        ]

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """The table as an array."""
        x = inputs[0]
        return partial(
            softmax_kernel,
            x.reshape(-1, x.shape[-1]),
            np.array(self.exp_table, np.int64),
            outputs[0].reshape(-1, x.shape[-1]),
        )


def reciprocal_of_sum(total: int) -> tuple[int, int]:
    """(1 / total in Q0.31 of its normal form, bits over one) for total >= 1 in Q12.19.

    TFLite's GetReciprocal (internal/common.h): total = (1 + x) * 2**bits_over_unit, x < 1.
    """
    headroom = 32 - total.bit_length()
    bits_over_unit = SOFTMAX_SUM_INTEGER_BITS - headroom
    return one_over_one_plus_x((total << headroom) - 2**31), bits_over_unit


@kernel
def _high_mul(a: Any, b: Any) -> Any:
    return (a * b + (1 << 30)) >> 31


@kernel
def _shift_right(x: Any, n: Any) -> Any:
    return (x + ((1 << n) >> 1)) >> n  # x >= 0: ties away from zero are ties upward


@kernel
def softmax_kernel(
    x: Array,  # (R, C) int8
    exp_table: Array,  # (256,) int64
    out: Array,  # (R, C) int8; may be x
) -> None:
    """QuantizedSoftmax on the rows of x."""
    for r in range(x.shape[0]):
        highest = np.int64(-128)
        for c in range(x.shape[1]):
            highest = max(highest, np.int64(x[r, c]))
        total = np.int64(0)
        for c in range(x.shape[1]):
            total += _shift_right(exp_table[x[r, c] - highest + 255], 12)
        headroom = np.int64(0)
        while (total << headroom) < (np.int64(1) << 31):
            headroom += 1
        half = ((total << headroom) + 0) // 2
        estimate = np.int64(1515870810) + _high_mul(half, np.int64(-1010580540))
        for _ in range(3):
            error = (np.int64(1) << 29) - _high_mul(half, estimate)
            step = _high_mul(estimate, error) << 2
            estimate += min(max(step, np.int64(-(2**31))), np.int64(2**31 - 1))
        reciprocal = min(estimate << 1, np.int64(2**31 - 1))
        shift = min(12 - headroom + 31 - 8, 31)
        for c in range(x.shape[1]):
            e = exp_table[x[r, c] - highest + 255]
            y = _shift_right(_high_mul(reciprocal, e), shift) - 128
            out[r, c] = min(max(y, -128), 127)
