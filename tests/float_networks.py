"""Random float networks of every operator, for what takes a network from end to end."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from networks import NetworkBuilder

from edgeq.errors import GraphError
from edgeq.graph import Graph
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.pad import Pad
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.window import Window

clamps = st.sampled_from(((NO_MIN, NO_MAX), (0.0, NO_MAX), (0.0, 6.0), (-1.0, 1.0)))
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
STEPS = (
    *("conv", "depthwise", "add") * 2,
    *("max", "average", "pad", "relu", "logistic", "softmax", "concat", "reshape"),
)


@st.composite
def float_networks(draw: st.DrawFn) -> Graph:
    """A stem, some layers with branches, then a head: mean or reshape, and fully connected."""
    b = NetworkBuilder((1, 6, 5, draw(st.integers(1, 3))), draw(st.integers(0, 2**32 - 1)))
    seen = ["input"]
    for step in ("conv", *draw(st.lists(st.sampled_from(STEPS), max_size=6))):
        x = seen[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(seen))
        try:
            seen.append(_step(draw, b, step, x, seen))
        except GraphError:
            continue  # the shapes do not fit this step
    if draw(st.booleans()):
        _head(draw, b, seen)
    return b.build(seen[-1])


def _head(draw: st.DrawFn, b: NetworkBuilder, seen: list[str]) -> None:
    x = seen[-1]
    if draw(st.booleans()):
        seen.append(b.layer("mean", Mean(draw(st.booleans())), x))
    size = int(np.prod(b.tensors[seen[-1]].shape))
    seen.append(b.layer("flat", Reshape((1, size)), seen[-1]))
    weights = b.constant("head/w", 4, size)
    seen.append(b.layer("head", FullyConnected(*draw(clamps)), seen[-1], weights))


def _step(draw: st.DrawFn, b: NetworkBuilder, step: str, x: str, seen: list[str]) -> str:
    name, shape = f"{step}{len(b.nodes)}", b.tensors[x].shape
    channels = shape[-1]
    if step in ("conv", "depthwise"):
        window = draw(windows)
        taps = (window.filter_h, window.filter_w)
        if step == "conv":
            outputs = draw(st.integers(1, 6))
            weights = b.constant(f"{name}/w", outputs, *taps, channels)
            op: object = Conv2D(window, *draw(clamps))
        else:
            outputs = channels * draw(st.sampled_from((1, 1, 2)))
            weights = b.constant(f"{name}/w", *taps, outputs)
            op = DepthwiseConv2D(window, *draw(clamps))
        rest = [b.constant(f"{name}/b", outputs)] if draw(st.booleans()) else []
        return b.layer(name, op, x, weights, *rest)
    if step in ("add", "concat"):
        other = draw(st.sampled_from([n for n in seen if b.tensors[n].shape == shape]))
        op = Add(*draw(clamps)) if step == "add" else Concatenation(draw(st.integers(1, 3)))
        return b.layer(name, op, x, other)
    if step == "max":
        return b.layer(name, MaxPool2D(_plain(draw(windows))), x)
    if step == "average":
        return b.layer(name, AveragePool2D(_plain(draw(windows))), x)
    if step == "pad":
        sides = [(draw(st.integers(0, 1)), draw(st.integers(0, 1))) for _ in shape[1:]]
        return b.layer(name, Pad(((0, 0), *sides)), x)
    if step == "reshape":
        return b.layer(name, Reshape((1, shape[2], shape[1], channels)), x)
    if step == "relu":
        bounds = draw(st.sampled_from(((0.0, NO_MAX), (0.0, 6.0), (-1.0, 1.0))))
        return b.layer(name, Relu(*bounds), x)
    return b.layer(name, Softmax() if step == "softmax" else Logistic(), x)


def _plain(window: Window) -> Window:
    """Without padding and dilation, which not every format has for a pool."""
    return Window(window.filter_h, window.filter_w, window.stride_h, window.stride_w)
