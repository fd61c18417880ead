"""Two layers with filters, one after the other, between which channels can be rescaled.

For s > 0 and a function f with f(s x) = s f(x), as RELU, pooling and padding with zeros are,
W2 f(W1 x + b1) = (W2 S) f(S^-1 W1 x + S^-1 b1),  S = diag(s): Nagel et al. 2019, eq. 5 to 7.
A RELU6 is no such function. Where no sample reaches its upper bound it is a RELU on all
samples; the pair is then taken, and the bound kept at the largest of the rescaled ones. Where
one does, the pair is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeq.correction.layerwise import bias_of, with_product
from edgeq.float_run import run_finite
from edgeq.graph import Array, Graph, Node
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.pad import Pad
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
from edgeq.passes.products import FLOAT_PRODUCTS, from_rows, rows_of
from edgeq.passes.rewrite import only_reader
from edgeq.samples import SampleStream


@dataclass(frozen=True, slots=True)
class ChannelRanges:
    """Smallest and largest value of each channel (last axis) of an activation."""

    low: Array  # (C,)
    high: Array  # (C,)

    @property
    def peak(self) -> Array:
        """(C,) largest magnitudes."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


@dataclass(frozen=True, slots=True)
class Pair:
    """Names of two layers; all that the first writes goes to the second alone."""

    first: str
    second: str
    channels: int
    is_padded: bool  # the second sees zeros that the first did not write


def channel_ranges(graph: Graph, stream: SampleStream) -> dict[str, ChannelRanges]:
    """Of every activation over the samples."""
    seen: dict[str, ChannelRanges] = {}
    done = 0
    for batch in stream:
        for name, values in run_finite(graph, batch, done).items():
            flat = values.reshape(-1, values.shape[-1])
            low, high = flat.min(0), flat.max(0)
            if name in seen:
                low = np.minimum(low, seen[name].low)
                high = np.maximum(high, seen[name].high)
            seen[name] = ChannelRanges(low, high)
        done += next(iter(batch.values())).shape[0]
    return seen


def find_pairs(
    graph: Graph, ranges: Mapping[str, ChannelRanges]
) -> tuple[list[Pair], list[str]]:
    """Pairs in execution order; and layers left alone because samples reach their clamp."""
    pairs, clamped = [], []
    for node in graph.nodes:
        if not isinstance(node.op, FLOAT_PRODUCTS) or not _has_own_constants(graph, node):
            continue
        found = _second(graph, node)
        if found is None:
            continue
        if node.op.activation_min not in (NO_MIN, 0.0):
            continue
        if ranges[node.name].high.max() >= node.op.activation_max:
            clamped.append(node.name)
            continue
        pairs.append(found)
    return pairs, clamped


def _has_own_constants(graph: Graph, node: Node) -> bool:
    """Whether filter and bias are constants that no other layer reads."""
    return all(
        graph.tensors[name].data is not None and len(graph.consumers(name)) == 1
        for name in node.inputs[1:]
    )


def _second(graph: Graph, first: Node) -> Pair | None:
    channels = graph.tensors[first.name].shape[-1]
    is_padded = False
    node: Node | None = only_reader(graph, first.name)
    while node is not None and not isinstance(node.op, FLOAT_PRODUCTS):
        if not _keeps_channels(node):
            return None
        is_padded |= isinstance(node.op, Pad)
        node = only_reader(graph, node.name)
    if node is None or not _has_own_constants(graph, node):
        return None
    assert isinstance(node.op, FLOAT_PRODUCTS)
    shape = graph.tensors[node.inputs[0]].shape
    if shape[-1] % channels:
        return None
    window = getattr(node.op, "window", None)
    if window is not None:
        is_padded |= any((window.pad_top, window.pad_bottom, window.pad_left, window.pad_right))
    return Pair(first.name, node.name, channels, is_padded)


def _keeps_channels(node: Node) -> bool:
    op = node.op
    if isinstance(op, Pad):
        return op.pads[-1] == (0, 0)
    if isinstance(op, MaxPool2D | AveragePool2D | Relu):
        return op.activation_max == NO_MAX and op.activation_min in (NO_MIN, 0.0)
    return isinstance(op, Reshape | Mean)


def layer(graph: Graph, name: str) -> tuple[Node, Array, Array]:
    """(node, rows (O, taps) float64, bias (O,)) of a layer with a filter."""
    node = graph.producer(name)
    assert node is not None
    data = graph.tensors[node.inputs[1]].data
    assert data is not None
    return node, rows_of(node.op, data).astype(np.float64), bias_of(graph, node)


def by_channel(op: object, values: Array, rows: Array) -> Array:
    """One value per input channel (C,) -> one per row and tap, to multiply with rows (O, taps).

    Channels lie innermost in the taps, also where a flattened image is read; in a depthwise
    filter a row has one channel.
    """
    if isinstance(op, DepthwiseConv2D):
        return np.repeat(values, rows.shape[0] // values.size)[:, None]
    return np.tile(values, rows.shape[1] // values.size)[None, :]


def with_layers(graph: Graph, changed: Mapping[str, tuple[Array, Array]]) -> Graph:
    """The graph with other rows and bias of some layers, by name."""
    tensors = dict(graph.tensors)
    nodes = []
    for node in graph.nodes:
        if node.name in changed:
            rows, bias = changed[node.name]
            weights = tensors[node.inputs[1]]
            data = from_rows(node.op, rows, weights.shape).astype(np.float32)
            node, constants = with_product(graph, node, replace(weights, data=data), bias)
            tensors.update({t.name: t for t in constants})
        nodes.append(node)
    return Graph.build(graph.name, tensors.values(), nodes, graph.inputs, graph.outputs)


def with_clamps(graph: Graph, bounds: Mapping[str, float]) -> Graph:
    """The graph with other upper bounds of layers with a filter, by name."""
    nodes = [
        replace(node, op=replace(node.op, activation_max=bounds[node.name]))
        if isinstance(node.op, FLOAT_PRODUCTS) and node.name in bounds
        else node
        for node in graph.nodes
    ]
    return Graph.build(graph.name, graph.tensors.values(), nodes, graph.inputs, graph.outputs)
