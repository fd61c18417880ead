"""Readers of ONNX operators that slide a window: Conv, the pools, Pad.

Padding, output extents and the meaning of count_include_pad and ceil_mode: the ONNX operator
specification, Conv, MaxPool and AveragePool.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeq.importers.onnx_graph import GraphBuilder
from edgeq.importers.onnx_layout import Layout, channels_last
from edgeq.importers.onnx_node import Activation, OnnxNode, Refused
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.op import FloatOp
from edgeq.ops.pad import Pad
from edgeq.ops.window import Window

NHWC = channels_last(4)
MAX_WINDOW = 2**16  # of any field: keeps extents of nonsense files within reason


@dataclass(frozen=True, slots=True)
class _Axis:
    """The window along height or width."""

    extent: int
    size: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def reach(self) -> int:
        return (self.size - 1) * self.dilation + 1

    def same(self, *, upper: bool) -> _Axis:
        """auto_pad SAME: ceil(extent / stride) outputs; the odd row goes to one side."""
        outputs = -(-self.extent // self.stride)
        total = max((outputs - 1) * self.stride + self.reach - self.extent, 0)
        small, large = total // 2, total - total // 2
        before, after = (small, large) if upper else (large, small)
        return replace(self, before=before, after=after)

    def ceil(self) -> _Axis:
        """ceil_mode: more room at the end, unless a window would start in the padding there."""
        slack = self.extent + self.before + self.after - self.reach
        missing = -slack % self.stride
        start_of_last = (slack + missing) // self.stride * self.stride
        if slack < 0 or not missing or start_of_last >= self.extent + self.before:
            return self
        return replace(self, after=self.after + missing)


def _axes(node: OnnxNode, source: Activation, size: tuple[int, int] | None) -> list[_Axis]:
    """Height and width of the node's window over the source image."""
    kernel = node.integer_list("kernel_shape") or size
    if kernel is None:
        raise Refused("attribute kernel_shape is missing")
    if size is not None and kernel != size:
        raise Refused(f"kernel_shape is {kernel}, the filter has {size}")
    strides, dilations = (
        node.integer_list("strides") or (1, 1),
        node.integer_list("dilations") or (1, 1),
    )
    pads = node.integer_list("pads") or (0, 0, 0, 0)
    for name, values, count in (
        ("kernel_shape", kernel, 2),
        ("strides", strides, 2),
        ("dilations", dilations, 2),
        ("pads", pads, 4),
    ):
        lowest = 0 if name == "pads" else 1
        if len(values) != count or not all(lowest <= v <= MAX_WINDOW for v in values):
            raise Refused(
                f"{name} is {values}, must be {count} numbers of {lowest}..{MAX_WINDOW}"
            )
    axes = [
        _Axis(source.shape[2 + i], kernel[i], strides[i], dilations[i], pads[i], pads[2 + i])
        for i in range(2)
    ]
    auto_pad = node.text("auto_pad", "NOTSET")
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        return [axis.same(upper=auto_pad == "SAME_UPPER") for axis in axes]
    if auto_pad == "VALID":
        return [replace(axis, before=0, after=0) for axis in axes]
    if auto_pad != "NOTSET":
        raise Refused(
            f"auto_pad is {auto_pad}, must be NOTSET, SAME_UPPER, SAME_LOWER or VALID"
        )
    return axes


def _window(axes: list[_Axis]) -> Window:
    h, w = axes
    return Window(
        h.size,
        w.size,
        h.stride,
        w.stride,
        h.dilation,
        w.dilation,
        h.before,
        h.after,
        w.before,
        w.after,
    )


def _image(node: OnnxNode) -> Activation:
    source = node.activation()
    if len(source.shape) != 4:
        raise Refused(
            f"the input has ONNX shape {source.shape}: only 2-D {node.op_type}, over "
            f"(batch, channels, height, width), is supported"
        )
    return source


def image_value(builder: GraphBuilder, tensor: str) -> Activation:
    """The ONNX value of an NHWC tensor."""
    n, h, w, c = builder.tensors[tensor].shape
    return Activation(tensor, Layout.of((n, c, h, w), NHWC))


def read_conv(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Conv: OIHW to OHWI; with as many groups as channels, depthwise."""
    weights, bias = node.weights(1, "filter"), node.optional_weights(2, "bias")
    if weights.ndim != 4:
        raise Refused(
            f"filter shape is {weights.shape}: only 2-D Conv is supported; a 1-D convolution "
            f"is a 2-D one over an image of height 1"
        )
    source, groups = _image(node), node.integer("group", 1)
    channels = source.shape[1]
    if groups not in (1, channels):
        raise Refused(f"group is {groups}, must be 1 or the {channels} input channels")
    if weights.shape[1] * groups != channels or weights.shape[0] % groups:
        raise Refused(
            f"filter shape is {weights.shape} in {groups} groups, input has {channels} channels"
        )
    window = _window(_axes(node, source, (weights.shape[2], weights.shape[3])))
    op: FloatOp
    if groups == 1:
        op, tensor = Conv2D(window), builder.view(source, NHWC)
        filter_data = weights[:, source.layout.last_axis_index(NHWC)].transpose(0, 2, 3, 1)
    else:
        op, tensor = DepthwiseConv2D(window), builder.ordered_view(source, NHWC)
        filter_data = weights[:, 0].transpose(1, 2, 0)
    inputs = [tensor, builder.constant(f"{node.name}/filter", filter_data)]
    if bias is not None:
        inputs.append(builder.constant(f"{node.name}/bias", bias))
    return image_value(builder, builder.emit(op, tuple(inputs), node.name))


def read_max_pool(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """MaxPool; padding never wins."""
    source = _image(node)
    axes = _axes(node, source, None)
    if node.flag("ceil_mode"):
        axes = [axis.ceil() for axis in axes]
    tensor = builder.ordered_view(source, NHWC)
    return image_value(builder, builder.emit(MaxPool2D(_window(axes)), (tensor,), node.name))


def read_average_pool(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """AveragePool; padding that counts becomes a Pad before it, ceil_mode's never counts."""
    source = _image(node)
    axes = _axes(node, source, None)
    tensor = builder.ordered_view(source, NHWC)
    ends = [axis.ceil() for axis in axes] if node.flag("ceil_mode") else axes
    if node.flag("count_include_pad") and any(a.before or a.after for a in axes):
        pads = ((0, 0), *((a.before, a.after) for a in axes), (0, 0))
        tensor = builder.emit(Pad(pads), (tensor,), f"{node.name}/pad")
        ends = [
            replace(
                a, extent=a.extent + a.before + a.after, before=0, after=end.after - a.after
            )
            for a, end in zip(axes, ends, strict=True)
        ]
    return image_value(
        builder, builder.emit(AveragePool2D(_window(ends)), (tensor,), node.name)
    )


def read_global_average_pool(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """GlobalAveragePool: the mean over height and width."""
    tensor = builder.ordered_view(_image(node), NHWC)
    return image_value(builder, builder.emit(Mean(keep_dims=True), (tensor,), node.name))


def read_global_max_pool(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """GlobalMaxPool: one window over the whole image."""
    source = _image(node)
    tensor = builder.ordered_view(source, NHWC)
    op = MaxPool2D(Window(source.shape[2], source.shape[3]))
    return image_value(builder, builder.emit(op, (tensor,), node.name))


def read_pad(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Pad with zeros."""
    source = node.activation()
    rank = len(source.shape)
    if node.text("mode", "constant") != "constant":
        raise Refused(f"mode is {node.text('mode', '')}, must be constant")
    fill = node.optional(2, "fill")
    if fill is not None and (fill.size != 1 or np.any(fill != 0)):
        raise Refused(f"fills with {fill.ravel()[:1].tolist()}, must be 0")
    axes = tuple(range(rank))
    if node.optional(3, "axes") is not None:
        axes = tuple(node.axis(axis, rank) for axis in node.integers(3, "axes"))
    pads = node.integers(1, "pads")
    if len(pads) != 2 * len(axes) or not all(0 <= p <= MAX_WINDOW for p in pads):
        raise Refused(f"pads is {pads}, must be {2 * len(axes)} numbers of 0..{MAX_WINDOW}")
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pairs[axis] = (pads[i], pads[len(axes) + i])
    if not any(p for pair in pairs for p in pair):
        return source
    order = builder.common_order((source,))
    tensor = builder.view(source, order)
    output = builder.emit(Pad(tuple(pairs[axis] for axis in order)), (tensor,), node.name)
    shape = tuple(e + sum(pair) for e, pair in zip(source.shape, pairs, strict=True))
    return Activation(output, Layout.of(shape, order))
