"""The same network with another profile of rounding (docs/numerics.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from edgeq.arith import Rounding
from edgeq.errors import GraphError
from edgeq.graph import Graph
from edgeq.ops.op import IntegerOp
from edgeq.passes.prove_accumulators import prove_accumulators


def round_as(graph: Graph, rounding: Rounding) -> Graph:
    """The integer graph with the same weights and scales, and another rounding.

    Raises:
        GraphError: it is not quantized, it has the short multipliers of `shift`, of which no
            other profile can be made, or an accumulator could overflow.
    """
    if not graph.is_quantized:
        raise GraphError(f"{graph.name}: is a float graph; quantize it first")
    if graph.rounding == rounding:
        return graph
    nodes = []
    for node in graph.nodes:
        op = cast(IntegerOp, node.op)
        try:
            rounded = op.rounded(rounding, graph.tensors_of(node.inputs))
        except GraphError as error:
            raise GraphError(f"{node.name}: {error}") from None
        nodes.append(replace(node, op=rounded))
    converted = Graph.build(
        graph.name, graph.tensors.values(), nodes, graph.inputs, graph.outputs
    )
    return prove_accumulators(converted)
