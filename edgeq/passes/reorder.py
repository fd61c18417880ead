"""Nodes in the order that needs the least memory; values do not depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from edgeq.graph import Graph, Node
from edgeq.memory.blocks import (
    is_exact,
    layout_of,
    lower_bound,
    overlap_of,
    scratch_nbytes,
    shared_nbytes,
)
from edgeq.ops.op import IntegerOp

MOST_STATES = 2000  # sets of finished nodes that the exact search looks at


def reorder(graph: Graph, scratch: Mapping[str, int] | None = None) -> Graph:
    """The same graph with its nodes permuted if that lowers the bytes live at the peak.

    Exact (the least peak over all orders) if the graph has at most MOST_STATES sets of nodes
    that can be finished together, as chains and residual networks have; else greedy: always the
    node that needs the least, then that which leaves the least. Deterministic.

    Raises:
        GraphError: the graph is not quantized.
    """
    peak, _ = lower_bound(layout_of(graph, scratch))
    costs = _Costs(graph, scratch)
    order = _exact(costs) or _greedy(costs)
    nodes = [graph.nodes[i] for i in order]
    other = Graph.build(graph.name, graph.tensors.values(), nodes, graph.inputs, graph.outputs)
    return other if lower_bound(layout_of(other, scratch))[0] < peak else graph


@dataclass(frozen=True, slots=True)
class _Root:
    """A tensor and all that RESHAPE makes of it."""

    names: list[str]
    nbytes: int
    producer: int  # a bit of the set of nodes; 0 for a graph input
    readers: int  # bits
    is_output: bool


class _Costs:
    """Bytes live while a node runs and after it, given the set of nodes finished before."""

    def __init__(self, graph: Graph, scratch: Mapping[str, int] | None) -> None:
        self.graph = graph
        self.count = len(graph.nodes)
        self.roots: list[_Root] = []
        self.root_of: dict[str, int] = {}
        producer = {n: 1 << i for i, node in enumerate(graph.nodes) for n in node.outputs}
        for name in (*graph.inputs, *(n for node in graph.nodes for n in node.outputs)):
            made_by = producer.get(name, 0)
            node = graph.nodes[made_by.bit_length() - 1] if made_by else None
            if node is not None and _is_alias(node) and node.inputs[0] in self.root_of:
                self.root_of[name] = self.root_of[node.inputs[0]]
                self.roots[self.root_of[name]].names.append(name)
            else:
                self.root_of[name] = len(self.roots)
                nbytes = graph.tensors[name].nbytes
                self.roots.append(_Root([name], nbytes, made_by, 0, False))
        self.needs = [0] * self.count  # bits of the nodes that a node waits for
        readers = [0] * len(self.roots)
        for i, node in enumerate(graph.nodes):
            for name in node.inputs:
                self.needs[i] |= producer.get(name, 0)
                if name in self.root_of:  # a RESHAPE too, if nothing reads what it makes
                    readers[self.root_of[name]] |= 1 << i
        outputs = {self.root_of[n] for n in graph.outputs if n in self.root_of}
        self.roots = [
            _Root(r.names, r.nbytes, r.producer, readers[i], i in outputs)
            for i, r in enumerate(self.roots)
        ]
        self.scratch = [scratch_nbytes(graph, node, scratch) for node in graph.nodes]
        self.slides = [self._slides(node, is_exact(node, scratch)) for node in graph.nodes]

    def _slides(self, node: Node, exact: bool) -> dict[int, int]:
        """Root of an input -> how far below it the output must start; exactly over it: 0."""
        if _is_alias(node) or len(node.outputs) != 1:
            return {}
        found = {}
        for root in {self.root_of[n] for n in node.inputs if n in self.root_of}:
            distance = overlap_of(self.graph, node, self.roots[root].names)
            if distance is not None:
                found[root] = 0 if exact else distance
        return found

    def ready(self, done: int) -> Iterable[int]:
        """The nodes that can run now."""
        for i in range(self.count):
            if not done >> i & 1 and self.needs[i] & ~done == 0:
                yield i

    def live(self, done: int, running: int = 0) -> int:
        """Bytes live between steps, or while nodes run."""
        return sum(
            r.nbytes
            for r in self.roots
            if r.producer & ~(done | running) == 0
            and (r.is_output or r.readers & ~done or r.producer & running)
        )

    def step(self, done: int, node: int) -> int:
        """Bytes live while a node runs, as memory.blocks.lower_bound counts them."""
        bit = 1 << node
        dying = [
            (self.roots[root].nbytes, distance)
            for root, distance in self.slides[node].items()
            if not self.roots[root].is_output and not self.roots[root].readers & ~(done | bit)
        ]
        out = self.graph.tensors[self.graph.nodes[node].name].nbytes
        return self.live(done, bit) + self.scratch[node] - shared_nbytes(out, dying)


def _is_alias(node: Node) -> bool:
    return isinstance(node.op, IntegerOp) and node.op.is_alias


def _exact(costs: _Costs) -> list[int] | None:
    """The order of least peak, the earliest among equals; None if there are too many sets."""
    everything = (1 << costs.count) - 1
    queue: list[tuple[int, tuple[int, ...], int]] = [(0, (), 0)]  # (peak, order, set)
    settled: set[int] = set()
    while queue:
        peak, order, done = heappop(queue)
        if done == everything:
            return list(order)
        if done in settled:
            continue
        settled.add(done)
        if len(settled) > MOST_STATES:
            return None
        for node in costs.ready(done):
            after = done | 1 << node
            if after not in settled:
                heappush(queue, (max(peak, costs.step(done, node)), (*order, node), after))
    return None


def _greedy(costs: _Costs) -> list[int]:
    order: list[int] = []
    done = 0
    while len(order) < costs.count:
        best = min(
            costs.ready(done),
            key=lambda i: (costs.step(done, i), costs.live(done | 1 << i), i),
        )
        order.append(best)
        done |= 1 << best
    return order
