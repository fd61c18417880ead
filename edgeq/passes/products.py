"""What passes share: the operators with a filter, float and integer, and their constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from edgeq.graph import Array, Graph, Node, Op, Shape, Tensor
from edgeq.ops.conv_2d import Conv2D, QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D, QuantizedDepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected, QuantizedFullyConnected

ProductOp: TypeAlias = QuantizedConv2D | QuantizedDepthwiseConv2D | QuantizedFullyConnected
PRODUCTS = (QuantizedConv2D, QuantizedDepthwiseConv2D, QuantizedFullyConnected)
FloatProduct: TypeAlias = Conv2D | DepthwiseConv2D | FullyConnected
FLOAT_PRODUCTS = (Conv2D, DepthwiseConv2D, FullyConnected)
# Where the output channel stands in the filter.
CHANNEL_AXIS = MappingProxyType(
    {
        Conv2D: 0,
        FullyConnected: 0,
        DepthwiseConv2D: 2,
        QuantizedConv2D: 0,
        QuantizedFullyConnected: 0,
        QuantizedDepthwiseConv2D: 2,
    }
)


def filter_and_bias(graph: Graph, node: Node) -> tuple[Array, Array]:
    """The filter, int8, and the bias, int32, of an operator with a filter."""
    return constants_of(graph, node.inputs)


def constants_of(graph: Graph, inputs: tuple[str, ...]) -> tuple[Array, Array]:
    """As filter_and_bias, of (input, filter, bias)."""
    _, weights, bias = graph.tensors_of(inputs)
    assert weights.data is not None
    assert bias.data is not None
    return weights.data, bias.data


def rows_of(op: Op, weights: Array) -> Array:
    """(O, taps): the filter with the output channel in front."""
    axis = CHANNEL_AXIS[type(op)]
    return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)


def from_rows(op: Op, rows: Array, shape: Shape) -> Array:
    """The filter of this shape whose rows_of are `rows`."""
    axis = CHANNEL_AXIS[type(op)]
    taps = tuple(extent for index, extent in enumerate(shape) if index != axis)
    return np.ascontiguousarray(np.moveaxis(rows.reshape(shape[axis], *taps), 0, axis))


def with_constants(
    graph: Graph, node: Node, values: Mapping[int, Array]
) -> tuple[Node, list[Tensor]]:
    """The node with new values of its constants, by position; and these constants.

    A constant that others read too gets a name of its own. Scales along an axis whose extent
    changes are left out: integer operators hold their multipliers.
    """
    inputs = list(node.inputs)
    tensors = []
    for position, data in values.items():
        old = graph.tensors[inputs[position]]
        quant = old.quant
        if quant is not None and quant.axis is not None and data.shape != old.shape:
            quant = None
        inputs[position] = _own_name(graph, node, old.name)
        tensors.append(Tensor(inputs[position], data.shape, data.dtype, quant, data))
    return replace(node, inputs=tuple(inputs)), tensors


def _own_name(graph: Graph, node: Node, name: str) -> str:
    readers = [n for other in graph.nodes for n in other.inputs] + [*graph.outputs]
    if readers.count(name) == 1:
        return name
    name = f"{node.name}/{name}"
    while name in graph.tensors:
        name += "'"
    return name
