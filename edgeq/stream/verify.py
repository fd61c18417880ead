"""Verification: a board and the interpreter on the same inputs, every byte compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.digest import graph_digest
from edgeq.errors import DataError
from edgeq.graph import Array, Graph
from edgeq.interpreter import Interpreter
from edgeq.stream.link import Link

MAX_DIFFERENCES = 10  # kept; all are counted


@dataclass(frozen=True, slots=True)
class Difference:
    """One sample whose outputs differ: the first element that does."""

    sample: int
    output: str
    element: int
    board: float
    interpreter: float


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found."""

    samples: int
    equal_samples: int
    compared_nbytes: int
    differences: tuple[Difference, ...]  # the first MAX_DIFFERENCES
    ticks: tuple[int, ...]  # of the board's clock, by sample
    ticks_hz: int
    outputs: tuple[bytes, ...]  # of the board, by sample

    @property
    def is_equal(self) -> bool:
        """Whether every byte of every sample is the interpreter's."""
        return self.equal_samples == self.samples


def verify(
    link: Link,
    graph: Graph,
    inputs: Sequence[Array],
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Run every sample on the board and in the interpreter.

    `inputs`: one array per graph input, samples on the first axis, of the input's type.

    Raises:
        LinkError: the board runs another model, or does not answer.
        DataError: the inputs do not fit the graph.
    """
    link.expect_digest(graph_digest(graph), graph.name)
    expected = Interpreter(graph).run(*inputs)
    samples = expected[0].shape[0]
    if any(x.shape[0] != samples for x in inputs):
        raise DataError("verification takes inputs with the samples on the first axis")
    differences: list[Difference] = []
    ticks: list[int] = []
    outputs: list[bytes] = []
    equal = 0
    for sample in range(samples):
        result = link.infer([np.ascontiguousarray(x[sample]).tobytes() for x in inputs])
        ticks.append(result.ticks)
        outputs.append(result.output)
        found = _difference(graph, sample, result.output, [y[sample] for y in expected])
        if found is None:
            equal += 1
        elif len(differences) < MAX_DIFFERENCES:
            differences.append(found)
        if progress is not None:
            progress(sample + 1, samples)
    return Verification(
        samples,
        equal,
        sum(len(output) for output in outputs),
        tuple(differences),
        tuple(ticks),
        link.identity.ticks_hz,
        tuple(outputs),
    )


def _difference(
    graph: Graph, sample: int, output: bytes, expected: Sequence[Array]
) -> Difference | None:
    if output == b"".join(np.ascontiguousarray(y).tobytes() for y in expected):
        return None
    start = 0
    for name, y in zip(graph.outputs, expected, strict=True):
        board = np.frombuffer(output[start : start + y.nbytes], y.dtype)
        start += y.nbytes
        different = np.flatnonzero(board.view(np.uint8) != y.reshape(-1).view(np.uint8))
        if different.size:
            element = int(different[0]) // y.dtype.itemsize
            return Difference(
                sample, name, element, float(board[element]), float(y.reshape(-1)[element])
            )
    return Difference(sample, graph.outputs[-1], start, float("nan"), float("nan"))
