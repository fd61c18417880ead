"""Scheme: how filters and activations become integers; and the grids of filters.

A filter whose tensor carries `quant` while its data is still float32 has been put on that grid:
every value is a whole multiple of its scale. Rounding passes leave such filters, and
weights.quantize_filter reads the integers off them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edgeq.errors import QuantizeError
from edgeq.graph import Array

WeightScales = Literal["per-channel", "per-tensor"]
Activations = Literal["asymmetric", "symmetric"]
WeightRange = Literal["minmax", "mse"]
LEAST_BITS, MOST_BITS = 2, 8

_FRACTIONS = np.linspace(1.0, 0.3, 71)  # of the largest weight, ends of a filter's range tried


@dataclass(frozen=True, slots=True)
class Scheme:
    """Filters are symmetric, q in +-(2**(bits-1) - 1), held in int8; activations are int8."""

    weights: WeightScales = "per-channel"
    weight_bits: int = 8
    weight_range: WeightRange | None = None  # None: minmax for 8 bits, mse below
    activations: Activations = "asymmetric"

    def __post_init__(self) -> None:
        """Refuse what is no scheme.

        Raises:
            QuantizeError: says what is and what must be.
        """
        bits = self.weight_bits
        if not isinstance(bits, int) or not LEAST_BITS <= bits <= MOST_BITS:
            raise QuantizeError(f"weight bits: {bits}, must be {LEAST_BITS} to {MOST_BITS}")
        for name, value, known in (
            ("weights", self.weights, get_args(WeightScales)),
            ("activations", self.activations, get_args(Activations)),
            ("weight range", self.weight_range, (None, *get_args(WeightRange))),
        ):
            if value not in known:
                options = " or ".join(str(k) for k in known if k is not None)
                raise QuantizeError(f"{name}: '{value}', must be {options}")

    @property
    def is_symmetric(self) -> bool:
        """Whether activations have zero point 0."""
        return self.activations == "symmetric"

    @property
    def is_per_channel(self) -> bool:
        """Whether each output channel of a filter has a scale."""
        return self.weights == "per-channel"

    @property
    def q_max(self) -> int:
        """The largest integer of a filter."""
        return int(2 ** (self.weight_bits - 1)) - 1

    def scales(self, rows: Array, importance: Array | None = None) -> Array:
        """(O,) float32 scales, as float64, for a filter's rows (O, taps).

        By mse: least sum over taps of importance * (w - scale * q)**2, `importance` (O or 1,
        taps) > 0, as the mean square of the tap's inputs. A row of zeros has scale 0.
        """
        rows = rows.astype(np.float64)
        peak = np.abs(rows).max(1)
        if not self.is_per_channel:
            peak = np.full_like(peak, peak.max())
        kind = self.weight_range or ("minmax" if self.weight_bits == MOST_BITS else "mse")
        if kind == "minmax":
            return _float32(peak / self.q_max)
        weight = np.ones((1, 1)) if importance is None else importance
        errors = np.array(
            [self._error(rows, peak * f / self.q_max, weight) for f in _FRACTIONS]
        )
        if not self.is_per_channel:
            errors = np.broadcast_to(errors.sum(1, keepdims=True), errors.shape)
        return _float32(peak * _FRACTIONS[errors.argmin(0)] / self.q_max)

    def _error(self, rows: Array, scales: Array, weight: Array) -> Array:
        difference = on_grid(rows, scales, self.q_max) - rows
        total: Array = (difference * difference * weight).sum(1)
        return total


def on_grid(rows: Array, scales: Array, q_max: int) -> Array:
    """Rows (O, taps) rounded to multiples of their scale (O,), within q_max; 0 for scale 0."""
    steps = np.where(scales > 0, scales, 1.0)[:, None]
    snapped: Array = np.clip(np.rint(rows / steps), -q_max, q_max) * steps
    return snapped


def _float32(scales: Array) -> Array:
    return scales.astype(np.float32).astype(np.float64)
