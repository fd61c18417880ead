"""Float filters are put on the grid of their integers: each value rounded to the nearest.

The result is a float graph that computes with the very weights that the integer graph will
have; filters that are on a grid already stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.graph import Array, Graph, Node, QuantParams, Tensor
from edgeq.passes.products import CHANNEL_AXIS, FLOAT_PRODUCTS, from_rows, rows_of
from edgeq.scheme import Scheme, on_grid


def round_filters(graph: Graph, scheme: Scheme) -> Graph:
    """The graph with every filter on a grid of the scheme."""
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        if isinstance(node.op, FLOAT_PRODUCTS):
            weights = tensors[node.inputs[1]]
            if weights.data is not None and weights.quant is None:
                rows = rows_of(node.op, weights.data)
                scales = scheme.scales(rows)
                snapped = on_grid(rows, scales, scheme.q_max)
                tensors[weights.name] = gridded(node, weights, snapped, scales, scheme)
    return Graph.build(graph.name, tensors.values(), graph.nodes, graph.inputs, graph.outputs)


def gridded(node: Node, weights: Tensor, rows: Array, scales: Array, scheme: Scheme) -> Tensor:
    """The filter with these rows (O, taps), multiples of `scales` (O,); 0 stands for any."""
    usable = np.where(scales > 0, scales, 1.0)
    if scheme.is_per_channel:
        quant = QuantParams(tuple(usable.tolist()), axis=CHANNEL_AXIS[type(node.op)])
    else:
        quant = QuantParams((float(usable[0]),))
    data = from_rows(node.op, rows, weights.shape).astype(np.float32)
    return replace(weights, data=data, quant=quant)
