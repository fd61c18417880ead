"""CONV_ADD: a convolution added to another operand by rows, where the plan gains by it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from draws import drawn
from firmware_matrix import board_of, linked
from host_c import planned, run_model
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import SAME3, IntegerNetwork, inputs_of
from test_fuse_rows import TARGETS, bound_of, check_outputs, names
from test_memory import check_plan
from toolchains import COMPILERS, need_compiler

from edgeq import Interpreter
from edgeq.digest import graph_digest
from edgeq.errors import GraphError
from edgeq.graph import Graph, Node, QuantParams
from edgeq.importers import read_model
from edgeq.memory import plan_memory, scratch_name
from edgeq.model_file import load_graph, save_graph
from edgeq.ops import Window
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.conv_add import QuantizedConvAdd
from edgeq.passes import optimize
from edgeq.passes.arrange import arrange, arrange_for_device
from edgeq.passes.fuse_rows import fuse_rows
from edgeq.passes.prove_accumulators import prove_accumulators
from edgeq.stream.verify import verify
from firmware_gen import build, generate
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.kernels import add, conv_2d
from firmware_gen.layers import arranged, choose_kernels, scratch_of
from firmware_gen.model_c import model_code
from firmware_gen.weights import PIXELS_A_READING

POINT = Window(1, 1)
SAME5 = Window(5, 5, pad_top=2, pad_bottom=2, pad_left=2, pad_right=2)
NARROW, WIDE = 8, 32


def bottleneck(
    last: Window = POINT, *, swapped: bool = False, channels: int = 4
) -> IntegerNetwork:
    """A residual block as of ResNet-50: fewer channels, 3 x 3, all channels, ADD."""
    net = IntegerNetwork((1, 12, 12, channels))
    x = net.conv("input", WIDE, POINT, zero_point=-128)
    small = net.conv(net.conv(x, NARROW, POINT, zero_point=-128), NARROW, zero_point=-128)
    y = scaled(net, net.conv(small, WIDE, last, zero_point=5), 0.3)
    net.add(*((x, y) if swapped else (y, x)), -128, 0.75)
    return net


def scaled(net: IntegerNetwork, x: str, scale: float) -> str:
    """The tensor with another scale, so that ADD's two operands are not alike."""
    quant = QuantParams((scale,), net.zero_point(x))
    net.tensors[x] = replace(net.tensors[x], quant=quant)
    return x


def basic(net: IntegerNetwork, x: str) -> str:
    """A residual block as of ResNet-8: two of 3 x 3, ADD."""
    channels = net.channels(x)
    y = net.conv(net.conv(x, channels, zero_point=-128), channels, zero_point=4)
    return net.add(x, scaled(net, y, 0.7), -128, 0.75)


def fused_node(graph: Graph) -> tuple[Node, QuantizedConvAdd]:
    (node,) = (n for n in graph.nodes if isinstance(n.op, QuantizedConvAdd))
    assert isinstance(node.op, QuantizedConvAdd)
    return node, node.op


def in_one(graph: Graph, conv: str, total: str, rows: int = 1) -> Graph:
    """The graph with a convolution and the ADD that has it for its first input as one."""
    nodes = {node.name: node for node in graph.nodes}
    first, last = nodes.pop(conv), nodes[total]
    assert isinstance(first.op, QuantizedConv2D)
    assert isinstance(last.op, QuantizedAdd)
    op = QuantizedConvAdd(first.op, last.op, rows)
    nodes[total] = Node(op, (*first.inputs, last.inputs[1]), last.outputs)
    return Graph.build(
        graph.name, graph.tensors.values(), nodes.values(), graph.inputs, graph.outputs
    )


def with_op(graph: Graph, op: QuantizedConvAdd) -> Graph:
    """The graph with another operator in the place of its CONV_ADD."""
    nodes = [
        replace(n, op=op) if isinstance(n.op, QuantizedConvAdd) else n for n in graph.nodes
    ]
    return Graph.build(graph.name, graph.tensors.values(), nodes, graph.inputs, graph.outputs)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_bottleneck_adds_into_the_place_of_the_other_operand(swapped: bool) -> None:
    graph = bottleneck(swapped=swapped).build()
    fused = fuse_rows(graph)
    assert names(fused) == ["conv_2d"] * 3 + ["conv_add"]
    assert fused.outputs == graph.outputs
    wide, small = 12 * 12 * WIDE, 12 * 12 * NARROW
    # Apart: both operands of ADD and a row, from which the convolution makes one in its place.
    assert bound_of(graph) == 2 * wide + 12 * NARROW
    # In one: the other operand, what the convolution reads, and a row that it makes.
    assert bound_of(fused) == wide + small + 12 * WIDE
    plan = plan_memory(fused)
    assert plan.arena_nbytes == bound_of(fused)
    node, op = fused_node(fused)
    output, summand = (plan.placements[n].offset for n in (node.name, node.inputs[3]))
    assert output == summand
    assert plan.placements[scratch_name(node)].nbytes == op.rows_at_once * 12 * WIDE
    check_plan(fused, plan)
    check_outputs(graph, fused)


def test_what_is_added_is_kept_where_it_is_read_again() -> None:
    net = bottleneck()
    x, conv, total = (net.nodes[index].name for index in (0, -2, -1))
    net.add(total, x)
    graph = net.build()
    fused = in_one(graph, conv, total)
    plan = plan_memory(fused)
    check_plan(fused, plan)
    kept, made = plan.placements[x], plan.placements[total]
    assert made.end <= kept.offset or kept.end <= made.offset
    check_outputs(graph, fused)


@pytest.mark.parametrize(
    "window", [SAME3, SAME5, Window(3, 3, 2, 2, pad_bottom=1, pad_right=1)]
)
def test_any_number_of_rows_at_once_is_the_same_function(
    window: Window, tmp_path: Path
) -> None:
    net = IntegerNetwork((1, 24, 8, 4))
    height, _ = window.output_extent(24, 8)
    y = net.conv("input", 8, window)
    net.add(
        y, net.conv("input", 8, replace(POINT, stride_h=24 // height, stride_w=24 // height))
    )
    graph = net.build()
    x = inputs_of(graph, 2)
    (expected,) = Interpreter(graph, threads=1, progress=None).run(x)
    possible = []
    for rows in range(1, height + 1):
        try:
            fused = in_one(graph, y, graph.nodes[-1].name, rows)
        except GraphError:
            continue
        possible.append(rows)
        check_outputs(graph, fused)
        got = run_model(tmp_path, fused, planned(fused), [[one] for one in x])
        assert [y for (y,) in got] == [y.tobytes() for y in expected]
    least = max(window.pad_top, window.pad_bottom, 1)
    assert possible == [n for n in range(least, height + 1) if height % n == 0]


def test_more_rows_are_made_at_once_where_another_layer_needs_more_memory() -> None:
    fused = fuse_rows(bottleneck(channels=56).build())
    _, op = fused_node(fused)
    assert bound_of(fused) == 12 * 12 * 56 + 12 * WIDE  # the first layer, a row below its input
    assert op.rows_at_once == 6, "of 12: seven would fit"
    assert bound_of(with_op(fused, replace(op, rows_at_once=1))) == bound_of(fused)
    assert bound_of(with_op(fused, replace(op, rows_at_once=12))) > bound_of(fused)


def test_of_two_convolutions_that_are_added_one_is_made_by_rows() -> None:
    net = IntegerNetwork((1, 12, 12, 4))
    narrow = net.conv("input", NARROW, zero_point=-128)
    net.add(net.conv(narrow, WIDE, POINT), net.conv("input", WIDE, POINT))
    graph = net.build()
    fused = fuse_rows(graph)
    assert sorted(names(fused)) == ["conv_2d", "conv_2d", "conv_add"]
    assert bound_of(fused) < bound_of(graph)
    check_outputs(graph, fused)


@pytest.mark.parametrize("reason", ["output", "reader", "broadcast", "twice", "bytes", "none"])
def test_what_cannot_be_one(reason: str) -> None:
    net = IntegerNetwork((1, 11, 13, 5 if reason == "bytes" else 4))
    channels = 5 if reason == "bytes" else WIDE
    x = net.conv("input", channels, zero_point=-128)
    small = net.conv(x, 1 if reason == "bytes" else NARROW, zero_point=-128)
    y = net.conv(small, channels, POINT)
    other = net.constant(net.weights(1, 1, 1, channels)) if reason == "broadcast" else x
    if reason == "broadcast":
        net.tensors[other] = replace(net.tensors[other], quant=net.tensors[x].quant)
    outputs = [net.add(y, y if reason == "twice" else other)]
    if reason == "output":
        outputs.append(y)
    if reason == "reader":
        outputs.append(net.conv(y, 4, POINT))
    assert ("conv_add" in names(fuse_rows(net.build(*outputs)))) == (reason == "none")


def test_wrong_operators_are_refused_with_what_is_wrong() -> None:
    fused = fuse_rows(bottleneck(SAME5).build())
    node, op = fused_node(fused)
    shapes = [t.shape for t in fused.tensors_of(node.inputs)]
    with pytest.raises(GraphError, match="rows_at_once is 0"):
        replace(op, rows_at_once=0)
    with pytest.raises(GraphError, match="by 'tflm', the second by 'single'"):
        replace(op, add=replace(op.add, rounding="single"))
    with pytest.raises(GraphError, match="12 rows, must be a multiple of 5"):
        replace(op, rows_at_once=5).infer_shapes(*shapes)
    with pytest.raises(GraphError, match="2 rows of padding above and 2 below"):
        replace(op, rows_at_once=1).infer_shapes(*shapes)
    with pytest.raises(GraphError, match="is added to"):
        op.infer_shapes(*shapes[:3], (1, 1, 12, WIDE))


@st.composite
def residuals(draw: st.DrawFn) -> Graph:
    """Residual blocks of both kinds, with and without a convolution beside."""
    net = IntegerNetwork(
        (1, draw(st.sampled_from((12, 16))), 8, 4), seed=draw(st.integers(0, 99))
    )
    x = net.conv("input", draw(st.sampled_from((16, 24))), zero_point=-128)
    for index in range(draw(st.integers(1, 3))):
        kinds = ("thin", "beside", "basic")
        channels, kind = net.channels(x), draw(st.sampled_from(kinds if index else kinds[:2]))
        if kind == "basic":
            x = basic(net, x)
            continue
        more = channels * 2 if kind == "beside" else channels
        y = net.conv(net.conv(x, 4, POINT, zero_point=-128), 4, zero_point=-128)
        y = net.conv(y, more, draw(st.sampled_from((POINT, SAME3, SAME5))), zero_point=3)
        other = net.conv(x, more, POINT, zero_point=-7) if kind == "beside" else x
        y = scaled(net, y, draw(st.sampled_from((0.2, 0.5, 1.1))))
        pair = (y, other) if draw(st.booleans()) else (other, y)
        x = net.add(*pair, draw(st.sampled_from((-128, 0))), draw(st.sampled_from((0.5, 0.8))))
    return net.build(*{x, draw(st.sampled_from((x, x, x, x, net.nodes[0].name)))})


@settings(max_examples=40, deadline=None)
@given(residuals())
def test_fusing_keeps_every_output_and_never_costs_memory(graph: Graph) -> None:
    fused = arrange_for_device(graph)
    plan = plan_memory(fused)
    assert plan.arena_nbytes <= plan_memory(arrange(graph)).arena_nbytes
    check_plan(fused, plan)
    check_outputs(graph, fused)


@pytest.mark.parametrize("target", TARGETS)
def test_generated_c_in_the_arena_gives_the_interpreters_bytes(
    target: Target, tmp_path: Path
) -> None:
    count = 0
    for index, graph in enumerate(drawn(residuals(), 60)):
        fused = arranged(graph, target, "balanced").graph
        if index >= 12 and "conv_add" not in names(fused):
            continue
        if index >= 12 and count >= 4:
            break
        count += "conv_add" in names(fused)
        folder = tmp_path / str(index)
        folder.mkdir()
        samples = inputs_of(graph, 3)
        got = run_model(
            folder, fused, planned(fused, target), [[x] for x in samples], (), target
        )
        expected = Interpreter(graph, threads=1, progress=None).run(samples)
        for row, wanted in zip(got, zip(*expected, strict=True), strict=True):
            assert row == [y.tobytes() for y in wanted], names(fused)
    assert count >= 4


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("target", ["nucleo_g0b1re", "m4"])
@pytest.mark.parametrize("last", [POINT, SAME3], ids=["point", "same3"])
def test_a_board_gives_the_interpreters_bytes(
    last: Window, target: str, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    board, graph = board_of(target), bottleneck(last).build()
    firmware = generate(graph, board, tmp_path, self_test=0, optimize="balanced")
    assert "conv_add" in names(firmware.optimized)
    elf = build(firmware, compiler).elf
    samples = inputs_of(graph)
    with linked(elf, board, "virtual") as link:
        for x in samples:
            assert verify(link, graph, [x[np.newaxis]]).is_equal


def test_the_manifest_says_which_kernels_serve_and_the_filter_is_in_flash_once() -> None:
    graph = bottleneck(SAME3).build()
    fused = fuse_rows(graph)
    for target in TARGETS:
        choices = choose_kernels(fused, target)
        plan = plan_memory(fused, scratch_of(choices))
        code = model_code(fused, plan, target)
        *_, layer = json.loads(code.manifest.json())["layers"]
        assert (layer["operator"], layer["kernel"]) == ("conv_add", "by_rows")
        roles = [part["role"] for part in layer["parts"]]
        assert roles == ["conv_first", "conv", "conv_last", "add"]
        assert [part["constant_nbytes"] > 0 for part in layer["parts"]] == [
            True,
            False,
            False,
            False,
        ]
        apart = model_code(
            graph, plan_memory(graph, scratch_of(choose_kernels(graph, target))), target
        )
        assert code.constant_nbytes == apart.constant_nbytes
        *_, conv, total = apart.manifest.layers
        assert [p["kernel"] for p in layer["parts"]] == [conv.kernel] * 3 + [total.kernel]
        whole = choices[-1]
        assert whole.scratch_nbytes == fused_node(fused)[1].rows_at_once * 12 * WIDE + max(
            c.scratch_nbytes for c in whole.parts.values()
        )
        assert sum(c.macs for c in whole.kernels()) == choose_kernels(graph, target)[-2].macs
    portable = choose_kernels(fused, PORTABLE)[-1].parts
    assert set(portable["conv"].why_not) == {v.name for v in conv_2d.KERNEL.variants}
    assert set(portable["add"].why_not) <= {v.name for v in add.KERNEL.variants}


def test_readings_of_the_filter_are_those_of_all_rows(tmp_path: Path) -> None:
    graph, board = bottleneck(SAME3).build(), board_of("m4")
    firmware = generate(graph, board, tmp_path, self_test=0, optimize="balanced")
    *_, found = firmware.model.manifest.constants
    assert found.layer.endswith("_conv_first")
    assert found.readings == 12 * 12 // PIXELS_A_READING["conv_2d_dsp.h"]


def test_a_fused_layer_is_proven_saved_and_digested_as_any(tmp_path: Path) -> None:
    fused = fuse_rows(bottleneck().build())
    path = tmp_path / "fused.edgeq"
    save_graph(fused, path)
    again = load_graph(path)
    assert again.nodes[-1].op == fused.nodes[-1].op
    assert graph_digest(again) == graph_digest(fused)
    _, op = fused_node(fused)
    wide = replace(op.conv, shift=tuple(20 for _ in op.conv.shift))
    graph = with_op(fused, replace(op, conv=wide))
    assert graph_digest(graph) != graph_digest(fused)
    with pytest.raises(GraphError, match="must fit in int32"):
        prove_accumulators(graph)
    other = replace(op.add, output_zero_point=1)
    assert graph_digest(with_op(fused, replace(op, add=other))) != graph_digest(fused)


def test_the_residual_model_needs_a_row_instead_of_two(model_path) -> None:
    """Its largest convolution slid two rows below its input; now one is made in scratch."""
    graph = optimize(read_model(model_path("ic")))
    for target in TARGETS:
        found = arranged(graph, target, "balanced")
        node, op = fused_node(found.graph)
        assert found.graph.tensors[node.name].shape == (1, 32, 32, 16)
        assert op.rows_at_once == 1
        arenas = [
            plan_memory(g, scratch_of(choose_kernels(g, target, "balanced"))).arena_nbytes
            for g in (found.graph, arrange(graph))
        ]
        assert arenas[1] - arenas[0] == 32 * 16
