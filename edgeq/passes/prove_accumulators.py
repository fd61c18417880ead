"""Proof that no int32 accumulator can overflow: Numba's int64 would not show it."""

from __future__ import annotations

import numpy as np

from edgeq.arith import INT32_MAX, INT32_MIN
from edgeq.errors import GraphError
from edgeq.graph import Array, Graph, Node
from edgeq.ops.conv_add import QuantizedConvAdd
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.op import require_product
from edgeq.ops.product import accumulator_ends
from edgeq.passes.products import PRODUCTS, ProductOp, constants_of, rows_of


def prove_accumulators(graph: Graph) -> Graph:
    """The same graph, if every partial sum, in any order, with the zero point folded, fits.

    |acc - bias| <= (128 + |z1|) * sum|q2|, and acc is shifted left by max(shift, 0) before it
    is multiplied; both must stay within int32. In the rounding `shift` so must the product of
    every accumulator that a channel can have, with half a step added.

    Raises:
        GraphError: names the layer, the channel and the largest possible accumulator.
    """
    for node in graph.nodes:
        for op, inputs in _products(node):
            _prove(node.name, op, *constants_of(graph, inputs))
    return graph


def _products(node: Node) -> list[tuple[ProductOp, tuple[str, ...]]]:
    """The operators with a filter that a node is, with their inputs."""
    if isinstance(node.op, PRODUCTS):
        return [(node.op, node.inputs)]
    if isinstance(node.op, QuantizedConvDepthwise):
        x, *constants = node.inputs
        first, second = (x, *constants[:2]), (x, *constants[2:])
        return [(node.op.conv, first), (node.op.depthwise, second)]
    if isinstance(node.op, QuantizedConvAdd):
        return [(node.op.conv, node.inputs[:3])]
    return []


def _prove(name: str, op: ProductOp, weights: Array, bias: Array) -> None:
    total = np.abs(rows_of(op, weights).astype(np.int64)).sum(1)
    reach = (128 + abs(op.input_zero_point)) * total
    low, high = bias.astype(np.int64) - reach, bias.astype(np.int64) + reach
    shift = np.maximum(np.broadcast_to(np.array(op.shift, np.int64), reach.shape), 0)
    live = np.broadcast_to(np.array(op.multiplier, np.int64), reach.shape) != 0
    shift = np.where(live, np.minimum(shift, 62), 0)
    too_large = np.flatnonzero((high > INT32_MAX >> shift) | (low < INT32_MIN >> shift))
    if too_large.size:
        channel = int(too_large[0])
        peak = max(high[channel], low[channel], key=abs)
        raise GraphError(
            f"{name}: channel {channel} could reach an accumulator of {peak} "
            f"(shifted left by {shift[channel]}), must fit in int32"
        )
    if op.rounding == "shift":
        _prove_products(name, op, rows_of(op, weights), bias)


def _prove_products(name: str, op: ProductOp, rows: Array, bias: Array) -> None:
    low, high = accumulator_ends(op.input_zero_point, rows, bias)
    for channel, peak in enumerate(np.maximum(np.abs(low), np.abs(high)).tolist()):
        m = channel if len(op.multiplier) > 1 else 0
        try:
            require_product(f"channel {channel}", peak, op.multiplier[m], op.shift[m])
        except GraphError as error:
            raise GraphError(f"{name}: {error}") from None
