"""RESHAPE: the same bytes under another shape; costs nothing.

Twin: firmware_gen/kernels/reshape.py (there is no C: input and output share memory).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.ops.op import FloatOp, IntegerOp, OutputRule, one_input, require_same_quant


def _output_shape(target: Shape, *shapes: Shape) -> tuple[Shape, ...]:
    shape = one_input("reshape", shapes)
    if math.prod(shape) != math.prod(target):
        raise GraphError(
            f"reshape: input shape {shape} has {math.prod(shape)} elements, "
            f"{target} has {math.prod(target)}"
        )
    return (target,)


@dataclass(frozen=True, slots=True)
class Reshape(FloatOp):
    """A float tensor under another shape."""

    name = "reshape"
    output_rule: ClassVar[OutputRule] = "same"
    shape: Shape  # with the batch of 1

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape of as many elements -> `shape`."""
        return _output_shape(self.shape, *shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """Numpy's reshape."""
        return (arrays[0].reshape(arrays[0].shape[0], *self.shape[1:]),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """Input and output have one scale."""
        require_same_quant("reshape", inputs[0], outputs[0])
        return QuantizedReshape(self.shape)


@dataclass(frozen=True, slots=True)
class QuantizedReshape(IntegerOp):
    """The input's bytes."""

    name = "reshape"
    is_alias: ClassVar[bool] = True
    shape: Shape

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape of as many elements -> `shape`."""
        return _output_shape(self.shape, *shapes)

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Numpy's reshape."""
        return (arrays[0].reshape(self.shape).copy(),)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Nothing to do: the plan puts the output where the input is."""
        return _nothing


def _nothing() -> None:
    return None
