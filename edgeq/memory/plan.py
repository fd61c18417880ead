"""MemoryPlan: offsets in one arena, or in several; its size, and how small it could be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from edgeq.graph import Graph
from edgeq.memory.blocks import layout_of, lifetimes, lower_bound
from edgeq.memory.regions import spread
from edgeq.memory.search import find_offsets


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an activation or a scratch buffer lives, and while which steps it is live."""

    offset: int  # bytes from the arena's start
    nbytes: int
    first_step: int  # -1 for a graph input
    last_step: int  # inclusive; the number of nodes for a graph output
    arena: int = 0  # which, if there are several

    @property
    def end(self) -> int:
        """The offset of the byte after the last."""
        return self.offset + self.nbytes


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two buffers that share bytes while one layer reads the one and writes the other."""

    step: int
    first: str  # the one that starts lower, or at the same byte
    second: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Offsets in arenas, their sizes, and the proof of how small all could be together."""

    arena_nbytes: int  # of all arenas; mostly there is one
    lower_bound_nbytes: int  # memory.blocks.lower_bound: no plan of this graph can be smaller
    peak_step: int  # where the bound is
    placements: Mapping[str, Placement]  # by tensor name; scratch under scratch_name(node)

    @property
    def arenas(self) -> tuple[int, ...]:
        """Bytes of each arena; one for each memory region up to the last in use."""
        last = max((p.arena for p in self.placements.values()), default=0)
        if last == 0:
            return (self.arena_nbytes,)
        return tuple(
            max((p.end for p in self.placements.values() if p.arena == arena), default=0)
            for arena in range(last + 1)
        )

    def live_at(self, step: int) -> list[str]:
        """Names of the buffers live at a step, by arena and offset."""
        live = [n for n, p in self.placements.items() if p.first_step <= step <= p.last_step]
        where = {n: self.placements[n] for n in live}
        return sorted(live, key=lambda n: (where[n].arena, where[n].offset, n))

    def overlaps(self) -> list[Overlap]:
        """What shares bytes, at all steps."""
        last = max((p.last_step for p in self.placements.values()), default=-1)
        return [found for step in range(last + 1) for found in self.overlaps_at(step)]

    def overlaps_at(self, step: int) -> list[Overlap]:
        """Every two buffers that share bytes while both are live."""
        live = self.live_at(step)
        found = []
        for i, a in enumerate(live):
            for b in live[i + 1 :]:
                p, q = self.placements[a], self.placements[b]
                if p.arena != q.arena:
                    continue
                if (shared := min(p.end, q.end) - max(p.offset, q.offset)) > 0:
                    found.append(Overlap(step, a, b, shared))
        return found


def plan_memory(
    graph: Graph,
    scratch: Mapping[str, int] | None = None,
    capacities: Sequence[int] = (),
) -> MemoryPlan:
    """Place every activation and scratch buffer of an integer graph, its nodes in this order.

    `scratch` is what the kernels of a target need, bytes by name of the node; without it, what
    the interpreter's need. `capacities` are what a board's memory regions have for arenas, the
    fastest first: what does not fit into the first alone is spread over them. If that fails, or
    without capacities, there is one arena of any size.

    Raises:
        GraphError: the graph is not quantized.
    """
    layout = layout_of(graph, scratch)
    bound, peak_step = lower_bound(layout)
    size, offsets = find_offsets(layout, bound)
    places = [(0, offset) for offset in offsets]
    if len(capacities) > 1 and size > capacities[0]:
        places = spread(graph, layout, capacities) or places
    placements = {}
    lives = lifetimes(graph)
    for block, (arena, offset) in zip(layout.blocks, places, strict=True):
        for name in block.names:
            first, last = lives.get(name, (block.first_step, block.last_step))
            nbytes = graph.tensors[name].nbytes if name in lives else block.nbytes
            placements[name] = Placement(offset, nbytes, first, last, arena)
    plan = MemoryPlan(size, bound, peak_step, MappingProxyType(placements))
    return replace(plan, arena_nbytes=sum(plan.arenas))
