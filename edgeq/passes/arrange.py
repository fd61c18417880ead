"""What is done to an integer graph before its memory is planned: on the host as for a board."""

from __future__ import annotations

from collections.abc import Mapping

from edgeq.graph import Graph
from edgeq.passes.insert_moves import insert_moves
from edgeq.passes.reorder import reorder


def arrange(graph: Graph, scratch: Mapping[str, int] | None = None) -> Graph:
    """The same function in less memory: nodes in another order, MOVE nodes between them.

    `scratch` as in plan_memory.

    Raises:
        GraphError: the graph is not quantized.
    """
    return insert_moves(reorder(graph, scratch), scratch)
