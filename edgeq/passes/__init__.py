"""Passes: Graph -> Graph, each in its own file; a verified graph before and after.

FLOAT_PASSES: padding goes into windows before activations are fused, so that both see a
convolution's plain output. INTEGER_PASSES take out work that no output can show: constants are
folded first, which leaves zero weights, by which channels are then cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from edgeq.errors import GraphError
from edgeq.graph import Graph
from edgeq.passes.drop_channels import drop_channels
from edgeq.passes.drop_identities import drop_identities
from edgeq.passes.fold_constants import fold_constants
from edgeq.passes.fold_pad import fold_pad
from edgeq.passes.fuse_activation import fuse_activation
from edgeq.passes.prove_accumulators import prove_accumulators

Pass: TypeAlias = Callable[[Graph], Graph]

FLOAT_PASSES: tuple[Pass, ...] = (fold_pad, fuse_activation)
INTEGER_PASSES: tuple[Pass, ...] = (fold_constants, drop_identities, drop_channels)


def run_passes(graph: Graph, passes: Iterable[Pass] = FLOAT_PASSES) -> Graph:
    """The graph after these passes, in order; each gives a verified graph."""
    for transform in passes:
        graph = transform(graph)
    return graph


def optimize(graph: Graph) -> Graph:
    """The integer graph without dead work: the same bytes of every output for every input.

    Its inputs and outputs have the names, shapes and types of the graph's. The integer passes
    run until none finds anything more.

    Raises:
        GraphError: the graph is not quantized, or an accumulator could overflow.
    """
    if not graph.is_quantized:
        raise GraphError(f"{graph.name}: is a float graph; quantize it first")
    after = run_passes(prove_accumulators(graph), INTEGER_PASSES)
    while after is not graph:
        graph, after = after, run_passes(after, INTEGER_PASSES)
    return graph
