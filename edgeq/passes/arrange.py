"""What is done to an integer graph before its memory is planned: on the host as for a board."""

from __future__ import annotations

from collections.abc import Mapping

from edgeq.graph import Graph
from edgeq.memory.plan import plan_memory
from edgeq.passes.fuse_rows import ScratchOf, fuse_rows, scratch_of_ops
from edgeq.passes.insert_moves import insert_moves
from edgeq.passes.reorder import reorder


def arrange(graph: Graph, scratch: Mapping[str, int] | None = None) -> Graph:
    """The same function in less memory: nodes in another order, MOVE nodes between them.

    Every activation of the graph is one of the result. `scratch` as in plan_memory.

    Raises:
        GraphError: the graph is not quantized.
    """
    return insert_moves(reorder(graph, scratch), scratch)


def arrange_for_device(graph: Graph, scratch_of: ScratchOf = scratch_of_ops) -> Graph:
    """As arrange, and with two layers in one by rows where that makes the arena smaller.

    Raises:
        GraphError: the graph is not quantized.
    """
    plain = arrange(graph, scratch_of(graph))
    fused = fuse_rows(graph, scratch_of)
    if fused is graph:
        return plain
    fused = arrange(fused, scratch_of(fused))
    return min(plain, fused, key=lambda g: plan_memory(g, scratch_of(g)).arena_nbytes)
