"""Two layers in one by rows: where the plan gains by it, nowhere else, and the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from cli import CommandLine
from draws import drawn
from firmware_matrix import board_of
from host_c import planned, run_model
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import IntegerNetwork, inputs_of
from random_graphs import graphs, input_of
from test_memory import check_plan

from edgeq import Interpreter
from edgeq.digest import graph_digest
from edgeq.errors import GraphError, ImportFailure
from edgeq.graph import Graph, Node
from edgeq.importers import read_model
from edgeq.memory import plan_memory, scratch_name
from edgeq.memory.blocks import layout_of, lower_bound
from edgeq.model_file import load_graph, save_graph
from edgeq.ops import Window
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.passes import optimize
from edgeq.passes.arrange import (
    arrange,
    arrange_for_device,
    arrangement_for_device,
    copied_nbytes,
)
from edgeq.passes.fuse_rows import LEAST_GAIN_NBYTES, fuse_rows
from edgeq.passes.insert_moves import COPY_PRICE
from edgeq.passes.prove_accumulators import prove_accumulators
from firmware_gen import generate
from firmware_gen.arenas import PROGRAM_RAM_NBYTES
from firmware_gen.cores import CORES, PORTABLE, Target, core_of
from firmware_gen.kernels import conv_2d, depthwise_conv_2d
from firmware_gen.layers import arranged, choose_kernels, scratch_of
from firmware_gen.linker_script import GUARD_NBYTES, STACK_NBYTES
from firmware_gen.model_c import model_code

POINT, SAME3 = Window(1, 1), Window(3, 3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
HALVED = Window(3, 3, 2, 2, pad_bottom=1, pad_right=1)
TARGETS = tuple(dict.fromkeys((PORTABLE, *(core.target for core in CORES.values()))))


def depthwise(net: IntegerNetwork, x: str, window: Window = SAME3) -> str:
    weights = net.weights(window.filter_h, window.filter_w, net.channels(x))
    return net.product("depthwise", x, weights, window=window, zero_point=-128)


def bottleneck(window: Window = HALVED, width: int = 16, channels: int = 16) -> IntegerNetwork:
    """x -> 1x1 to many channels -> depthwise: what is between is the largest tensor."""
    net = IntegerNetwork((1, 16, width, 4))
    depthwise(net, net.conv("input", channels, POINT), window)
    return net


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def bound_of(graph: Graph) -> int:
    return lower_bound(layout_of(graph))[0]


def check_outputs(graph: Graph, other: Graph) -> None:
    x = inputs_of(graph)
    expected = Interpreter(graph, threads=1, progress=None).run(x)
    for a, b in zip(expected, Interpreter(other, threads=1, progress=None).run(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_tensor_in_between_shrinks_to_the_rows_that_the_filter_reaches() -> None:
    graph = bottleneck().build()
    fused = fuse_rows(graph)
    assert names(fused) == ["conv_depthwise"]
    assert fused.outputs == graph.outputs
    plan = plan_memory(fused)
    # Input, three rows, the list of nine taps; the output lies over the input.
    rows, taps = 3 * 16 * 16, 8 * 9
    assert plan.placements[scratch_name(fused.nodes[0])].nbytes == rows + taps
    assert plan.arena_nbytes == 16 * 16 * 4 + rows + taps
    check_plan(fused, plan)
    check_outputs(graph, fused)
    (node,) = fused.nodes
    assert node.op.macs(*(t.shape for t in fused.tensors_of(node.inputs))) == sum(
        n.op.macs(*(t.shape for t in graph.tensors_of(n.inputs))) for n in graph.nodes
    )


def test_more_rows_are_made_at_once_where_another_layer_needs_more_memory() -> None:
    net = IntegerNetwork((1, 16, 16, 4))
    wide = net.conv("input", 14, Window(2, 2, 2, 2))  # 8x8x14 beside 16x16x4
    small = depthwise(net, net.conv(wide, 64, POINT), HALVED)  # 8x8x64 between, 4x4x64
    net.conv(small, 224, POINT)  # 16 * 224 bytes and what is left of 16 * 64
    graph = net.build()
    fused = fuse_rows(graph)
    assert names(fused) == ["conv_2d", "conv_depthwise", "conv_2d"]
    node = fused.nodes[1]
    assert isinstance(node.op, QuantizedConvDepthwise)
    assert node.op.rows_at_once == 2, "of 4: five of eight rows in between"
    one = with_op(fused, replace(node.op, rows_at_once=1))
    four = with_op(fused, replace(node.op, rows_at_once=4))
    assert bound_of(one) == bound_of(fused) < bound_of(four)
    assert copied_nbytes(one) == 3 * copied_nbytes(fused) > 0 == copied_nbytes(four)
    for other in (one, fused, four):
        check_plan(other, plan_memory(other))
        check_outputs(graph, other)
    with pytest.raises(GraphError, match="4 rows, must be a multiple of 3"):
        with_op(fused, replace(node.op, rows_at_once=3))


def test_what_is_not_at_the_peak_stays_as_it_is() -> None:
    net = bottleneck()
    wide = net.conv(net.nodes[-1].name, 64, Window(3, 3))  # 6x6x64 from 8x8x16: small
    small = net.conv(wide, 8, POINT)
    depthwise(net, small)
    fused = fuse_rows(net.build())
    assert names(fused) == ["conv_depthwise", "conv_2d", "conv_2d", "depthwise_conv_2d"]


def test_nothing_is_fused_that_gains_nothing() -> None:
    narrow = IntegerNetwork((1, 16, 16, 16))  # the depthwise layer's output is as large
    depthwise(narrow, narrow.conv("input", 16, POINT))
    graph = narrow.build()
    assert fuse_rows(graph) is graph
    assert "conv_depthwise" not in names(arrange_for_device(graph))


def test_two_pairs_that_share_the_peak_are_both_fused() -> None:
    net = IntegerNetwork((1, 16, 16, 4))
    x = depthwise(net, net.conv("input", 16, POINT), HALVED)  # 8x8x16
    depthwise(net, net.conv(x, 64, POINT), HALVED)  # 8x8x64 between: as much as 16x16x16
    graph = net.build()
    assert names(fuse_rows(graph)) == ["conv_depthwise", "conv_depthwise"]
    check_outputs(graph, fuse_rows(graph))


@pytest.mark.parametrize("reason", ["output", "reader", "dilation", "3x3", "bytes"])
def test_pairs_that_cannot_be_one(reason: str) -> None:
    width, channels = (15, 14) if reason == "bytes" else (16, 16)
    net = IntegerNetwork((1, 16, width, 4))
    first = net.conv("input", channels, SAME3 if reason == "3x3" else POINT)
    window = replace(HALVED, dilation_h=2) if reason == "dilation" else HALVED
    last = depthwise(net, first, window)
    outputs = [last]
    if reason == "output":
        outputs.append(first)
    if reason == "reader":
        outputs.append(net.conv(first, 4, POINT))
    graph = net.build(*outputs)
    assert fuse_rows(graph) is graph
    allowed = IntegerNetwork((1, 16, 16, 4))
    depthwise(allowed, allowed.conv("input", 16, POINT), HALVED)
    assert names(fuse_rows(allowed.build())) == ["conv_depthwise"], "else this test is vain"


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 2**32 - 1))
def test_fusing_keeps_every_output_and_never_costs_memory(graph: Graph, seed: int) -> None:
    fused = arrange_for_device(graph)
    assert plan_memory(fused).arena_nbytes <= plan_memory(arrange(graph)).arena_nbytes
    check_plan(fused, plan_memory(fused))
    x = input_of(graph, seed)
    ours = Interpreter(fused, threads=1, progress=None).run(x)
    theirs = Interpreter(graph, threads=1, progress=None).run(x)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@st.composite
def bottlenecks(draw: st.DrawFn) -> Graph:
    """Chains of expanding, depthwise and reducing layers, as MobileNet has them."""
    net = IntegerNetwork(
        (1, draw(st.sampled_from((9, 12, 16))), 8, 4), seed=draw(st.integers(0, 99))
    )
    x = "input"
    for _ in range(draw(st.integers(1, 3))):
        x = net.conv(x, draw(st.sampled_from((16, 24, 32))), POINT, zero_point=-128)
        x = depthwise(net, x, draw(st.sampled_from((SAME3, HALVED, Window(2, 3, 3, 1)))))
        if draw(st.booleans()):
            x = net.conv(x, draw(st.sampled_from((4, 8))), POINT)
        if min(net.tensors[x].shape[1:3]) < 3:
            break
    return net.build()


@pytest.mark.parametrize("target", TARGETS)
def test_generated_c_in_the_arena_gives_the_interpreters_bytes(
    target: Target, tmp_path: Path
) -> None:
    count = 0
    for index, graph in enumerate(drawn(bottlenecks(), 60)):
        fused = arranged(graph, target).graph
        if index >= 12 and "conv_depthwise" not in names(fused):
            continue
        if index >= 12 and count >= 4:
            break
        count += "conv_depthwise" in names(fused)
        folder = tmp_path / str(index)
        folder.mkdir()
        samples = inputs_of(graph, 3)
        got = run_model(
            folder, fused, planned(fused, target), [[x] for x in samples], (), target
        )
        (expected,) = Interpreter(graph, threads=1, progress=None).run(samples)
        assert [y for (y,) in got] == [y.tobytes() for y in expected], names(fused)
    assert count >= 4


def test_the_manifest_says_which_kernels_make_the_rows_and_why_no_others() -> None:
    fused = fuse_rows(bottleneck().build())
    for target in TARGETS:
        (choice,) = choose_kernels(fused, target)
        assert list(choice.parts) == ["expand", "depthwise"]
        plan = plan_memory(fused, scratch_of((choice,)))
        code = model_code(fused, plan, target, layers_in_one="because")
        manifest = json.loads(code.manifest.json())
        assert manifest["layers_in_one"] == "because"
        (layer,) = manifest["layers"]
        assert layer["kernel"] == "by_rows"
        written = choice.emit(fused.nodes[0].op, choice.layer)
        for part, (role, chosen) in zip(layer["parts"], choice.parts.items(), strict=True):
            assert part == {
                "role": role,
                "kernel": chosen.variant,
                "header": chosen.header,
                "why_not": dict(chosen.why_not),
                "copy": "own",
                "constant_nbytes": written.parts[role].constant_nbytes(),
            }
            assert chosen.header in code.kernel_headers
        assert (
            layer["constant_nbytes"] == sum(code.layer_nbytes.values()) == code.constant_nbytes
        )
    portable = choose_kernels(fused, PORTABLE)[0].parts
    for kernel, role in ((conv_2d, "expand"), (depthwise_conv_2d, "depthwise")):
        assert portable[role].variant == "portable"
        assert set(portable[role].why_not) == {v.name for v in kernel.KERNEL.variants}


@pytest.mark.parametrize("target", TARGETS)
def test_the_parts_have_the_kernels_that_the_layers_would_have(target: Target) -> None:
    graph = bottleneck().build()
    (fused,) = choose_kernels(fuse_rows(graph), target)
    apart = choose_kernels(graph, target)
    assert [c.variant for c in fused.parts.values()] == [c.variant for c in apart]
    assert sum(c.macs for c in fused.kernels()) == sum(c.macs for c in apart)
    # The parts run one after the other, and have their scratch in one place, after the rows.
    rows = 3 * 16 * 16
    assert fused.scratch_nbytes == rows + max(c.scratch_nbytes for c in fused.parts.values())


def test_speed_keeps_layers_apart_where_the_ram_has_room() -> None:
    graph, target = bottleneck().build(), PORTABLE
    apart = plan_memory(graph, scratch_of(choose_kernels(graph, target))).arena_nbytes
    for optimize_for, room, count in (
        ("speed", apart, 2),
        ("speed", apart - 1, 1),
        ("balanced", apart, 1),
        ("size", apart, 1),
    ):
        found = arranged(graph, target, optimize_for, room)
        assert len(found.graph.nodes) == count
        assert f"instead of {apart}" in found.why
        assert ("the ram has room" in found.why) == (count == 2)


@pytest.mark.parametrize("missing", [0, 4])
def test_generated_firmware_knows_the_room_of_its_board(missing: int, tmp_path: Path) -> None:
    graph, board = bottleneck().build(), board_of("m4")
    target = core_of(board).target
    apart = plan_memory(graph, scratch_of(choose_kernels(graph, target))).arena_nbytes
    taken = PROGRAM_RAM_NBYTES + GUARD_NBYTES + STACK_NBYTES
    ram = replace(board.ram, nbytes=apart + taken - missing)
    small = replace(board, memories=(board.flash, ram))
    made = generate(graph, small, tmp_path, optimize="speed")
    assert ("conv_depthwise" in names(made.optimized)) == (missing > 0)
    why = json.loads((tmp_path / "manifest.json").read_text("utf-8"))["layers_in_one"]
    assert f"instead of {apart}" in why


def test_generate_names_layers_in_one_and_what_they_save(edgeq_command: CommandLine) -> None:
    save_graph(bottleneck().build(), Path("net.edgeq"))
    arguments = ("generate", "net.edgeq", "--board", "mps2_an386", "-o", "out")
    found = json.loads(edgeq_command(*arguments, "--json").out)
    (layer,) = found["kernels"]["layers"]
    assert found["kernels"]["layers_in_one"].startswith("in one: ")
    text = " ".join(edgeq_command(*arguments).out.split())
    assert f"{layer['layer']}: two layers {found['kernels']['layers_in_one']}" in text
    for part in layer["parts"]:
        assert f"{layer['layer']}_{part['role']} conv_depthwise {part['kernel']}" in text


def test_a_small_gain_is_not_worth_rows_that_are_gone_over_again() -> None:
    """A filter of 9 x 9: each row but the first goes over nine rows for two new ones."""
    net = IntegerNetwork((1, 32, 64, 23))
    depthwise(net, net.conv("input", 32, POINT), Window(9, 9, 2, 2))
    graph = net.build()
    fused = fuse_rows(graph)
    assert names(fused) == ["conv_depthwise"], "else this test is vain"
    saved = plan_memory(arrange(graph)).arena_nbytes - plan_memory(fused).arena_nbytes
    copied = copied_nbytes(fused)
    assert copied == 11 * 9 * 64 * 32
    assert LEAST_GAIN_NBYTES <= saved < copied / COPY_PRICE
    found = arrangement_for_device(graph)
    assert names(found.graph) == ["conv_2d", "depthwise_conv_2d"]
    assert f"not worth {copied} bytes" in found.why


def test_a_fused_layer_is_proven_saved_and_digested_as_any(tmp_path: Path) -> None:
    fused = fuse_rows(bottleneck().build())
    path = tmp_path / "fused.edgeq"
    save_graph(fused, path)
    again = load_graph(path)
    assert again.nodes[0].op == fused.nodes[0].op
    assert graph_digest(again) == graph_digest(fused)
    (node,) = fused.nodes
    assert isinstance(node.op, QuantizedConvDepthwise)
    for field in ("conv", "depthwise"):
        part = getattr(node.op, field)
        wide = replace(part, shift=tuple(20 for _ in part.shift))
        other = replace(node.op, **{field: wide})
        graph = with_op(fused, other)
        assert graph_digest(graph) != graph_digest(fused)
        with pytest.raises(GraphError, match="must fit in int32"):
            prove_accumulators(graph)


def with_op(graph: Graph, op: QuantizedConvDepthwise) -> Graph:
    """The graph with another operator in the place of its CONV_DEPTHWISE."""
    nodes = [
        Node(op, n.inputs, n.outputs) if isinstance(n.op, QuantizedConvDepthwise) else n
        for n in graph.nodes
    ]
    return Graph.build(graph.name, graph.tensors.values(), nodes, graph.inputs, graph.outputs)


def test_a_file_with_one_operator_in_the_place_of_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = fuse_rows(bottleneck().build())
    (node,) = fused.nodes
    assert isinstance(node.op, QuantizedConvDepthwise)
    path = tmp_path / "fused.edgeq"
    wrong = object.__new__(QuantizedConvDepthwise)
    object.__setattr__(wrong, "conv", node.op.depthwise)
    object.__setattr__(wrong, "depthwise", node.op.depthwise)
    object.__setattr__(wrong, "rows_at_once", 1)
    tensors = MappingProxyType(dict(fused.tensors))
    nodes = (Node(wrong, node.inputs, node.outputs),)
    save_graph(replace(fused, tensors=tensors, nodes=nodes), path)
    with pytest.raises(ImportFailure, match="QuantizedDepthwiseConv2D is no QuantizedConv2D"):
        load_graph(path)


@pytest.mark.parametrize(
    ("name", "most"), [("kws", 9216), ("ic", 34816), ("vww", 30720), ("ad", 2048)]
)
@pytest.mark.parametrize("core", sorted(CORES))
def test_networks_have_the_layers_in_one_that_they_need_and_meet_their_arenas(
    name: str, most: int, core: str, model_path
) -> None:
    target = CORES[core].target
    arrangement = arranged(optimize(read_model(model_path(name))), target)
    graph = arrangement.graph
    scratch = scratch_of(choose_kernels(graph, target))
    plan = plan_memory(graph, scratch)
    check_plan(graph, plan, scratch.exact)
    if target.has_dsp:
        assert plan.arena_nbytes <= most
    in_one = {"conv_depthwise", "conv_add"} & set(names(graph))
    assert in_one == {"vww": {"conv_depthwise"}, "ic": {"conv_add"}}.get(name, set())
    assert arrangement.why.startswith("in one" if in_one else "apart: in one they would not")
