"""Passes: Graph -> Graph, each in its own file; a verified graph before and after.

The order is the one in FLOAT_PASSES: padding goes into windows before activations are fused, so
that both see a convolution's plain output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from edgeq.graph import Graph
from edgeq.passes.fold_pad import fold_pad
from edgeq.passes.fuse_activation import fuse_activation

Pass: TypeAlias = Callable[[Graph], Graph]

FLOAT_PASSES: tuple[Pass, ...] = (fold_pad, fuse_activation)


def run_passes(graph: Graph, passes: Iterable[Pass] = FLOAT_PASSES) -> Graph:
    """The graph after these passes, in order; each gives a verified graph."""
    for transform in passes:
        graph = transform(graph)
    return graph
