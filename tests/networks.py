"""Small networks made in memory: for tests that need a graph but no file."""

from __future__ import annotations

import numpy as np

from edgeq.graph import Graph, Node, Tensor
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.window import Window

SAME3 = Window(3, 3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
FLOAT32 = np.dtype(np.float32)


class NetworkBuilder:
    """Adds one float layer after another; shapes are inferred."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors = {"input": Tensor("input", shape, FLOAT32)}
        self.nodes: list[Node] = []

    def constant(self, name: str, *shape: int) -> str:
        data = self.rng.normal(0, 1 / np.sqrt(np.prod(shape[1:]) + 1), shape).astype(np.float32)
        self.tensors[name] = Tensor(name, shape, FLOAT32, data=data)
        return name

    def layer(self, name: str, op, *inputs: str) -> str:
        (shape,) = op.infer_shapes(*(self.tensors[i].shape for i in inputs))
        self.tensors[name] = Tensor(name, shape, FLOAT32)
        self.nodes.append(Node(op, inputs, (name,)))
        return name

    def build(self, *outputs: str) -> Graph:
        return Graph.build("network", self.tensors.values(), self.nodes, ["input"], outputs)


def small_network(seed: int = 0) -> Graph:
    """Convolution, depthwise, a residual ADD, CONCATENATION, pooling, a classifier of 5."""
    b = NetworkBuilder((1, 8, 6, 3), seed)
    stem = b.layer(
        "stem",
        Conv2D(SAME3, 0.0),
        "input",
        b.constant("stem/w", 8, 3, 3, 3),
        b.constant("stem/b", 8),
    )
    dw = b.layer(
        "dw",
        DepthwiseConv2D(SAME3, 0.0, 6.0),
        stem,
        b.constant("dw/w", 3, 3, 8),
        b.constant("dw/b", 8),
    )
    pw = b.layer("pw", Conv2D(Window(1, 1)), dw, b.constant("pw/w", 8, 1, 1, 8))
    total = b.layer("sum", Add(0.0), stem, pw)
    both = b.layer("both", Concatenation(3), total, dw)
    pool = b.layer("pool", AveragePool2D(Window(2, 2, 2, 2)), both)
    flat = b.layer("flat", Reshape((1, 4 * 3 * 16)), pool)
    fc = b.layer(
        "fc", FullyConnected(), flat, b.constant("fc/w", 5, 192), b.constant("fc/b", 5)
    )
    return b.build(b.layer("prob", Softmax(), fc))


def uneven_network(upper: float = np.inf) -> Graph:
    """Convolution, depthwise, convolution; the depthwise channels' filters span 1:1000."""
    b = NetworkBuilder((1, 8, 8, 3))
    window = Window(1, 1)
    a, p = b.constant("a", 16, 1, 1, 3), b.constant("p", 16)
    first = b.layer("first", Conv2D(window, 0.0, upper), "input", a, p)
    taps, q = b.constant("b", 3, 3, 16), b.constant("q", 16)
    dw = b.layer("dw", DepthwiseConv2D(SAME3, 0.0, upper), first, taps, q)
    spread = np.logspace(0, -3, 16).astype(np.float32)
    b.tensors["b"].data[:] *= spread
    b.tensors["q"].data[:] *= spread
    last = b.layer("last", Conv2D(window), dw, b.constant("c", 4, 1, 1, 16), b.constant("r", 4))
    b.tensors["c"].data[:] /= spread
    return b.build(last)


def samples(graph: Graph, count: int, seed: int = 1) -> np.ndarray:
    shape = graph.input_tensors()[0].shape
    return np.random.default_rng(seed).normal(0, 1, (count, *shape[1:])).astype(np.float32)
