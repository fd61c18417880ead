"""How good the plans are: beside an exact solver, beside every order of the nodes."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

import numpy as np
from hypothesis import assume, given, settings
from random_graphs import ADD, INT8, PRODUCT, RELU, Q, graphs

from edgeq.graph import Graph, Node, Tensor
from edgeq.memory import plan_memory
from edgeq.memory.blocks import Block, Layout, aligned, layout_of, lower_bound
from edgeq.memory.search import Pairs, exact_size, find_offsets, lowest_fit
from edgeq.ops import Window
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.reshape import QuantizedReshape
from edgeq.passes import reorder as reorder_module
from edgeq.passes.arrange import arrange
from edgeq.passes.reorder import reorder


def random_layout(rng: random.Random, count: int, most_exact: int = 0) -> Layout:
    """Blocks of any lifetime; of those that hand over at one step, many slide.

    At most `most_exact` pairs begin at one byte or are apart.
    """
    steps = rng.randint(2, max(3, count))
    blocks = []
    for index in range(count):
        first = rng.randint(-1, steps - 1)
        last = min(steps, first + rng.choice((0, 1, 1, 2, 3, 5)))
        nbytes = rng.choice((rng.randint(1, 40), 4 * rng.randint(1, 60)))
        blocks.append(Block([str(index)], nbytes, first, last))
    slides, exact = {}, set()
    for i, a in enumerate(blocks):
        for j, b in enumerate(blocks):
            hands_over = b.first_step < b.last_step == a.first_step
            if hands_over and rng.random() < 0.7:
                if len(exact) < most_exact and rng.random() < 0.5:
                    exact.add((i, j))
                else:
                    slides[i, j] = 4 * rng.randint(0, a.nbytes // 4)
    return Layout(tuple(blocks), slides, steps, frozenset(exact))


def smallest_of_all_orders(layout: Layout) -> int:
    pairs = Pairs.from_layout(layout)
    count = len(layout.blocks)
    return min(lowest_fit(pairs, order)[0] for order in permutations(range(count)))


def test_the_exact_solver_equals_trying_every_order() -> None:
    rng = random.Random(4)
    for _ in range(60):
        layout = random_layout(rng, rng.randint(2, 6))
        assert exact_size(layout) == smallest_of_all_orders(layout)


def smallest_of_all_offsets(layout: Layout, most: int) -> int | None:
    """By trying every offset of every block in turn; None: more than `most` bytes."""
    blocks = layout.blocks

    def agree(i: int, j: int, at: list[int]) -> bool:
        distance = at[i] - at[j]
        pairs = ((i, j, -distance), (j, i, distance))
        if not blocks[i].meets(blocks[j]):
            return True
        if any((a, b) in layout.exact and d == 0 for a, b, d in pairs):
            return True
        slide = {(a, b): layout.slides.get((a, b)) for a, b, _ in pairs}
        return any(
            d >= (slide[a, b] if slide[a, b] is not None else aligned(blocks[a].nbytes))
            for a, b, d in pairs
        )

    def fits(at: list[int], size: int) -> bool:
        block = len(at)
        if block == len(blocks):
            return True
        for offset in range(0, size - blocks[block].nbytes + 1, 4):
            at.append(offset)
            if all(agree(block, other, at) for other in range(block)) and fits(at, size):
                return True
            at.pop()
        return False

    return next((size for size in range(most + 1) if fits([], size)), None)


def test_the_exact_solver_equals_trying_every_offset() -> None:
    rng = random.Random(6)
    joined = 0
    for _ in range(60):
        layout = random_layout(rng, rng.randint(2, 5), most_exact=2)
        blocks = tuple(replace(b, nbytes=1 + b.nbytes % 21) for b in layout.blocks)
        slides = {
            (i, j): min(d, 4 * (blocks[i].nbytes // 4)) for (i, j), d in layout.slides.items()
        }
        layout = replace(layout, blocks=blocks, slides=slides)
        size = exact_size(layout)
        assert size == smallest_of_all_offsets(layout, size)
        assert lower_bound(layout)[0] <= size
        joined += size < exact_size(replace(layout, exact=frozenset()))
    assert joined >= 5


def test_a_lower_bound_is_below_the_exact_and_the_plan_is_the_exact_in_95_of_100() -> None:
    rng = random.Random(5)
    equal = total = 0
    for _ in range(200):
        layout = random_layout(rng, rng.randint(5, 9), rng.choice((0, 1, 3)))
        bound, _ = lower_bound(layout)
        exact = exact_size(layout, bound)
        found, offsets = find_offsets(layout, bound)
        assert bound <= exact <= found <= sum(aligned(b.nbytes) for b in layout.blocks)
        assert found <= 1.25 * exact
        assert found == max(o + b.nbytes for o, b in zip(offsets, layout.blocks, strict=True))
        equal += found == exact
        total += 1
    assert equal >= 0.95 * total, f"{equal} of {total}"


@settings(max_examples=100, deadline=None)
@given(graphs(7))
def test_graphs_of_few_layers_have_the_exact_plan_nearly_always(graph: Graph) -> None:
    layout = layout_of(graph)
    assume(len(layout.blocks) <= 9)
    plan = plan_memory(graph)
    exact = exact_size(layout, plan.lower_bound_nbytes)
    assert plan.lower_bound_nbytes <= exact <= plan.arena_nbytes
    assert plan.arena_nbytes <= 1.25 * exact


def orders_of(graph: Graph) -> list[Graph]:
    found = []
    for nodes in permutations(graph.nodes):
        known = {*graph.inputs, *(n for n, t in graph.tensors.items() if t.data is not None)}
        for node in nodes:
            if not known.issuperset(node.inputs):
                break
            known.update(node.outputs)
        else:
            found.append(
                Graph.build("g", graph.tensors.values(), nodes, graph.inputs, graph.outputs)
            )
    return found


def test_a_reshape_that_nothing_reads_runs_while_its_input_lives_anyway() -> None:
    shapes = {"x": (1, 2, 2, 1), "y": (1, 3, 3, 1), "unread": (1, 1, 1, 4), "z": (1, 3, 3, 1)}
    nodes = [
        Node(QuantizedPad(((0, 0), (1, 0), (0, 1), (0, 0)), 5), ("x",), ("y",)),
        Node(QuantizedReshape((1, 1, 1, 4)), ("x",), ("unread",)),
        Node(ADD, ("y", "y"), ("z",)),
    ]
    tensors = [Tensor(name, shape, INT8, Q) for name, shape in shapes.items()]
    found = reorder(Graph.build("unread", tensors, nodes, ["x"], ["z"]))
    assert found.nodes[0].name == "unread"


@settings(max_examples=60, deadline=None)
@given(graphs(6))
def test_reordering_finds_the_order_of_least_peak(graph: Graph) -> None:
    peaks = [lower_bound(layout_of(other))[0] for other in orders_of(graph)]
    best = lower_bound(layout_of(reorder(graph)))[0]
    assert best == min(peaks)
    if lower_bound(layout_of(graph))[0] == best:
        assert reorder(graph) is graph


def two_branches() -> Graph:
    """Two wide tensors, each concatenated into a wider one; wide first, both would live."""
    shapes = {"x": 8, "a": 8, "b": 8, "aa": 64, "bb": 64, "ra": 8, "rb": 8, "y": 8}
    tensors = [Tensor(n, (1, 1, 1, size), INT8, Q) for n, size in shapes.items()]
    weights = np.zeros((8, 1, 1, 64), np.int8)
    tensors.append(Tensor("w", weights.shape, INT8, Q, weights))
    tensors.append(Tensor("bias", (8,), np.dtype(np.int32), Q, np.zeros(8, np.int32)))
    narrow = QuantizedConv2D(Window(1, 1), **PRODUCT)
    wide = QuantizedConcatenation(3)
    nodes = [
        Node(RELU, ("x",), ("a",)),
        Node(RELU, ("x",), ("b",)),
        Node(wide, ("a",) * 8, ("aa",)),
        Node(wide, ("b",) * 8, ("bb",)),
        Node(narrow, ("aa", "w", "bias"), ("ra",)),
        Node(narrow, ("bb", "w", "bias"), ("rb",)),
        Node(ADD, ("ra", "rb"), ("y",)),
    ]
    return Graph.build("branches", tensors, nodes, ["x"], ["y"])


def test_one_branch_after_the_other_needs_less(monkeypatch) -> None:
    graph = two_branches()
    assert plan_memory(graph).arena_nbytes == 64 + 64 + 8
    exact = reorder(graph)
    assert plan_memory(exact).arena_nbytes == 64 + 8 + 8
    assert {n.name for n in exact.nodes} == {n.name for n in graph.nodes}
    monkeypatch.setattr(reorder_module, "MOST_STATES", 3)
    greedy = reorder(graph)
    assert plan_memory(greedy).arena_nbytes == 64 + 8 + 8


@settings(max_examples=40, deadline=None)
@given(graphs(14))
def test_arranging_never_costs_memory_and_is_the_same_each_time(graph: Graph) -> None:
    arranged = arrange(graph)
    assert lower_bound(layout_of(arranged))[0] <= lower_bound(layout_of(graph))[0]
    again = arrange(graph)
    assert [n.name for n in again.nodes] == [n.name for n in arranged.nodes]
    assert dict(plan_memory(again).placements) == dict(plan_memory(arranged).placements)
