"""Channels of zeros up to whole groups, for kernels that take several channels at a time.

What such a kernel does for channels that are left over costs as much as a group, or more. A
channel that is added has no weights, and those that read it none for it. This pass belongs to
the arrangement for a core: it comes after those that take out dead work.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgeq.graph import Array, Graph, Node, Tensor
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.reshape import QuantizedReshape
from edgeq.passes.products import PRODUCTS, ProductOp, filter_and_bias, with_constants

MOST_GROWTH = 4  # by one in so many channels: kernels that take single ones do more work


def align_channels(graph: Graph, group: int) -> Graph:
    """The same function; channels between a CONV_2D and what reads them are whole groups.

    Only those grow that need a quarter more at most, and that lead through depthwise
    convolutions and pooling to operators that sum over channels.

    Raises:
        GraphError: an operator refuses its new shapes.
    """
    grown = {name: n for name, n in _grown(graph, group).items() if n}
    if not grown:
        return graph
    tensors = dict(graph.tensors)
    for name, more in grown.items():
        old = graph.tensors[name]
        tensors[name] = replace(old, shape=(*old.shape[:-1], old.shape[-1] + more))
    nodes = []
    for node in graph.nodes:
        if node.name in grown or any(name in grown for name in node.inputs):
            node, constants = _with_zeros(
                graph, node, grown.get(node.inputs[0], 0), grown.get(node.name, 0)
            )
            tensors.update({tensor.name: tensor for tensor in constants})
        nodes.append(node)
    return Graph.build(graph.name, tensors.values(), nodes, graph.inputs, graph.outputs)


def _grown(graph: Graph, group: int) -> dict[str, int]:
    """How many channels each activation gets; those of tied ones are equal."""
    grown: dict[str, int] = {}
    for node in graph.nodes:
        channels = graph.tensors[node.name].shape[-1]
        more = -channels % group
        if isinstance(node.op, QuantizedConv2D):
            grown[node.name] = more if more * MOST_GROWTH <= channels else 0
        elif _keeps_channels(graph, node):
            grown[node.name] = grown.get(node.inputs[0], 0)
    for name in graph.outputs:
        grown[name] = 0
    for node in reversed(graph.nodes):
        if _keeps_channels(graph, node):
            if not grown.get(node.name):
                grown[node.inputs[0]] = 0
        elif not isinstance(node.op, QuantizedConv2D | QuantizedFullyConnected):
            grown.update(dict.fromkeys(node.inputs, 0))
    for node in graph.nodes:
        if _keeps_channels(graph, node) and not grown.get(node.inputs[0]):
            grown[node.name] = 0
    return grown


def _keeps_channels(graph: Graph, node: Node) -> bool:
    """Whether each channel of the output is made of the input's of the same number alone."""
    x, out = graph.tensors[node.inputs[0]].shape, graph.tensors[node.name].shape
    if isinstance(node.op, QuantizedReshape):
        return math.prod(x) == x[-1] == out[-1]
    kinds = (QuantizedDepthwiseConv2D, QuantizedAveragePool2D, QuantizedMaxPool2D)
    return isinstance(node.op, kinds) and x[-1] == out[-1]


def _with_zeros(
    graph: Graph, node: Node, inputs: int, outputs: int
) -> tuple[Node, list[Tensor]]:
    """The node with so many channels more, and its constants."""
    op = node.op
    if isinstance(op, QuantizedReshape):
        return replace(node, op=replace(op, shape=(*op.shape[:-1], op.shape[-1] + outputs))), []
    if not isinstance(op, PRODUCTS):
        return node, []
    weights, bias = filter_and_bias(graph, node)
    if isinstance(op, QuantizedDepthwiseConv2D):
        weights = _longer(weights, -1, outputs)
    else:
        weights = _longer(_longer(weights, 0, outputs), -1, inputs)
    node = replace(node, op=_with_multipliers(op, outputs))
    return with_constants(graph, node, {1: weights, 2: _longer(bias, 0, outputs)})


def _longer(values: Array, axis: int, more: int) -> Array:
    pads = [(0, 0)] * values.ndim
    pads[axis] = (0, more)
    return np.pad(values, pads)


def _with_multipliers(op: ProductOp, more: int) -> ProductOp:
    if len(op.multiplier) == 1:
        return op
    return replace(
        op,
        multiplier=(*op.multiplier, *op.multiplier[-1:] * more),
        shift=(*op.shift, *op.shift[-1:] * more),
    )
