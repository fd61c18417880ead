"""LOGISTIC: 1 / (1 + exp(-x)) by a table of 256; output scale 1/256, zero point -128.

Twin: firmware_gen/kernels/logistic.h and logistic.py. The table: fixed_point.logistic_table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.fixed_point import logistic_table
from edgeq.graph import Array, QuantParams, Shape, Tensor
from edgeq.ops.lookup import lookup_kernel
from edgeq.ops.op import FloatOp, IntegerOp, OutputRule, one_input, quant_of

UNIT_INTERVAL = QuantParams((1 / 256,), -128)  # of values in [0, 1)


def require_unit_interval(op: str, output: Tensor) -> None:
    """Check that the output has the scale that the rule fixes.

    Raises:
        GraphError: it has another.
    """
    if output.quant != UNIT_INTERVAL:
        raise GraphError(f"{op}: {output.name} must have scale 1/256 and zero point -128")


@dataclass(frozen=True, slots=True)
class Logistic(FloatOp):
    """Logistic function of a float tensor."""

    name = "logistic"
    output_rule: ClassVar[OutputRule] = "fixed"
    fixed_output: ClassVar[QuantParams | None] = UNIT_INTERVAL

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return (one_input("logistic", shapes),)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """1 / (1 + exp(-x)), without overflow for large |x|."""
        x = arrays[0]
        e = np.exp(-np.abs(x))
        return (np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(np.float32),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """The table for the input's scale and zero point."""
        require_unit_interval("logistic", outputs[0])
        return QuantizedLogistic(logistic_table(*quant_of(inputs[0])))


@dataclass(frozen=True, slots=True)
class QuantizedLogistic(IntegerOp):
    """q3 = table[q1 + 128]."""

    name = "logistic"
    table: tuple[int, ...]  # (256,) int8

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return (one_input("logistic", shapes),)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Element by element."""
        return 0

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Element by element."""
        x = arrays[0]
        y = [self.table[q + 128] for q in x.ravel().tolist()]
        return (np.array(y, np.int8).reshape(x.shape),)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """The table as an array."""
        table = np.array(self.table, np.int8)
        return partial(
            lookup_kernel, inputs[0].reshape(-1), -128, table, outputs[0].reshape(-1)
        )
