"""The DSP kernels' requantization equals the two roundings; how weights are packed for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.arith import requantize
from edgeq.graph import Array
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.kernels.tile import (
    ACC_LIMIT,
    MAX_RIGHT,
    channels_of,
    pair_words,
    tile_constant,
    why_no_tile,
    why_not_pairs,
)

DSP = Target(has_dsp=True)
MULTIPLIERS = (2**30, 2**30 + 1, 1518500250, 2**31 - 1)


@dataclass(frozen=True)
class Product:
    """The fields of a product that packing looks at."""

    multiplier: tuple[int, ...] = (2**30,)
    shift: tuple[int, ...] = (-5,)
    input_zero_point: int = 0
    output_zero_point: int = -128
    activation_min: int = -128
    activation_max: int = 127
    name = "product"


def tile_out(acc: int, multiplier: int, n: int, zero_point: int, signs: bool) -> int:
    """What edgeq_tile.h computes, before it saturates; every step fits in int32."""
    c = (2 * zero_point + 1) << (n - 1)
    y = c + ((2 * acc * multiplier + 2**31) >> 32) - (acc < 0 and signs)
    assert -(2**31) <= y < 2**31
    return y >> n


@given(
    st.one_of(
        st.sampled_from((0, 1, -1, ACC_LIMIT - 1, 1 - ACC_LIMIT)),
        st.integers(1 - ACC_LIMIT, ACC_LIMIT - 1),
    ),
    st.one_of(st.sampled_from(MULTIPLIERS), st.integers(2**30, 2**31 - 1)),
    st.integers(1, MAX_RIGHT),
    st.integers(-128, 127),
)
def test_one_multiplication_and_a_sign_equal_two_roundings(
    acc: int, multiplier: int, n: int, zero_point: int
) -> None:
    expected = requantize(acc, multiplier, -n) + zero_point
    assert tile_out(acc, multiplier, n, zero_point, signs=True) == expected
    without = tile_out(acc, multiplier, n, zero_point, signs=False)
    assert max(without, zero_point) == max(expected, zero_point)


@pytest.mark.parametrize("n", range(1, MAX_RIGHT + 1))
def test_ties_of_both_signs_equal_two_roundings(n: int) -> None:
    for multiplier in MULTIPLIERS:
        for half in range(-7, 8, 2):
            near = half * 2 ** (n - 1) * 2**31 // multiplier
            for acc in range(near - 3, near + 4):
                if abs(acc) < ACC_LIMIT:
                    expected = requantize(acc, multiplier, -n) - 5
                    assert tile_out(acc, multiplier, n, -5, signs=True) == expected


def test_beyond_the_largest_shift_every_accumulator_becomes_zero() -> None:
    for acc in (ACC_LIMIT - 1, 1 - ACC_LIMIT, -1, 0, 1):
        for multiplier in MULTIPLIERS:
            for n in range(MAX_RIGHT + 1, 32):
                assert requantize(acc, multiplier, -n) == 0


def rows_of(*channels: list[int]) -> Array:
    return np.array(channels, np.int8)


def test_two_taps_of_two_channels_share_a_word() -> None:
    low, high = [1, -2, 3, -4], [5, 6, -7, -127]
    first, second = pair_words(rows_of(low, high).astype(np.int64))[0].tolist()
    assert first == ((256 * 5 + 1) & 0xFFFF) | ((256 * -7 + 3) & 0xFFFF) << 16
    assert second == ((256 * 6 - 2) & 0xFFFF) | ((256 * -127 - 4) & 0xFFFF) << 16


def test_a_channel_with_one_result_needs_no_weights() -> None:
    op = Product((2**30, 2**30), (-3, -28), output_zero_point=3)
    bias = np.array([0, 2**30], np.int32)
    rows, folded, multiplier, shift = channels_of(op, rows_of([50, 1], [50, 1]), bias)
    assert rows.tolist() == [[50, 1], [0, 0]]
    assert requantize(int(folded[1]), int(multiplier[1]), int(shift[1])) == requantize(
        2**30, 2**30, -28
    )
    assert why_no_tile(op, rows_of([50, 1], [50, 1]), bias, DSP) is None


@pytest.mark.parametrize(
    ("op", "rows", "bias", "target", "reason"),
    [
        (Product(), rows_of([1]), 0, PORTABLE, "no DSP extension"),
        (Product(shift=(0,)), rows_of([1]), 0, DSP, "0.5 or more"),
        (Product(shift=(-16,)), rows_of([127] * 8), ACC_LIMIT, DSP, "0 may reach 8517640"),
        (Product(), rows_of([-1], [-128]), 0, DSP, "do not fit an int16"),
    ],
)
def test_the_reason_is_given_where_two_channels_cannot_share_a_word(
    op: Product, rows: Array, bias: int, target: Target, reason: str
) -> None:
    biases = np.full(len(rows), bias, np.int32)
    assert reason in str(why_no_tile(op, rows, biases, target))


def test_a_group_is_taps_then_biases_with_shifts_then_multipliers() -> None:
    op = Product((2**30, 2**30 + 1), (-5, -6))
    words = tile_constant(op, rows_of([1, 2, 3], [4, 5, 6]), np.array([7, -8], np.int32)).values
    assert words.shape == (1, 2 * 2 + 8)
    assert words[0, 4:].tolist() == [7 * 256 + 4, -8 * 256 + 5, 0, 0, 2**30, 2**30 + 1, 0, 0]


def test_a_large_bias_without_weights_does_not_fit_a_row() -> None:
    folded = np.array([0, ACC_LIMIT])
    assert why_not_pairs(rows_of([1], [0]), np.array([0, ACC_LIMIT - 1]), 8) is None
    assert "channel 1 may reach 8388608" in str(why_not_pairs(rows_of([1], [0]), folded, 8))
