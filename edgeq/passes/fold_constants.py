"""Constant channels go into biases: what they add is known.

A channel that reaches one value only, everywhere, is constant (value_ranges). Where a
convolution reads it, bias += sum(q2 * (c - z1)) and its weights become zero; an output channel
that is constant gets a zero filter and a bias that gives its value.

In the padding, z1 stands in place of c. So the sum is folded only if it is the same at every
output pixel: c is z1, or no window with a weight for c reaches over the border.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeq.graph import Array, Graph, Node, Shape, Tensor
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.window import Window
from edgeq.passes.products import (
    PRODUCTS,
    ProductOp,
    filter_and_bias,
    rows_of,
    with_constants,
)
from edgeq.passes.value_ranges import Range, accumulator_range, value_ranges


def fold_constants(graph: Graph) -> Graph:
    """The same function with zeros for every weight that meets a constant."""
    ranges = value_ranges(graph)
    tensors = dict(graph.tensors)
    nodes = []
    for node in graph.nodes:
        folded, constants = _fold(graph, node, ranges)
        nodes.append(folded)
        tensors.update({tensor.name: tensor for tensor in constants})
    if all(new is old for new, old in zip(nodes, graph.nodes, strict=True)):
        return graph
    return Graph.build(graph.name, tensors.values(), nodes, graph.inputs, graph.outputs)


def _fold(graph: Graph, node: Node, ranges: Mapping[str, Range]) -> tuple[Node, list[Tensor]]:
    """The node and its new constants; the node itself if there is nothing to fold."""
    if not isinstance(node.op, PRODUCTS):
        return node, []
    weights, bias = filter_and_bias(graph, node)
    x = ranges[node.inputs[0]]
    new_weights, new_bias = _fold_inputs(node.op, x, weights, bias)
    new_weights, new_bias = _fold_outputs(node.op, x, new_weights, new_bias, ranges[node.name])
    if np.array_equal(new_weights, weights):
        return node, []
    return with_constants(graph, node, {1: new_weights, 2: new_bias})


def _fold_inputs(op: ProductOp, x: Range, weights: Array, bias: Array) -> tuple[Array, Array]:
    """Filter and bias without what is read of constant channels."""
    if isinstance(op, QuantizedDepthwiseConv2D):
        return weights, bias  # the output is then constant too, or differs at the border
    is_constant, value = x.constant_channels()
    if not is_constant.any():
        return weights, bias
    rows = weights.reshape(weights.shape[0], -1, weights.shape[-1])[:, :, is_constant]
    steps = value[is_constant].astype(np.int64) - op.input_zero_point
    if isinstance(op, QuantizedConv2D):
        inside = taps_inside(op.window, x.low.shape)
    else:
        inside = np.ones((1, 1), np.int64)
    # What each channel adds, by pattern of taps in the image: (P, O, I).
    added = np.einsum("pt,oti->poi", inside, rows.astype(np.int64)) * steps
    is_same = (added == added[0]).all(0)
    total = np.where(is_same, added[0], 0).sum(1)
    new_rows = weights.reshape(weights.shape[0], -1, weights.shape[-1]).copy()
    new_rows[:, :, is_constant] = np.where(is_same[:, np.newaxis], 0, rows)
    return new_rows.reshape(weights.shape), (bias + total).astype(np.int32)


def taps_inside(window: Window, shape: Shape) -> Array:
    """(P, h * w) of 0 and 1: which taps can lie in an image of this shape together."""
    ones = np.ones((*shape[:3], 1), np.int64)
    patches = window.patches(ones, 0)
    return np.unique(patches.reshape(-1, window.filter_h * window.filter_w), axis=0)


def _fold_outputs(
    op: ProductOp, x: Range, weights: Array, bias: Array, output: Range
) -> tuple[Array, Array]:
    """Filter and bias with zero filters for constant output channels."""
    is_constant, _ = output.constant_channels()
    is_constant &= (rows_of(op, weights) != 0).any(1)
    if not is_constant.any():
        return weights, bias
    # Any accumulator that occurs gives the constant; the smallest at the first pixel does.
    acc = accumulator_range(op, x, weights, bias).low.reshape(-1, len(bias))[0]
    keep = np.where(is_constant, 0, 1).astype(np.int8)
    by_channel = (
        keep
        if isinstance(op, QuantizedDepthwiseConv2D)
        else keep.reshape(-1, *(1,) * (weights.ndim - 1))
    )
    return weights * by_channel, np.where(is_constant, acc, bias).astype(np.int32)
