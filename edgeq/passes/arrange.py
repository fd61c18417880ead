"""What is done to an integer graph before its memory is planned: on the host as for a board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeq.graph import Graph
from edgeq.memory.plan import plan_memory
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.move import Move
from edgeq.passes.fuse_rows import LEAST_GAIN_NBYTES, ScratchOf, fuse_rows, scratch_of_ops
from edgeq.passes.insert_moves import COPY_PRICE, insert_moves
from edgeq.passes.reorder import reorder


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A graph as it runs, and why two layers of it are one by rows, or not."""

    graph: Graph
    why: str


def arrange(graph: Graph, scratch: Mapping[str, int] | None = None) -> Graph:
    """The same function in less memory: nodes in another order, MOVE nodes between them.

    Every activation of the graph is one of the result. `scratch` as in plan_memory.

    Raises:
        GraphError: the graph is not quantized.
    """
    return insert_moves(reorder(graph, scratch), scratch)


def arrange_for_device(graph: Graph, scratch_of: ScratchOf = scratch_of_ops) -> Graph:
    """As arrange, and with two layers in one by rows where that is worth it.

    Raises:
        GraphError: the graph is not quantized.
    """
    return arrangement_for_device(graph, scratch_of).graph


def arrangement_for_device(
    graph: Graph, scratch_of: ScratchOf = scratch_of_ops, enough_nbytes: int = 0
) -> Arrangement:
    """As arrange_for_device; layers stay apart if `enough_nbytes` of arena are enough for that.

    Two layers in one go over their rows more than once: that is worth it where the arena saves
    a byte for COPY_PRICE bytes copied, and LEAST_GAIN_NBYTES of it.

    Raises:
        GraphError: the graph is not quantized.
    """
    apart = arrange(graph, scratch_of(graph))
    fused = fuse_rows(graph, scratch_of)
    if fused is graph:
        return Arrangement(
            apart, f"apart: in one they would not save {LEAST_GAIN_NBYTES} bytes of the arena"
        )
    fused = arrange(fused, scratch_of(fused))
    before, after = (plan_memory(g, scratch_of(g)).arena_nbytes for g in (apart, fused))
    sizes = f"{after} bytes of arena instead of {before}"
    if before <= enough_nbytes:
        return Arrangement(apart, f"apart: the ram has room; in one, {sizes}")
    copied = copied_nbytes(fused) - copied_nbytes(apart)
    if before - after < max(LEAST_GAIN_NBYTES, copied / COPY_PRICE):
        return Arrangement(
            apart, f"apart: {sizes} are not worth {copied} bytes copied in a run"
        )
    return Arrangement(fused, f"in one: {sizes}")


def copied_nbytes(graph: Graph) -> int:
    """Bytes that MOVE nodes copy, and that layers in one go over once more."""
    total = 0
    for node in graph.nodes:
        if isinstance(node.op, Move):
            total += graph.tensors[node.name].nbytes
        if isinstance(node.op, QuantizedConvDepthwise):
            total += node.op.copied_nbytes(*(t.shape for t in graph.tensors_of(node.inputs)))
    return total
