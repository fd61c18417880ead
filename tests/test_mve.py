"""The Helium kernels' requantization equals the two roundings; how weights are packed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.arith import INT32_MAX, INT32_MIN, clamp, requantize
from edgeq.graph import Array
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.kernels.depthwise_mve import taps_as_int16
from firmware_gen.kernels.mve import is_full, params_constant, why_no_groups

HELIUM = Target(has_dsp=True, has_mve=True)
accs = st.one_of(
    st.sampled_from((0, 1, -1, INT32_MAX, INT32_MIN)), st.integers(INT32_MIN, INT32_MAX)
)
multipliers = st.one_of(
    st.sampled_from((0, 2**30, 2**30 + 1, 2**31 - 1)), st.integers(2**30, 2**31 - 1)
)


def vqrdmulh(a: int, b: int) -> int:
    """DDI0553B, VQRDMULH: twice the product and 2**31, its upper half, saturated."""
    return clamp((2 * a * b + 2**31) >> 32, INT32_MIN, INT32_MAX)


def vrshl(a: int, shift: int) -> int:
    """DDI0553B, VRSHL with a shift of 0 or less: the rounded sum has more than 32 bits."""
    return (a + (1 << -shift >> 1)) >> -shift


def full(acc: int, multiplier: int, shift: int) -> int:
    """What EDGEQ_MVE_ROUND_FULL computes in a lane."""
    left, right = max(shift, 0), min(shift, 0)
    y = vqrdmulh(acc << left, multiplier)
    away = (y & right) >> 31
    return vrshl(clamp(y + away, INT32_MIN, INT32_MAX), right)


@given(accs, multipliers, st.integers(-31, 31))
def test_the_full_sequence_equals_two_roundings(acc: int, multiplier: int, shift: int) -> None:
    acc >>= max(shift, 0)  # acc * 2**shift fits in int32: passes/prove_accumulators.py
    assert full(acc, multiplier, shift) == requantize(acc, multiplier, shift)


@given(accs, multipliers, st.integers(-31, 0), st.integers(-128, 127))
def test_two_instructions_do_where_nothing_below_the_zero_point_is_wanted(
    acc: int, multiplier: int, shift: int, zero_point: int
) -> None:
    plain = vrshl(vqrdmulh(acc, multiplier), shift) + zero_point
    expected = requantize(acc, multiplier, shift) + zero_point
    assert max(plain, zero_point) == max(expected, zero_point)


@pytest.mark.parametrize("shift", range(-31, 1))
def test_ties_of_both_signs_go_away_from_zero(shift: int) -> None:
    for multiplier in (2**30, 2**30 + 1, 1518500250, 2**31 - 1):
        for half in range(-7, 8, 2):
            near = half * 2**-shift * 2**30 // multiplier
            for acc in range(near - 3, near + 4):
                if INT32_MIN <= acc <= INT32_MAX:
                    assert full(acc, multiplier, shift) == requantize(acc, multiplier, shift)


@given(st.integers(INT32_MIN, INT32_MAX), st.integers(-128, 127))
def test_the_zero_point_may_be_added_after_saturation_to_int16(y: int, zero_point: int) -> None:
    narrow = clamp(y, -(2**15), 2**15 - 1)
    total = clamp(narrow + zero_point, -(2**15), 2**15 - 1)
    assert clamp(total, -128, 127) == clamp(y + zero_point, -128, 127)


@dataclass(frozen=True)
class Product:
    """The fields of a product that packing looks at."""

    multiplier: tuple[int, ...] = (2**30,)
    shift: tuple[int, ...] = (-5,)
    input_zero_point: int = 0
    output_zero_point: int = -128
    activation_min: int = -128


def test_the_last_group_ends_with_the_last_channel() -> None:
    op = Product((1, 2, 3, 4, 5), (-1, -2, -3, -4, -5), input_zero_point=2)
    rows = cast(Array, np.array([[1], [2], [3], [4], [5]], np.int8))
    words = params_constant(op, rows, np.arange(10, 15, dtype=np.int32)).values
    assert words[:, :4].tolist() == [[8, 7, 6, 5], [7, 6, 5, 4]]
    assert words[:, 4:8].tolist() == [[1, 2, 3, 4], [2, 3, 4, 5]]
    assert words[:, 8:].astype("<i4").tobytes() == bytes(
        256 - n for n in (1, 2, 3, 4, 2, 3, 4, 5)
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"shift": (0,)}, False),
        ({"shift": (1,)}, True),
        ({"output_zero_point": -127}, True),
    ],
)
def test_the_full_sequence_is_for_positive_shifts_and_results_below_the_zero_point(
    changes: dict[str, Any], expected: bool
) -> None:
    assert is_full(Product(**changes)) == expected


def test_the_reason_is_given_where_channels_are_not_taken_by_four() -> None:
    assert why_no_groups(4, HELIUM) is None
    assert "vector extension" in str(why_no_groups(4, PORTABLE))
    assert "3 channels" in str(why_no_groups(3, HELIUM))


@pytest.mark.parametrize(
    ("row", "taps"),
    [
        ([51] * 5 + [63] * 4, 5),  # 255 times 128 is below 2**15
        ([52] * 5 + [0] * 4, 3),
        ([85] * 9, 3),
        ([86] * 9, 2),
        ([127] * 9, 2),
        ([-128, -128] + [0] * 7, 0),
    ],
)
def test_as_many_taps_are_added_as_int16_as_no_sum_leaves_it(row: list[int], taps: int) -> None:
    rows = np.array([[0] * 9, row], np.int8)
    assert taps_as_int16(rows) == taps
