"""Bias absorption: what a channel always holds moves into the bias of the next layer.

Nagel et al. 2019, section 4.1.3:  with c >= 0 and W1 x + b1 >= c on all samples,
W2 relu(W1 x + b1) + b2 = W2 relu(W1 x + b1 - c) + (W2 c + b2),  and the activation between
reaches from 0 where it reached from c. There c is the mean less three deviations of a normal
distribution; here it is the smallest value seen, so that nothing changes on the samples.
Without a RELU between the two c may have any sign, and centers each channel on 0.
Where the second layer's window reaches over the border it is not done: the padding is 0, not c.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.correction.pairs import (
    ChannelRanges,
    Pair,
    by_channel,
    channel_ranges,
    find_pairs,
    layer,
    with_clamps,
    with_layers,
)
from edgeq.graph import Array, Graph, Node
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.relu import Relu
from edgeq.passes.products import FLOAT_PRODUCTS
from edgeq.samples import SampleStream


def absorb(graph: Graph, stream: SampleStream, note: Callable[[str], None]) -> Graph:
    """The same function on all samples, with narrower activations where a channel allows it."""
    ranges = channel_ranges(graph, stream)
    layers: dict[str, tuple[Array, Array]] = {}
    bounds: dict[str, float] = {}
    channels = 0
    for pair in find_pairs(graph, ranges)[0]:
        constant = _constant_part(graph, pair, ranges[pair.first])
        if not constant.any():
            continue
        channels += int(np.count_nonzero(constant))
        first, second = (_current(graph, layers, name) for name in (pair.first, pair.second))
        layers[pair.first] = first[1], first[2] - constant
        shift = (second[1] * by_channel(second[0].op, constant, second[1])).sum(1)
        layers[pair.second] = second[1], second[2] + shift
        assert isinstance(first[0].op, FLOAT_PRODUCTS)
        if first[0].op.activation_max != NO_MAX:
            bounds[pair.first] = float(first[0].op.activation_max - constant.min())
    note(f"absorb: {channels} channels of {len(layers)} layers moved")
    return with_clamps(with_layers(graph, layers), bounds)


def _constant_part(graph: Graph, pair: Pair, seen: ChannelRanges) -> Array:
    """C (C,): zeros where nothing can move."""
    none = np.zeros(pair.channels)
    if pair.is_padded:
        return none
    if _is_linear(graph, pair):
        return (seen.low.astype(np.float64) + seen.high) / 2
    first = graph.producer(pair.first)
    assert first is not None
    assert isinstance(first.op, FLOAT_PRODUCTS)
    if first.op.activation_min == NO_MIN:  # a RELU stands apart: what it cuts is not seen here
        return none
    return np.maximum(seen.low.astype(np.float64), 0.0)


def _is_linear(graph: Graph, pair: Pair) -> bool:
    """Whether nothing between the two filters cuts a value off."""
    node = graph.producer(pair.first)
    while node is not None and node.name != pair.second:
        if getattr(node.op, "activation_min", NO_MIN) != NO_MIN or isinstance(node.op, Relu):
            return False
        if getattr(node.op, "activation_max", NO_MAX) != NO_MAX:
            return False
        node = graph.consumers(node.name)[0]
    return True


def _current(
    graph: Graph, layers: dict[str, tuple[Array, Array]], name: str
) -> tuple[Node, Array, Array]:
    node, rows, bias = layer(graph, name)
    return node, *layers.get(name, (rows, bias))
