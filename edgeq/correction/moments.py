"""Analytic bias correction: the mean error of a layer's output, from its filter and moments.

A rounded filter W' = W + e gives outputs whose mean is off by e E[x]; the bias takes it back
(Nagel et al. 2019, section 4.2). Means and variances of each channel are carried through the
float network as if its channels were independent and what a clamp takes in were normal: there
they come from batch normalization, which an imported network has folded, here from those of
the graph's inputs. Nothing else is measured. Pooling is taken to keep both; a layer behind an
operator that is not known here is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeq.correction.layerwise import bias_of, with_product
from edgeq.correction.pairs import by_channel
from edgeq.graph import Array, Graph, Node
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.pad import Pad
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
from edgeq.passes.products import FLOAT_PRODUCTS, rows_of

_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the channels of an activation: C is the extent of its last axis."""

    mean: Array  # (C,)
    variance: Array  # (C,)


def correct_analytically(graph: Graph, rounded: Graph, samples: Mapping[str, Array]) -> Graph:
    """`rounded`, the float graph with its filters on their grids, with its biases corrected."""
    known: dict[str, Moments] = {}
    for name, x in samples.items():
        flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
        known[name] = Moments(flat.mean(0), flat.var(0))
    tensors = dict(rounded.tensors)
    nodes: list[Node] = []
    for exact, node in zip(graph.nodes, rounded.nodes, strict=True):
        moments = _moments(graph, exact, known)
        if moments is not None:
            known[exact.name] = moments
        source = known.get(exact.inputs[0])
        if source is not None and isinstance(node.op, FLOAT_PRODUCTS):
            (before, after) = (_rows(g, n) for g, n in ((graph, exact), (rounded, node)))
            error = ((after - before) * by_channel(node.op, source.mean, before)).sum(1)
            weights = rounded.tensors[node.inputs[1]]
            node, constants = with_product(
                rounded, node, weights, bias_of(rounded, node) - error
            )
            tensors.update({t.name: t for t in constants})
        nodes.append(node)
    return Graph.build(rounded.name, tensors.values(), nodes, rounded.inputs, rounded.outputs)


def clipped_normal(moments: Moments, low: float, high: float) -> Moments:
    """Of a normal variable clamped to [low, high]."""
    mean = moments.mean
    deviation = np.sqrt(np.maximum(moments.variance, 1e-30))

    def side(bound: float) -> tuple[Array, Array]:
        if math.isinf(bound):
            return np.full_like(mean, float(bound > 0)), np.zeros_like(mean)
        z = (bound - mean) / deviation
        return (1 + _erf(z / math.sqrt(2))) / 2, np.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    (below, at_low), (upto, at_high) = side(low), side(high)
    a, b = (0.0 if math.isinf(bound) else bound for bound in (low, high))
    first = mean * (upto - below) + deviation * (at_low - at_high)
    first = first + a * below + b * (1 - upto)
    second = (mean**2 + deviation**2) * (upto - below)
    second += deviation * ((mean + a) * at_low - (mean + b) * at_high)
    second += a * a * below + b * b * (1 - upto)
    return Moments(first, np.maximum(second - first**2, 0.0))


def _rows(graph: Graph, node: Node) -> Array:
    data = graph.tensors[node.inputs[1]].data
    assert data is not None
    return rows_of(node.op, data).astype(np.float64)


def _moments(graph: Graph, node: Node, known: Mapping[str, Moments]) -> Moments | None:
    """Of a node's output; None where an input's are not known or the operator is not."""
    op = node.op
    if isinstance(op, Add):
        parts = [_operand(graph, name, known) for name in node.inputs]
        if None in parts:
            return None
        a, b = (part for part in parts if part is not None)
        total = Moments(a.mean + b.mean, a.variance + b.variance)
        return clipped_normal(total, op.activation_min, op.activation_max)
    if isinstance(op, Concatenation):
        return _joined(graph, node, op, known)
    source = known.get(node.inputs[0])
    if source is None:
        return None
    if isinstance(op, FLOAT_PRODUCTS):
        rows = _rows(graph, node)
        mean = (rows * by_channel(op, source.mean, rows)).sum(1) + bias_of(graph, node)
        variance = (rows**2 * by_channel(op, source.variance, rows)).sum(1)
        return clipped_normal(Moments(mean, variance), op.activation_min, op.activation_max)
    if isinstance(op, Relu | AveragePool2D | MaxPool2D):
        return clipped_normal(source, op.activation_min, op.activation_max)
    if isinstance(op, Reshape):
        return _reshaped(source, graph.tensors[node.name].shape[-1])
    if isinstance(op, Pad):  # zeros that stand in a channel of their own; others are few
        return Moments(np.pad(source.mean, op.pads[-1]), np.pad(source.variance, op.pads[-1]))
    return source if isinstance(op, Mean) else None


def _reshaped(source: Moments, last: int) -> Moments | None:
    """Of a last axis that takes in whole groups of channels; None for another."""
    times, rest = divmod(last, source.mean.size)
    if rest:
        return None
    return Moments(np.tile(source.mean, times), np.tile(source.variance, times))


def _operand(graph: Graph, name: str, known: Mapping[str, Moments]) -> Moments | None:
    data = graph.tensors[name].data
    if data is None:
        return known.get(name)
    flat = data.reshape(-1, data.shape[-1] if data.ndim else 1).astype(np.float64)
    return Moments(flat.mean(0), flat.var(0))


def _joined(
    graph: Graph, node: Node, op: Concatenation, known: Mapping[str, Moments]
) -> Moments | None:
    parts = [_operand(graph, name, known) for name in node.inputs]
    if any(part is None for part in parts):
        return None
    means = [part.mean for part in parts if part is not None]
    variances = [part.variance for part in parts if part is not None]
    if op.axis == len(graph.tensors[node.name].shape) - 1:
        return Moments(np.concatenate(means), np.concatenate(variances))
    return Moments(np.mean(means, axis=0), np.mean(variances, axis=0))
