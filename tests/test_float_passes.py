"""Float passes: the same function, fewer nodes, a valid graph after each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.float_run import run_float
from edgeq.graph import Array, Graph, Node, Tensor
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.op import FloatOp
from edgeq.ops.pad import Pad
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.window import Window
from edgeq.passes import FLOAT_PASSES, run_passes

FLOAT32 = np.dtype(np.float32)


@dataclass
class Chain:
    """A float graph built node by node; `last` is the tensor that the next one reads."""

    shape: tuple[int, ...]
    tensors: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __post_init__(self) -> None:
        self.last = "x"
        self.tensors.append(Tensor("x", self.shape, FLOAT32))

    def add(self, op: FloatOp, *others: str | Array, source: str | None = None) -> str:
        inputs = [source or self.last]
        for other in others:
            if isinstance(other, str):
                inputs.append(other)
                continue
            name = f"k{len(self.tensors)}"
            self.tensors.append(Tensor(name, other.shape, FLOAT32, data=other.astype(FLOAT32)))
            inputs.append(name)
        shapes = {t.name: t.shape for t in self.tensors}
        (shape,) = op.infer_shapes(*(shapes[name] for name in inputs))
        self.last = f"t{len(self.tensors)}"
        self.tensors.append(Tensor(self.last, shape, FLOAT32))
        self.nodes.append(Node(op, tuple(inputs), (self.last,)))
        self.shape = shape
        return self.last

    def conv(self, channels: int = 3, **fields: int) -> str:
        window = Window(**{"filter_h": 2, "filter_w": 3, **fields})
        shape = (channels, window.filter_h, window.filter_w, self.shape[3])
        return self.add(Conv2D(window), self.random(*shape), self.random(channels))

    def depthwise(self) -> str:
        return self.add(DepthwiseConv2D(Window(2, 2)), self.random(2, 2, self.shape[3]))

    def random(self, *shape: int) -> Array:
        return self.rng.normal(size=shape)

    def build(self, *outputs: str) -> Graph:
        return Graph.build("chain", self.tensors, self.nodes, ["x"], outputs or [self.last])


def assert_same_function(before: Graph, after: Graph) -> None:
    after.verify()
    x = np.random.default_rng(1).normal(size=(3, *before.tensors["x"].shape[1:]))
    expected, values = run_float(before, {"x": x}), run_float(after, {"x": x})
    for name, new in zip(before.outputs, after.outputs, strict=True):
        np.testing.assert_allclose(values[new], expected[name], rtol=1e-5, atol=1e-5)


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def spatial(*pads: int) -> Pad:
    return Pad(((0, 0), (pads[0], pads[1]), (pads[2], pads[3]), (0, 0)))


STEPS = st.sampled_from(
    [
        "conv",
        "depthwise",
        "relu",
        "relu6",
        "clip",
        "max",
        "average",
        "pad",
        "channels",
        "add",
        "fc",
    ]
)


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(STEPS, min_size=1, max_size=9), extra_outputs=st.sets(st.integers(0, 8)))
def test_passes_keep_the_function_of_any_network(steps, extra_outputs):
    chain = Chain((1, 9, 8, 2))
    for step in steps:
        seen = [t.name for t in chain.tensors if t.data is None and t.shape == chain.shape]
        spacious = min(chain.shape[1:3]) > 2
        if step == "conv" and spacious:
            chain.conv(pad_left=1)
        elif step == "depthwise" and spacious:
            chain.depthwise()
        elif step in ("relu", "relu6", "clip"):
            chain.add({"relu": Relu(), "relu6": Relu(0.0, 6.0), "clip": Relu(-0.4, 0.3)}[step])
        elif step == "max" and spacious:
            chain.add(MaxPool2D(Window(2, 2, pad_top=1)))
        elif step == "average" and spacious:
            chain.add(AveragePool2D(Window(2, 2, pad_right=1)))
        elif step == "pad":
            chain.add(spatial(1, 0, 2, 1))
        elif step == "channels":
            chain.add(Pad(((0, 0), (0, 1), (0, 0), (1, 0))))
        elif step == "add":
            chain.add(Add(), seen[len(seen) // 2])
        elif step == "fc":
            chain.add(FullyConnected(), chain.random(3, chain.shape[3]))
    outputs = [n.name for i, n in enumerate(chain.nodes) if i in extra_outputs]
    if not chain.nodes:
        return
    graph = chain.build(*dict.fromkeys([*outputs, chain.last]))
    for transform in FLOAT_PASSES:
        after = transform(graph)
        assert_same_function(graph, after)
        assert len(after.nodes) <= len(graph.nodes)
        graph = after


def test_a_clamp_goes_into_each_operator_that_has_one():
    chain = Chain((1, 8, 8, 2))
    chain.conv()
    chain.add(Relu())
    chain.depthwise()
    chain.add(Relu(0.0, 6.0))
    chain.add(AveragePool2D(Window(2, 2)))
    chain.add(Relu(0.1, 0.9))
    chain.add(FullyConnected(), chain.random(3, 3))
    chain.add(Relu(-1.0, 1.0))
    chain.add(Add(), chain.random(1, 1, 1, 3))
    chain.add(Relu())
    graph = chain.build()
    after = run_passes(graph)
    assert names(after) == [
        "conv_2d",
        "depthwise_conv_2d",
        "average_pool_2d",
        "fully_connected",
        "add",
    ]
    assert [(n.op.activation_min, n.op.activation_max) for n in after.nodes] == [
        (0.0, np.inf),
        (0.0, 6.0),
        (0.1, 0.9),
        (-1.0, 1.0),
        (0.0, np.inf),
    ]
    assert_same_function(graph, after)


def test_two_clamps_in_a_row_become_one():
    chain = Chain((1, 4))
    chain.add(FullyConnected(), chain.random(5, 4))
    chain.add(Relu(-0.5, 0.5))
    chain.add(Relu())
    after = run_passes(chain.build())
    assert names(after) == ["fully_connected"]
    assert (after.nodes[0].op.activation_min, after.nodes[0].op.activation_max) == (0.0, 0.5)
    assert_same_function(chain.build(), after)


def test_a_clamp_moves_up_through_pool_and_reshape_to_the_convolution():
    chain = Chain((1, 8, 8, 2))
    conv = chain.conv()
    chain.add(MaxPool2D(Window(2, 2, 2, 2)))
    chain.add(Reshape((1, 27)))
    chain.add(Relu())
    after = run_passes(chain.build())
    assert names(after) == ["conv_2d", "max_pool_2d", "reshape"]
    assert after.nodes[0].name == conv
    assert after.nodes[0].op.activation_min == 0.0
    assert after.nodes[1].op.activation_min == -np.inf
    assert_same_function(chain.build(), after)


def test_a_clamp_after_a_pool_of_the_input_becomes_the_pools():
    chain = Chain((1, 8, 8, 2))
    chain.add(MaxPool2D(Window(2, 2, 2, 2)))
    chain.add(Relu())
    after = run_passes(chain.build())
    assert names(after) == ["max_pool_2d"]
    assert_same_function(chain.build(), after)


@pytest.mark.parametrize("reader", ["add", "output"])
def test_a_clamp_stays_when_something_else_reads_what_it_clamps(reader):
    chain = Chain((1, 8, 8, 2))
    conv = chain.conv()
    relu = chain.add(Relu())
    if reader == "add":
        chain.add(Add(), conv)
    graph = chain.build(*([chain.last] if reader == "add" else [conv, relu]))
    after = run_passes(graph)
    assert "relu" in names(after)
    assert_same_function(graph, after)


@pytest.mark.parametrize("op", [Softmax(), Concatenation(3)], ids=["softmax", "concatenation"])
def test_a_clamp_stays_behind_an_operator_that_has_none(op):
    chain = Chain((1, 8, 8, 2))
    chain.add(op, *([chain.last] if op.name == "concatenation" else []))
    chain.add(Relu(0.2, 0.3))
    after = run_passes(chain.build())
    assert names(after) == [op.name, "relu"]
    assert_same_function(chain.build(), after)


def test_padding_before_convolutions_goes_into_their_windows():
    chain = Chain((1, 8, 8, 2))
    chain.add(spatial(1, 2, 0, 1))
    pad = chain.add(spatial(0, 1, 1, 0))
    first = chain.conv(pad_top=1)
    chain.add(DepthwiseConv2D(Window(3, 3)), chain.random(3, 3, 2), source=pad)
    graph = chain.build(first, chain.last)
    after = run_passes(graph)
    assert names(after) == ["conv_2d", "depthwise_conv_2d"]
    window = after.nodes[0].op.window
    pads = (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right)
    assert pads == (2, 3, 1, 1)
    assert_same_function(graph, after)


@pytest.mark.parametrize("pool", [MaxPool2D, AveragePool2D])
def test_padding_before_a_pool_stays(pool):
    chain = Chain((1, 8, 8, 2))
    chain.add(spatial(1, 1, 1, 1))
    chain.add(pool(Window(3, 3)))
    graph = chain.build()
    assert names(run_passes(graph)) == names(graph)


def test_padding_of_channels_or_of_an_output_stays():
    chain = Chain((1, 8, 8, 2))
    chain.add(Pad(((0, 0), (0, 0), (0, 0), (0, 1))))
    pad = chain.add(spatial(1, 1, 1, 1))
    chain.conv()
    graph = chain.build(pad, chain.last)
    assert names(run_passes(graph)) == ["pad", "pad", "conv_2d"]
