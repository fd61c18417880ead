"""Quantization that tries: methods and corrections within a time budget, the best on data kept.

The ranges, roundings and biases of a try come from four fifths of the samples; it is judged on
the last fifth, which it has not seen, by the signal-to-quantization-noise ratio of the integer
network's outputs beside the float network's (before a final SOFTMAX or LOGISTIC, which would
hide most of it). The one chosen is then made again from all samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgeq.errors import DataError, EdgeqError, QuantizeError
from edgeq.evaluate import run_in_reals, sqnr_db
from edgeq.graph import Array, Graph
from edgeq.ops.logistic import Logistic
from edgeq.ops.softmax import Softmax
from edgeq.passes import run_passes
from edgeq.quantize import Note, quantize
from edgeq.samples import Samples, SampleStream
from edgeq.scheme import Scheme

LIMIT = 512  # samples used, held in memory
HELD_OUT = 5  # every fifth sample is kept for the judgment
MARGIN_DB = 0.1  # that a later try must be better by: earlier ones are simpler

_METHODS = ("mse", "minmax", "percentile", "percentile:99.999", "entropy", "moving-average")
_CORRECTIONS = (
    (),
    ("bias",),
    ("rounding", "bias"),
    ("rounding",),
    ("equalize", "bias"),
    ("equalize", "rounding", "bias"),
    ("equalize", "absorb", "bias"),
    ("equalize", "absorb", "rounding", "bias"),
    ("bias-analytic",),
    ("rounding", "bias-analytic"),
)


@dataclass(frozen=True, slots=True)
class Try:
    """One combination and how far its outputs are from the float network's, in dB."""

    method: str
    correct: tuple[str, ...]
    fitted_db: float  # on the samples that it was made from
    held_out_db: float  # on the others; what counts
    seconds: float
    failure: str = ""  # why there is no figure


@dataclass(frozen=True, slots=True)
class AutoResult:
    """The graph made by the best try, and all tries in the order made."""

    graph: Graph
    best: Try
    tries: tuple[Try, ...]

    @property
    def reason(self) -> str:
        """One sentence: what was chosen and why."""
        plain = self.tries[0]
        gain = self.best.held_out_db - plain.held_out_db
        others = "" if self.best is plain else f", {gain:+.1f} dB beside {_name(plain)}"
        return (
            f"{_name(self.best)}: {self.best.held_out_db:.1f} dB on held-out samples, the best "
            f"of {len(self.tries)} tries{others}"
        )


def quantize_auto(
    graph: Graph,
    samples: Samples,
    *,
    budget_s: float = 60.0,
    scheme: Scheme | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    note: Note = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> AutoResult:
    """The best integer graph found in `budget_s` seconds; at least one try is made.

    First every method with one correction, then every correction with the best method, then
    what is left. `progress` is called with (seconds gone, budget in seconds).

    Raises:
        DataError: fewer than HELD_OUT samples, or they do not fit the graph.
        QuantizeError: the budget is not above 0, or no try could be quantized.
    """
    if not budget_s > 0:
        raise QuantizeError(f"budget: {budget_s:g} seconds, must be > 0")
    scheme = scheme or Scheme()
    start = clock()
    judged = run_passes(without_last_curve(graph))
    kept = SampleStream(judged, samples).spread(LIMIT)[judged.inputs[0]]
    if len(graph.inputs) != 1:
        raise DataError(f"{graph.name}: has {len(graph.inputs)} inputs, must have one")
    if len(kept) < HELD_OUT:
        raise DataError(
            f"{len(kept)} samples, must be at least {HELD_OUT} to hold some out; quantize "
            "with a method of your choice instead"
        )
    held_out = np.arange(len(kept)) % HELD_OUT == HELD_OUT - 1
    exact = run_in_reals(judged, kept)
    tries: list[Try] = []
    for method, correct in _plan(tries, scheme):
        if tries and clock() - start >= budget_s:
            break
        tries.append(_try(judged, kept, held_out, exact, method, correct, scheme, clock))
        if progress is not None:
            progress(min(round(clock() - start), round(budget_s)), round(budget_s))
    best = _best(tries)
    if best.failure:
        raise QuantizeError(best.failure)
    made = quantize(
        graph, kept, method=best.method, scheme=scheme, correct=best.correct, note=note
    )
    result = AutoResult(made, best, tuple(tries))
    note(f"auto: {result.reason}")
    return result


def without_last_curve(graph: Graph) -> Graph:
    """The graph with outputs taken before a SOFTMAX or LOGISTIC that ends it."""
    outputs = []
    for name in graph.outputs:
        node = graph.producer(name)
        is_curve = node is not None and isinstance(node.op, Softmax | Logistic)
        outputs.append(node.inputs[0] if node is not None and is_curve else name)
    nodes = list(graph.nodes)
    needed = set(outputs)
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.outputs):
            nodes.remove(node)
        else:
            needed.update(node.inputs)
    return Graph.build(graph.name, graph.tensors.values(), nodes, graph.inputs, outputs)


def _plan(tries: list[Try], scheme: Scheme) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What to try next, in view of the tries made."""
    first = ("bias",) if scheme.weight_bits == 8 else ("rounding", "bias")
    if not scheme.is_per_channel:
        first = ("equalize", *first)
    done: set[tuple[str, tuple[str, ...]]] = {("minmax", ())}
    yield "minmax", ()

    def fresh(method: str, correct: tuple[str, ...]) -> bool:
        is_new = (method, correct) not in done
        done.add((method, correct))
        return is_new

    for method in _METHODS:
        if fresh(method, first):
            yield method, first
    best = _best(tries).method
    for correct in _CORRECTIONS:
        if fresh(best, correct):
            yield best, correct
    for method in _METHODS:
        for correct in _CORRECTIONS:
            if fresh(method, correct):
                yield method, correct


def _best(tries: list[Try]) -> Try:
    best = tries[0]
    for candidate in tries[1:]:
        if candidate.held_out_db > best.held_out_db + MARGIN_DB:
            best = candidate
    return best


def _try(
    graph: Graph,
    samples: Array,
    held_out: Array,
    exact: tuple[Array, ...],
    method: str,
    correct: tuple[str, ...],
    scheme: Scheme,
    clock: Callable[[], float],
) -> Try:
    start = clock()
    try:
        made = quantize(
            graph, samples[~held_out], method=method, scheme=scheme, correct=correct
        )
    except EdgeqError as error:
        failed = -float("inf")
        return Try(method, correct, failed, failed, clock() - start, str(error))
    outputs = run_in_reals(made, samples)
    seen, unseen = (
        min(sqnr_db(x[part], y[part]) for x, y in zip(exact, outputs, strict=True))
        for part in (~held_out, held_out)
    )
    return Try(method, correct, seen, unseen, clock() - start)


def _name(tried: Try) -> str:
    return " + ".join((tried.method, *tried.correct))
