"""The memory plan: nothing that lives at one time overlaps, on graphs made at random."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.graph import Graph, Node, QuantParams, Tensor
from edgeq.memory import ALIGNMENT, plan_memory, scratch_name
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.mean import QuantizedMean
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape

Q = QuantParams((0.5,), 0)
INT8 = np.dtype(np.int8)
ADD = QuantizedAdd(0, 0, 0, 2**30, 0, 2**30, 0, 2**30, -19, -128, 127)
RELU = QuantizedRelu(0, 0, 2**30, 1, 0, 127)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A random graph of operators that copy, change in place, alias, and need scratch."""
    tensors = {"x0": Tensor("x0", (1, *draw(st.tuples(*[st.integers(1, 6)] * 3))), INT8, Q)}
    nodes: list[Node] = []
    for index in range(draw(st.integers(1, 12))):
        source = tensors[draw(st.sampled_from(sorted(tensors)))]
        other = draw(
            st.sampled_from(sorted(t for t in tensors if tensors[t].shape == source.shape))
        )
        size = math.prod(source.shape)
        kind = draw(st.sampled_from(["add", "relu", "reshape", "concatenation", "mean"]))
        op, inputs = {
            "add": (ADD, (source.name, other)),
            "relu": (RELU, (source.name,)),
            "reshape": (QuantizedReshape((1, 1, 1, size)), (source.name,)),
            "concatenation": (QuantizedConcatenation(3), (source.name, other)),
            "mean": (QuantizedMean(True, 0, 0, 2**30, 1), (source.name,)),
        }[kind]
        (shape,) = op.infer_shapes(*(tensors[t].shape for t in inputs))
        name = f"x{index + 1}"
        tensors[name] = Tensor(name, shape, INT8, Q)
        nodes.append(Node(op, inputs, (name,)))
    outputs = draw(
        st.lists(st.sampled_from(sorted(tensors)), min_size=1, max_size=2, unique=True)
    )
    return Graph.build("random", tensors.values(), nodes, ["x0"], outputs)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_buffers_live_at_one_time_overlap_only_where_they_are_one(graph: Graph) -> None:
    plan = plan_memory(graph)
    shared = _shared_with_permission(graph)
    names = list(plan.placements)
    for i, a in enumerate(names):
        p = plan.placements[a]
        assert p.offset % ALIGNMENT == 0
        assert p.offset + p.nbytes <= plan.arena_nbytes
        for b in names[i + 1 :]:
            q = plan.placements[b]
            together = p.first_step <= q.last_step and q.first_step <= p.last_step
            overlap = p.offset < q.offset + q.nbytes and q.offset < p.offset + p.nbytes
            if together and overlap:
                assert p.offset == q.offset
                assert (a, b) in shared, f"{a} and {b} overlap"
    assert plan.lower_bound_nbytes <= plan.arena_nbytes
    assert plan.arena_nbytes <= sum(
        -(-p.nbytes // ALIGNMENT) * ALIGNMENT for p in plan.placements.values()
    )


def _shared_with_permission(graph: Graph) -> set[tuple[str, str]]:
    """Pairs that may share bytes: joined by chains of RESHAPE and element-wise operators."""
    group = {name: {name} for name in graph.tensors}
    for node in graph.nodes:
        op = node.op
        if op.is_alias or op.inplace_inputs:
            for position in op.inplace_inputs or (0,):
                joined = group[node.inputs[position]] | group[node.outputs[0]]
                for name in joined:
                    group[name] = joined
    return {(a, b) for a, others in group.items() for b in others}


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(0, 2**32))
def test_running_in_the_arena_equals_running_with_separate_buffers(
    graph: Graph, seed: int
) -> None:
    from edgeq import Interpreter

    shape = graph.input_tensors()[0].shape
    x = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    values = {"x0": x}
    for node in graph.nodes:
        values.update(
            zip(node.outputs, node.op.reference(*(values[n] for n in node.inputs)), strict=True)
        )
    outputs = Interpreter(graph, threads=1, progress=None).run(x)
    for name, ours in zip(graph.outputs, outputs, strict=True):
        np.testing.assert_array_equal(ours, values[name], err_msg=name)


def test_scratch_is_part_of_the_plan() -> None:
    x = Tensor("x", (1, 2, 2, 3), INT8, Q)
    y = Tensor("y", (1, 1, 1, 3), INT8, Q)
    node = Node(QuantizedMean(True, 0, 0, 2**30, 1), ("x",), ("y",))
    plan = plan_memory(Graph.build("g", [x, y], [node], ["x"], ["y"]))
    assert plan.placements[scratch_name(node)].nbytes == 12
    assert plan.lower_bound_nbytes == 12 + 3 + 12
    assert plan.peak_step == 0
