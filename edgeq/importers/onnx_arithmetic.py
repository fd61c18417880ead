"""Readers of ONNX's element-wise operators: sums, products with constants, clamps.

A constant of one value a channel goes into the weights of the operator before, where there is
one (GraphBuilder.affine).
"""

from __future__ import annotations

import math

import numpy as np

from edgeq.graph import Array
from edgeq.importers.onnx_graph import FLOAT32, GraphBuilder
from edgeq.importers.onnx_layout import Layout, axis_last, orders
from edgeq.importers.onnx_node import Activation, OnnxNode, Refused, as_weights
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.add import Add
from edgeq.ops.logistic import Logistic
from edgeq.ops.op import FloatOp
from edgeq.ops.relu import Relu


def _elementwise(op: FloatOp, node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Any layout goes through an operator that looks at each element alone."""
    source = node.activation()
    return Activation(builder.emit(op, (source.tensor,), node.name), source.layout)


def read_relu(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Relu."""
    return _elementwise(Relu(), node, builder)


def read_sigmoid(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Sigmoid."""
    return _elementwise(Logistic(), node, builder)


def read_clip(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Clip to constant bounds; without any it is nothing."""
    low, high = _bound(node, 1, "min", NO_MIN), _bound(node, 2, "max", NO_MAX)
    if low == NO_MIN and high == NO_MAX:
        return node.activation()
    if not low < high:
        raise Refused(f"clips to [{low}, {high}], min must be below max")
    return _elementwise(Relu(low, high), node, builder)


def _bound(node: OnnxNode, index: int, what: str, default: float) -> float:
    """A bound of Clip; the largest float32 means none, as exporters write it."""
    value = node.optional(index, what)
    if value is None:
        return default
    if value.dtype != FLOAT32 or value.size != 1 or math.isnan(bound := value.item()):
        raise Refused(f"{what} is {value.dtype}{value.shape}, must be one float32")
    return default if abs(bound) >= np.finfo(np.float32).max else float(bound)


def read_maximum(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Max with one constant."""
    return _one_sided(node, builder, is_lower=True)


def read_minimum(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Min with one constant."""
    return _one_sided(node, builder, is_lower=False)


def _one_sided(node: OnnxNode, builder: GraphBuilder, *, is_lower: bool) -> Activation:
    """Max or Min with one constant: a clamp on one side."""
    source, constant = _activation_and_constant(node)
    if constant.size != 1 or constant.ndim > len(source.shape):
        raise Refused(f"constant has shape {constant.shape}, must have one value")
    bound = float(constant.item())
    op = Relu(bound, NO_MAX) if is_lower else Relu(NO_MIN, bound)
    return Activation(builder.emit(op, (source.tensor,), node.name), source.layout)


def read_add(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Sum of two activations, or of one and a constant."""
    if all(isinstance(value, Activation) for value in node.inputs) and len(node.inputs) == 2:
        return _sum(node, builder, node.activation(0), node.activation(1))
    source, constant = _activation_and_constant(node)
    axis = _channel_axis(source, constant)
    if axis is None:
        return _add_constant(node, builder, source, constant)
    return builder.affine(source, axis, np.ones(1), constant, node.name)


def _sum(node: OnnxNode, builder: GraphBuilder, a: Activation, b: Activation) -> Activation:
    """Sum of two activations, extents of 1 repeated."""
    shapes = [builder.tensors[value.tensor].shape for value in (a, b)]
    if a.layout == b.layout and shapes[0] == shapes[1]:
        return Activation(builder.emit(Add(), (a.tensor, b.tensor), node.name), a.layout)
    rank = max(len(a.shape), len(b.shape))
    raised = tuple(_raised(value, rank) for value in (a, b))
    order = builder.common_order(raised)
    tensors = tuple(builder.view(value, order) for value in raised)
    output = builder.emit(Add(), tensors, node.name)
    return Activation(output, Layout.of(builder.onnx_shape(output, order), order))


def _raised(value: Activation, rank: int) -> Activation:
    """The value with extents of 1 in front, as broadcasting sees it."""
    missing = ((),) * (rank - len(value.shape))
    layout = Layout((*missing, *value.layout.axes), value.layout.extents)
    return Activation(value.tensor, layout, value.is_exclusive)


def _add_constant(
    node: OnnxNode, builder: GraphBuilder, source: Activation, constant: Array
) -> Activation:
    """Sum with a constant that differs from pixel to pixel."""
    rank = len(source.shape)
    padded = (1,) * (rank - constant.ndim) + constant.shape
    if len(padded) != rank or any(
        extent not in (1, wanted) for extent, wanted in zip(padded, source.shape, strict=True)
    ):
        raise Refused(f"constant has shape {constant.shape}, must fit {source.shape}")
    order = builder.common_order((source,))
    inputs = (
        builder.view(source, order),
        builder.constant(f"{node.name}/constant", constant.reshape(padded).transpose(order)),
    )
    return Activation(builder.emit(Add(), inputs, node.name), Layout.of(source.shape, order))


def read_sub(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Difference from a constant, or of a constant, one value a channel."""
    source, constant = _activation_and_constant(node)
    flipped = not isinstance(node.inputs[0], Activation)
    sign = -1.0 if flipped else 1.0
    axis = _require_channel_axis(source, constant)
    return builder.affine(source, axis, np.array([sign]), -sign * constant, node.name)


def read_mul(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Product with a constant, one value a channel."""
    source, constant = _activation_and_constant(node)
    axis = _require_channel_axis(source, constant)
    return builder.affine(source, axis, constant, np.zeros(1), node.name)


def read_div(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Quotient by a constant, one value a channel."""
    source, constant = _activation_and_constant(node)
    if not isinstance(node.inputs[0], Activation):
        raise Refused("divides by an activation")
    if not constant.all():
        raise Refused("divides by a constant that holds 0")
    axis = _require_channel_axis(source, constant)
    factor = 1 / constant.astype(np.float64)
    return builder.affine(source, axis, factor, np.zeros(1), node.name)


def _activation_and_constant(node: OnnxNode) -> tuple[Activation, Array]:
    if len(node.inputs) != 2:
        raise Refused(f"{len(node.inputs)} inputs, must be 2")
    place = 0 if isinstance(node.inputs[0], Activation) else 1
    source, other = node.activation(place), node.inputs[1 - place]
    if isinstance(other, Activation) or other is None:
        raise Refused("works on two activations, one must be a constant")
    return source, as_weights(other, "the constant")


def _channel_axis(source: Activation, constant: Array) -> int | None:
    """The axis along which a constant varies if that is innermost in memory, else None.

    A constant of one value goes with any innermost axis.
    """
    rank = len(source.shape)
    if constant.ndim > rank:
        return None
    varying = [rank - constant.ndim + i for i, e in enumerate(constant.shape) if e > 1]
    candidates = varying or [order[-1] for order in orders(rank)]
    for axis in candidates:
        order = axis_last(rank, axis)
        if len(varying) <= 1 and source.layout.last_axis_index(order) is not None:
            fits = constant.size in (1, source.shape[axis])
            return axis if fits else None
    return None


def _require_channel_axis(source: Activation, constant: Array) -> int:
    axis = _channel_axis(source, constant)
    if axis is None:
        raise Refused(
            f"constant has shape {constant.shape} beside {source.shape}, must have one value, "
            f"or one for each channel"
        )
    return axis
