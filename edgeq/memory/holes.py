"""Bytes of a planned arena that nothing lives in while a node runs: for more of its scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from edgeq.graph import Graph
from edgeq.memory.blocks import ALIGNMENT, aligned, layout_of, lower_bound, scratch_name
from edgeq.memory.plan import MemoryPlan, Placement


@dataclass(frozen=True, slots=True)
class Hole:
    """A range of an arena, at a multiple of ALIGNMENT."""

    arena: int
    offset: int
    nbytes: int


def holes(graph: Graph, plan: MemoryPlan) -> dict[str, Hole]:
    """The largest hole for the scratch of each node by its name, instead of what it has now."""
    found = {}
    for step, node in enumerate(graph.nodes):
        live = [plan.placements[n] for n in plan.live_at(step) if n != scratch_name(node)]
        best = Hole(0, 0, 0)
        for arena, nbytes in enumerate(plan.arenas):
            end = 0
            for place in [*(p for p in live if p.arena == arena), None]:
                until = (place.offset if place else nbytes) // ALIGNMENT * ALIGNMENT
                if until - end > best.nbytes:
                    best = Hole(arena, end, until - end)
                end = max(end, aligned(place.end)) if place else end
        found[node.name] = best
    return found


def with_scratch(
    graph: Graph, plan: MemoryPlan, free: Mapping[str, Hole], scratch: Mapping[str, int]
) -> MemoryPlan:
    """The plan with scratch of these sizes by node: in the node's hole if it is another size.

    `free`: the plan's holes.

    No arena becomes larger; each hole must be as large as what goes there.
    """
    places = dict(plan.placements)
    for step, node in enumerate(graph.nodes):
        name, nbytes = scratch_name(node), scratch.get(node.name, 0)
        if nbytes != (places[name].nbytes if name in places else 0):
            hole = free[node.name]
            assert nbytes <= hole.nbytes, f"{node.name}: a hole of {hole.nbytes} bytes"
            places[name] = Placement(hole.offset, nbytes, step, step, hole.arena)
    bound, peak_step = lower_bound(layout_of(graph, scratch))
    return replace(
        plan, lower_bound_nbytes=bound, peak_step=peak_step, placements=MappingProxyType(places)
    )
