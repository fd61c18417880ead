"""Random integer graphs of operators that slide, copy, alias and need scratch."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from edgeq.graph import Array, Graph, Node, QuantParams, Tensor
from edgeq.ops import Window
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.mean import QuantizedMean
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape

Q = QuantParams((0.5,), 0)
INT8, INT32 = np.dtype(np.int8), np.dtype(np.int32)
ADD = QuantizedAdd(0, 0, 0, 2**30, 0, 2**30, 0, 2**30, -19, -128, 127)
RELU = QuantizedRelu(0, 0, 2**30, 1, -100, 127)
PRODUCT = {
    "input_zero_point": 3,
    "output_zero_point": -2,
    "activation_min": -128,
    "activation_max": 127,
    "multiplier": (2**30,),
    "shift": (-7,),
}
KINDS = (
    *("conv", "conv", "depthwise", "depthwise", "max", "average"),
    *("add", "relu", "reshape", "concatenation", "mean", "pad"),
)
SAME3 = Window(3, 3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
WINDOWS = (SAME3, Window(1, 1), Window(2, 2, 2, 2), Window(1, 2, 2, 1))
MOST_NBYTES = 2000  # of an activation


@st.composite
def graphs(draw: st.DrawFn, most_nodes: int = 10) -> Graph:
    shape = (1, draw(st.integers(2, 8)), draw(st.integers(2, 6)), draw(st.integers(1, 6)))
    tensors = {"x0": Tensor("x0", shape, INT8, Q)}
    activations = ["x0"]
    nodes: list[Node] = []
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for index in range(1, draw(st.integers(1, most_nodes)) + 1):
        # Mostly from the newest, so that chains are long enough to slide.
        recent = draw(st.sampled_from((1, 1, 1, 2, 4)))
        source = tensors[draw(st.sampled_from(activations[-recent:]))]
        kind = draw(st.sampled_from(KINDS))
        same = [n for n in activations if tensors[n].shape == source.shape]
        op, inputs = _layer(draw, kind, source, draw(st.sampled_from(same)), tensors, rng)
        if op is None:
            continue
        (out,) = op.infer_shapes(*(tensors[n].shape for n in inputs))
        if math.prod(out) > MOST_NBYTES:
            continue
        name = f"x{index}"
        tensors[name] = Tensor(name, out, INT8, Q)
        activations.append(name)
        nodes.append(Node(op, inputs, (name,)))
    outputs = draw(
        st.one_of(
            st.just([activations[-1]]),
            st.lists(st.sampled_from(activations), min_size=1, max_size=2, unique=True),
        )
    )
    return Graph.build("random", tensors.values(), nodes, ["x0"], outputs)


def _layer(draw, kind, source, other, tensors, rng):
    """An operator of this kind on `source`, and its inputs; (None, ...) if it does not fit."""
    _, *extents = source.shape
    size, channels = math.prod(source.shape), source.shape[3]
    if kind in ("conv", "depthwise", "max", "average"):
        window = draw(st.sampled_from(WINDOWS))
        if extents[0] < window.filter_h or extents[1] < window.filter_w:
            return None, ()
        taps = (window.filter_h, window.filter_w)
        if kind == "max":
            return QuantizedMaxPool2D(window, -128, 127), (source.name,)
        if kind == "average":
            return QuantizedAveragePool2D(window, -128, 127), (source.name,)
        if kind == "conv":
            outputs = draw(st.sampled_from((channels, channels, 1, 7)))
            weights = rng.integers(-128, 128, (outputs, *taps, channels)).astype(np.int8)
            op = QuantizedConv2D(window, **PRODUCT)
        else:
            outputs = channels * draw(st.sampled_from((1, 1, 2)))
            weights = rng.integers(-128, 128, (*taps, outputs)).astype(np.int8)
            op = QuantizedDepthwiseConv2D(window, **PRODUCT)
        names = (f"w{len(tensors)}", f"b{len(tensors)}")
        bias = rng.integers(-5000, 5000, outputs).astype(np.int32)
        tensors[names[0]] = Tensor(names[0], weights.shape, INT8, Q, weights)
        tensors[names[1]] = Tensor(names[1], bias.shape, INT32, Q, bias)
        return op, (source.name, *names)
    return {
        "add": (ADD, (source.name, other)),
        "relu": (RELU, (source.name,)),
        "reshape": (QuantizedReshape((1, 1, 1, size)), (source.name,)),
        "concatenation": (QuantizedConcatenation(3), (source.name, other)),
        "mean": (QuantizedMean(True, 0, 0, 2**30, 1), (source.name,)),
        "pad": (QuantizedPad(((0, 0), (1, 0), (0, 1), (0, 0)), 5), (source.name,)),
    }[kind]


def values_of(graph: Graph, x: Array) -> dict[str, Array]:
    """Every activation, each in memory of its own, by the operators' references."""
    values = {n: t.data for n, t in graph.tensors.items() if t.data is not None} | {"x0": x}
    for node in graph.nodes:
        results = node.op.reference(*(values[n] for n in node.inputs))
        values.update(zip(node.outputs, results, strict=True))
    return values


def input_of(graph: Graph, seed: int) -> Array:
    shape = graph.input_tensors()[0].shape
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
