"""A check of a calibration set: do its ranges settle, and do other data stay within them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeq.float_run import run_finite
from edgeq.graph import Array, Graph
from edgeq.ops.weights import TINY_RANGE
from edgeq.samples import SampleStream

STEPS = 255  # of the int8 grid; a value is outside if it is by more than half a step
SETTLED = 0.99  # of its final width, at which a range counts as settled
EARLY = 0.8  # part of the set whose ranges the rest is held against
LEAVES = 0.01  # of a range's width, beyond it, at which other data leave it


@dataclass(frozen=True, slots=True)
class TensorCheck:
    """One activation. Shares are of its values; overshoots are parts of the range's width."""

    name: str
    low: float
    high: float
    settled_after: int  # samples until the range was SETTLED
    late_share: float  # of the last fifth's values outside the range of those before
    other_share: float  # of other data's values outside the range of the whole set
    other_overshoot: float  # the farthest of them

    @property
    def is_left(self) -> bool:
        """Whether other data leave the range by more than a step or so."""
        return self.other_overshoot > LEAVES


@dataclass(frozen=True, slots=True)
class DataCheck:
    """All activations, in execution order; `other_samples` is 0 if there were none."""

    samples: int
    other_samples: int
    tensors: tuple[TensorCheck, ...]

    @property
    def settled_after(self) -> int:
        """Samples after which every range had settled."""
        return max(t.settled_after for t in self.tensors)

    @property
    def slowest(self) -> TensorCheck:
        """The activation whose range settled last."""
        return max(self.tensors, key=lambda t: t.settled_after)

    @property
    def constant(self) -> tuple[str, ...]:
        """Activations that are the same everywhere in every sample."""
        return tuple(t.name for t in self.tensors if t.high - t.low < TINY_RANGE)

    @property
    def left(self) -> tuple[TensorCheck, ...]:
        """Activations whose range other data leave, the worst first."""
        worst = sorted(self.tensors, key=lambda t: t.other_share, reverse=True)
        return tuple(t for t in worst if t.is_left)


def check_data(
    graph: Graph,
    stream: SampleStream,
    other: SampleStream | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> DataCheck:
    """Min/max ranges of the float graph over a calibration set, tried on data beside it.

    The set is read twice: for the ranges, and for how much of its last part lies outside those
    of the part before it.
    """
    lows, highs = _bounds(graph, stream, progress)
    count = len(next(iter(lows.values())))
    early = max(1, int(count * EARLY))
    first = {n: (float(lows[n][:early].min()), float(highs[n][:early].max())) for n in lows}
    whole = {n: (float(lows[n].min()), float(highs[n].max())) for n in lows}
    late, _, _ = _outside(graph, stream, first, skip=early)
    beyond, overshoot, others = dict.fromkeys(lows, 0.0), dict.fromkeys(lows, 0.0), 0
    if other is not None:
        beyond, overshoot, others = _outside(graph, other, whole)
    checks = (
        TensorCheck(
            name,
            *whole[name],
            _settled_after(lows[name], highs[name]),
            late[name],
            beyond[name],
            overshoot[name],
        )
        for name in lows
    )
    return DataCheck(count, others, tuple(checks))


def _bounds(
    graph: Graph,
    stream: SampleStream,
    progress: Callable[[int, int | None], None] | None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """(samples,) smallest and largest value of each activation in each sample."""
    lows: dict[str, list[Array]] = {}
    highs: dict[str, list[Array]] = {}
    done = 0
    for batch in stream:
        for name, values in run_finite(graph, batch, done).items():
            rows = values.reshape(values.shape[0], -1)
            lows.setdefault(name, []).append(rows.min(1))
            highs.setdefault(name, []).append(rows.max(1))
        done += next(iter(batch.values())).shape[0]
        if progress is not None:
            progress(done, stream.count)
    return (
        {name: np.concatenate(parts) for name, parts in lows.items()},
        {name: np.concatenate(parts) for name, parts in highs.items()},
    )


def _settled_after(lows: Array, highs: Array) -> int:
    widths = np.maximum.accumulate(highs) - np.minimum.accumulate(lows)
    return int(np.argmax(widths >= SETTLED * widths[-1])) + 1


def _outside(
    graph: Graph,
    stream: SampleStream,
    ranges: dict[str, tuple[float, float]],
    skip: int = 0,
) -> tuple[dict[str, float], dict[str, float], int]:
    """(share of values outside, farthest overshoot by width, samples) after `skip` samples."""
    counts, totals = dict.fromkeys(ranges, 0), dict.fromkeys(ranges, 0)
    farthest = dict.fromkeys(ranges, 0.0)
    done = 0
    for batch in stream:
        size = next(iter(batch.values())).shape[0]
        fresh = max(0, skip - done)
        done += size
        if fresh >= size:
            continue
        rest = {name: x[fresh:] for name, x in batch.items()}
        for name, values in run_finite(graph, rest, done - size + fresh).items():
            low, high = ranges[name]
            half = (high - low) / STEPS / 2
            outside = (values < low - half) | (values > high + half)
            counts[name] += int(np.count_nonzero(outside))
            totals[name] += values.size
            over = max(low - float(values.min()), float(values.max()) - high, 0.0)
            farthest[name] = max(farthest[name], over / ((high - low) or 1.0))
    shares = {name: counts[name] / max(1, totals[name]) for name in ranges}
    return shares, farthest, max(0, done - skip)
