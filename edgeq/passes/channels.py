"""Channels that stand or fall together: how operators without a sum over channels tie them.

A channel is an index of a tensor's last axis. A node's ties number the channels of each of its
tensors: those of one number are of one fate, and a value depends only on its own number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeq.graph import Array, Graph, Node
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.mean import QuantizedMean
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.reshape import QuantizedReshape
from edgeq.passes.products import filter_and_bias
from edgeq.passes.value_ranges import ELEMENTWISE

_SAME = (*ELEMENTWISE, QuantizedAveragePool2D, QuantizedMaxPool2D, QuantizedMean)


@dataclass(frozen=True, slots=True, eq=False)
class Ties:
    """The numbers of one node's channels, 0 <= number < count."""

    count: int
    inputs: tuple[Array | None, ...]  # (C,) each; None if one channel serves all numbers
    output: Array  # (C,)


def ties_of(graph: Graph, node: Node) -> Ties | None:
    """The ties between the activations of a node; None if it sums over channels.

    Of an operator that is not known here, everything is of one fate.
    """
    op = node.op
    if isinstance(op, QuantizedConv2D | QuantizedFullyConnected):
        return None
    channels = [graph.tensors[name].shape[-1] for name in node.inputs]
    out = graph.tensors[node.name].shape[-1]
    own = np.arange(out)
    if isinstance(op, QuantizedDepthwiseConv2D):
        return Ties(channels[0], (np.arange(channels[0]),), own // (out // channels[0]))
    if isinstance(op, QuantizedConcatenation) and is_on_channels(graph, node):
        starts = np.cumsum([0, *channels])
        inputs = tuple(start + np.arange(c) for start, c in zip(starts, channels, strict=False))
        return Ties(out, inputs, own)
    if isinstance(op, QuantizedPad):
        return Ties(out, (op.pads[-1][0] + np.arange(channels[0]),), own)
    if isinstance(op, QuantizedReshape):
        # Element f is of channel f % I before and f % O behind.
        common = math.gcd(channels[0], out)
        return Ties(common, (np.arange(channels[0]) % common,), own % common)
    if isinstance(op, (*_SAME, QuantizedConcatenation)):
        return Ties(out, tuple(own if c == out else None for c in channels), own)
    return Ties(1, tuple(np.zeros(c, np.int64) for c in channels), np.zeros(out, np.int64))


def is_on_channels(graph: Graph, node: Node) -> bool:
    """Whether a concatenation is along the last axis."""
    assert isinstance(node.op, QuantizedConcatenation)
    return node.op.axis == len(graph.tensors[node.name].shape) - 1


def any_of(numbers: Array, count: int, chosen: Array) -> Array:
    """(count,) whether some channel with that number is chosen."""
    found = np.zeros(count, np.bool_)
    found[numbers[chosen]] = True
    return found


def read_channels(graph: Graph) -> dict[str, Array]:
    """(C,) bool for each activation: whether a graph output can depend on the channel."""
    read = {
        t.name: np.full(t.shape[-1], t.name in graph.outputs)
        for t in graph.tensors.values()
        if t.data is None
    }
    for node in reversed(graph.nodes):
        for name, channels in zip(
            node.inputs, _read_by(graph, node, read[node.name]), strict=False
        ):
            if name in read:
                read[name] |= channels
    return read


def _read_by(graph: Graph, node: Node, output: Array) -> list[Array]:
    """(C,) bool for each input that may be an activation, given what is read of the output."""
    op = node.op
    ties = ties_of(graph, node)
    if ties is None:
        weights, _ = filter_and_bias(graph, node)
        live = weights[output].reshape(-1, weights.shape[-1])
        return [(live != 0).any(0)]
    if isinstance(op, QuantizedDepthwiseConv2D):
        weights, _ = filter_and_bias(graph, node)
        output = output & (weights != 0).any((0, 1))
    wanted = any_of(ties.output, ties.count, output)
    return [np.array([wanted.any()]) if n is None else wanted[n] for n in ties.inputs]
