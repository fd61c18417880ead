"""Channels that no output depends on are cut out of their producers and all their readers.

A channel goes if nothing reads it: every weight for it is zero, or it only leads to channels
that go. Where operators tie channels together (channels.py), all of them go or none. Graph
inputs and outputs keep theirs; a tensor that cannot go keeps at least one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from edgeq.graph import Array, Graph, Node, Tensor
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.op import IntegerOp
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.reshape import QuantizedReshape
from edgeq.passes.channels import any_of, is_on_channels, read_channels, ties_of
from edgeq.passes.products import PRODUCTS, ProductOp, filter_and_bias, with_constants


def drop_channels(graph: Graph) -> Graph:
    """The same function without channels, and without layers, that no output depends on."""
    kept = _kept_channels(graph)
    if all(channels.all() for channels in kept.values()):
        return graph
    tensors = {}
    for tensor in graph.tensors.values():
        if tensor.name in kept and kept[tensor.name].any():
            shape = (*tensor.shape[:-1], int(kept[tensor.name].sum()))
            tensor = replace(tensor, shape=shape)
        tensors[tensor.name] = tensor
    nodes = []
    for node in graph.nodes:
        if kept[node.name].any():
            cut, constants = _cut(graph, node, kept)
            nodes.append(cut)
            tensors.update({tensor.name: tensor for tensor in constants})
    return Graph.build(graph.name, tensors.values(), nodes, graph.inputs, graph.outputs)


def _kept_channels(graph: Graph) -> dict[str, Array]:
    """(C,) bool for each activation: which channels stay. None stay of what is never used."""
    kept = read_channels(graph)
    for name in graph.inputs:
        kept[name][:] = True
    while True:
        _spread(graph, kept)
        lacking = _first_lacking(graph, kept)
        if lacking is None:
            return kept
        kept[lacking][0] = True


def _spread(graph: Graph, kept: dict[str, Array]) -> None:
    """Keep every channel that is tied to one that is kept."""
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            ties = ties_of(graph, node)
            if ties is None:
                continue
            sides = [(node.name, ties.output)]
            for name, numbers in zip(node.inputs, ties.inputs, strict=False):
                if numbers is not None and name in kept:
                    sides.append((name, numbers))
            wanted = np.zeros(ties.count, np.bool_)
            for name, numbers in sides:
                wanted |= any_of(numbers, ties.count, kept[name])
            for name, numbers in sides:
                changed |= bool((wanted[numbers] & ~kept[name]).any())
                kept[name] |= wanted[numbers]


def _first_lacking(graph: Graph, kept: Mapping[str, Array]) -> str | None:
    """A tensor with no channel left, though a node that stays must have it."""
    for node in reversed(graph.nodes):
        if kept[node.name].any() and not (
            isinstance(node.op, QuantizedConcatenation) and is_on_channels(graph, node)
        ):
            for name in node.inputs:
                if name in kept and not kept[name].any():
                    return name
    return None


def _cut(graph: Graph, node: Node, kept: Mapping[str, Array]) -> tuple[Node, list[Tensor]]:
    """The node on what is left of its tensors, and its constants."""
    op = cast(IntegerOp, node.op)
    output = kept[node.name]
    if isinstance(op, PRODUCTS):
        weights, bias = filter_and_bias(graph, node)
        if isinstance(op, QuantizedDepthwiseConv2D):
            weights = weights[:, :, output]
        else:
            channels = kept.get(node.inputs[0], np.ones(weights.shape[-1], np.bool_))
            weights = weights[output][..., channels]
        node = replace(node, op=_with_channels(op, output))
        return with_constants(graph, node, {1: weights, 2: bias[output]})
    parts = _parts(graph, node, output)
    values = {}
    for position, part in enumerate(parts):
        data = graph.tensors[node.inputs[position]].data
        if data is not None and not part.all():
            values[position] = data[..., part]
    node, constants = with_constants(graph, node, values)
    remaining = [name for name, part in zip(node.inputs, parts, strict=True) if part.any()]
    node = replace(node, op=_with_extent(op, output), inputs=tuple(remaining))
    return node, constants


def _parts(graph: Graph, node: Node, output: Array) -> list[Array]:
    """(C,) bool for each input of a node that ties channels: which go with the output's."""
    ties = ties_of(graph, node)
    assert ties is not None
    wanted = any_of(ties.output, ties.count, output)
    return [np.array([True]) if n is None else wanted[n] for n in ties.inputs]


def _with_channels(op: ProductOp, output: Array) -> ProductOp:
    """The operator with the multipliers of these output channels; one, if all are equal."""
    if len(op.multiplier) == 1:
        return op
    pairs = [(op.multiplier[c], op.shift[c]) for c in np.flatnonzero(output)]
    if len(set(pairs)) == 1:
        pairs = pairs[:1]
    return replace(op, multiplier=tuple(m for m, _ in pairs), shift=tuple(s for _, s in pairs))


def _with_extent(op: IntegerOp, output: Array) -> IntegerOp:
    """The operator, whose fields hold shapes or padding, for these channels of the output."""
    if isinstance(op, QuantizedReshape):
        return replace(op, shape=(*op.shape[:-1], int(output.sum())))
    if isinstance(op, QuantizedPad):
        before, after = op.pads[-1]
        pads = (int(output[:before].sum()), int(output[len(output) - after :].sum()))
        return replace(op, pads=(*op.pads[:-1], pads))
    return op
