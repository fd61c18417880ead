"""MOVE nodes where copying a tensor inside the arena makes the arena smaller.

An output that overlaps its input lies below it, so a chain of layers slides down through the
arena, and each layer adds its distance. Moving one tensor up again takes that back at the price
of a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeq.graph import Graph, Node
from edgeq.memory.blocks import layout_of, lower_bound
from edgeq.memory.search import find_offsets
from edgeq.ops.move import Move
from edgeq.ops.op import INT8

COPY_PRICE = 64  # bytes copied in a run that are worth one byte of the arena
TRIALS = 60  # orders that each of many searches tries
MOST_LIMITS = 4  # arena sizes between the smallest and that without moves to look at


def insert_moves(graph: Graph, scratch: Mapping[str, int] | None = None) -> Graph:
    """The same graph, with a MOVE before some nodes if the smaller arena is worth the copies.

    Starts from a MOVE wherever an output must slide below its input, and takes out one after
    the other while the arena keeps within a limit; the limits are those that leaving out one
    MOVE gives. The result of least arena + copied bytes / COPY_PRICE is kept. Deterministic.

    Raises:
        GraphError: the graph is not quantized.
    """
    bound, _ = lower_bound(layout_of(graph, scratch))
    plain = _arena_nbytes(graph, scratch, bound)
    wanted = _candidates(graph, scratch)
    if plain == bound or not wanted:
        return graph
    least = _arena_nbytes(with_moves(graph, wanted), scratch, bound)
    if least >= plain:
        return graph
    limits = {least}
    for step in wanted:
        others = tuple(s for s in wanted if s != step)
        limits.add(_arena_nbytes(with_moves(graph, others), scratch, bound))
    best, best_price = graph, float(plain)
    for limit in sorted(size for size in limits if size < plain)[:MOST_LIMITS]:
        steps = _fewest(graph, wanted, limit, scratch)
        moved = with_moves(graph, steps)
        copied = sum(graph.tensors[_dying_input(graph, s) or ""].nbytes for s in steps)
        price = _arena_nbytes(moved, scratch, bound) + copied / COPY_PRICE
        if price < best_price:
            best, best_price = moved, price
    return best


def _arena_nbytes(graph: Graph, scratch: Mapping[str, int] | None, enough: int) -> int:
    return find_offsets(layout_of(graph, scratch), enough, TRIALS)[0]


def _fewest(
    graph: Graph, steps: tuple[int, ...], limit: int, scratch: Mapping[str, int] | None
) -> tuple[int, ...]:
    """The steps without those that the arena can do without, within the limit."""
    for step in steps:
        fewer = tuple(s for s in steps if s != step)
        if _arena_nbytes(with_moves(graph, fewer), scratch, limit) <= limit:
            steps = fewer
    return steps


def _candidates(graph: Graph, scratch: Mapping[str, int] | None) -> tuple[int, ...]:
    """The steps at which an output is pushed below its input: disjoint they would not fit."""
    layout = layout_of(graph, scratch)
    bound, _ = lower_bound(layout)
    steps = []
    for (out, x), distance in layout.slides.items():
        step = layout.blocks[out].first_step
        live = sum(b.nbytes for b in layout.blocks if b.first_step <= step <= b.last_step)
        is_written = layout.blocks[x].first_step >= 0
        if distance > 0 and live > bound and is_written and _dying_input(graph, step):
            steps.append(step)
    return tuple(sorted(set(steps)))


def _dying_input(graph: Graph, step: int) -> str | None:
    """The int8 activation that a MOVE before this step takes: the node's only one."""
    names = [n for n in graph.nodes[step].inputs if graph.tensors[n].data is None]
    is_one = len(names) == 1 and graph.tensors[names[0]].dtype == INT8
    return names[0] if is_one else None


def with_moves(graph: Graph, steps: tuple[int, ...]) -> Graph:
    """The graph with a MOVE of its activation before each of these steps."""
    tensors = dict(graph.tensors)
    nodes: list[Node] = []
    for step, node in enumerate(graph.nodes):
        source = _dying_input(graph, step) if step in steps else None
        if source is not None:
            moved = f"{source}:moved"
            tensors[moved] = replace(graph.tensors[source], name=moved)
            nodes.append(Node(Move(), (source,), (moved,)))
            inputs = tuple(moved if name == source else name for name in node.inputs)
            node = replace(node, inputs=inputs)
        nodes.append(node)
    return Graph.build(graph.name, tensors.values(), nodes, graph.inputs, graph.outputs)
