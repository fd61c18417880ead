"""DEQUANTIZE: int8 or uint8 -> float32, by a table of 256: no floating point on a device.

Twin: firmware_gen/kernels/dequantize.h and dequantize.py. Rule: TFLM reference/dequantize.h.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.ops.lookup import lookup_kernel
from edgeq.ops.op import FLOAT32, INT8, UINT8, IntegerOp, one_input, quant_of
from edgeq.ops.overlap import rows_overlap


@dataclass(frozen=True, slots=True)
class Dequantize(IntegerOp):
    """real = scale * (q - zero_point), in float32."""

    name = "dequantize"
    input_dtypes: ClassVar[tuple[np.dtype[np.generic], ...]] = (INT8, UINT8)
    output_dtypes: ClassVar[tuple[np.dtype[np.generic], ...]] = (FLOAT32,)
    scale: float
    zero_point: int
    input_is_unsigned: bool

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return (one_input("dequantize", shapes),)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """8-bit input of the declared sign."""
        IntegerOp.verify_types(self, inputs, outputs)
        if (inputs[0].dtype == UINT8) != self.input_is_unsigned:
            raise GraphError(
                f"{inputs[0].name} is {inputs[0].dtype}, the operator wants another"
            )

    def table(self) -> Array:
        """(256,) float32 for the input's values in ascending order."""
        low = 0 if self.input_is_unsigned else -128
        steps = np.arange(low, low + 256) - self.zero_point
        return (np.float32(self.scale) * steps.astype(np.float32)).astype(np.float32)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Element by element, four bytes written for each that is read."""
        return rows_overlap(4, range(math.prod(shapes[0])))

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Product in double, rounded once to float32: exact, so the order does not matter."""
        real = self.scale * (arrays[0].astype(np.float64) - self.zero_point)
        return (real.astype(np.float32),)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """The table."""
        low = 0 if self.input_is_unsigned else -128
        return partial(
            lookup_kernel, inputs[0].reshape(-1), low, self.table(), outputs[0].reshape(-1)
        )


def lower_dequantize(source: Tensor) -> Dequantize:
    """The operator that takes `source` to reals.

    Raises:
        GraphError: the type is not supported, or the scale is missing.
    """
    if source.dtype not in (INT8, UINT8):
        raise GraphError(f"dequantize from {source.dtype} is not supported")
    return Dequantize(*quant_of(source), source.dtype == UINT8)
