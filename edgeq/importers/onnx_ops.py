"""Readers of the other ONNX operators, and the table of them all.

A reader takes a node and gives the value of its first output; what it cannot read it refuses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.importers.onnx_fold import (
    flattened,
    permutation,
    reshape_target,
    squeezed,
    unsqueezed,
)
from edgeq.importers.onnx_graph import FLOAT32, GraphBuilder
from edgeq.importers.onnx_layout import Layout, orders
from edgeq.importers.onnx_node import Activation, OnnxNode, Refused, as_weights
from edgeq.importers.onnx_window import (
    read_average_pool,
    read_conv,
    read_global_average_pool,
    read_global_max_pool,
    read_max_pool,
    read_pad,
)
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.add import Add
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.mean import Mean
from edgeq.ops.op import FloatOp
from edgeq.ops.relu import Relu
from edgeq.ops.softmax import Softmax

Reader: TypeAlias = Callable[[OnnxNode, GraphBuilder], Activation]


def _elementwise(op: FloatOp, node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Any layout goes through an operator that looks at each element alone."""
    source = node.activation()
    return Activation(builder.emit(op, (source.tensor,), node.name), source.layout)


def _relu(node: OnnxNode, builder: GraphBuilder) -> Activation:
    return _elementwise(Relu(), node, builder)


def _sigmoid(node: OnnxNode, builder: GraphBuilder) -> Activation:
    return _elementwise(Logistic(), node, builder)


def _clip(node: OnnxNode, builder: GraphBuilder) -> Activation:
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


def _same(node: OnnxNode, builder: GraphBuilder) -> Activation:
    return node.activation()


def _cast(node: OnnxNode, builder: GraphBuilder) -> Activation:
    if node.integer("to", 0) != 1:
        raise Refused("casts an activation, which must stay float32")
    return node.activation()


def _dropout(node: OnnxNode, builder: GraphBuilder) -> Activation:
    training = node.optional(2, "training_mode")
    if training is not None and training.any():
        raise Refused("is in training mode; export after model.eval()")
    return node.activation()


def _batch_normalization(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, as one factor and one term a channel."""
    source = node.activation()
    if node.integer("training_mode", 0):
        raise Refused("is in training mode; export after model.eval()")
    scale, bias, mean, var = (
        node.weights(i, what).astype(np.float64)
        for i, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    if len(source.shape) < 2 or any(
        a.shape != source.shape[1:2] for a in (scale, bias, mean, var)
    ):
        raise Refused(f"scale shape is {scale.shape}, input has ONNX shape {source.shape}")
    variance = var + node.real("epsilon", float(np.float32(1e-5)))
    if (variance <= 0).any():
        raise Refused(f"variance + epsilon is {variance.min()}, must be > 0")
    factor = scale / np.sqrt(variance)
    return builder.affine(source, 1, factor, bias - mean * factor, node.name)


def _gemm(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """A @ B * alpha + C * beta with constant B and C."""
    if node.integer("transA", 0):
        raise Refused("transA is 1, must be 0")
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    weights, bias = node.weights(1, "B"), node.optional_weights(2, "C")
    if weights.ndim != 2 or len(node.activation().shape) != 2:
        raise Refused(
            f"A has shape {node.activation().shape}, B {weights.shape}, must be matrices"
        )
    weights = (weights if node.integer("transB", 0) else weights.T) * np.float32(alpha)
    if bias is not None:
        if bias.size not in (1, weights.shape[0]) or bias.shape[-1:] not in (
            (),
            (1,),
            (bias.size,),
        ):
            raise Refused(f"C has shape {bias.shape}, must be ({weights.shape[0]},)")
        bias = np.broadcast_to(bias.ravel() * np.float32(beta), weights.shape[:1])
    return _fully_connected(node, builder, weights, bias)


def _mat_mul(node: OnnxNode, builder: GraphBuilder) -> Activation:
    if isinstance(node.inputs[1] if len(node.inputs) > 1 else None, Activation):
        raise Refused("multiplies two activations, B must be a constant")
    weights = node.weights(1, "B")
    if weights.ndim != 2:
        raise Refused(f"B has shape {weights.shape}, must be a matrix")
    return _fully_connected(node, builder, weights.T, None)


def _fully_connected(
    node: OnnxNode, builder: GraphBuilder, weights: Array, bias: Array | None
) -> Activation:
    """X @ weights.T + bias over the last ONNX axis; weights OI in the order of memory."""
    source = node.activation()
    order = tuple(range(len(source.shape)))
    tensor = builder.view(source, order)
    index = source.layout.last_axis_index(order)
    if source.shape[-1] != weights.shape[1]:
        raise Refused(f"input has {source.shape[-1]} features, B wants {weights.shape[1]}")
    inputs = [tensor, builder.constant(f"{node.name}/filter", weights[:, index])]
    if bias is not None:
        inputs.append(builder.constant(f"{node.name}/bias", bias))
    output = builder.emit(FullyConnected(), tuple(inputs), node.name)
    return Activation(output, Layout.of(builder.tensors[output].shape, order))


def _add(node: OnnxNode, builder: GraphBuilder) -> Activation:
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
    return Activation(output, Layout.of(_onnx_shape(builder, output, order), order))


def _raised(value: Activation, rank: int) -> Activation:
    """The value with extents of 1 in front, as broadcasting sees it."""
    missing = ((),) * (rank - len(value.shape))
    layout = Layout((*missing, *value.layout.axes), value.layout.extents)
    return Activation(value.tensor, layout, value.is_exclusive)


def _onnx_shape(builder: GraphBuilder, tensor: str, order: tuple[int, ...]) -> Shape:
    shape = builder.tensors[tensor].shape
    return tuple(shape[order.index(axis)] for axis in range(len(order)))


def _add_constant(
    node: OnnxNode, builder: GraphBuilder, source: Activation, constant: Array
) -> Activation:
    """Sum with a constant that differs from pixel to pixel."""
    rank = len(source.shape)
    if np.broadcast_shapes(source.shape, constant.shape) != source.shape:
        raise Refused(f"input of shape {source.shape} would be repeated to fit the constant")
    order = builder.common_order((source,))
    full = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    inputs = (
        builder.view(source, order),
        builder.constant(f"{node.name}/constant", full.transpose(order)),
    )
    return Activation(builder.emit(Add(), inputs, node.name), Layout.of(source.shape, order))


def _sub(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Difference from a constant, or of a constant, one value a channel."""
    source, constant = _activation_and_constant(node)
    flipped = not isinstance(node.inputs[0], Activation)
    sign = -1.0 if flipped else 1.0
    axis = _require_channel_axis(source, constant)
    return builder.affine(source, axis, np.array([sign]), -sign * constant, node.name)


def _mul(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Product with a constant, one value a channel."""
    source, constant = _activation_and_constant(node)
    axis = _require_channel_axis(source, constant)
    return builder.affine(source, axis, constant, np.zeros(1), node.name)


def _div(node: OnnxNode, builder: GraphBuilder) -> Activation:
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
        order = (*(a for a in range(rank) if a != axis), axis)
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


def _concat(node: OnnxNode, builder: GraphBuilder) -> Activation:
    values = [v for v in node.inputs if isinstance(v, Activation)]
    rank = len(values[0].shape)
    if any(value is None or len(value.shape) != rank for value in node.inputs):
        raise Refused("its inputs do not all have the same number of axes")
    axis = node.axis(node.integer("axis", 0), rank)
    order = builder.common_order(tuple(values))
    tensors = tuple(
        builder.view(value, order)
        if isinstance(value, Activation)
        else builder.constant(
            f"{node.name}/constant", as_weights(value, "the constant").transpose(order)
        )
        for value in node.inputs
        if value is not None
    )
    output = builder.emit(Concatenation(order.index(axis)), tensors, node.name)
    return Activation(output, Layout.of(_onnx_shape(builder, output, order), order))


def _softmax(node: OnnxNode, builder: GraphBuilder) -> Activation:
    source = node.activation()
    rank = len(source.shape)
    axis = node.axis(node.integer("axis", -1), rank)
    for order in orders(rank):
        if order[-1] == axis and source.layout.has_order(order):
            tensor = builder.emit(Softmax(), (builder.view(source, order),), node.name)
            return Activation(tensor, Layout.of(source.shape, order))
    raise Refused(f"axis {axis} of ONNX shape {source.shape} is not innermost in memory")


def _reduce_mean(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Mean over the axes that lie outside the innermost one."""
    source = node.activation()
    rank = len(source.shape)
    axes = node.axes(rank)
    if axes is None and node.integer("noop_with_empty_axes", 0):
        return source
    axes = axes or tuple(range(rank))
    kept = tuple(axis for axis in range(rank) if axis not in axes)
    order = (*(a for a in kept if source.shape[a] == 1), *axes)
    order = (*order, *(a for a in kept if source.shape[a] != 1))
    if not source.layout.has_order(order):
        raise Refused(
            f"axes {axes} of ONNX shape {source.shape} are not the outer ones in memory; the "
            f"mean over height and width is supported"
        )
    channels = math.prod(source.shape[axis] for axis in kept)
    extents = [source.shape[axis] for axis in axes]
    image = (1, math.prod(extents[:-1]), extents[-1], channels)
    tensor = builder.shaped(source.tensor, image)
    keep_dims = bool(node.integer("keepdims", 1)) and rank == 4
    output = builder.emit(Mean(keep_dims), (tensor,), node.name)
    left = Layout.of(tuple(1 if a in axes else e for a, e in enumerate(source.shape)), order)
    if node.integer("keepdims", 1):
        return Activation(output, left)
    return Activation(output, Layout(tuple(left.axes[a] for a in kept), left.extents))


def _reshaped(target: Callable[[Shape, OnnxNode], Shape]) -> Reader:
    def read(node: OnnxNode, builder: GraphBuilder) -> Activation:
        source = node.activation()
        shape = target(source.shape, node)
        layout = source.layout.reshaped(shape)
        if layout is None:
            raise Refused(
                f"reshapes ONNX shape {source.shape} to {shape} across the channels, which lie "
                f"innermost here; only a reshape that keeps the channels whole is supported"
            )
        return Activation(source.tensor, layout, source.is_exclusive)

    return read


def _transpose(node: OnnxNode, builder: GraphBuilder) -> Activation:
    source = node.activation()
    perm = permutation(len(source.shape), node)
    return Activation(source.tensor, source.layout.transposed(perm), source.is_exclusive)


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "Add": _add,
        "AveragePool": read_average_pool,
        "BatchNormalization": _batch_normalization,
        "Cast": _cast,
        "Clip": _clip,
        "Concat": _concat,
        "Conv": read_conv,
        "Div": _div,
        "Dropout": _dropout,
        "Flatten": _reshaped(flattened),
        "Gemm": _gemm,
        "GlobalAveragePool": read_global_average_pool,
        "GlobalMaxPool": read_global_max_pool,
        "Identity": _same,
        "MatMul": _mat_mul,
        "MaxPool": read_max_pool,
        "Mul": _mul,
        "Pad": read_pad,
        "ReduceMean": _reduce_mean,
        "Relu": _relu,
        "Reshape": _reshaped(reshape_target),
        "Sigmoid": _sigmoid,
        "Softmax": _softmax,
        "Squeeze": _reshaped(squeezed),
        "Sub": _sub,
        "Transpose": _transpose,
        "Unsqueeze": _reshaped(unsqueezed),
    }
)
