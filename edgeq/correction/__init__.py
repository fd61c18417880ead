"""Corrections: what a quantizer does against the loss; each can be switched on alone.

Before calibration the float network is rewritten into one that does the same and quantizes
better (equalize, absorb); after it filters are rounded and biases moved (rounding, bias,
bias-analytic).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgeq.calibration import Range
from edgeq.correction.absorb import absorb
from edgeq.correction.equalize import equalize
from edgeq.correction.layerwise import correct_layers
from edgeq.correction.moments import correct_analytically
from edgeq.errors import QuantizeError
from edgeq.graph import Graph
from edgeq.grids import activation_grids
from edgeq.passes.round_filters import round_filters
from edgeq.samples import SampleStream
from edgeq.scheme import Scheme

SAMPLES = 128  # spread over the stream, held in memory for rounding and biases


@dataclass(frozen=True, slots=True)
class Correction:
    """One row of the table."""

    summary: str
    source: str


CORRECTIONS: Mapping[str, Correction] = MappingProxyType(
    {
        "equalize": Correction(
            "channels rescaled across two layers so that they share a grid better",
            "Nagel et al. 2019, section 4.1; Xiao et al. 2023",
        ),
        "absorb": Correction(
            "what a channel always holds moved into the next layer's bias",
            "Nagel et al. 2019, section 4.1.3",
        ),
        "rounding": Correction(
            "filters rounded by the error of the layer's output on the samples",
            "Frantar et al. 2022 (GPTQ); objective of Nagel et al. 2020 (AdaRound)",
        ),
        "bias": Correction(
            "each channel's mean output, measured, brought back to the float network's",
            "Nagel et al. 2019, section 4.2, empirical",
        ),
        "bias-analytic": Correction(
            "the same from moments carried through the network, only the input measured",
            "Nagel et al. 2019, section 4.2, analytic",
        ),
    }
)


def parse_corrections(text: str | Iterable[str]) -> tuple[str, ...]:
    """Names from "equalize,bias" or several names, in the order in which they are done.

    Raises:
        QuantizeError: an unknown name, or both ways of bias correction.
    """
    names = text.split(",") if isinstance(text, str) else list(text)
    names = [name.strip() for name in names if name.strip()]
    for name in names:
        if name not in CORRECTIONS:
            raise QuantizeError(f"correction '{name}': must be of {', '.join(CORRECTIONS)}")
    if {"bias", "bias-analytic"} <= set(names):
        raise QuantizeError("corrections bias and bias-analytic: must be one of the two")
    return tuple(name for name in CORRECTIONS if name in names)


def before_calibration(
    graph: Graph,
    stream: SampleStream,
    scheme: Scheme,
    names: Iterable[str],
    note: Callable[[str], None],
) -> Graph:
    """A float graph that does the same on the samples and quantizes better."""
    if "equalize" in names:
        graph = equalize(graph, stream, scheme, note)
    return absorb(graph, stream, note) if "absorb" in names else graph


def after_calibration(
    graph: Graph,
    ranges: Mapping[str, Range],
    stream: SampleStream,
    scheme: Scheme,
    names: Iterable[str],
    progress: Callable[[int, int | None], None] | None = None,
) -> Graph:
    """The float graph with filters on their grids and biases corrected."""
    rounding, bias = "rounding" in names, "bias" in names
    rounded = graph
    if rounding or bias:
        grids = activation_grids(graph, ranges, symmetric=scheme.is_symmetric)
        rounded = correct_layers(
            graph,
            grids,
            stream.spread(SAMPLES),
            scheme,
            rounding=rounding,
            bias=bias,
            progress=progress,
        )
    if "bias-analytic" in names:
        rounded = correct_analytically(
            graph, round_filters(rounded, scheme), stream.spread(SAMPLES)
        )
    return rounded
