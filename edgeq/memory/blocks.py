"""Blocks of the arena: tensors that share bytes, scratch; when they live, how far two overlap.

Steps are node indices; a graph input is live from step -1, a graph output until the step after
the last node. A RESHAPE and its input are one block. Two blocks that live at one step are
disjoint, but for an operator's output and an input that dies there: `overlap_nbytes` of the
operator says how far below the input the output must start. A kernel that works in another
order than by rows (Scratch.exact) wants its output exactly over that input, or apart from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeq.errors import GraphError
from edgeq.graph import Graph, Node
from edgeq.ops.op import IntegerOp

ALIGNMENT = 4  # bytes; of every offset: kernels read words


class Scratch(dict[str, int]):
    """Bytes of scratch by name of the node, and the nodes whose output does not slide.

    The output of a node in `exact` begins at the same byte as an input that dies there, or has
    no byte in common with it.
    """

    def __init__(self, nbytes: Mapping[str, int], exact: Iterable[str] = ()) -> None:
        super().__init__(nbytes)
        self.exact = frozenset(exact)


def is_exact(node: Node, scratch: Mapping[str, int] | None) -> bool:
    """Whether the node is in Scratch.exact."""
    return isinstance(scratch, Scratch) and node.name in scratch.exact


def scratch_name(node: Node) -> str:
    """The name of a node's scratch buffer in MemoryPlan.placements."""
    return f"{node.name}:scratch"


def scratch_nbytes(graph: Graph, node: Node, scratch: Mapping[str, int] | None) -> int:
    """Bytes of scratch of a node: as the mapping says, by the node's name, else its operator.

    A node that the mapping does not have is one that passes/arrange.py has added: none.
    """
    if scratch is not None:
        return scratch.get(node.name, 0)
    assert isinstance(node.op, IntegerOp)
    return node.op.scratch_nbytes(*(t.shape for t in graph.tensors_of(node.inputs)))


def aligned(nbytes: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(slots=True)
class Block:
    """Tensors that share bytes, or one scratch buffer."""

    names: list[str]
    nbytes: int
    first_step: int
    last_step: int

    def meets(self, other: Block) -> bool:
        """Whether both are live at some step."""
        return self.first_step <= other.last_step and other.first_step <= self.last_step


@dataclass(frozen=True, slots=True)
class Layout:
    """What the search places: blocks, and which may overlap.

    `slides[out, x]` = d: block `out` may lie over block `x` if x starts d bytes or more after
    it; d is a multiple of ALIGNMENT. Pairs in `exact` begin at the same byte or are disjoint.
    Other pairs that meet are disjoint.
    """

    blocks: tuple[Block, ...]
    slides: dict[tuple[int, int], int]
    steps: int  # nodes of the graph
    exact: frozenset[tuple[int, int]] = frozenset()  # (out, x)


def lifetimes(graph: Graph) -> dict[str, tuple[int, int]]:
    """(first step, last step) of each activation."""
    first = dict.fromkeys(graph.inputs, -1)
    last = dict.fromkeys(graph.inputs, -1)
    for step, node in enumerate(graph.nodes):
        for name in node.outputs:
            first[name] = last[name] = step
        for name in node.inputs:
            if graph.tensors[name].data is None:
                last[name] = step
    for name in graph.outputs:
        if graph.tensors[name].data is None:
            last[name] = len(graph.nodes)
    return {name: (first[name], last[name]) for name in first}


def layout_of(graph: Graph, scratch: Mapping[str, int] | None = None) -> Layout:
    """The blocks of an integer graph; `scratch` as in plan_memory.

    Raises:
        GraphError: the graph is not quantized.
    """
    if not graph.is_quantized:
        raise GraphError(f"{graph.name}: is a float graph, must be quantized to be planned")
    lives = lifetimes(graph)
    blocks: list[Block] = []
    index_of: dict[str, int] = {}
    for name in graph.inputs:
        index_of[name] = len(blocks)
        blocks.append(Block([name], graph.tensors[name].nbytes, *lives[name]))
    for step, node in enumerate(graph.nodes):
        for name in node.outputs:
            source = index_of.get(node.inputs[0]) if _is_alias(node) else None
            if source is None:
                index_of[name] = len(blocks)
                blocks.append(Block([name], graph.tensors[name].nbytes, *lives[name]))
            else:
                index_of[name] = source
                blocks[source].names.append(name)
                blocks[source].last_step = max(blocks[source].last_step, lives[name][1])
        if nbytes := scratch_nbytes(graph, node, scratch):
            blocks.append(Block([scratch_name(node)], nbytes, step, step))
    slides: dict[tuple[int, int], int] = {}
    exact: set[tuple[int, int]] = set()
    for step, node in enumerate(graph.nodes):
        out = index_of[node.name]
        if len(node.outputs) == 1 and blocks[out].first_step == step:
            for x in sorted({index_of[n] for n in node.inputs if n in index_of}):
                distance = overlap_of(graph, node, blocks[x].names)
                if distance is None or blocks[x].last_step != step:
                    continue
                if is_exact(node, scratch):
                    exact.add((out, x))
                else:
                    slides[out, x] = distance
    return Layout(tuple(blocks), slides, len(graph.nodes), frozenset(exact))


def _is_alias(node: Node) -> bool:
    return isinstance(node.op, IntegerOp) and node.op.is_alias


def overlap_of(graph: Graph, node: Node, names: Sequence[str]) -> int | None:
    """overlap_nbytes of a node for the inputs of these names, aligned; None: disjoint."""
    assert isinstance(node.op, IntegerOp)
    shapes = [graph.tensors[name].shape for name in node.inputs]
    found = []
    for position, name in enumerate(node.inputs):
        if name in names:
            distance = node.op.overlap_nbytes(position, *shapes)
            if distance is None:
                return None
            found.append(aligned(distance))
    return max(found, default=None)


def shared_nbytes(out_nbytes: int, dying: Sequence[tuple[int, int]]) -> int:
    """The most bytes that an output can share with (bytes, distance) of its dying inputs.

    Those inputs are disjoint. An input that the output overlaps starts `distance` after it or
    later, so it covers at most its last out_nbytes - distance bytes; all of them together, at
    most what lies after the smallest distance. One that starts below the output shares nothing,
    unless the distance is negative: then it may share all.
    """
    rooms = [min(out_nbytes, out_nbytes - distance) for _, distance in dying]
    parts = (min(x, max(room, 0)) for (x, _), room in zip(dying, rooms, strict=True))
    return min(sum(parts), max(0, *rooms)) if dying else 0


def lower_bound(layout: Layout) -> tuple[int, int]:
    """(bytes, step): no plan has a smaller arena; the first step at which that many are needed.

    Proof: at a step, the blocks that live are disjoint, but for the node's output and dying
    inputs in `slides` and `exact`. The bytes that they cover are therefore the sum of their
    sizes less what the output shares with those inputs, which is at most shared_nbytes (of a
    pair in `exact`, that of a slide of 0); and the arena is no smaller than the bytes covered
    at any one step.
    """
    best, peak = 0, -1
    distances = layout.slides | dict.fromkeys(layout.exact, 0)
    for step in range(-1, layout.steps + 1):
        total = 0
        for b in layout.blocks:
            if b.first_step <= step <= b.last_step:
                total += b.nbytes
        slides: dict[int, list[tuple[int, int]]] = {}
        for (out, x), distance in distances.items():
            if layout.blocks[out].first_step == step:
                slides.setdefault(out, []).append((layout.blocks[x].nbytes, distance))
        for out, dying in slides.items():
            total -= shared_nbytes(layout.blocks[out].nbytes, dying)
        if total > best:
            best, peak = total, step
    return best, peak
