"""Histograms of weights and activations, and how their grids lie over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.analysis.sensitivity import real_constant
from edgeq.float_run import run_float
from edgeq.graph import Array, Graph, Tensor

BINS = 48
DEAD = 1e-5  # of a filter's largest scale: a channel of nothing but next to zeros


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often values fall where, and what the integers reach."""

    edges: tuple[float, ...]  # BINS + 1
    counts: tuple[int, ...]
    grid_low: float  # the reals that the smallest and the largest integer stand for
    grid_high: float
    step: float  # between two integers; of a filter with several, the median of those alive
    levels: int  # different integers that occur (weights), or that the grid has (activations)


@dataclass(frozen=True, slots=True)
class LayerDistribution:
    """One layer's filter, if it has one, and its output."""

    name: str
    weights: Distribution | None
    activation: Distribution


def layer_distributions(graph: Graph, quantized: Graph, x: Array) -> list[LayerDistribution]:
    """Every layer of the float graph that the integer graph has; x (N, ...) float32."""
    reals = run_float(graph, {graph.inputs[0]: x})
    twins = {node.name: node for node in quantized.nodes}
    rows = []
    for node in graph.nodes:
        if (twin := twins.get(node.name)) is None:
            continue
        weights = None
        if len(twin.inputs) > 1:
            integer = quantized.tensors[twin.inputs[1]]
            real = graph.tensors[node.inputs[1]].data
            if integer.data is not None and real is not None and integer.quant is not None:
                weights = _of_weights(real, integer)
        rows.append(
            LayerDistribution(
                node.name,
                weights,
                _of_activation(reals[node.name], quantized.tensors[node.name]),
            )
        )
    return rows


def _histogram(x: Array, low: float, high: float) -> tuple[tuple[float, ...], tuple[int, ...]]:
    low, high = min(low, float(x.min())), max(high, float(x.max()))
    if high <= low:
        high = low + 1.0
    counts, edges = np.histogram(x, BINS, (low, high))
    return tuple(edges.tolist()), tuple(counts.tolist())


def _of_weights(real: Array, integer: Tensor) -> Distribution:
    assert integer.data is not None
    assert integer.quant is not None
    rounded = real_constant(integer)
    low, high = float(rounded.min()), float(rounded.max())
    edges, counts = _histogram(real, low, high)
    scales = np.array(integer.quant.scale)
    step = float(np.median(scales[scales > DEAD * scales.max()]))
    return Distribution(edges, counts, low, high, step, len(np.unique(integer.data)))


def _of_activation(x: Array, tensor: Tensor) -> Distribution:
    assert tensor.quant is not None
    scale, zero_point = tensor.quant.scale[0], tensor.quant.zero_point
    low, high = scale * (-128 - zero_point), scale * (127 - zero_point)
    edges, counts = _histogram(x, low, high)
    return Distribution(edges, counts, low, high, scale, 256)
