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
from edgeq.importers.onnx_arithmetic import (
    read_add,
    read_clip,
    read_div,
    read_maximum,
    read_minimum,
    read_mul,
    read_relu,
    read_sigmoid,
    read_sub,
)
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
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.mean import Mean
from edgeq.ops.softmax import Softmax

Reader: TypeAlias = Callable[[OnnxNode, GraphBuilder], Activation]


def _same(node: OnnxNode, builder: GraphBuilder) -> Activation:
    return node.activation()


def _cast(node: OnnxNode, builder: GraphBuilder) -> Activation:
    if node.integer("to", 0) != 1:
        raise Refused("casts an activation, which must stay float32")
    return node.activation()


def _cast_like(node: OnnxNode, builder: GraphBuilder) -> Activation:
    like = node.inputs[1] if len(node.inputs) > 1 else None
    if not isinstance(like, Activation) and (like is None or like.dtype != FLOAT32):
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
    if node.flag("training_mode"):
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
    if node.flag("transA"):
        raise Refused("transA is 1, must be 0")
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    weights, bias = node.weights(1, "B"), node.optional_weights(2, "C")
    if weights.ndim != 2 or len(node.activation().shape) != 2:
        raise Refused(
            f"A has shape {node.activation().shape}, B {weights.shape}, must be matrices"
        )
    weights = (weights if node.flag("transB") else weights.T) * np.float32(alpha)
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
    if source.shape[-1:] != weights.shape[1:]:
        raise Refused(
            f"input has ONNX shape {source.shape}, B wants {weights.shape[1]} features"
        )
    tensor = builder.view(source, order)
    index = source.layout.last_axis_index(order)
    inputs = [tensor, builder.constant(f"{node.name}/filter", weights[:, index])]
    if bias is not None:
        inputs.append(builder.constant(f"{node.name}/bias", bias))
    output = builder.emit(FullyConnected(), tuple(inputs), node.name)
    return Activation(output, Layout.of(builder.tensors[output].shape, order))


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
    return Activation(output, Layout.of(builder.onnx_shape(output, order), order))


def _softmax(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Softmax along the axis that is innermost in memory, its elements in any order."""
    source = node.activation()
    rank = len(source.shape)
    axis = node.axis(node.integer("axis", -1), rank)
    for order in orders(rank):
        if order[-1] == axis and source.layout.last_axis_index(order) is not None:
            tensor = builder.emit(Softmax(), (builder.view(source, order),), node.name)
            return Activation(tensor, source.layout)
    raise Refused(f"axis {axis} of ONNX shape {source.shape} is not innermost in memory")


def _reduce_mean(node: OnnxNode, builder: GraphBuilder) -> Activation:
    """Mean over the axes that lie outside the innermost one."""
    source = node.activation()
    rank = len(source.shape)
    axes = node.axes(rank)
    if axes is None and node.flag("noop_with_empty_axes"):
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
    keep_dims = node.flag("keepdims", 1) and rank == 4
    output = builder.emit(Mean(keep_dims), (tensor,), node.name)
    left = Layout.of(tuple(1 if a in axes else e for a, e in enumerate(source.shape)), order)
    if node.flag("keepdims", 1):
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
        "Add": read_add,
        "AveragePool": read_average_pool,
        "BatchNormalization": _batch_normalization,
        "Cast": _cast,
        "CastLike": _cast_like,
        "Clip": read_clip,
        "Concat": _concat,
        "Conv": read_conv,
        "Div": read_div,
        "Dropout": _dropout,
        "Flatten": _reshaped(flattened),
        "Gemm": _gemm,
        "GlobalAveragePool": read_global_average_pool,
        "GlobalMaxPool": read_global_max_pool,
        "Identity": _same,
        "MatMul": _mat_mul,
        "Max": read_maximum,
        "MaxPool": read_max_pool,
        "Min": read_minimum,
        "Mul": read_mul,
        "Pad": read_pad,
        "ReduceMean": _reduce_mean,
        "Relu": read_relu,
        "Reshape": _reshaped(reshape_target),
        "Sigmoid": read_sigmoid,
        "Softmax": _softmax,
        "Squeeze": _reshaped(squeezed),
        "Sub": read_sub,
        "Transpose": _transpose,
        "Unsqueeze": _reshaped(unsqueezed),
    }
)
