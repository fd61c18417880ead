"""The grid of every activation: from its range, its input's, or fixed by its operator."""

from __future__ import annotations

from collections.abc import Mapping

from edgeq.calibration import Range
from edgeq.errors import GraphError
from edgeq.graph import Graph, Node, QuantParams
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.op import FloatOp
from edgeq.ops.weights import range_params


def activation_grids(
    graph: Graph, ranges: Mapping[str, Range], *, symmetric: bool = False
) -> dict[str, QuantParams]:
    """Scale and zero point of every activation of a float graph.

    Inputs of a concatenation take over its output's where nothing else fixes theirs.

    Raises:
        GraphError: a range is missing, or a node is no float operator.
    """
    grids: dict[str, QuantParams] = {}
    shared = _of_concatenations(graph, ranges, symmetric)

    def from_range(name: str) -> QuantParams:
        if name in shared:
            return shared[name]
        if name not in ranges:
            raise GraphError(f"'{name}' has no calibrated range")
        return range_params(ranges[name].low, ranges[name].high, symmetric=symmetric)

    def of_output(node: Node) -> QuantParams:
        if not isinstance(node.op, FloatOp):
            raise GraphError(f"{node.name}: is an integer operator already")
        if node.op.output_rule == "fixed":
            assert node.op.fixed_output is not None
            return node.op.fixed_output
        if node.op.output_rule == "same":
            return grids[node.inputs[0]]
        return from_range(node.name)

    for name in graph.inputs:
        grids[name] = from_range(name)
    for node in graph.nodes:
        grids[node.name] = of_output(node)
    return grids


def _of_concatenations(
    graph: Graph, ranges: Mapping[str, Range], symmetric: bool
) -> dict[str, QuantParams]:
    """Grids that inputs of concatenations take over."""
    shared: dict[str, QuantParams] = {}
    for node in reversed(graph.nodes):
        if not isinstance(node.op, Concatenation) or node.name not in ranges:
            continue
        bounds = ranges[node.name]
        quant = shared.get(node.name) or range_params(
            bounds.low, bounds.high, symmetric=symmetric
        )
        for name in node.inputs:
            producer = graph.producer(name)
            free = producer is not None and getattr(producer.op, "output_rule", "") == "range"
            if free and len(graph.consumers(name)) == 1:
                shared[name] = quant
    return shared
