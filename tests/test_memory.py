"""The memory plan: what lives at one time overlaps only as its operator permits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from draws import drawn
from host_c import run_model
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import ADD, INT8, INT32, PRODUCT, SAME3, Q, graphs, input_of, values_of

from edgeq import Interpreter
from edgeq.errors import GraphError
from edgeq.graph import Graph, Node, Tensor
from edgeq.importers import read_model
from edgeq.memory import (
    ALIGNMENT,
    MemoryPlan,
    Overlap,
    Scratch,
    plan_memory,
    scratch_name,
)
from edgeq.memory.blocks import layout_of, shared_nbytes
from edgeq.ops import Window
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.mean import QuantizedMean
from edgeq.passes.arrange import arrange
from edgeq.passes.insert_moves import insert_moves
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.layers import choose_kernels, scratch_of
from firmware_gen.model_c import model_code


def permitted(
    graph: Graph, plan: MemoryPlan, a: str, b: str, exact: frozenset[str] = frozenset()
) -> bool:
    """Whether these two, live at one step, may overlap as they lie: RESHAPE, or a slide.

    The outputs of nodes in `exact` do not slide: they begin with their input.
    """
    source = {n: n for n in graph.tensors}
    for node in graph.nodes:
        if node.op.is_alias:
            source[node.name] = source[node.inputs[0]]
    if source.get(a, a) == source.get(b, b):
        return plan.placements[a].offset == plan.placements[b].offset
    dies = {source[n]: -1 for n in graph.tensors}
    for step, node in enumerate(graph.nodes):
        for name in node.inputs:
            dies[source[name]] = step
    for name in graph.outputs:
        dies[source[name]] = len(graph.nodes)
    for step, node in enumerate(graph.nodes):
        for out, x in ((a, b), (b, a)):
            # The two may also be other names of the operator's output and input.
            names = [n for n in node.inputs if source[n] == source.get(x)]
            if source.get(out) != node.name or not names or dies[source[x]] != step:
                continue
            shapes = [graph.tensors[n].shape for n in node.inputs]
            distance = plan.placements[x].offset - plan.placements[out].offset
            if node.name in exact:
                return distance == 0
            least = [
                node.op.overlap_nbytes(position, *shapes)
                for position, name in enumerate(node.inputs)
                if name in names
            ]
            return all(d is not None and distance >= d for d in least)
    return False


def check_plan(graph: Graph, plan: MemoryPlan, exact: frozenset[str] = frozenset()) -> None:
    names = list(plan.placements)
    for i, a in enumerate(names):
        p = plan.placements[a]
        assert p.offset % ALIGNMENT == 0
        assert p.end <= plan.arena_nbytes
        for b in names[i + 1 :]:
            q = plan.placements[b]
            together = p.first_step <= q.last_step and q.first_step <= p.last_step
            if together and p.offset < q.end and q.offset < p.end:
                assert permitted(graph, plan, a, b, exact), f"{a} and {b} overlap"
    assert plan.lower_bound_nbytes <= plan.arena_nbytes
    assert plan.arena_nbytes <= sum(
        -(-p.nbytes // ALIGNMENT) * ALIGNMENT for p in plan.placements.values()
    )


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_buffers_live_at_one_time_overlap_only_as_permitted(graph: Graph) -> None:
    check_plan(graph, plan_memory(graph))
    arranged = arrange(graph)
    check_plan(arranged, plan_memory(arranged))


@settings(max_examples=100, deadline=None)
@given(graphs(), st.booleans())
def test_outputs_that_do_not_slide_begin_with_their_input_or_lie_apart(
    graph: Graph, depthwise_only: bool
) -> None:
    exact = frozenset(
        node.name
        for node in graph.nodes
        if not depthwise_only or node.op.name == "depthwise_conv_2d"
    )
    nbytes = {node.name: 4 * (step % 3) for step, node in enumerate(graph.nodes)}
    scratch = Scratch(nbytes, exact)
    check_plan(graph, plan_memory(graph, scratch), exact)
    arranged = arrange(graph, scratch)
    check_plan(arranged, plan_memory(arranged, scratch), exact)


def test_a_chain_in_place_needs_no_slide_and_no_move() -> None:
    eight = chain(8)
    scratch = Scratch({}, (node.name for node in eight.nodes))
    plan = plan_memory(eight, scratch)
    assert plan.arena_nbytes == plan.lower_bound_nbytes == 144
    assert arrange(eight, scratch) is eight
    assert {plan.placements[f"x{i}"].offset for i in range(9)} == {0}


def test_a_plan_with_slides_is_refused_for_a_kernel_that_does_not_slide() -> None:
    window = Window(3, 3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
    weights, bias = np.ones((3, 3, 4), np.int8), np.zeros(4, np.int32)
    tensors = [Tensor("w", weights.shape, INT8, Q, weights)]
    tensors.append(Tensor("b", bias.shape, INT32, Q, bias))
    tensors += [Tensor(n, (1, 6, 6, 4), INT8, Q) for n in ("x", "y")]
    op = QuantizedDepthwiseConv2D(window, **PRODUCT | {"output_zero_point": -128})
    node = Node(op, ("x", "w", "b"), ("y",))
    graph = Graph.build("g", tensors, [node], ["x"], ["y"])
    dsp = Target(has_dsp=True)
    scratch = scratch_of(choose_kernels(graph, dsp))
    assert scratch.exact == {"y"}
    model_code(graph, plan_memory(graph, scratch), dsp)
    with pytest.raises(
        GraphError, match="y: shares 96 bytes with its input, but does not begin"
    ):
        model_code(graph, plan_memory(graph, dict(scratch)), dsp)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 2**32 - 1))
def test_running_in_the_arena_equals_running_with_separate_buffers(
    graph: Graph, seed: int
) -> None:
    x = input_of(graph, seed)
    values = values_of(graph, x)
    interpreter = Interpreter(graph, threads=1, progress=None)
    for _ in range(2):  # the second time in an arena full of the first
        outputs = interpreter.run(x)
        for name, ours in zip(graph.outputs, outputs, strict=True):
            np.testing.assert_array_equal(ours, values[name], err_msg=name)
    trace = interpreter.trace(x)
    assert set(trace) == {n for n, t in graph.tensors.items() if t.data is None}
    for name, ours in trace.items():
        np.testing.assert_array_equal(ours, values[name], err_msg=name)


@pytest.mark.parametrize(
    "target", [PORTABLE, Target(has_dsp=True), Target(has_mla=True), Target(has_mul64=False)]
)
def test_generated_c_in_the_arena_equals_separate_buffers(
    target: Target, tmp_path: Path
) -> None:
    made = [
        arrange(graph, scratch_of(choose_kernels(graph, target)))
        for graph in drawn(graphs(16), 12)
        if graph.nodes
    ]
    overlapping = 0
    for index, graph in enumerate(made):
        plan = plan_memory(graph, scratch_of(choose_kernels(graph, target)))
        overlapping += any(plan.overlaps_at(step) for step in range(len(graph.nodes)))
        folder = tmp_path / str(index)
        folder.mkdir()
        samples = [[input_of(graph, seed)] for seed in range(3)]
        got = run_model(folder, graph, plan, samples, ("-O2",), target)
        for (x,), outputs in zip(samples, got, strict=True):
            values = values_of(graph, x)
            assert outputs == [values[n].tobytes() for n in graph.outputs], graph.nodes
    assert overlapping >= 3


def test_scratch_is_part_of_the_plan_and_may_be_another() -> None:
    x = Tensor("x", (1, 2, 2, 3), INT8, Q)
    y = Tensor("y", (1, 1, 1, 3), INT8, Q)
    node = Node(QuantizedMean(True, 0, 0, 2**30, 1), ("x",), ("y",))
    graph = Graph.build("g", [x, y], [node], ["x"], ["y"])
    plan = plan_memory(graph)
    assert plan.placements[scratch_name(node)].nbytes == 12
    assert plan.lower_bound_nbytes == 12 + 3 + 12
    assert plan.peak_step == 0
    wider = plan_memory(graph, {"y": 30})
    assert wider.placements[scratch_name(node)].nbytes == 30
    assert scratch_name(node) not in plan_memory(graph, {"y": 0}).placements


def chain(length: int) -> Graph:
    """3x3 convolutions of 6x6x4, one after the other: each slides two rows of 24 bytes."""
    weights, bias = np.ones((4, 3, 3, 4), np.int8), np.zeros(4, np.int32)
    tensors = [Tensor("w", weights.shape, INT8, Q, weights)]
    tensors.append(Tensor("b", bias.shape, INT32, Q, bias))
    tensors += [Tensor(f"x{i}", (1, 6, 6, 4), INT8, Q) for i in range(length + 1)]
    op = QuantizedConv2D(SAME3, **PRODUCT)
    nodes = [Node(op, (f"x{i}", "w", "b"), (f"x{i + 1}",)) for i in range(length)]
    return Graph.build("chain", tensors, nodes, ["x0"], [f"x{length}"])


def test_a_chain_slides_through_itself_and_moves_take_the_slide_back() -> None:
    one = plan_memory(chain(1))
    assert one.arena_nbytes == one.lower_bound_nbytes == 144 + 48
    two = plan_memory(chain(2))
    assert two.arena_nbytes == 144 + 2 * 48
    assert two.lower_bound_nbytes == 144 + 48
    (row,) = one.overlaps_at(0)
    assert row == Overlap(0, "x1", "x0", 144 - 48)
    assert one.overlaps() == [row]
    # No slide and one disjoint copy cost the same after three layers; a copy, less.
    eight = chain(8)
    assert plan_memory(eight).arena_nbytes == 288
    moved = insert_moves(eight)
    assert {n.op.name for n in moved.nodes} == {"conv_2d", "move"}
    plan = plan_memory(moved)
    assert plan.arena_nbytes < 288
    check_plan(moved, plan)
    assert len(insert_moves(chain(1)).nodes) == 1


def test_an_output_shares_with_both_operands_of_add() -> None:
    tensors = [Tensor(n, (1, 4), INT8, Q) for n in ("a", "b", "c")]
    graph = Graph.build("g", tensors, [Node(ADD, ("a", "b"), ("c",))], ["a", "b"], ["c"])
    plan = plan_memory(graph)
    assert plan.arena_nbytes == plan.lower_bound_nbytes == 8
    assert shared_nbytes(4, [(4, 0), (4, 0)]) == 4
    assert shared_nbytes(10, [(4, 8), (10, 4)]) == 6
    assert shared_nbytes(10, [(4, 12)]) == 0
    assert shared_nbytes(10, []) == 0
    assert shared_nbytes(10, [(10, -10)]) == 10


def test_a_float_graph_has_no_plan() -> None:
    from networks import small_network

    with pytest.raises(GraphError, match="must be quantized to be planned"):
        layout_of(small_network())


@pytest.mark.parametrize(
    ("name", "most"), [("kws", 9216), ("ic", 34816), ("vww", 37632), ("ad", 2048)]
)
def test_the_arenas_of_the_real_models(name: str, most: int, model_path) -> None:
    graph = arrange(read_model(model_path(name)))
    plan = plan_memory(graph)
    check_plan(graph, plan)
    assert plan.arena_nbytes <= most
    assert plan.arena_nbytes <= 1.03 * plan.lower_bound_nbytes
