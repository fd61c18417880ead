"""Calibration methods: from the values of an activation, seen in batches, to its range.

Each method reads the stream once and keeps a bounded amount: two numbers, or a histogram whose
bins double in width when a larger value comes (histogram.py), so that a generator will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType

from edgeq.calibration.entropy import EntropyObserver
from edgeq.calibration.minmax import MinMaxObserver, MovingAverageObserver
from edgeq.calibration.mse import MseObserver
from edgeq.calibration.observer import Observer, Range
from edgeq.calibration.percentile import DEFAULT_PERCENT, PercentileObserver
from edgeq.errors import QuantizeError


@dataclass(frozen=True, slots=True)
class Method:
    """One way to choose a range; `make` takes the method's parameter, None: its default."""

    make: Callable[[float | None], Observer]
    summary: str
    source: str
    bounds: tuple[float, float] | None = None  # of the parameter; None: takes none


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "minmax": Method(
            lambda _: MinMaxObserver(),
            "smallest and largest value",
            "Jacob et al. 2018, section 3",
        ),
        "moving-average": Method(
            lambda _: MovingAverageObserver(),
            "average over samples of each one's smallest and largest value",
            "Jacob et al. 2018, section 3.1; Krishnamoorthi 2018, section 3.1.1",
        ),
        "percentile": Method(
            lambda p: PercentileObserver(DEFAULT_PERCENT if p is None else p),
            f"leaves out the rarest; percentile:P keeps P %, else {DEFAULT_PERCENT}",
            "Wu et al. 2020, section 5.2",
            (50.0, 100.0),
        ),
        "mse": Method(
            lambda _: MseObserver(),
            "least mean squared error of the rounded and clipped values",
            "Choukroun et al. 2019; Nagel et al. 2021, section 3.1",
        ),
        "entropy": Method(
            lambda _: EntropyObserver(),
            "least Kullback-Leibler divergence of the quantized distribution",
            "Migacz 2017 (TensorRT)",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A method for the tensors whose name matches `pattern` (fnmatch's rules)."""

    pattern: str
    method: str
    parameter: float | None = None

    def make(self) -> Observer:
        """A new observer of this method."""
        return METHODS[self.method].make(self.parameter)


def parse_choices(text: str | Iterable[str]) -> tuple[Choice, ...]:
    """Choices from "method", "pattern=method" or several of them; a method is "name[:number]".

    Raises:
        QuantizeError: an unknown method, or a parameter that it does not take.
    """
    texts = [text] if isinstance(text, str) else list(text)
    return tuple(_parse(t) for t in texts) or (Choice("*", "minmax"),)


def _parse(text: str) -> Choice:
    pattern, found, rest = text.rpartition("=")
    name, _, number = rest.partition(":")
    method = METHODS.get(name)
    if method is None or (found and not pattern):
        raise QuantizeError(
            f"calibration '{text}': must be METHOD or PATTERN=METHOD, with METHOD one of "
            f"{', '.join(METHODS)}"
        )
    if not number:
        return Choice(pattern or "*", name)
    if method.bounds is None:
        raise QuantizeError(f"calibration '{text}': {name} takes no number")
    low, high = method.bounds
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise QuantizeError(
            f"calibration '{text}': {name} is {number}, must be from {low:g} to {high:g}"
        )
    return Choice(pattern or "*", name, value)


def choose(choices: Sequence[Choice], names: Sequence[str]) -> dict[str, Choice]:
    """The choice for each tensor: the last that matches, min/max where none does.

    Raises:
        QuantizeError: a pattern matches no tensor; the text lists the first names.
    """
    chosen = {name: Choice("*", "minmax") for name in names}
    for choice in choices:
        matching = [name for name in names if _matches(name, choice.pattern)]
        if not matching:
            shown = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
            raise QuantizeError(
                f"calibration '{choice.pattern}={choice.method}': no activation has such a "
                f"name; they are {shown}"
            )
        chosen.update(dict.fromkeys(matching, choice))
    return chosen


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


__all__ = ["METHODS", "Choice", "Method", "Observer", "Range", "choose", "parse_choices"]
