"""Cross-layer equalization: channels of two layers are rescaled to waste less of their grids.

Filters with one scale: s = sqrt(r1 / r2) brings the range r1 of a channel in the first filter
and r2 in the second to the same sqrt(r1 r2); pair after pair until nothing moves (Nagel et al.
2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", eq. 8 to 11).

Filters with a scale per channel take any factor of their rows for free; what is left to even
out is the activation between them. A channel whose range a is above OUTLIER times the median m
sets the grid for all: s = a / (OUTLIER m) brings it down, for which a depthwise filter, of free
rows too, pays nothing and another filter's columns pay a little (compare Xiao et al. 2023,
"SmoothQuant"). Small channels stay small: what few samples show of them is no bound.

A channel below LEAST of the largest counts as LEAST of it: it is next to dead, and would leave
the grid where it lives after all. Only ratios between channels matter there: the factors of a
pair have the geometric mean 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeq.correction.pairs import (
    ChannelRanges,
    Pair,
    by_channel,
    channel_ranges,
    find_pairs,
    layer,
    with_clamps,
    with_layers,
)
from edgeq.graph import Array, Graph
from edgeq.ops.activation import NO_MAX
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.passes.products import FLOAT_PRODUCTS
from edgeq.samples import SampleStream
from edgeq.scheme import Scheme

SWEEPS = 40
SETTLED = 1e-3  # largest |log s| of a sweep at which it ends
LEAST = 2.0**-10
OUTLIER = 4.0


def equalize(
    graph: Graph, stream: SampleStream, scheme: Scheme, note: Callable[[str], None]
) -> Graph:
    """The same function on all samples, its channels evened out for `scheme`."""
    ranges = channel_ranges(graph, stream)
    pairs, clamped = find_pairs(graph, ranges)
    if clamped:
        note(f"equalize: {len(clamped)} layers left alone, samples reach their upper clamp")
    if not pairs:
        note("equalize: no two layers between which channels can be rescaled")
        return graph
    layers = {
        name: layer(graph, name)[1:] for pair in pairs for name in (pair.first, pair.second)
    }
    total = {pair.first: np.ones(pair.channels) for pair in pairs}
    before = _spread(graph, pairs, layers, ranges, scheme, total)
    for _ in range(SWEEPS if not scheme.is_per_channel else 1):
        moved = 0.0
        for pair in pairs:
            s = _factors(graph, pair, layers, ranges[pair.first], scheme)
            _rescale(graph, pair, layers, s)
            total[pair.first] *= s
            moved = max(moved, float(np.abs(np.log(s)).max()))
        if moved < SETTLED:
            break
    after = _spread(graph, pairs, layers, ranges, scheme, total)
    what = "filters" if not scheme.is_per_channel else "activations"
    note(
        f"equalize: {len(pairs)} pairs of layers; {what}' channels differed by up to "
        f"{before:.3g}, now {after:.3g}"
    )
    return _clamped(with_layers(graph, layers), total)


def _factors(
    graph: Graph,
    pair: Pair,
    layers: dict[str, tuple[Array, Array]],
    seen: ChannelRanges,
    scheme: Scheme,
) -> Array:
    """S (C,)."""
    second = graph.producer(pair.second)
    assert second is not None
    if scheme.is_per_channel:
        peak = seen.peak.astype(np.float64)
        limit = OUTLIER * float(np.median(peak[peak > 0])) if peak.any() else 1.0
        return np.maximum(peak / limit, 1.0)
    columns = _floored(_column_peaks(second.op, layers[pair.second][0], pair.channels))
    ratio = np.log(_floored(np.abs(layers[pair.first][0]).max(1)) / columns)
    s: Array = np.exp((ratio - ratio.mean()) / 2)
    return s


def _floored(values: Array) -> Array:
    """No less than LEAST of the largest; ones if all are 0."""
    largest = float(values.max())
    if largest == 0:
        return np.ones(values.shape)
    return np.maximum(values.astype(np.float64), LEAST * largest)


def _column_peaks(op: object, rows: Array, channels: int) -> Array:
    """(C,): the largest magnitude that meets each input channel."""
    if isinstance(op, DepthwiseConv2D):
        peaks: Array = np.abs(rows).max(1).reshape(channels, -1).max(1)
        return peaks
    columns: Array = np.abs(rows).max(0).reshape(-1, channels).max(0)
    return columns


def _rescale(
    graph: Graph, pair: Pair, layers: dict[str, tuple[Array, Array]], s: Array
) -> None:
    rows, bias = layers[pair.first]
    layers[pair.first] = rows / s[:, None], bias / s
    second = graph.producer(pair.second)
    assert second is not None
    rows, bias = layers[pair.second]
    layers[pair.second] = rows * by_channel(second.op, s, rows), bias


def _spread(
    graph: Graph,
    pairs: list[Pair],
    layers: dict[str, tuple[Array, Array]],
    ranges: dict[str, ChannelRanges],
    scheme: Scheme,
    total: dict[str, Array],
) -> float:
    """How many times the widest channel reaches farther than the narrowest, at worst."""
    worst = 1.0
    for pair in pairs:
        if scheme.is_per_channel:
            reach = ranges[pair.first].peak / total[pair.first]
        else:
            reach = np.abs(layers[pair.first][0]).max(1)
        alive = reach[reach > LEAST * reach.max()]
        if alive.size:
            worst = max(worst, float(alive.max() / alive.min()))
    return worst


def _clamped(graph: Graph, total: dict[str, Array]) -> Graph:
    bounds = {}
    for node in graph.nodes:
        if node.name in total and isinstance(node.op, FLOAT_PRODUCTS):
            bound = node.op.activation_max
            bounds[node.name] = (
                bound if bound == NO_MAX else float((bound / total[node.name]).max())
            )
    return with_clamps(graph, bounds)
