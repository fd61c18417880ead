"""Quantization that tries: methods and corrections within a time budget, the best on data kept.

The ranges, roundings and biases of a try come from four fifths of the samples; it is judged on
the last fifth, which it has not seen, by the signal-to-quantization-noise ratio of the integer
network's outputs beside the float network's (before a final SOFTMAX or LOGISTIC, which would
hide most of it). The one chosen is then made again from all samples.

The first try is what `quantize` does by default. Then always the one that promises most: the
figure of a pair of method and correction is taken for the sum of what each alone brings, as the
tries so far show it, or as _METHODS and _CORRECTIONS guess. A try for which there is no time
left, by what those like it took, is left out; one that lasts longer than thought is given up.
Where equalize finds nothing to even out, tries with it are those without it, and not made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edgeq.correction import parse_corrections
from edgeq.errors import DataError, EdgeqError, QuantizeError
from edgeq.evaluate import run_in_reals, sqnr_db
from edgeq.graph import Graph
from edgeq.ops.logistic import Logistic
from edgeq.ops.softmax import Softmax
from edgeq.passes import run_passes
from edgeq.quantize import (
    DEFAULT_METHOD,
    Calibrated,
    Note,
    calibrate_and_rewrite,
    default_corrections,
    quantize,
)
from edgeq.samples import Samples, SampleStream
from edgeq.scheme import MOST_BITS, Scheme

LIMIT = 512  # samples used, held in memory
HELD_OUT = 5  # every fifth sample is kept for the judgment
MARGIN_DB = 0.1  # that a later try must be better by: earlier ones are simpler
LAST = 1.5  # of the best try's time, kept for making it again from all samples

Pair = tuple[str, tuple[str, ...]]  # a method and its corrections

# What each is thought to bring before anything is tried, in dB beside the first of the table:
# orders the tries, decides nothing.
_METHODS = MappingProxyType(
    {
        "mse": 0.0,
        "percentile": -0.1,
        "percentile:99.999": -0.2,
        "entropy": -0.5,
        "minmax": -1.0,
        "moving-average": -3.0,
    }
)
_CORRECTIONS = MappingProxyType(
    {
        (): 0.0,
        ("bias",): 1.0,
        ("rounding", "bias"): 1.5,
        ("rounding",): 1.4,
        ("bias-analytic",): 0.5,
        ("rounding", "bias-analytic"): 0.2,
        ("equalize", "bias"): 0.4,
        ("equalize", "rounding", "bias"): 0.9,
        ("equalize", "absorb", "bias"): 0.3,
        ("equalize", "absorb", "rounding", "bias"): 0.8,
    }
)
_ROUNDING_DB = 6.0  # more where filters have less than 8 bits
_EQUALIZE_DB = 6.0  # more where they have one scale


@dataclass(frozen=True, slots=True)
class Try:
    """One combination and how far its outputs are from the float network's, in dB."""

    method: str
    correct: tuple[str, ...]
    fitted_db: float  # on the samples that it was made from
    held_out_db: float  # on the others; what counts
    seconds: float
    failure: str = ""  # why there is no figure

    @property
    def pair(self) -> Pair:
        """What was tried."""
        return self.method, self.correct

    @property
    def name(self) -> str:
        """Such as "mse + rounding + bias"."""
        return " + ".join((self.method, *self.correct))


@dataclass(frozen=True, slots=True)
class AutoResult:
    """The graph made by the best try, and all tries in the order made."""

    graph: Graph
    best: Try
    tries: tuple[Try, ...]
    untried: tuple[Pair, ...] = ()  # for which there was no time, the most promising first

    @property
    def reason(self) -> str:
        """One sentence: what was chosen and why."""
        first = self.tries[0]
        if len(self.tries) == 1:
            return f"{first.name}: {first.held_out_db:.1f} dB on held-out samples, the only try"
        gain = self.best.held_out_db - first.held_out_db
        others = ", and what quantize does by default"
        if self.best is not first:
            others = f", {gain:+.1f} dB beside {first.name}, the default"
        return (
            f"{self.best.name}: {self.best.held_out_db:.1f} dB on held-out samples, the best "
            f"of {len(self.tries)} tries{others}"
        )


class _NoTimeError(Exception):
    """The try that is running has no time left."""


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
    """The best integer graph found in `budget_s` seconds; the first try is always made.

    `progress` is called with (seconds gone, budget in seconds).

    Raises:
        DataError: fewer than HELD_OUT samples, or they do not fit the graph.
        QuantizeError: the budget is not above 0, or no try could be quantized.
    """
    if not budget_s > 0:
        raise QuantizeError(f"budget: {budget_s:g} seconds, must be > 0")
    if len(graph.inputs) != 1:
        raise DataError(f"{graph.name}: has {len(graph.inputs)} inputs, must have one")
    start = clock()
    search = _Search(graph, samples, scheme or Scheme(), clock)
    search.deadline = start + budget_s

    def tell() -> None:
        if progress is not None:
            progress(min(round(clock() - start), round(budget_s)), round(budget_s))

    tell()
    while (pair := search.next()) is not None:
        search.make(pair, tell)
        tell()
    best = search.best()
    if best.failure:
        raise QuantizeError(best.failure)
    made = quantize(
        graph,
        search.samples,
        method=best.method,
        scheme=search.scheme,
        correct=best.correct,
        note=note,
    )
    result = AutoResult(made, best, tuple(search.tries), tuple(search.untried()))
    note(f"auto: {result.reason}")
    if result.untried:
        names = [" + ".join((method, *correct)) for method, correct in result.untried]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        note(f"auto: no time in {budget_s:g} s for {', '.join(names[:3])}{more}")
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


class _Search:
    """The tries made, and what to try next."""

    def __init__(
        self, graph: Graph, samples: Samples, scheme: Scheme, clock: Callable[[], float]
    ) -> None:
        self.scheme, self.clock = scheme, clock
        self.deadline = float("inf")
        self.judged = run_passes(without_last_curve(graph))
        self.samples = SampleStream(self.judged, samples).spread(LIMIT)[self.judged.inputs[0]]
        count = len(self.samples)
        if count < HELD_OUT:
            raise DataError(
                f"{count} sample{'s' if count > 1 else ''}, must be at least {HELD_OUT} to "
                "hold some out; quantize with a method of your choice instead"
            )
        self.held_out = np.arange(count) % HELD_OUT == HELD_OUT - 1
        self.exact = run_in_reals(self.judged, self.samples)
        self.tries: list[Try] = []
        default = parse_corrections(default_corrections(scheme))
        self.first: Pair = (DEFAULT_METHOD, default)
        self.left = [(m, c) for m in _METHODS for c in _CORRECTIONS]
        self.slow: set[Pair] = set()  # given up, or not begun, for want of time
        self.seconds: dict[tuple[str, ...], float] = {}  # that corrections took, at most
        self._calibrated: dict[Pair, Calibrated] = {}

    def best(self) -> Try:
        """The first that no other beats by more than MARGIN_DB."""
        best = self.tries[0]
        for candidate in self.tries[1:]:
            if candidate.held_out_db > best.held_out_db + MARGIN_DB:
                best = candidate
        return best

    def untried(self) -> list[Pair]:
        """What there was no time for, the most promising first."""
        return sorted({*self.left, *self.slow}, key=lambda p: -self.promise(p))

    def next(self) -> Pair | None:
        """The most promising for which there is time; None if there is none."""
        if not self.tries:
            return self.first
        for pair in sorted(self.left, key=lambda p: -self.promise(p)):
            left = self.deadline - self.clock() - LAST * self.best().seconds
            if left <= 0:
                return None
            if self.seconds.get(pair[1], 0.0) <= left:
                return pair
        return None

    def promise(self, pair: Pair) -> float:
        """The figure to expect of a pair, in dB beside the first try."""
        method, correct = pair
        best = self.best().pair
        return self.gain(0, method, best) + self.gain(1, correct, best)

    def gain(self, part: int, wanted: object, best: Pair) -> float:
        """What `wanted` as part 0 (method) or 1 (correction) of a pair brings beside `best`'s.

        The mean over tries that differ in this part alone; else what the tables guess.
        """
        figures: dict[object, dict[object, float]] = {}
        for tried in self.tries:
            if not tried.failure:
                figures.setdefault(tried.pair[part], {})[tried.pair[1 - part]] = (
                    tried.held_out_db
                )
        ours, theirs = figures.get(wanted, {}), figures.get(best[part], {})
        if shared := ours.keys() & theirs.keys():
            return float(np.mean([ours[k] - theirs[k] for k in shared]))
        return self.guess(part, wanted) - self.guess(part, best[part])

    def guess(self, part: int, wanted: object) -> float:
        """Before anything is known of it."""
        if part == 0:
            return _METHODS[str(wanted)]
        assert isinstance(wanted, tuple)
        value = _CORRECTIONS[wanted]
        if "rounding" in wanted and self.scheme.weight_bits < MOST_BITS:
            value += _ROUNDING_DB
        if "equalize" in wanted and not self.scheme.is_per_channel:
            value += _EQUALIZE_DB
        return value

    def make(self, pair: Pair, tell: Callable[[], None]) -> None:
        """Try a pair; the first is let finish, another only within the deadline."""
        start = self.clock()
        is_first = not self.tries

        def check(done: int, total: int | None) -> None:
            tell()
            if not is_first and self.clock() > self.deadline - LAST * self.best().seconds:
                raise _NoTimeError

        self.left.remove(pair)
        try:
            if self.is_repeated(pair, check):
                return
            found = self.try_of(pair, start, check)
        except _NoTimeError:
            self.slow.add(pair)
            return
        self.tries.append(found)
        self.seconds[pair[1]] = max(found.seconds, self.seconds.get(pair[1], 0.0))

    def is_repeated(self, pair: Pair, check: Callable[[int, int | None], None]) -> bool:
        """Whether rewriting leaves the network as it is; others of the kind are dropped too."""
        before = _before(pair)
        try:
            if not before or not _same(self.judged, self.calibrated(pair, check).graph):
                return False
        except EdgeqError:  # the try will say so
            return False
        self.left = [other for other in self.left if _before(other) != before]
        return True

    def try_of(self, pair: Pair, start: float, check: Callable[[int, int | None], None]) -> Try:
        """Quantize what is fitted, and judge it on the rest."""
        method, correct = pair
        try:
            made = self.calibrated(pair, check).quantized(correct=correct, progress=check)
        except EdgeqError as error:
            failed = -float("inf")
            return Try(method, correct, failed, failed, self.clock() - start, str(error))
        outputs = run_in_reals(made, self.samples, check)
        seen, unseen = (
            min(sqnr_db(x[part], y[part]) for x, y in zip(self.exact, outputs, strict=True))
            for part in (~self.held_out, self.held_out)
        )
        return Try(method, correct, seen, unseen, self.clock() - start)

    def calibrated(self, pair: Pair, check: Callable[[int, int | None], None]) -> Calibrated:
        """Ranges by the method; those that several tries share are found once."""
        method, before = pair[0], _before(pair)
        key = (method, before)
        if key not in self._calibrated:
            self._calibrated[key] = calibrate_and_rewrite(
                self.judged,
                self.samples[~self.held_out],
                method=method,
                scheme=self.scheme,
                correct=before,
                progress=check,
            )
        return self._calibrated[key]


def _before(pair: Pair) -> tuple[str, ...]:
    """The corrections that rewrite the float network."""
    return tuple(name for name in pair[1] if name in ("equalize", "absorb"))


def _same(a: Graph, b: Graph) -> bool:
    """Whether rewriting has left every node and every constant as they were."""
    if a.nodes != b.nodes:
        return False
    pairs = ((t.data, b.tensors[t.name].data) for t in a.tensors.values())
    return all(x is y or np.array_equal(x, y) for x, y in pairs if x is not None)  # type: ignore[arg-type]
