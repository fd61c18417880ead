"""The multiplier as the lecture shows it:  M * P ~ (M0 * P) >> n,  M0 = round(2**n * M)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeq.errors import DataError

_LARGEST = 2**64  # of M and P: beyond what an accumulator or a multiplier can be


@dataclass(frozen=True, slots=True)
class MultiplierRow:
    """One choice of n."""

    n: int
    m0: int
    result: int
    error: float  # result - M * P
    is_first_within_one: bool


def multiplier_rows(m: float, p: int, largest_n: int = 16) -> list[MultiplierRow]:
    """Rows for n = 1..largest_n; the first whose |error| < 1 is marked.

    Raises:
        DataError: M is not a positive number, or M or P is beyond 2**64.
    """
    if not 0 < m <= _LARGEST:
        raise DataError(f"M is {m}, must be a number > 0, at most 2**64")
    if abs(p) > _LARGEST:
        raise DataError(f"P is {p}, must be from -2**64 to 2**64")
    rows: list[MultiplierRow] = []
    found = False
    for n in range(1, largest_n + 1):
        m0 = math.floor(m * 2**n + 0.5)
        result = (m0 * p) >> n
        error = result - m * p
        first = not found and abs(error) < 1
        found = found or first
        rows.append(MultiplierRow(n, m0, result, error, first))
    return rows
