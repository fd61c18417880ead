"""What passes share: who reads a tensor, and a graph with some nodes replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeq.graph import Graph, Node


def only_reader(graph: Graph, tensor: str) -> Node | None:
    """The node that alone reads this tensor; None if others do, or it is a graph output."""
    readers = graph.consumers(tensor)
    return readers[0] if len(readers) == 1 and tensor not in graph.outputs else None


def rebuilt(
    graph: Graph, replaced: Mapping[str, Node | None], renamed: Mapping[str, str]
) -> Graph:
    """The graph with nodes replaced by name (None: left out) and tensors read by new names.

    Raises:
        GraphError: the result is not a valid graph.
    """
    nodes = []
    for node in graph.nodes:
        new = replaced.get(node.name, node)
        if new is not None:
            inputs = tuple(renamed.get(name, name) for name in new.inputs)
            nodes.append(replace(new, inputs=inputs))
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    return Graph.build(graph.name, graph.tensors.values(), nodes, graph.inputs, outputs)
