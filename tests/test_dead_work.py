"""Passes on integer graphs: less work, the same bytes of every output."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import SAME3, IntegerNetwork, inputs_of, networks
from networks import small_network

import edgeq
from edgeq.arith import ROUNDINGS, Rounding, requantize_by
from edgeq.errors import GraphError
from edgeq.graph import Array, Graph, Node, Tensor
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.op import IntegerOp
from edgeq.ops.quantize import QuantizeFloat
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.window import Window
from edgeq.passes import INTEGER_PASSES, optimize
from edgeq.passes.value_ranges import requantize_array, value_ranges


def outputs_of(graph: Graph, x: Array) -> list[bytes]:
    outputs = edgeq.Interpreter(graph, threads=1, progress=None).run(x)
    return [y.tobytes() for y in outputs]


def macs(graph: Graph) -> int:
    total = 0
    for node in graph.nodes:
        assert isinstance(node.op, IntegerOp)
        total += node.op.macs(*(t.shape for t in graph.tensors_of(node.inputs)))
    return total


def assert_same_function(before: Graph, after: Graph, x: Array) -> None:
    after.verify()
    assert after.inputs == before.inputs
    assert after.outputs == before.outputs
    for name in (*before.inputs, *before.outputs):
        old, new = before.tensors[name], after.tensors[name]
        assert (old.shape, old.dtype, old.quant) == (new.shape, new.dtype, new.quant)
    assert outputs_of(after, x) == outputs_of(before, x)


def optimized(graph: Graph) -> Graph:
    """The optimized graph, proved on some inputs to be the same function."""
    after = optimize(graph)
    assert_same_function(graph, after, inputs_of(graph))
    return after


@settings(max_examples=120, deadline=None)
@given(networks())
def test_every_pass_keeps_every_byte_of_any_network(graph: Graph) -> None:
    x = inputs_of(graph)
    for transform in INTEGER_PASSES * 2:
        after = transform(graph)
        assert_same_function(graph, after, x)
        assert macs(after) <= macs(graph)
        graph = after


@settings(max_examples=60, deadline=None)
@given(networks())
def test_a_second_time_finds_nothing(graph: Graph) -> None:
    after = optimized(graph)
    assert optimize(after) is after


@settings(max_examples=60, deadline=None)
@given(networks())
def test_every_value_lies_in_its_range(graph: Graph) -> None:
    ranges = value_ranges(graph)
    interpreter = edgeq.Interpreter(graph, threads=1, progress=None)
    for x in inputs_of(graph, 4):
        for name, value in interpreter.trace(x).items():
            assert (ranges[name].low <= value).all(), name
            assert (value <= ranges[name].high).all(), name


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(("conv", "depthwise", "fully_connected")))
def test_the_ends_of_a_layers_range_are_reached(seed: int, kind: str) -> None:
    net = IntegerNetwork((1, 3, 4, 2), seed)
    shape = {"conv": (1, 3, 3, 2), "depthwise": (3, 3, 2), "fully_connected": (1, 2)}[kind]
    weights = net.weights(*shape)
    window = None if kind == "fully_connected" else SAME3
    graph = net.build(net.product(kind, "input", weights, window=window))
    found = value_ranges(graph)[graph.outputs[0]]
    assert found.low.min() < found.high.max()
    # The output at the pixel (1, 1) is largest where each input has its weight's sign.
    signs = np.where(weights < 0, -128, 127).astype(np.int8)
    x = np.zeros((1, 3, 4, 2), np.int8)
    if kind == "fully_connected":
        x[0, 1, 1] = signs[0]
    else:
        x[0, :3, :3] = signs.reshape(3, 3, 2)
    for inputs, end in ((x, found.high), (-1 - x, found.low)):
        (y,) = edgeq.Interpreter(graph, threads=1, progress=None).run(inputs)
        assert (y[0, 1, 1] == end[0, 1, 1]).all()


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-(2**31), 2**31 - 1),
    st.one_of(st.just(0), st.integers(2**30, 2**31 - 1)),
    st.integers(-31, 4),
    st.sampled_from(ROUNDINGS),
)
def test_requantization_of_arrays_is_that_of_integers(
    acc: int, m: int, shift: int, rounding: Rounding
) -> None:
    acc >>= max(shift, 0)
    shift = min(shift, 0) if rounding == "shift" else shift
    arrays = [np.array([v], t) for v, t in ((acc, "i8"), (m, "i8"), (shift, "i4"))]
    expected = requantize_by(rounding, acc, m, shift)
    assert requantize_array(*arrays, rounding).tolist() == [expected]


def test_a_channel_that_nobody_reads_is_cut_from_its_producers() -> None:
    net = IntegerNetwork()
    x = net.conv("input", 4)
    x = net.product("depthwise", x, net.weights(3, 3, 4), window=SAME3)
    weights = net.weights(5, 1, 1, 4)
    weights[..., [0, 2]] = 0
    after = optimized(net.build(net.product("conv", x, weights)))
    assert [after.tensors[node.name].shape[3] for node in after.nodes] == [2, 2, 5]


@pytest.mark.parametrize(
    ("value", "window", "channels"),
    [(-7, SAME3, 3), (20, Window(3, 3), 3), (20, SAME3, 4), (20, Window(3, 3, pad_left=1), 4)],
    ids=["zero point", "no padding", "padding", "padding on one side"],
)
def test_a_constant_is_folded_unless_the_border_shows_it(
    value: int, window: Window, channels: int
) -> None:
    net = IntegerNetwork()
    weights = net.weights(4, 1, 1, 3)
    weights[1] = 0
    bias = np.array([0, (value + 7) << 7, 0, 0])
    factor = ((2**30,), (-6,))  # 2**-7
    x = net.product("conv", "input", weights, bias, zero_point=-7, fields=factor)
    graph = net.build(net.conv(x, 2, window))
    mask, constant = value_ranges(graph)[x].constant_channels()
    assert mask.tolist() == [False, True, False, False]
    assert constant[1] == value
    after = optimized(graph)
    assert after.tensors[x].shape[3] == channels


def padded_constant(taps: Array) -> Graph:
    """A constant channel, not the zero point, read with padding by a filter of these taps."""
    net = IntegerNetwork()
    weights = net.weights(2, 1, 1, 3)
    weights[1] = 0
    x = net.product("conv", "input", weights, np.array([0, 9000]), zero_point=-7)
    readers = net.weights(2, 3, 3, 2)
    readers[..., 1] = taps
    return net.build(net.product("conv", x, readers, window=SAME3))


def test_a_constant_under_padding_goes_where_only_inner_taps_see_it() -> None:
    inner = np.zeros((3, 3), np.int8)
    inner[1, 1] = 50
    after = optimized(padded_constant(inner))
    assert after.tensors[after.nodes[0].name].shape[3] == 1
    outer = inner.copy()
    outer[0, 2] = 50
    kept = optimized(padded_constant(outer))
    assert kept.tensors[kept.nodes[0].name].shape[3] == 2


def test_a_fold_blind_to_padding_changes_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(window: Window, _shape: tuple[int, ...]) -> Array:
        return np.ones((1, window.filter_h * window.filter_w), np.int64)

    graph = padded_constant(np.full((3, 3), 50, np.int8))
    x = inputs_of(graph)
    assert outputs_of(optimize(graph), x) == outputs_of(graph, x)
    module = sys.modules["edgeq.passes.fold_constants"]  # the package has its function
    monkeypatch.setattr(module, "taps_inside", blind)
    assert outputs_of(optimize(graph), x) != outputs_of(graph, x)


def test_with_a_depth_multiplier_a_group_goes_as_one() -> None:
    net = IntegerNetwork()
    x = net.conv("input", 3)
    x = net.product("depthwise", x, net.weights(3, 3, 6), window=SAME3)
    weights = net.weights(2, 1, 1, 6)
    weights[..., [0, 2, 3]] = 0  # group 0 is half read, group 1 not at all
    after = optimized(net.build(net.product("conv", x, weights)))
    assert [after.tensors[node.name].shape[3] for node in after.nodes] == [2, 4, 2]


@pytest.mark.parametrize(("branch_reads", "channels"), [(False, 3), (True, 4)])
def test_a_residual_channel_goes_only_with_both_branches(
    branch_reads: bool, channels: int
) -> None:
    net = IntegerNetwork()
    stem = net.conv("input", 4)
    weights = net.weights(4, 1, 1, 4)
    if not branch_reads:
        weights[..., 2] = 0
    total = net.add(stem, net.product("conv", stem, weights))
    last = net.weights(2, 1, 1, 4)
    last[..., 2] = 0
    after = optimized(net.build(net.product("conv", total, last)))
    assert after.tensors[total].shape[3] == channels


@pytest.mark.parametrize("rest", [0, 5])
def test_a_dead_branch_of_an_add_becomes_a_constant_or_nothing(rest: int) -> None:
    net = IntegerNetwork()
    stem = net.conv("input", 4)
    dead = net.product("conv", stem, np.zeros((4, 3, 3, 4)), window=SAME3)
    dead = net.product("depthwise", dead, np.zeros((1, 1, 4)), np.full(4, rest << 8))
    total = net.add(stem, dead)
    after = optimized(net.build(net.conv(total, 2)))
    names = [node.op.name for node in after.nodes]
    assert names == (["conv_2d", "add", "conv_2d"] if rest else ["conv_2d", "conv_2d"])
    constants = [t.shape for t in after.tensors_of(after.nodes[1].inputs) if t.data is not None]
    assert ((1, 1, 1, 4) in constants) == bool(rest)


def test_a_concatenation_loses_channels_and_whole_inputs() -> None:
    net = IntegerNetwork()
    parts = [net.conv("input", channels) for channels in (2, 3, 4)]
    both = net.layer(QuantizedConcatenation(3), *parts)
    weights = net.weights(2, 1, 1, 9)
    weights[..., [0, 2, 3, 4, 8]] = 0
    after = optimized(net.build(net.product("conv", both, weights)))
    assert parts[1] not in after.tensors
    assert [after.tensors[p].shape[3] for p in (parts[0], parts[2], both)] == [1, 3, 4]


@pytest.mark.parametrize("is_read_once", [False, True])
def test_a_channel_goes_through_a_reshape_if_no_pixel_of_it_is_read(is_read_once: bool) -> None:
    net = IntegerNetwork()
    x = net.conv("input", 4)
    x = net.layer(QuantizedMaxPool2D(Window(2, 2, 2, 2), -128, 127), x)
    x = net.layer(QuantizedReshape((1, 24)), x)
    weights = net.weights(3, 24)
    weights[:, 1::4] = 0
    weights[0, 13] = 1 if is_read_once else 0
    graph = net.build(net.product("fully_connected", x, weights))
    after = optimized(graph)
    expected = 4 if is_read_once else 3
    assert after.tensors[after.nodes[1].name].shape[3] == expected
    assert after.tensors[after.nodes[3].inputs[1]].shape == (3, 6 * expected)


@pytest.mark.parametrize(
    ("window", "low", "goes"),
    [(Window(1, 1), -20, True), (Window(1, 1), -19, False), (SAME3, -128, False)],
    ids=["nothing to do", "clamps", "looks around"],
)
@pytest.mark.parametrize("kind", [QuantizedMaxPool2D, QuantizedAveragePool2D])
def test_a_pool_goes_if_it_gives_its_input(kind, window: Window, low: int, goes: bool) -> None:
    net = IntegerNetwork()
    x = net.conv("input", 2, clamp=(-20, 50))
    x = net.layer(kind(window, low, 127), x)
    after = optimized(net.build(net.conv(x, 2)))
    assert (x not in after.tensors) == goes


def test_softmax_keeps_every_channel_that_it_sums() -> None:
    net = IntegerNetwork()
    x = net.conv("input", 4)
    float_op = Softmax()
    unit = Tensor("y", net.tensors[x].shape, np.dtype(np.int8), float_op.fixed_output)
    op = float_op.lower((net.tensors[x],), (unit,))
    x = net.layer(op, x, zero_point=-128, scale=1 / 256)
    weights = net.weights(2, 1, 1, 4)
    weights[..., 1:3] = 0
    after = optimized(net.build(net.product("conv", x, weights)))
    assert after.tensors[x].shape[3] == 4


def test_an_output_keeps_its_channels_and_a_dead_layer_goes() -> None:
    net = IntegerNetwork()
    kept = net.conv("input", 4)
    net.conv(kept, 3)  # read by nobody
    last = net.product("conv", kept, np.zeros((2, 1, 1, 4)))
    after = optimized(net.build(last, kept))
    assert after.tensors[kept].shape[3] == 4
    assert [node.name for node in after.nodes] == [kept, last]


def test_a_network_of_constants_only_stays_valid_and_small() -> None:
    net = IntegerNetwork()
    x = net.conv("input", 8)
    x = net.product("conv", x, np.zeros((8, 3, 3, 8)), np.arange(8) * 900, SAME3)
    x = net.conv(x, 5)  # sees its border: differs by pixel, but is constant
    after = optimized(net.build(x))
    assert after.tensors[after.nodes[0].name].shape[3] == 1


def test_a_filter_that_two_layers_share_is_cut_for_one() -> None:
    net = IntegerNetwork((1, 6, 5, 4))
    names = [net.constant(d) for d in (net.weights(4, 1, 1, 4), np.zeros(4, np.int32))]
    for _ in range(2):
        source = net.nodes[-1].name if net.nodes else "input"
        net.product("conv", source, net.weights(4, 1, 1, 4))
        op, out = net.nodes[-1].op, net.nodes[-1].outputs
        net.nodes[-1] = type(net.nodes[-1])(op, (source, *names), out)
    last = net.weights(2, 1, 1, 4)
    last[..., 3] = 0
    after = optimized(net.build(net.product("conv", net.nodes[-1].name, last)))
    assert [after.tensors[n.inputs[1]].shape for n in after.nodes] == [
        (4, 1, 1, 4),
        (3, 1, 1, 4),
        (2, 1, 1, 3),
    ]


def test_a_float_input_and_output_stand_around_the_dead_work() -> None:
    net = IntegerNetwork()
    x = net.product("depthwise", net.conv("input", 4), net.weights(1, 1, 4))
    weights = net.weights(2, 1, 1, 4)
    weights[..., 0] = 0
    middle = net.build(net.product("conv", x, weights))
    last = middle.outputs[0]
    ends = [
        replace(
            middle.tensors[name], name=f"float {name}", dtype=np.dtype(np.float32), quant=None
        )
        for name in ("input", last)
    ]
    nodes = [
        Node(QuantizeFloat(0.5, -4), (ends[0].name,), ("input",)),
        *middle.nodes,
        Node(Dequantize(0.5, 0, False), (last,), (ends[1].name,)),
    ]
    tensors = [*middle.tensors.values(), *ends]
    graph = Graph.build("float ends", tensors, nodes, [ends[0].name], [ends[1].name])
    after = optimize(graph)
    assert after.tensors[x].shape[3] == 3
    numbers = inputs_of(middle).astype(np.float32) * 3
    numbers[0, 0] = np.nan
    numbers[1] = np.inf
    assert_same_function(graph, after, numbers)


def test_what_overflows_or_is_float_is_refused_as_it_would_be_without() -> None:
    with pytest.raises(GraphError, match="quantize it first"):
        optimize(small_network())
    net = IntegerNetwork()
    bias = np.array([2**31 - 1])
    graph = net.build(net.product("conv", "input", np.full((1, 1, 1, 3), 127), bias))
    with pytest.raises(GraphError, match="must fit in int32"):
        optimize(graph)
