"""Channels of zeros up to whole groups: the same bytes of every output."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import SAME3, IntegerNetwork, inputs_of, networks

import edgeq
from edgeq.graph import Array, Graph
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.window import Window
from edgeq.passes.align_channels import align_channels
from firmware_gen.cores import CORES


def outputs_of(graph: Graph, x: Array) -> list[bytes]:
    outputs = edgeq.Interpreter(graph, threads=1, progress=None).run(x)
    return [y.tobytes() for y in outputs]


def channels_of(graph: Graph) -> list[int]:
    return [graph.tensors[node.name].shape[-1] for node in graph.nodes]


@settings(max_examples=120, deadline=None)
@given(networks(), st.sampled_from((2, 3, 4)))
def test_every_output_of_any_network_keeps_its_bytes(graph: Graph, group: int) -> None:
    after = align_channels(graph, group)
    assert (after.inputs, after.outputs) == (graph.inputs, graph.outputs)
    x = inputs_of(graph)
    assert outputs_of(after, x) == outputs_of(graph, x)
    assert align_channels(after, group) is after


def chain(channels: int) -> IntegerNetwork:
    """CONV_2D, DEPTHWISE_CONV_2D, average, RESHAPE, all of so many channels."""
    net = IntegerNetwork((1, 4, 4, 3), 5)
    x = net.conv("input", channels)
    x = net.product("depthwise", x, net.weights(3, 3, channels), window=SAME3)
    x = net.layer(QuantizedAveragePool2D(Window(4, 4), -128, 127), x)
    net.layer(QuantizedReshape((1, channels)), x)
    return net


@pytest.mark.parametrize(("channels", "grown"), [(15, 16), (22, 24), (16, 16), (5, 5), (9, 9)])
def test_channels_grow_by_a_quarter_at_most_as_far_as_a_sum(channels: int, grown: int) -> None:
    net = chain(channels)
    x = net.nodes[-1].name
    net.product("fully_connected", x, net.weights(3, channels))
    graph = net.build()
    after = align_channels(graph, 4)
    assert channels_of(after) == [grown] * 4 + [3]
    x = inputs_of(graph)
    assert outputs_of(after, x) == outputs_of(graph, x)


def test_channels_that_the_outside_sees_stay() -> None:
    graph = chain(15).build()
    assert align_channels(graph, 4) is graph


def test_channels_that_another_operator_reads_stay() -> None:
    net = IntegerNetwork((1, 4, 4, 3), 5)
    x = net.conv("input", 15)
    y = net.product("depthwise", x, net.weights(3, 3, 15), window=SAME3)
    net.conv(net.add(x, y), 8)
    graph = net.build()
    assert align_channels(graph, 4) is graph


def test_each_channel_that_is_added_has_no_weights() -> None:
    net = IntegerNetwork((1, 4, 4, 3), 5)
    net.conv(net.conv("input", 15), 8)
    first, second = align_channels(net.build(), 4).nodes
    graph = align_channels(net.build(), 4)
    weights = [graph.tensors[node.inputs[1]].data for node in (first, second)]
    assert weights[0] is not None
    assert weights[1] is not None
    assert not np.any(weights[0][15:])
    assert not np.any(weights[1][..., 15:])


def test_cores_say_how_many_channels_they_take_at_a_time() -> None:
    groups = {name: core.target.channel_group for name, core in CORES.items()}
    assert groups["cortex-m4"] == groups["cortex-m33"] == groups["cortex-m7"] == 4
    assert groups["cortex-m0plus"] == groups["cortex-m3"] == groups["cortex-m55"] == 1
