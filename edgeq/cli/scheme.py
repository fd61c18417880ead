"""Options of the commands that make integers of a float network: one meaning, one default."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from edgeq.calibration import METHODS
from edgeq.correction import CORRECTIONS
from edgeq.quantize import DEFAULT_METHOD, default_corrections
from edgeq.scheme import LEAST_BITS, MOST_BITS, Scheme

AUTO = "auto"
_EXACT, _FEWER = (default_corrections(Scheme(weight_bits=b)) for b in (MOST_BITS, 4))


class WeightScales(StrEnum):
    """Scales of a filter."""

    per_channel = "per-channel"
    per_tensor = "per-tensor"


class Activations(StrEnum):
    """Kinds of grids of activations."""

    asymmetric = "asymmetric"
    symmetric = "symmetric"


class WeightRange(StrEnum):
    """How a filter's scale is chosen."""

    minmax = "minmax"
    mse = "mse"


_HOW = (
    f"how ranges are chosen: {', '.join(METHODS)} (percentile:99.9); PATTERN=METHOD for some "
    f"tensors. May be given several times; else {DEFAULT_METHOD}."
)
MethodOption = Annotated[
    list[str] | None, typer.Option("--method", "--calibrate", help=_HOW.capitalize())
]
MethodOrAutoOption = Annotated[
    list[str] | None, typer.Option("--method", "--calibrate", help=f"{AUTO}, or {_HOW}")
]
CorrectOption = Annotated[
    str | None,
    typer.Option(
        help=f"Corrections, with commas: {', '.join(CORRECTIONS)}; or none. "
        f"Else {_EXACT}, below {MOST_BITS} bits {_FEWER}."
    ),
]
WeightsOption = Annotated[
    WeightScales, typer.Option(help="One scale a channel of a filter, or one for all.")
]
WeightBitsOption = Annotated[
    int, typer.Option(help=f"{LEAST_BITS} to {MOST_BITS}, stored in int8.")
]
WeightRangeOption = Annotated[
    WeightRange | None, typer.Option(help=f"Else minmax at {MOST_BITS} bits, mse below.")
]
ActivationsOption = Annotated[Activations, typer.Option(help="Symmetric: zero point 0.")]


def scheme_of(
    weights: WeightScales,
    weight_bits: int,
    weight_range: WeightRange | None,
    activations: Activations,
) -> Scheme:
    """The scheme that the options say.

    Raises:
        QuantizeError: there are no such bits.
    """
    return Scheme(
        weights=weights.value,
        weight_bits=weight_bits,
        weight_range=None if weight_range is None else weight_range.value,
        activations=activations.value,
    )


def corrections_of(text: str | None) -> str | tuple[str, ...] | None:
    """What `quantize` takes of --correct: () for "none", None where nobody says."""
    return () if text == "none" else text
