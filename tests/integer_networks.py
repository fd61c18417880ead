"""Integer networks made in memory, with channels that are planted dead in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgeq.errors import GraphError
from edgeq.graph import Array, Graph, Node, QuantParams, Tensor
from edgeq.ops import IntegerOp
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.quantize import Requantize
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.window import Window

INT8 = np.dtype(np.int8)
ONE = (2**30, 1)  # multiplier and shift of the factor 1
SAME3 = Window(3, 3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)


@dataclass
class IntegerNetwork:
    """Integer layers one after another; each method adds one and gives its output's name."""

    shape: tuple[int, ...] = (1, 6, 5, 3)
    seed: int = 0
    input_zero_point: int = -4
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self._put("input", self.shape, self.input_zero_point)

    def _put(self, name: str, shape: tuple[int, ...], zero_point: int, scale: float = 0.5):
        self.tensors[name] = Tensor(name, shape, INT8, QuantParams((scale,), zero_point))

    def constant(self, data: Array) -> str:
        name = f"constant{len(self.tensors)}"
        self.tensors[name] = Tensor(name, data.shape, data.dtype, None, data)
        return name

    def layer(self, op: IntegerOp, *inputs: str, zero_point: int = 0, scale: float = 0.5):
        (shape,) = op.infer_shapes(*(self.tensors[name].shape for name in inputs))
        name = f"{op.name}{len(self.nodes)}"
        self._put(name, shape, zero_point, scale)
        self.nodes.append(Node(op, inputs, (name,)))
        return name

    def zero_point(self, x: str) -> int:
        quant = self.tensors[x].quant
        assert quant is not None
        return quant.zero_point

    def channels(self, x: str) -> int:
        return self.tensors[x].shape[-1]

    def product(
        self,
        kind: str,
        x: str,
        weights: Array,
        bias: Array | None = None,
        window: Window | None = None,
        *,
        zero_point: int = 0,
        clamp: tuple[int, int] = (-128, 127),
        fields: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
    ) -> str:
        """An operator with a filter; `fields` are multipliers and shifts, else as fits int8."""
        axis = 2 if kind == "depthwise" else 0
        rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.int64)
        bias = np.zeros(len(rows), np.int32) if bias is None else bias.astype(np.int32)
        if fields is None:
            spread = int(128 * np.sqrt((rows**2).sum(1).max() + 1))
            fields = (ONE[0],), (min(9 - spread.bit_length(), 1),)
        common: dict[str, Any] = {
            "input_zero_point": self.zero_point(x),
            "output_zero_point": zero_point,
            "activation_min": clamp[0],
            "activation_max": clamp[1],
            "multiplier": fields[0],
            "shift": fields[1],
        }
        op: IntegerOp
        if kind == "fully_connected":
            op = QuantizedFullyConnected(**common)
        elif kind == "depthwise":
            op = QuantizedDepthwiseConv2D(window or Window(*weights.shape[:2]), **common)
        else:
            op = QuantizedConv2D(window or Window(*weights.shape[1:3]), **common)
        inputs = (x, self.constant(weights.astype(np.int8)), self.constant(bias))
        return self.layer(op, *inputs, zero_point=zero_point)

    def conv(self, x: str, channels: int, window: Window = SAME3, **fields: Any) -> str:
        shape = (channels, window.filter_h, window.filter_w, self.channels(x))
        return self.product("conv", x, self.weights(*shape), window=window, **fields)

    def weights(self, *shape: int) -> Array:
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def add(self, a: str, b: str, zero_point: int = 0, scale: float = 0.5) -> str:
        shape = np.broadcast_shapes(self.tensors[a].shape, self.tensors[b].shape)
        output = Tensor("y", shape, INT8, QuantParams((scale,), zero_point))
        op = Add().lower((self.tensors[a], self.tensors[b]), (output,))
        return self.layer(op, a, b, zero_point=zero_point, scale=scale)

    def build(self, *outputs: str) -> Graph:
        wanted = outputs or (self.nodes[-1].name,)
        return Graph.build("network", self.tensors.values(), self.nodes, ["input"], wanted)


def inputs_of(graph: Graph, count: int = 12, seed: int = 3) -> Array:
    """Random inputs, one value only, and the ends of the range, (count + 6, ...) int8."""
    shape = graph.input_tensors()[0].shape[1:]
    rng = np.random.default_rng(seed)
    flat = [np.full((1, *shape), value) for value in (-128, 127, 0, -4)]
    ends = rng.choice((-128, 127), (2, *shape))
    return np.concatenate([rng.integers(-128, 128, (count, *shape)), *flat, ends]).astype(INT8)


windows = st.builds(
    Window,
    filter_h=st.integers(1, 3),
    filter_w=st.integers(1, 3),
    stride_h=st.integers(1, 2),
    stride_w=st.integers(1, 2),
    dilation_h=st.sampled_from((1, 1, 2)),
    pad_top=st.integers(0, 1),
    pad_bottom=st.integers(0, 2),
    pad_left=st.integers(0, 1),
    pad_right=st.integers(0, 1),
)
points = st.sampled_from((-128, -128, 0, 127, -4))
some = st.sets(st.integers(0, 7), max_size=5)
STEPS = (
    *("conv", "depthwise", "fc") * 3,
    *("add", "concat", "residual") * 2,
    *("max", "average", "pad", "relu", "requantize", "reshape", "softmax", "logistic"),
)


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Layers of every kind in a row, with branches; some channels are planted dead."""
    net = IntegerNetwork((1, 6, 5, draw(st.integers(1, 3))), draw(st.integers(0, 2**32 - 1)))
    seen = [net.conv("input", 8, zero_point=-128, clamp=(-128, 127))]
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=8)):
        x = seen[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(seen))
        try:
            seen.append(_step(draw, net, step, x, seen))
        except GraphError:
            continue  # the shapes do not fit this step
    if draw(st.booleans()):
        x = seen[-1]
        if len(net.tensors[x].shape) == 4:
            x = net.layer(_mean(net, x), x, zero_point=net.zero_point(x))
        shape = (3, net.channels(x))
        seen.append(_planted(draw, net, "fully_connected", x, shape, None))
    outputs = {seen[-1]} | ({draw(st.sampled_from(seen))} if draw(st.booleans()) else set())
    return net.build(*sorted(outputs))


def _mean(net: IntegerNetwork, x: str) -> IntegerOp:
    source = net.tensors[x]
    output = Tensor("y", (1, net.channels(x)), INT8, source.quant)
    return Mean(False).lower((source,), (output,))


def _step(draw: st.DrawFn, net: IntegerNetwork, step: str, x: str, seen: list[str]) -> str:
    c, zero_point, shape = net.channels(x), net.zero_point(x), net.tensors[x].shape
    alike = [name for name in seen if net.tensors[name].shape == shape]
    if step == "conv":
        window = draw(windows)
        weights = (draw(st.integers(1, 8)), window.filter_h, window.filter_w, c)
        return _planted(draw, net, "conv", x, weights, window)
    if step == "depthwise":
        window = draw(windows)
        outputs = c * draw(st.sampled_from((1, 1, 2)))
        weights3 = (window.filter_h, window.filter_w, outputs)
        return _planted(draw, net, "depthwise", x, weights3, window)
    if step == "fc":
        return _planted(draw, net, "fully_connected", x, (draw(st.integers(1, 6)), c), None)
    if step == "residual":
        y = _planted(draw, net, "conv", x, (c, 3, 3, c), SAME3)
        return net.add(x, y, draw(points))
    if step == "add":
        return net.add(
            x, draw(st.sampled_from(alike)), draw(points), draw(st.sampled_from((0.5, 1)))
        )
    if step == "concat":
        parts = [x, draw(st.sampled_from(alike))]
        if draw(st.booleans()):
            parts.append(net.constant(net.weights(*shape)))
        axis = draw(st.integers(1, len(shape) - 1))
        return net.layer(QuantizedConcatenation(axis), *parts, zero_point=zero_point)
    if step in ("max", "average"):
        kind = QuantizedMaxPool2D if step == "max" else QuantizedAveragePool2D
        low = draw(st.sampled_from((-128, zero_point)))
        return net.layer(kind(draw(windows), low, 127), x, zero_point=zero_point)
    if step == "pad":
        sides = [(draw(st.integers(0, 1)), draw(st.integers(0, 1))) for _ in shape[1:]]
        return net.layer(QuantizedPad(((0, 0), *sides), zero_point), x, zero_point=zero_point)
    if step == "relu":
        return net.layer(QuantizedRelu(zero_point, 3, *ONE, 3, 100), x, zero_point=3)
    if step == "requantize":
        op = Requantize(zero_point, zero_point, *ONE, False, False)
        return net.layer(op, x, zero_point=zero_point)
    if step == "reshape":
        size = int(np.prod(shape))
        target = draw(st.sampled_from(((1, size), (1, size // c, c), (1, c, size // c), shape)))
        return net.layer(QuantizedReshape(target), x, zero_point=zero_point)
    unit = Tensor("y", shape, INT8, QuantParams((1 / 256,), -128))
    float_op = Softmax() if step == "softmax" else Logistic()
    op = float_op.lower((net.tensors[x],), (unit,))
    return net.layer(op, x, zero_point=-128, scale=1 / 256)


def _planted(
    draw: st.DrawFn,
    net: IntegerNetwork,
    kind: str,
    x: str,
    shape: tuple[int, ...],
    window: Window | None,
) -> str:
    """An operator with a filter, of which some filters, columns and multipliers do nothing."""
    weights = net.weights(*shape)
    out = shape[2] if kind == "depthwise" else shape[0]
    bias = net.rng.integers(-5000, 5000, out)
    zeros, columns, low, high, flushed = (sorted(draw(some)) for _ in range(5))
    by_output = np.moveaxis(weights, 2 if kind == "depthwise" else 0, 0)
    by_output[[o for o in zeros if o < out]] = 0
    if kind != "depthwise":
        weights[..., [i for i in columns if i < shape[-1]]] = 0
    bias[[o for o in low if o < out]] = -(2**26)
    bias[[o for o in high if o < out]] = 2**26
    zero_point = draw(points)
    clamp = draw(st.sampled_from(((-128, 127), (zero_point, 127), (-100, 90))))
    norm = (weights.astype(np.int64) ** 2).sum() / out + 1
    shift = 9 - int(128 * np.sqrt(norm)).bit_length()
    multiplier = [0 if o in flushed else 2**30 + 1000 * o for o in range(out)]
    fields = (tuple(multiplier), (min(shift, 1),) * out)
    return net.product(
        kind, x, weights, bias, window, zero_point=zero_point, clamp=clamp, fields=fields
    )
