"""Several arenas: which block goes into which memory region of a board, the hot ones first.

Regions are in order of speed. A block is as hot as the multiplications per byte of the layers
that read it, so that scratch and the inputs of wide layers come before what is only copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.graph import Graph
from edgeq.memory.blocks import Block, Layout, lower_bound, scratch_name
from edgeq.memory.search import find_offsets
from edgeq.ops.op import IntegerOp

TRIALS = 60  # orders that each of many searches tries

# (region, offset) of each block.
Spread = list[tuple[int, int]]


def spread(graph: Graph, layout: Layout, capacities: Sequence[int]) -> Spread | None:
    """Places for all blocks within arenas of these sizes; None if none is found.

    Each block in turn goes into the first region in which it and all that are there already
    find offsets; the hottest first, and if that fails, the largest first. Then each region is
    made as small as it gets. Deterministic.
    """
    heat = _heat(graph, layout)
    blocks = range(len(layout.blocks))
    by_heat = sorted(blocks, key=lambda i: (-heat[i], i))
    by_size = sorted(blocks, key=lambda i: (-layout.blocks[i].nbytes, i))
    for order in (by_heat, by_size):
        regions = _assigned(layout, order, capacities)
        if regions is not None:
            return regions
    return None


def _assigned(layout: Layout, order: Sequence[int], capacities: Sequence[int]) -> Spread | None:
    members: list[list[int]] = [[] for _ in capacities]
    for block in order:
        for region, capacity in enumerate(capacities):
            wanted = sorted([*members[region], block])
            if find_offsets(_part(layout, wanted), capacity, TRIALS)[0] <= capacity:
                members[region] = wanted
                break
        else:
            return None
    found: dict[int, tuple[int, int]] = {}
    for region, wanted in enumerate(members):
        part = _part(layout, wanted)
        # The search that has stopped at the capacity, gone on with.
        _, offsets = find_offsets(part, lower_bound(part)[0], TRIALS)
        found |= {b: (region, at) for b, at in zip(wanted, offsets, strict=True)}
    return [found[b] for b in range(len(layout.blocks))]


def _part(layout: Layout, blocks: Sequence[int]) -> Layout:
    """The layout of some blocks alone."""
    index = {block: i for i, block in enumerate(blocks)}
    slides = {
        (index[out], index[x]): distance
        for (out, x), distance in layout.slides.items()
        if out in index and x in index
    }
    exact = frozenset(
        (index[out], index[x]) for out, x in layout.exact if out in index and x in index
    )
    return Layout(tuple(layout.blocks[b] for b in blocks), slides, layout.steps, exact)


def _heat(graph: Graph, layout: Layout) -> list[float]:
    return [_uses(graph, block) / block.nbytes for block in layout.blocks]


def _uses(graph: Graph, block: Block) -> int:
    """How often its bytes are read and written, as far as the operators tell."""
    total = 0
    for node in graph.nodes:
        assert isinstance(node.op, IntegerOp)
        if node.op.is_alias:
            continue
        macs = node.op.macs(*(t.shape for t in graph.tensors_of(node.inputs)))
        if scratch_name(node) in block.names:
            total += max(macs, block.nbytes)
        for name in {*node.inputs}.intersection(block.names):
            total += max(macs, graph.tensors[name].nbytes)
        total += sum(graph.tensors[n].nbytes for n in node.outputs if n in block.names)
    return total
