"""Layers that do nothing disappear; a constant operand of ADD becomes a constant tensor.

A layer does nothing if each value that its input can reach (value_ranges) comes out as it is.
Layers of graph outputs stay: an output keeps its name and its producer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from edgeq.graph import Graph, Node, Tensor
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.op import IntegerOp
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.quantize import Requantize
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.window import Window
from edgeq.passes.rewrite import rebuilt
from edgeq.passes.value_ranges import Range, elementwise, value_ranges


def drop_identities(graph: Graph) -> Graph:
    """The same function without layers that give their input, and with constants for ADD."""
    ranges = value_ranges(graph)
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        if node.name not in graph.outputs:
            source = _source(graph, node, ranges)
            if source is not None:
                renamed[node.name] = renamed.get(source, source)
    if renamed:
        return rebuilt(graph, dict.fromkeys(renamed), renamed)
    return _with_constant_operands(graph, ranges)


def _source(graph: Graph, node: Node, ranges: Mapping[str, Range]) -> str | None:
    """The input that the output equals; None if there is none."""
    output = graph.tensors[node.name]
    for position, name in enumerate(node.inputs):
        tensor = graph.tensors[name]
        fits = tensor.data is None and (tensor.shape, tensor.dtype) == (
            output.shape,
            output.dtype,
        )
        if fits and _gives(node, position, [ranges[n] for n in node.inputs]):
            return name
    return None


def _gives(node: Node, position: int, inputs: list[Range]) -> bool:
    """Whether the output, of the shape of input `position`, always equals that input."""
    op = cast(IntegerOp, node.op)
    if isinstance(op, QuantizedReshape | QuantizedPad | QuantizedConcatenation):
        return True  # of one shape: nothing was added
    if isinstance(op, QuantizedMaxPool2D | QuantizedAveragePool2D):
        low, high = inputs[0].low.min(), inputs[0].high.max()
        is_pixel = op.window == Window(1, 1)
        return is_pixel and bool(op.activation_min <= low and high <= op.activation_max)
    if not isinstance(op, QuantizedAdd | QuantizedRelu | Requantize):
        return False
    others = [r for i, r in enumerate(inputs) if i != position]
    if not all(r.is_constant for r in others):
        return False
    values = np.arange(int(inputs[position].low.min()), int(inputs[position].high.max()) + 1)
    operands = [np.unique(r.low)[:, np.newaxis] for r in others]
    operands.insert(position, values[np.newaxis])
    return bool((elementwise(op, *operands) == values).all())


def _with_constant_operands(graph: Graph, ranges: Mapping[str, Range]) -> Graph:
    """The graph whose ADDs read a constant where an operand has constant channels only."""
    constants: dict[str, Tensor] = {}
    nodes = []
    for node in graph.nodes:
        found = _constant_operand(graph, node, ranges)
        if found is not None:
            constant = _constant(graph, found, ranges[found])
            constants[found] = constant
            inputs = tuple(constant.name if name == found else name for name in node.inputs)
            node = replace(node, inputs=inputs)
        nodes.append(node)
    if not constants:
        return graph
    tensors = [*graph.tensors.values(), *constants.values()]
    return Graph.build(graph.name, tensors, nodes, graph.inputs, graph.outputs)


def _constant_operand(graph: Graph, node: Node, ranges: Mapping[str, Range]) -> str | None:
    """The operand of an ADD with constant channels only, beside one of the output's shape."""
    if not isinstance(node.op, QuantizedAdd) or ranges[node.name].is_constant:
        return None
    for name, other in zip(node.inputs, reversed(node.inputs), strict=True):
        is_constant, _ = ranges[name].constant_channels()
        is_full = graph.tensors[other].shape == graph.tensors[node.name].shape
        if graph.tensors[name].data is None and is_constant.all() and is_full:
            return name
    return None


def _constant(graph: Graph, activation: str, values: Range) -> Tensor:
    """The constant (1, ..., 1, C) that stands for an activation of constant channels."""
    tensor = graph.tensors[activation]
    name = f"{activation}/constant"
    while name in graph.tensors:
        name += "'"
    _, value = values.constant_channels()
    data = value.astype(tensor.dtype).reshape((1,) * (len(tensor.shape) - 1) + value.shape)
    return Tensor(name, data.shape, data.dtype, tensor.quant, data)
