"""CONCATENATION along one axis; all inputs have the output's scale.

Twin: firmware_gen/kernels/concatenation.h and concatenation.py.
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
from edgeq.jit import kernel, run_each
from edgeq.ops.op import FloatOp, IntegerOp, require_same_quant


def _output_shape(axis: int, *shapes: Shape) -> tuple[Shape, ...]:
    if not shapes or not 1 <= axis < len(shapes[0]):
        raise GraphError(
            f"concatenation: axis is {axis} of shapes {shapes}, must not be the batch"
        )
    first = shapes[0]
    for shape in shapes[1:]:
        if (*shape[:axis], *shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]):
            raise GraphError(f"concatenation: {first} and {shape} differ beside axis {axis}")
    return ((*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :]),)


@dataclass(frozen=True, slots=True)
class Concatenation(FloatOp):
    """Float tensors one after the other along an axis."""

    name = "concatenation"
    axis: int

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Extents add up along the axis."""
        return _output_shape(self.axis, *shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """numpy.concatenate; a constant is repeated for each sample."""
        samples = max(a.shape[0] for a in arrays)
        full = [np.broadcast_to(a, (samples, *a.shape[1:])) for a in arrays]
        return (np.concatenate(full, axis=self.axis),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """Each input must have the output's scale; the quantizer sees to that."""
        for tensor in inputs:
            require_same_quant("concatenation", tensor, outputs[0])
        return QuantizedConcatenation(self.axis)


@dataclass(frozen=True, slots=True)
class QuantizedConcatenation(IntegerOp):
    """The inputs' bytes, one after the other along an axis."""

    name = "concatenation"
    output_dtypes: ClassVar[tuple[np.dtype[np.generic], ...]] = (np.dtype(np.int8),)
    axis: int

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Extents add up along the axis."""
        return _output_shape(self.axis, *shapes)

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """numpy.concatenate."""
        return (np.concatenate(arrays, axis=self.axis),)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """One copy of (outer, inner) blocks per input."""
        outer = math.prod(outputs[0].shape[: self.axis])
        out = outputs[0].reshape(outer, -1)
        copies, start = [], 0
        for x in inputs:
            block = x.reshape(outer, -1)
            copies.append(partial(copy_block_kernel, block, start, out))
            start += block.shape[1]
        return partial(run_each, copies)


@kernel
def copy_block_kernel(x: Array, start: int, out: Array) -> None:
    """(outer, inner) bytes of x into columns start.. of out."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, start + j] = x[i, j]
