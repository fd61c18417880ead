"""MemoryPlan: where each activation and each kernel's scratch lives in the one arena.

Steps are node indices; a graph input is live from step -1, a graph output until the step after
the last node. An operator's output may share its input's bytes: always for RESHAPE, and for an
element-wise operator when nothing reads that input later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgeq.errors import GraphError
from edgeq.graph import Graph, Node
from edgeq.ops.op import IntegerOp

ALIGNMENT = 4  # bytes; of every offset: kernels read words


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an activation or a scratch buffer lives, and while which steps it is live."""

    offset: int  # bytes from the arena's start
    nbytes: int
    first_step: int  # -1 for a graph input
    last_step: int  # inclusive; the number of nodes for a graph output


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Offsets of one arena, its size, and the proof of how small it could be."""

    arena_nbytes: int
    lower_bound_nbytes: int  # the bytes live at peak_step: no plan can be smaller
    peak_step: int
    placements: Mapping[str, Placement]  # by tensor name; scratch under scratch_name(node)

    def live_at(self, step: int) -> list[str]:
        """Names of the buffers live at a step, by offset."""
        live = [n for n, p in self.placements.items() if p.first_step <= step <= p.last_step]
        return sorted(live, key=lambda n: (self.placements[n].offset, n))


def scratch_name(node: Node) -> str:
    """The name of a node's scratch buffer in MemoryPlan.placements."""
    return f"{node.name}:scratch"


@dataclass(slots=True)
class _Block:
    """Tensors that share bytes, or one scratch buffer."""

    names: list[str]
    nbytes: int
    first_step: int
    last_step: int

    def meets(self, other: _Block) -> bool:
        return self.first_step <= other.last_step and other.first_step <= self.last_step


def plan_memory(graph: Graph, scratch: Mapping[str, int] | None = None) -> MemoryPlan:
    """Place every activation and scratch buffer of an integer graph.

    `scratch` is what the kernels of a target need, bytes by name of the node; without it, what
    the interpreter's need.

    Greedy by several orders (size, lifetime, area), each buffer in the lowest gap that is free
    while it is live; the smallest result is kept, and none is tried further once it reaches the
    lower bound.

    Raises:
        GraphError: the graph is not quantized.
    """
    if not graph.is_quantized:
        raise GraphError(f"{graph.name}: is a float graph, must be quantized to be planned")
    blocks = _blocks(graph, scratch)
    bound, peak_step = _lower_bound(blocks, len(graph.nodes))
    best: dict[int, int] | None = None
    best_size = 0
    for order in _orders(blocks):
        offsets = _place(blocks, order)
        size = max((offsets[i] + blocks[i].nbytes for i in offsets), default=0)
        if best is None or size < best_size:
            best, best_size = offsets, size
        if best_size == bound:
            break
    assert best is not None
    placements = {}
    lives = _lifetimes(graph)
    for index, block in enumerate(blocks):
        for name in block.names:
            first, last = lives.get(name, (block.first_step, block.last_step))
            nbytes = graph.tensors[name].nbytes if name in lives else block.nbytes
            placements[name] = Placement(best[index], nbytes, first, last)
    return MemoryPlan(best_size, bound, peak_step, MappingProxyType(placements))


def _lifetimes(graph: Graph) -> dict[str, tuple[int, int]]:
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


def _blocks(graph: Graph, scratch: Mapping[str, int] | None) -> list[_Block]:
    lives = _lifetimes(graph)
    block_of: dict[str, _Block] = {}
    blocks: list[_Block] = []

    def add(name: str, nbytes: int, first: int, last: int) -> None:
        block = _Block([name], nbytes, first, last)
        block_of[name] = block
        blocks.append(block)

    for name in graph.inputs:
        add(name, graph.tensors[name].nbytes, *lives[name])
    for step, node in enumerate(graph.nodes):
        assert isinstance(node.op, IntegerOp)
        host = _host(graph, node, step, block_of, lives)
        for name in node.outputs:
            if host is not None:
                host.names.append(name)
                host.last_step = max(host.last_step, lives[name][1])
                block_of[name] = host
            else:
                add(name, graph.tensors[name].nbytes, *lives[name])
        if scratch is not None:
            nbytes = scratch[node.name]
        else:
            nbytes = node.op.scratch_nbytes(*(t.shape for t in graph.tensors_of(node.inputs)))
        if nbytes:
            blocks.append(_Block([scratch_name(node)], nbytes, step, step))
    return blocks


def _host(
    graph: Graph,
    node: Node,
    step: int,
    block_of: dict[str, _Block],
    lives: dict[str, tuple[int, int]],
) -> _Block | None:
    """The block of an input whose bytes the output takes over; None if there is none."""
    op = node.op
    assert isinstance(op, IntegerOp)
    if op.is_alias and node.inputs[0] in block_of:
        return block_of[node.inputs[0]]
    nbytes = graph.tensors[node.outputs[0]].nbytes
    for position in op.inplace_inputs:
        block = block_of.get(node.inputs[position])
        if block is None or graph.tensors[node.inputs[position]].nbytes != nbytes:
            continue
        if block.nbytes == nbytes and all(lives[name][1] <= step for name in block.names):
            return block
    return None


def _lower_bound(blocks: list[_Block], steps: int) -> tuple[int, int]:
    """(bytes, step) of the step at which most bytes are live."""
    totals = {
        step: sum(b.nbytes for b in blocks if b.first_step <= step <= b.last_step)
        for step in range(-1, steps + 1)
    }
    peak = max(totals, key=lambda step: (totals[step], -step))
    return totals[peak], peak


def _orders(blocks: list[_Block]) -> Iterable[list[int]]:
    def life(b: _Block) -> int:
        return b.last_step - b.first_step

    keys: list[Callable[[_Block], tuple[int, ...]]] = [
        lambda b: (-b.nbytes, b.first_step),
        lambda b: (-b.nbytes, -b.first_step),
        lambda b: (-life(b), -b.nbytes, b.first_step),
        lambda b: (-(life(b) + 1) * b.nbytes, b.first_step),
        lambda b: (b.first_step, -b.nbytes),
        lambda b: (-b.last_step, -b.nbytes),
    ]
    for key in keys:
        yield sorted(range(len(blocks)), key=lambda i: key(blocks[i]))


def _place(blocks: list[_Block], order: list[int]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for index in order:
        block = blocks[index]
        taken = sorted(
            (offset, offset + blocks[other].nbytes)
            for other, offset in offsets.items()
            if block.meets(blocks[other])
        )
        at = 0
        for start, end in taken:
            if at + block.nbytes <= start:
                break
            at = max(at, -(-end // ALIGNMENT) * ALIGNMENT)
        offsets[index] = at
    return offsets
