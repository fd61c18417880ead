"""Problem: one integer operator with tensors and values, and graphs of many of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import assume

from edgeq.arith import Rounding
from edgeq.errors import GraphError
from edgeq.graph import Array, Graph, Node, QuantParams, Shape, Tensor
from edgeq.ops import IntegerOp

INT8, UINT8, INT32, FLOAT32 = (np.dtype(n) for n in ("int8", "uint8", "int32", "float32"))
ANY_QUANT = QuantParams((0.5,), 0)  # where the operator does not look at it


@dataclass(frozen=True, eq=False)
class Problem:
    """One operator, its tensors, and the values of its activations."""

    op: IntegerOp
    inputs: tuple[Tensor, ...]
    output: Tensor
    arrays: tuple[Array, ...]  # of the inputs without data, in order
    in_place: bool = False  # whether the output takes the bytes of an input that allows it

    def __repr__(self) -> str:
        shapes = [(t.shape, "constant" if t.data is not None else "") for t in self.inputs]
        return f"Problem({self.op}, {shapes}, in_place={self.in_place})"

    def values(self) -> tuple[Array, ...]:
        arrays = iter(self.arrays)
        return tuple(t.data if t.data is not None else next(arrays) for t in self.inputs)

    def rounded(self, rounding: Rounding) -> Problem:
        """The same problem in another profile."""
        return replace(self, op=self.op.rounded(rounding, self.inputs))

    def renamed(self, prefix: str) -> Problem:
        inputs = tuple(replace(t, name=f"{prefix}x{i}") for i, t in enumerate(self.inputs))
        return replace(self, inputs=inputs, output=replace(self.output, name=f"{prefix}y"))


def graph_of(problems: list[Problem]) -> tuple[list[Problem], Graph]:
    """One graph with every problem as a node of its own, and the problems as named in it."""
    named = [p.renamed(f"p{i}/") for i, p in enumerate(problems)]
    nodes = [Node(p.op, tuple(t.name for t in p.inputs), (p.output.name,)) for p in named]
    tensors = [t for p in named for t in (*p.inputs, p.output)]
    inputs = [t.name for p in named for t in p.inputs if t.data is None]
    return named, Graph.build(
        "problems", tensors, nodes, inputs, [p.output.name for p in named]
    )


def int8_values(seed: int, shape: Shape, dtype: np.dtype[Any] = INT8) -> Array:
    """Values of one kind, chosen by the seed: even, the ends, one value, or mostly small."""
    rng = np.random.default_rng(seed)
    low, high = (0, 256) if dtype == UINT8 else (-128, 128)
    kind = seed % 5
    if kind == 0:
        x = rng.choice((low, high - 1), shape)
    elif kind == 1:
        x = np.full(shape, rng.choice((low, high - 1, 0)))
    elif kind == 2:
        x = np.clip(rng.normal(0, 3, shape).round(), low, high - 1)
    else:
        x = rng.integers(low, high, shape)
    return np.asarray(x).astype(dtype)


def activation(shape: Shape, dtype: np.dtype[Any] = INT8, quant: Any = ANY_QUANT) -> Tensor:
    return Tensor("x", shape, dtype, quant)


def constant(data: Array, quant: QuantParams | None = ANY_QUANT) -> Tensor:
    return Tensor("c", data.shape, data.dtype, quant, data)


def build(
    op: IntegerOp,
    inputs: tuple[Tensor, ...],
    arrays: tuple[Array, ...],
    in_place: bool = False,
    dtype: np.dtype[Any] = INT8,
    quant: QuantParams | None = ANY_QUANT,
) -> Problem:
    """The problem, if the operator takes these shapes and types."""
    try:
        (shape,) = op.infer_shapes(*(t.shape for t in inputs))
        output = Tensor("y", shape, dtype, quant)
        op.verify_types(inputs, (output,))
    except GraphError:
        assume(False)
    return Problem(op, inputs, output, arrays, in_place)
