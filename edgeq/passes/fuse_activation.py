"""A clamp (RELU, RELU6, Clip) becomes the activation_min/max of the operator that feeds it.

It moves up through MAX_POOL_2D and RESHAPE, with which it commutes: the convolution before a
pool then has the clamped range, and the pool keeps all 256 steps for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np

from edgeq.graph import Graph, Node
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
from edgeq.passes.rewrite import only_reader, rebuilt

Clamping: TypeAlias = (
    "Conv2D | DepthwiseConv2D | FullyConnected | Add | AveragePool2D | MaxPool2D"
)
_CLAMPING = (Conv2D, DepthwiseConv2D, FullyConnected, Add, AveragePool2D, MaxPool2D)


def fuse_activation(graph: Graph) -> Graph:
    """The same function without each clamp that an operator before it can do.

    The operator keeps its name; a graph output that was the clamp's is then the operator's.
    """
    while (found := _find(graph)) is not None:
        relu, target = found
        fused = replace(target, op=_clamped(target.op, relu.op))
        replaced = {relu.name: None, target.name: fused}
        graph = rebuilt(graph, replaced, {relu.name: relu.inputs[0]})
    return graph


def _find(graph: Graph) -> tuple[Node, Node] | None:
    """The first clamp, and the operator that can take it over."""
    for node in graph.nodes:
        if isinstance(node.op, Relu):
            target = _target(graph, node)
            if target is not None:
                return node, target
    return None


def _target(graph: Graph, relu: Node) -> Node | None:
    """The operator nearest above that ends a chain with no other reader on the way."""
    pool = None
    node = relu
    while True:
        above = graph.producer(node.inputs[0])
        if above is None or only_reader(graph, above.name) is not node:
            return pool
        if isinstance(above.op, _CLAMPING) and not isinstance(above.op, MaxPool2D):
            return above
        if isinstance(above.op, MaxPool2D):
            if (above.op.activation_min, above.op.activation_max) != (NO_MIN, NO_MAX):
                return pool or above
            pool = pool or above
        elif not isinstance(above.op, Reshape):
            return pool
        node = above


def _clamped(op: object, relu: object) -> Clamping:
    """The operator with the clamp after its own: [a, b] and then [c, d] is one clamp."""
    assert isinstance(op, _CLAMPING)
    assert isinstance(relu, Relu)
    low, high = (
        float(np.clip(bound, relu.activation_min, relu.activation_max))
        for bound in (op.activation_min, op.activation_max)
    )
    return replace(op, activation_min=low, activation_max=high)
