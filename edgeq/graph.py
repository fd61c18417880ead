"""The graph: a value. Tensors by name, nodes in execution order; frozen, verified.

Layouts: activations NHWC with N = 1 (a batch is many runs), convolution filters OHWI, depthwise
filters HWC (one per channel), fully connected filters OI. Padding is explicit on four sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from edgeq.arith import Rounding
from edgeq.errors import GraphError

Shape: TypeAlias = tuple[int, ...]
Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class QuantParams:
    """The affine map  real = scale * (quantized - zero_point)  of one tensor: Jacob, eq. 1."""

    scale: tuple[float, ...]  # > 0; one entry, or one per index along `axis`; float32 values
    zero_point: int = 0  # stands for exactly 0.0; 0 if `axis` is set
    axis: int | None = None  # None: one scale for the whole tensor

    def __post_init__(self) -> None:
        """Refuse what has no meaning as an affine map.

        Raises:
            GraphError: no scale, a scale that is not a positive finite number, or a zero point
                beside per-channel scales.
        """
        if not self.scale:
            raise GraphError("quantization has no scale, must have at least one")
        for index, scale in enumerate(self.scale):
            if not (math.isfinite(scale) and scale > 0):
                where = f" of channel {index}" if self.axis is not None else ""
                raise GraphError(f"scale{where} is {scale}, must be a finite number > 0")
        if self.axis is None and len(self.scale) != 1:
            raise GraphError(f"{len(self.scale)} scales without an axis, must be one")
        if self.axis is not None and self.zero_point != 0:
            raise GraphError(f"per-channel zero point is {self.zero_point}, must be 0")


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An activation; a constant if it has data."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    quant: QuantParams | None = None
    data: Array | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shape) * self.dtype.itemsize


class Op(Protocol):
    """What every operator answers; float and integer operators are two classes each."""

    name: ClassVar[str]  # TFLite's name in lower case; the stem of ops/<name>.py
    is_float: ClassVar[bool]

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Shapes of the outputs. Raises GraphError naming what does not fit."""
        ...

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Check dtypes and quantization. Raises GraphError naming what does not fit."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator applied to named tensors; constants come after the activations."""

    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The layer's name: that of its first output."""
        return self.outputs[0]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in execution order, and every tensor that they name."""

    name: str
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @staticmethod
    def build(
        name: str,
        tensors: Iterable[Tensor],
        nodes: Iterable[Node],
        inputs: Iterable[str],
        outputs: Iterable[str],
    ) -> Graph:
        """A verified graph of these parts; tensors that no node names are left out.

        Raises:
            GraphError: the parts do not make a valid graph.
        """
        nodes, inputs, outputs = tuple(nodes), tuple(inputs), tuple(outputs)
        used = {t for n in nodes for t in (*n.inputs, *n.outputs)} | {*inputs, *outputs}
        kept = {t.name: t for t in tensors if t.name in used}
        graph = Graph(name, MappingProxyType(kept), nodes, inputs, outputs)
        graph.verify()
        return graph

    @property
    def is_quantized(self) -> bool:
        """Whether every node is an integer operator."""
        return not any(node.op.is_float for node in self.nodes)

    @property
    def rounding(self) -> Rounding:
        """The profile in which the operators requantize; `tflm` if none does."""
        return next(iter(_roundings(self)), "tflm")

    def input_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that a run takes."""
        return tuple(self.tensors[name] for name in self.inputs)

    def output_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that a run gives."""
        return tuple(self.tensors[name] for name in self.outputs)

    def tensors_of(self, names: Iterable[str]) -> tuple[Tensor, ...]:
        """The tensors of these names, in order."""
        return tuple(self.tensors[name] for name in names)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read this tensor."""
        return tuple(node for node in self.nodes if tensor in node.inputs)

    def producer(self, tensor: str) -> Node | None:
        """The node that writes this tensor; None for an input or a constant."""
        return next((node for node in self.nodes if tensor in node.outputs), None)

    def verify(self) -> None:
        """Check that the graph is well formed and that every shape and type fits its operator.

        Raises:
            GraphError: names the node or tensor and the rule it breaks.
        """
        if not self.inputs or not self.outputs:
            raise GraphError(f"{self.name}: a graph must have an input and an output")
        known = set(self.inputs)
        for tensor in self.tensors.values():
            self._verify_tensor(tensor)
            if tensor.data is not None:
                known.add(tensor.name)
        for node in self.nodes:
            self._verify_node(node, known)
            known.update(node.outputs)
        for name in self.outputs:
            if name not in known:
                raise GraphError(f"{self.name}: output '{name}' is written by no node")
        found = _roundings(self)
        if len(found) > 1:
            nodes = " and ".join(f"'{name}' in {node}" for name, node in found.items())
            raise GraphError(f"{self.name}: rounds by {nodes}, must be by one in all layers")

    def _verify_tensor(self, tensor: Tensor) -> None:
        if any(extent < 1 for extent in tensor.shape):
            raise GraphError(
                f"{tensor.name}: shape is {tensor.shape}, every extent must be >= 1"
            )
        if tensor.data is None:
            if not tensor.shape or tensor.shape[0] != 1:
                raise GraphError(
                    f"{tensor.name}: shape is {tensor.shape}, the batch in front must be 1"
                )
        elif tensor.data.shape != tensor.shape or tensor.data.dtype != tensor.dtype:
            raise GraphError(
                f"{tensor.name}: data is {tensor.data.dtype}{tensor.data.shape}, "
                f"must be {tensor.dtype}{tensor.shape}"
            )
        quant = tensor.quant
        if quant is None or quant.axis is None:
            return
        if not 0 <= quant.axis < len(tensor.shape):
            raise GraphError(f"{tensor.name}: quantization axis {quant.axis} of {tensor.shape}")
        if len(quant.scale) != tensor.shape[quant.axis]:
            raise GraphError(
                f"{tensor.name}: {len(quant.scale)} scales, axis {quant.axis} of "
                f"{tensor.shape} wants {tensor.shape[quant.axis]}"
            )

    def _verify_node(self, node: Node, known: set[str]) -> None:
        for name in node.inputs:
            if name not in self.tensors:
                raise GraphError(f"{node.name}: input '{name}' is no tensor of the graph")
            if name not in known:
                raise GraphError(f"{node.name}: reads '{name}' before any node writes it")
        for name in node.outputs:
            if name in known:
                raise GraphError(f"{node.name}: writes '{name}', which has a value already")
        try:
            shapes = node.op.infer_shapes(*(self.tensors[name].shape for name in node.inputs))
            node.op.verify_types(self.tensors_of(node.inputs), self.tensors_of(node.outputs))
        except GraphError as error:
            raise GraphError(f"{node.name}: {error}") from None
        declared = tuple(self.tensors[name].shape for name in node.outputs)
        if shapes != declared:
            raise GraphError(
                f"{node.name}: output shape is {declared}, {node.op.name} gives {shapes}"
            )


def _roundings(graph: Graph) -> dict[Rounding, str]:
    """Each profile of rounding in use, and the first node that has it."""
    found: dict[Rounding, str] = {}
    for node in graph.nodes:
        rounding = getattr(node.op, "rounding", None)
        if rounding is not None:
            found.setdefault(rounding, node.name)
    return found
