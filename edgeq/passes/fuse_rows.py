"""CONV_DEPTHWISE nodes where the tensor between a 1x1 CONV_2D and its DEPTHWISE_CONV_2D is what
needs the most memory: by rows, it never exists whole.

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
from edgeq.ops.conv_2d import QuantizedConv2D
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

    Pair after pair is fused whose tensor lives at the peak; of the graphs on the way, the best
    is taken, if it gains LEAST_GAIN_NBYTES, and what it can do without is undone. As many rows
    are made at once as that allows.
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
    while found := [p for p in pairs if p not in chosen and _lives(layout, pairs[p], step)]:
        chosen = (*chosen, found[0])
        fused = _fused(start, pairs, chosen)
        layout = layout_of(fused, scratch_of(fused))
        bound, step = lower_bound(layout)
        if bound < least:
            best, least = chosen, bound
    if plain - least < LEAST_GAIN_NBYTES:
        return graph
    for pair in best:
        fewer = tuple(p for p in best if p != pair)
        without = _fused(start, pairs, fewer)
        if lower_bound(layout_of(without, scratch_of(without)))[0] <= least:
            best = fewer
    return _with_more_rows(_fused(start, pairs, best), best, scratch_of, least)


def _with_more_rows(
    graph: Graph, names: tuple[str, ...], scratch_of: ScratchOf, bound: int
) -> Graph:
    """As many rows at once as the bound has room for: then fewer are gone over again."""
    for name in names:
        height = graph.tensors[name].shape[1]
        for rows in (n for n in range(height, 1, -1) if height % n == 0):
            more = _with_rows(graph, name, rows)
            if lower_bound(layout_of(more, scratch_of(more)))[0] <= bound:
                graph = more
                break
    return graph


def _with_rows(graph: Graph, name: str, rows: int) -> Graph:
    nodes = {node.name: node for node in graph.nodes}
    op = nodes[name].op
    assert isinstance(op, QuantizedConvDepthwise)
    node = replace(nodes[name], op=replace(op, rows_at_once=rows))
    return rebuilt(graph, {name: node}, {})


def _pairs(graph: Graph) -> dict[str, str]:
    """Name of a DEPTHWISE_CONV_2D -> the CONV_2D before it, if the two can be one."""
    found = {}
    for node in graph.nodes:
        reader = only_reader(graph, node.name)
        if reader is not None and _pair(graph, node, reader) is not None:
            found[reader.name] = node.name
    return found


def _pair(graph: Graph, conv: Node, depthwise: Node) -> Node | None:
    if not isinstance(conv.op, QuantizedConv2D):
        return None
    if not isinstance(depthwise.op, QuantizedDepthwiseConv2D):
        return None
    inputs = (*conv.inputs, *depthwise.inputs[1:])
    try:
        op = QuantizedConvDepthwise(conv.op, depthwise.op)
        op.infer_shapes(*(t.shape for t in graph.tensors_of(inputs)))
    except GraphError:  # it says what cannot run by rows
        return None
    return Node(op, inputs, depthwise.outputs)


def _fused(graph: Graph, pairs: Mapping[str, str], chosen: tuple[str, ...]) -> Graph:
    nodes = {node.name: node for node in graph.nodes}
    replaced: dict[str, Node | None] = {}
    for name in chosen:
        replaced[name] = _pair(graph, nodes[pairs[name]], nodes[name])
        replaced[pairs[name]] = None
    return rebuilt(graph, replaced, {})


def _lives(layout: Layout, name: str, step: int) -> bool:
    """Whether this tensor is live at a step."""
    return any(name in b.names and b.first_step <= step <= b.last_step for b in layout.blocks)
