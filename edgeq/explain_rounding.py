"""What each profile of rounding changes in a network's outputs (docs/numerics.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeq.arith import ROUNDINGS, Rounding
from edgeq.evaluate import Evaluation, run_graph, score
from edgeq.graph import Array, Graph
from edgeq.passes.round_as import round_as

LAYER_SAMPLES = 16  # of which every layer's output is compared

# Called with the profile, samples done and samples in all.
RoundingProgress = Callable[[Rounding, int, int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two arrays of the same shape, element by element."""

    values: int
    changed: int
    largest: int  # of the magnitudes of the changes

    @property
    def share(self) -> float:
        """Of the values that changed."""
        return self.changed / self.values


@dataclass(frozen=True, slots=True)
class RoundingRow:
    """One profile beside `tflm`."""

    rounding: Rounding
    multiplier_bits: tuple[int, int]  # of the shortest and the longest M0 that is not 0
    difference: Difference  # of all outputs
    decided_otherwise: int  # samples whose largest value of the first output is another one's
    evaluation: Evaluation | None  # None without labels


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """One layer's output in each profile beside `tflm`, all layers before rounded alike."""

    name: str
    operator: str
    differences: Mapping[Rounding, Difference]


def rounding_rows(
    graph: Graph,
    x: Array,
    labels: Array | None = None,
    progress: RoundingProgress = lambda rounding, done, total: None,
) -> list[RoundingRow]:
    """The profiles on samples `x`, as data.to_input gives them; labels (N,): class numbers.

    Raises:
        GraphError: the graph is not quantized, or is in the profile `shift`.
        DataError: a label is no class of the network.
    """
    rows: list[RoundingRow] = []
    expected: tuple[Array, ...] = ()
    for rounding in ROUNDINGS:
        rounded = round_as(graph, rounding)

        def tell(done: int, total: int, rounding: Rounding = rounding) -> None:
            progress(rounding, done, total)

        outputs = run_graph(rounded, x, tell)
        expected = expected or outputs
        scores = outputs[0].reshape(len(x), -1)
        decided = scores.argmax(1) != expected[0].reshape(len(x), -1).argmax(1)
        rows.append(
            RoundingRow(
                rounding,
                multiplier_bits(rounded),
                _difference(expected, outputs),
                int(decided.sum()),
                None if labels is None else score(scores, labels),
            )
        )
    return rows


def layer_differences(graph: Graph, x: Array) -> list[LayerDifference]:
    """Every layer on the first LAYER_SAMPLES samples, in order; errors as rounding_rows."""
    names = [node.name for node in graph.nodes]
    open_graph = Graph.build(
        graph.name, graph.tensors.values(), graph.nodes, graph.inputs, names
    )
    found = {
        rounding: run_graph(round_as(open_graph, rounding), x[:LAYER_SAMPLES])
        for rounding in ROUNDINGS
    }
    return [
        LayerDifference(
            node.name,
            node.op.name,
            {
                rounding: _difference((found["tflm"][i],), (found[rounding][i],))
                for rounding in ROUNDINGS
                if rounding != "tflm"
            },
        )
        for i, node in enumerate(graph.nodes)
    ]


def multiplier_bits(graph: Graph) -> tuple[int, int]:
    """Bits of the shortest and of the longest multiplier M0 that is not 0; (0, 0): none is."""
    lengths = [
        int(value).bit_length()
        for node in graph.nodes
        for name in ("multiplier", "input1_multiplier", "input2_multiplier")
        for value in np.atleast_1d(getattr(node.op, name, 0))
        if value
    ]
    return min(lengths, default=0), max(lengths, default=0)


def _difference(expected: tuple[Array, ...], found: tuple[Array, ...]) -> Difference:
    steps = [
        np.abs(b.astype(np.float64) - a) for a, b in zip(expected, found, strict=True) if a.size
    ]
    return Difference(
        sum(s.size for s in steps),
        sum(int((s != 0).sum()) for s in steps),
        max(int(np.ceil(s.max())) for s in steps),
    )
