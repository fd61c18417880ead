"""Accuracy of a classifier, float or integer, over labelled samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeq.errors import DataError
from edgeq.float_run import run_float
from edgeq.graph import Array, Graph
from edgeq.interpreter import Interpreter
from edgeq.ops.weights import quantize_array

CHUNK = 32  # samples between two reports of progress


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Top-1 accuracy and the confusion matrix."""

    samples: int
    correct: int
    confusion: Array  # (classes, classes) counts, row: label, column: prediction

    @property
    def accuracy(self) -> float:
        """Share of samples whose largest output is the label's."""
        return self.correct / self.samples


def run_graph(
    graph: Graph, x: Array, progress: Callable[[int, int], None] | None = None
) -> tuple[Array, ...]:
    """Outputs of a float or an integer graph of one input; `x` as data.to_input gives it."""
    interpreter = Interpreter(graph) if graph.is_quantized else None
    parts: list[tuple[Array, ...]] = []
    chunk = CHUNK if interpreter is None else max(CHUNK, len(x) // 50)
    for first in range(0, len(x), chunk):
        piece = x[first : first + chunk]
        if interpreter is not None:
            parts.append(interpreter.run(piece))
        else:
            values = run_float(graph, {graph.inputs[0]: piece})
            parts.append(tuple(values[name] for name in graph.outputs))
        if progress is not None:
            progress(min(first + chunk, len(x)), len(x))
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def run_in_reals(
    graph: Graph, x: Array, progress: Callable[[int, int], None] | None = None
) -> tuple[Array, ...]:
    """Outputs as float32 for float32 samples, of a float or an integer graph of one input."""
    if not graph.is_quantized:
        return run_graph(graph, x, progress)
    quants = [t.quant for t in (*graph.input_tensors(), *graph.output_tensors())]
    integers = quantize_array(x, quants[0]) if quants[0] is not None else x
    outputs = run_graph(graph, integers, progress)
    return tuple(
        y if q is None else ((y.astype(np.float32) - q.zero_point) * np.float32(q.scale[0]))
        for y, q in zip(outputs, quants[1:], strict=True)
    )


def sqnr_db(exact: Array, approximate: Array) -> float:
    """Signal-to-quantization-noise ratio  10 log10(sum(x^2) / sum((x - y)^2)); inf if equal."""
    noise = float(((exact.astype(np.float64) - approximate) ** 2).sum())
    signal = float((exact.astype(np.float64) ** 2).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def evaluate(
    graph: Graph,
    x: Array,
    labels: Array,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run the classifier over `x` and compare its largest output with `labels` (N,).

    Raises:
        DataError: a label is no class of the network.
    """
    outputs = run_graph(graph, x, progress)
    scores = outputs[0].reshape(len(x), -1)
    return score(scores, labels)


def check_labels(labels: Array, classes: int) -> None:
    """Refuse class numbers that are none of the network's.

    Raises:
        DataError: says how far they reach.
    """
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"labels reach from {labels.min()} to {labels.max()}, "
            f"the network has {classes} classes"
        )


def score(scores: Array, labels: Array) -> Evaluation:
    """The evaluation of scores (N, classes) against labels (N,).

    Raises:
        DataError: a label is no class of the network.
    """
    classes = scores.shape[1]
    check_labels(labels, classes)
    predicted = scores.argmax(1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Evaluation(len(labels), int((predicted == labels).sum()), confusion)
