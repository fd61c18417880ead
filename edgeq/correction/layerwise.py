"""Correction layer by layer: filters are rounded, biases moved, against the float network.

Two runs go side by side over the same samples: the float network, and a simulation of the
integer network in which every activation lies on its grid. At each layer with a filter, the
float inputs x and the simulated inputs x' are known, with the errors of all layers before; the
new filter and bias are chosen for x' so that the outputs come close to those for x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeq.correction.rounding import round_rows
from edgeq.graph import Array, Graph, Node, QuantParams, Tensor
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.op import FloatOp
from edgeq.passes.products import FLOAT_PRODUCTS, FloatProduct, rows_of
from edgeq.passes.round_filters import gridded
from edgeq.scheme import Scheme, on_grid

CONSTANT = 1e-5  # of a tap's mean square: a variance below it is rounding of float32 sums
CHUNK = 16  # samples whose patches are in memory at once


@dataclass(frozen=True, slots=True)
class Taps:
    """Means over samples and output pixels of what a filter's taps see.

    B is 1 where all output channels see the same taps, else their number (depthwise).
    """

    exact: Array  # (B, taps) mean of x
    seen: Array  # (B, taps) mean of x'
    squares: Array  # (B, taps, taps) mean of x' x'^T
    cross: Array  # (B, taps, taps) mean of x x'^T
    count: int  # output pixels in all


def correct_layers(
    graph: Graph,
    grids: Mapping[str, QuantParams],
    samples: Mapping[str, Array],
    scheme: Scheme,
    *,
    rounding: bool,
    bias: bool,
    progress: Callable[[int, int | None], None] | None = None,
) -> Graph:
    """The float graph with every filter on its grid, and with biases corrected.

    `rounding`: filters are rounded by rounding.round_rows instead of to the nearest; `bias`:
    each layer's mean output per channel becomes that of the float network, empirical bias
    correction (Nagel et al. 2019, section 4.2 and appendix D). `grids`: of the activations.
    """
    exact = {name: np.asarray(x, np.float32) for name, x in samples.items()}
    seen = {name: snap(x, grids[name]) for name, x in exact.items()}
    tensors = dict(graph.tensors)
    nodes: list[Node] = []
    for index, node in enumerate(graph.nodes):
        assert isinstance(node.op, FloatOp)
        changed = node
        if isinstance(node.op, FLOAT_PRODUCTS) and tensors[node.inputs[1]].data is not None:
            pair = exact[node.inputs[0]], seen[node.inputs[0]]
            taps = _taps(node.op, *pair, graph, node, squares=rounding)
            changed, constants = _layer(graph, node, taps, scheme, rounding, bias)
            tensors.update({t.name: t for t in constants})
        nodes.append(changed)
        _run(node, graph.tensors, exact)
        _run(changed, tensors, seen)
        for name in node.outputs:
            seen[name] = snap(seen[name], grids[name])
        _forget(graph, index, exact, seen)
        if progress is not None:
            progress(index + 1, len(graph.nodes))
    return Graph.build(graph.name, tensors.values(), nodes, graph.inputs, graph.outputs)


def snap(x: Array, quant: QuantParams) -> Array:
    """Every value on the int8 grid: what the integer network can hold of it."""
    scale, zero_point = np.float32(quant.scale[0]), quant.zero_point
    q: Array = np.clip(np.rint(x / scale), -128 - zero_point, 127 - zero_point)
    return (q * scale).astype(np.float32)


def with_product(
    graph: Graph, node: Node, weights: Tensor, bias: Array
) -> tuple[Node, list[Tensor]]:
    """The node with another filter and bias (O,); constants that others read get a name."""
    taken = [n for other in graph.nodes for n in other.inputs]
    old_bias = node.inputs[2] if len(node.inputs) > 2 else f"{weights.name}/bias"
    names = []
    for name in (weights.name, old_bias):
        while taken.count(name) > 1 or (name in graph.tensors and name not in node.inputs):
            name = f"{node.name}/{name}"
        names.append(name)
    data = bias.astype(np.float32)
    constants = [
        replace(weights, name=names[0]),
        Tensor(names[1], data.shape, data.dtype, data=data),
    ]
    return replace(node, inputs=(node.inputs[0], *names)), constants


def bias_of(graph: Graph, node: Node) -> Array:
    """(O,) float64, zeros where the node has none."""
    op, weights = node.op, graph.tensors[node.inputs[1]]
    if len(node.inputs) > 2:
        data = graph.tensors[node.inputs[2]].data
        assert data is not None
        return data.astype(np.float64)
    assert weights.data is not None
    return np.zeros(rows_of(op, weights.data).shape[0])


def _layer(
    graph: Graph, node: Node, taps: Taps, scheme: Scheme, rounding: bool, bias: bool
) -> tuple[Node, list[Tensor]]:
    assert isinstance(node.op, FLOAT_PRODUCTS)
    weights = graph.tensors[node.inputs[1]]
    assert weights.data is not None
    rows = rows_of(node.op, weights.data).astype(np.float64)
    if rounding:
        # With the bias free, only what varies around the mean is the filter's to keep.
        squares, cross = taps.squares, taps.cross
        if bias:
            squares = squares - taps.seen[:, :, None] * taps.seen[:, None, :]
            cross = cross - taps.exact[:, :, None] * taps.seen[:, None, :]
            squares, cross = _without_constants(squares, cross, taps)
        snapped, scales = round_rows(rows, squares, cross, taps.count, scheme)
        weights = gridded(node, weights, snapped, scales, scheme)
    elif weights.quant is None:
        scales = scheme.scales(rows)
        snapped = on_grid(rows, scales, scheme.q_max)
        weights = gridded(node, weights, snapped, scales, scheme)
    else:
        snapped = rows
    values = bias_of(graph, node)
    if bias:
        values = values + (rows * taps.exact).sum(1) - (snapped * taps.seen).sum(1)
    return with_product(graph, node, weights, values)


def _without_constants(squares: Array, cross: Array, taps: Taps) -> tuple[Array, Array]:
    """Zeros where a tap never changes: what is left there is the rounding of floats."""
    places = np.arange(squares.shape[-1])
    changes = squares[:, places, places] > CONSTANT * taps.squares[:, places, places]
    return squares * (changes[:, :, None] & changes[:, None, :]), cross * changes[:, None, :]


def _taps(
    op: FloatProduct, exact: Array, seen: Array, graph: Graph, node: Node, *, squares: bool
) -> Taps:
    """Means over all samples, CHUNK at a time; zeros for products without `squares`."""
    data = graph.tensors[node.inputs[1]].data
    assert data is not None
    parts = []
    for first in range(0, exact.shape[0], CHUNK):
        x, y = (tap_rows(op, v[first : first + CHUNK], data) for v in (exact, seen))
        xx, xy = np.zeros((1, 1, 1)), np.zeros((1, 1, 1))
        if squares:
            xx, xy = y.transpose(0, 2, 1) @ y, x.transpose(0, 2, 1) @ y
        parts.append((x.sum(1), y.sum(1), xx, xy, np.array(x.shape[1])))
    sums = [
        np.sum([np.asarray(part[i], np.float64) for part in parts], axis=0) for i in range(5)
    ]
    count = int(sums[4])
    return Taps(sums[0] / count, sums[1] / count, sums[2] / count, sums[3] / count, count)


def tap_rows(op: FloatProduct, x: Array, weights: Array) -> Array:
    """(B, pixels, taps): what the taps see, in the order of products.rows_of."""
    if isinstance(op, FullyConnected):
        return x.reshape(1, -1, x.shape[-1])
    patches = op.window.patches(x, 0.0)
    taps = op.window.filter_h * op.window.filter_w
    if isinstance(op, DepthwiseConv2D):
        by_channel = patches.reshape(-1, taps, x.shape[-1]).transpose(2, 0, 1)
        repeated: Array = np.repeat(by_channel, weights.shape[2] // x.shape[-1], axis=0)
        return repeated
    return patches.reshape(1, -1, taps * x.shape[-1])


def _run(node: Node, tensors: Mapping[str, Tensor], values: dict[str, Array]) -> None:
    assert isinstance(node.op, FloatOp)
    operands = []
    for name in node.inputs:
        data = tensors[name].data
        operands.append(values[name] if data is None else data)
    values.update(zip(node.outputs, node.op.run(*operands), strict=True))


def _forget(graph: Graph, index: int, *runs: dict[str, Array]) -> None:
    """Drop the values that no later node reads."""
    needed = {name for node in graph.nodes[index + 1 :] for name in node.inputs}
    for values in runs:
        for name in [name for name in values if name not in needed]:
            del values[name]
