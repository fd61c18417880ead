"""Calibration: the range of every activation of a float graph over representative samples.

The samples are read once, a batch at a time; the methods are in calibration/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgeq.calibration import Observer, Range, choose, parse_choices
from edgeq.calibration.minmax import MinMaxObserver
from edgeq.errors import GraphError
from edgeq.float_run import run_finite
from edgeq.graph import Graph
from edgeq.ops.op import FloatOp
from edgeq.samples import BATCH, Samples, SampleStream, check_samples

# Called with (done, in all); in all is None where a stream does not say.
CalibrationProgress = Callable[[int, int | None], None]


def calibrate(
    graph: Graph,
    samples: Samples | SampleStream,
    *,
    method: str | Iterable[str] = "minmax",
    symmetric: bool = False,
    progress: CalibrationProgress | None = None,
) -> dict[str, Range]:
    """The range of every activation over `samples`, by `method` (calibration.METHODS).

    `method`: one for all, or several as "PATTERN=METHOD", the last that matches a tensor's name
    counts. `symmetric`: the grids will have zero point 0. `samples`: as samples.Samples.

    Raises:
        DataError: no sample, a shape that does not fit, NaN or infinite values.
        QuantizeError: an unknown method, or a pattern that matches nothing.
        GraphError: the graph is not float.
    """
    if graph.is_quantized:
        raise GraphError(f"{graph.name}: is quantized already, calibration wants a float graph")
    stream = samples if isinstance(samples, SampleStream) else SampleStream(graph, samples)
    observers = _observers(graph, method)
    done = 0
    for batch in stream:
        count = next(iter(batch.values())).shape[0]
        for name, values in run_finite(graph, batch, done).items():
            observers[name].update(values)
        done += count
        if progress is not None:
            progress(done, stream.count)
    return {name: seen.range(symmetric=symmetric) for name, seen in observers.items()}


def _observers(graph: Graph, method: str | Iterable[str]) -> dict[str, Observer]:
    """One for each activation; min/max where the range does not make the scale."""
    free = list(graph.inputs)
    rest: list[str] = []
    for node in graph.nodes:
        has_rule = isinstance(node.op, FloatOp) and node.op.output_rule != "range"
        (rest if has_rule else free).extend(node.outputs)
    chosen = choose(parse_choices(method), free)
    observers: dict[str, Observer] = {name: choice.make() for name, choice in chosen.items()}
    return observers | {name: MinMaxObserver() for name in rest}


__all__ = [
    "BATCH",
    "CalibrationProgress",
    "Range",
    "calibrate",
    "check_samples",
]
