"""The fixed-point primitives: real-number meaning, ties of both signs, the ends of int32."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq import arith, arith_jit

int32 = st.integers(arith.INT32_MIN, arith.INT32_MAX)
multipliers = st.one_of(st.just(0), st.integers(2**30, 2**31 - 1))


def nearest(x: Fraction, tie) -> int:
    below = x.numerator // x.denominator
    rest = x - below
    if rest == Fraction(1, 2):
        return tie(below)
    return below if rest < Fraction(1, 2) else below + 1


@given(int32, multipliers)
def test_doubling_high_mul_is_the_product_rounded_with_ties_upward(a: int, b: int) -> None:
    assert arith.doubling_high_mul(a, b) == nearest(Fraction(a * b, 2**31), lambda low: low + 1)


@given(int32, st.integers(0, 31))
def test_rounding_shift_right_is_a_division_with_ties_away_from_zero(x: int, n: int) -> None:
    away = lambda low: low + 1 if x >= 0 else low  # noqa: E731
    assert arith.rounding_shift_right(x, n) == nearest(Fraction(x, 2**n), away)


@pytest.mark.parametrize(
    ("x", "n", "expected"),
    [(1, 1, 1), (-1, 1, -1), (3, 1, 2), (-3, 1, -2), (-5, 1, -3), (2, 2, 1), (-2, 2, -1)],
)
def test_ties_of_both_signs(x: int, n: int, expected: int) -> None:
    assert arith.rounding_shift_right(x, n) == expected


@given(int32, multipliers, st.integers(-31, 30))
def test_numba_requantizes_like_python(acc: int, multiplier: int, shift: int) -> None:
    if shift > 0 and not -(2**31) <= acc << shift < 2**31:
        acc >>= shift
    expected = arith.requantize(acc, multiplier, shift)
    assert arith_jit.requantize(acc, multiplier, shift) == expected


@given(st.integers(-(2**24), 2**24), st.integers(1, 5000))
def test_numba_divides_like_python(numerator: int, denominator: int) -> None:
    expected = nearest(
        Fraction(numerator, denominator), lambda low: low + 1 if numerator >= 0 else low
    )
    assert arith.divide_rounding(numerator, denominator) == expected
    assert arith_jit.divide_rounding(numerator, denominator) == expected


@given(st.floats(2.0**-31, 2.0**20))
def test_a_multiplier_is_within_half_a_unit_of_the_real_factor(real: float) -> None:
    multiplier, shift = arith.quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    error = abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real))
    assert error <= Fraction(1, 2) * Fraction(2) ** (shift - 31)


def test_a_vanishing_multiplier_flushes_to_zero() -> None:
    assert arith.quantize_multiplier(2.0**-33) == (0, 0)
    assert arith.quantize_multiplier(0.0) == (0, 0)
    assert arith.quantize_multiplier(2.0**-32) == (2**30, -31)


@pytest.mark.parametrize("real", [-1.0, float("inf"), float("nan")])
def test_a_meaningless_multiplier_is_refused(real: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        arith.quantize_multiplier(real)
