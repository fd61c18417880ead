"""CONV_DEPTHWISE and CONV_ADD nodes where the tensor between a CONV_2D and the layer that reads
it is what needs the most memory: by rows, it never exists whole.

Kernels decide how much scratch that takes, so this pass belongs to the arrangement for a core
and not to the passes that take out dead work; it comes after them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from edgeq.errors import GraphError
from edgeq.graph import Graph, Node
from edgeq.memory.blocks import Layout, layout_of, lower_bound
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.conv_add import QuantizedConvAdd, swapped
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.passes.reorder import reorder
from edgeq.passes.rewrite import only_reader, rebuilt

# What the kernels need for a graph, as plan_memory takes it.
ScratchOf: TypeAlias = Callable[[Graph], Mapping[str, int] | None]

LEAST_GAIN_NBYTES = 256  # of the arena: a kernel more in flash should save that


def scratch_of_ops(graph: Graph) -> None:
    """What the operators say; for a graph that no core is known for."""


def fuse_rows(graph: Graph, scratch_of: ScratchOf = scratch_of_ops) -> Graph:
    """The same function with pairs fused, as few as give the least lower bound of the plan.

    Pair after pair is fused whose tensor lives at the peak, the one first that gains the most;
    of the graphs on the way, the best is taken, if it gains LEAST_GAIN_NBYTES, and what it can
    do without is undone. As many rows are made at once as that allows.
    Deterministic.

    Raises:
        GraphError: the graph is not quantized.
    """
    start = reorder(graph, scratch_of(graph))
    layout = layout_of(start, scratch_of(start))
    plain, step = lower_bound(layout)
    pairs = _pairs(graph)
    best: tuple[str, ...] = ()
    least = plain
    chosen: tuple[str, ...] = ()
    while found := [p for p in pairs if _is_free(pairs, p, chosen) and _lives(layout, p, step)]:
        tried = {p: _layout(_fused(start, pairs, (*chosen, p)), scratch_of) for p in found}
        first = min(found, key=lambda p: lower_bound(tried[p])[0])
        chosen, layout = (*chosen, first), tried[first]
        bound, step = lower_bound(layout)
        if bound < least:
            best, least = chosen, bound
    if plain - least < LEAST_GAIN_NBYTES:
        return graph
    for pair in best:
        fewer = tuple(p for p in best if p != pair)
        if lower_bound(_layout(_fused(start, pairs, fewer), scratch_of))[0] <= least:
            best = fewer
    names = tuple(pairs[p] for p in best)
    return _with_more_rows(_fused(start, pairs, best), names, scratch_of, least)


def _layout(graph: Graph, scratch_of: ScratchOf) -> Layout:
    return layout_of(graph, scratch_of(graph))


def _with_more_rows(
    graph: Graph, names: tuple[str, ...], scratch_of: ScratchOf, bound: int
) -> Graph:
    """As many rows at once as the bound has room for: then fewer are gone over again."""
    for name in names:
        height = graph.tensors[name].shape[1]
        least = _row_op(graph, name).rows_at_once
        for rows in (n for n in range(height, least, -1) if height % n == 0):
            more = _with_rows(graph, name, rows)
            if lower_bound(_layout(more, scratch_of))[0] <= bound:
                graph = more
                break
    return graph


def _with_rows(graph: Graph, name: str, rows: int) -> Graph:
    nodes = {node.name: node for node in graph.nodes}
    op = replace(_row_op(graph, name), rows_at_once=rows)
    return rebuilt(graph, {name: replace(nodes[name], op=op)}, {})


def _row_op(graph: Graph, name: str) -> QuantizedConvDepthwise | QuantizedConvAdd:
    (op,) = (node.op for node in graph.nodes if node.name == name)
    assert isinstance(op, QuantizedConvDepthwise | QuantizedConvAdd)
    return op


def _pairs(graph: Graph) -> dict[str, str]:
    """Name of a CONV_2D, which is that of the tensor in between -> the layer that alone reads
    it, if the two can be one.
    """
    found = {}
    for node in graph.nodes:
        reader = only_reader(graph, node.name)
        if reader is not None and _pair(graph, node, reader) is not None:
            found[node.name] = reader.name
    return found


def _is_free(pairs: Mapping[str, str], pair: str, chosen: tuple[str, ...]) -> bool:
    """Whether neither layer is in a pair already: ADD may read two convolutions."""
    return pairs[pair] not in {pairs[p] for p in chosen}


def _pair(graph: Graph, conv: Node, reader: Node) -> Node | None:
    if not isinstance(conv.op, QuantizedConv2D):
        return None
    if isinstance(reader.op, QuantizedDepthwiseConv2D):
        return _conv_depthwise(graph, conv, conv.op, reader, reader.op)
    if isinstance(reader.op, QuantizedAdd):
        return _conv_add(graph, conv, conv.op, reader, reader.op)
    return None


def _conv_depthwise(
    graph: Graph,
    conv: Node,
    conv_op: QuantizedConv2D,
    depthwise: Node,
    depthwise_op: QuantizedDepthwiseConv2D,
) -> Node | None:
    inputs = (*conv.inputs, *depthwise.inputs[1:])
    try:
        op = QuantizedConvDepthwise(conv_op, depthwise_op)
        op.infer_shapes(*(t.shape for t in graph.tensors_of(inputs)))
    except GraphError:  # it says what cannot run by rows
        return None
    return Node(op, inputs, depthwise.outputs)


def _conv_add(
    graph: Graph, conv: Node, conv_op: QuantizedConv2D, add: Node, add_op: QuantizedAdd
) -> Node | None:
    first, second = add.inputs
    if first == second:
        return None
    if second == conv.name:
        add_op, second = swapped(add_op), first
    inputs = (*conv.inputs, second)
    tensors = graph.tensors_of(inputs)
    height = graph.tensors[add.name].shape[1]
    if tensors[3].data is not None:
        return None
    for rows in range(1, height + 1):
        try:
            op = QuantizedConvAdd(conv_op, add_op, rows)
            op.infer_shapes(*(t.shape for t in tensors))
        except GraphError:
            continue
        return Node(op, inputs, add.outputs)
    return None


def _fused(graph: Graph, pairs: Mapping[str, str], chosen: tuple[str, ...]) -> Graph:
    nodes = {node.name: node for node in graph.nodes}
    replaced: dict[str, Node | None] = {}
    for name in chosen:
        replaced[pairs[name]] = _pair(graph, nodes[name], nodes[pairs[name]])
        replaced[name] = None
    return rebuilt(graph, replaced, {})


def _lives(layout: Layout, name: str, step: int) -> bool:
    """Whether this tensor is live at a step."""
    return any(name in b.names and b.first_step <= step <= b.last_step for b in layout.blocks)
