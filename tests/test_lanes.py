"""The kernels of cores without DSP: narrowing equals two roundings; weights stay in lanes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tile import MULTIPLIERS, Product

from edgeq.arith import requantize
from edgeq.graph import Array
from firmware_gen.kernels.lanes import (
    BLOCK,
    LEAST_RIGHT,
    clip_blocks,
    lanes_constants,
    list_words,
    narrow_words,
    padded,
    why_not_narrow,
)
from firmware_gen.kernels.tile import ACC_LIMIT, MAX_RIGHT


def fits(value: int) -> int:
    assert -(2**31) <= value < 2**31
    return value


def narrow(acc: int, multiplier: int, n: int, zero_point: int) -> int:
    """What edgeq_narrow.h computes from one 64-bit product, before it saturates."""
    k = n - 2
    c = fits((2 * zero_point + 1) << k)
    half = -(1 << 30) if acc < 0 else 1 << 30
    return fits(((acc * multiplier + half) >> 32) + c) >> k >> 1


def narrow_by_halves(acc: int, multiplier: int, n: int, zero_point: int) -> int:
    """The same from 16-bit factors; every product and sum fits in int32."""
    k = n - 2
    c = (2 * zero_point + 1) << k
    a, b = acc >> 8, acc & 0xFF
    g, h = multiplier >> 16, multiplier & 0xFFFF
    q = fits(fits(a * h) + (fits(b * h) >> 8)) >> 8
    half = (1 << 14) - (1 << 15 if acc < 0 else 0)
    low = fits(fits(b * g) + q + half) >> 8
    return fits(c + (fits(fits(a * g) + low) >> 8)) >> k >> 1


accs = st.one_of(
    st.sampled_from((0, 1, -1, 255, 256, -256, ACC_LIMIT - 1, 1 - ACC_LIMIT)),
    st.integers(1 - ACC_LIMIT, ACC_LIMIT - 1),
)
multipliers = st.one_of(st.sampled_from(MULTIPLIERS), st.integers(2**30, 2**31 - 1))


@given(accs, multipliers, st.integers(LEAST_RIGHT, MAX_RIGHT), st.integers(-128, 127))
def test_one_product_and_one_shift_equal_two_roundings(
    acc: int, multiplier: int, n: int, zero_point: int
) -> None:
    expected = requantize(acc, multiplier, -n) + zero_point
    assert narrow(acc, multiplier, n, zero_point) == expected
    assert narrow_by_halves(acc, multiplier, n, zero_point) == expected


@pytest.mark.parametrize("n", range(LEAST_RIGHT, MAX_RIGHT + 1))
def test_ties_of_both_signs_equal_two_roundings(n: int) -> None:
    for multiplier in MULTIPLIERS:
        for half in range(-7, 8, 2):
            near = half * 2 ** (n - 1) * 2**31 // multiplier
            for acc in range(near - 3, near + 4):
                if abs(acc) < ACC_LIMIT:
                    expected = requantize(acc, multiplier, -n) - 5
                    assert narrow(acc, multiplier, n, -5) == expected
                    assert narrow_by_halves(acc, multiplier, n, -5) == expected


def test_an_accumulator_up_to_zero_gives_the_zero_point_or_less() -> None:
    for acc in (0, -1, -2, -300, 1 - ACC_LIMIT):
        for multiplier in MULTIPLIERS:
            for n in range(LEAST_RIGHT, MAX_RIGHT + 1):
                assert requantize(acc, multiplier, -n) <= 0


def lanes(weights: Array, x0: Array, x1: Array) -> tuple[int, int]:
    """The two sums from one 32-bit accumulator."""
    p = 1 << 15
    for w, a, b in zip(weights.tolist(), x0.tolist(), x1.tolist(), strict=True):
        p = (p + w * (a + (b << 16))) & 0xFFFFFFFF
    high = (p >> 16) - (1 << 16 if p >> 31 else 0)
    return (p & 0xFFFF) - (1 << 15), high


@given(st.lists(st.integers(-128, 127), min_size=BLOCK, max_size=BLOCK), st.integers(0, 2**32))
def test_what_is_left_of_a_block_stays_in_its_lanes(values: list[int], seed: int) -> None:
    rows = np.array([values], np.int64)
    clipped, rest = clip_blocks(rows)
    assert (clipped + rest == rows).all()
    assert (np.abs(rest) <= 128).all()
    rng = np.random.default_rng(seed)
    ends = np.where(clipped[0] > 0, 127, -128)
    for x0, x1 in ((ends, ends), (ends, ~ends), (~ends, ends), rng.integers(-128, 128, (2, 4))):
        found = lanes(clipped[0], x0, x1)
        assert found == (int((clipped[0] * x0).sum()), int((clipped[0] * x1).sum()))


def test_weights_within_the_limit_are_left_alone() -> None:
    rows = np.array([[127, -127, 1, 0], [64, 64, -64, 63]], np.int64)
    clipped, rest = clip_blocks(rows)
    assert (clipped == rows).all()
    assert not rest.any()
    assert list_words(rest).tolist() == [0]


def test_a_list_has_the_taps_and_the_last_of_each_channel() -> None:
    rest = np.array([[0, 5, 0, -1], [0, 0, 0, 0], [7, 0, 0, 0]])
    assert list_words(rest).tolist() == [2048 + 5, 3 * 2048 + 256 + 255, 256 + 7]


def test_interleaved_weights_are_eight_channels_side_by_side() -> None:
    rows = np.arange(1, 10, dtype=np.int8)[:, None] * np.ones((1, 3), np.int8)
    bias = np.zeros(9, np.int32)
    op = Product((2**30,) * 9, (-5,) * 9)
    straight, words, _ = lanes_constants(op, rows, bias, 1)
    beside, _, _ = lanes_constants(op, rows, bias, 8)
    assert straight.values.shape == (9, 4)
    assert beside.values.shape == (2, 4, 8)
    assert beside.values[0, 0].tolist() == list(range(1, 9))
    assert beside.values[1, :, 0].tolist() == [9, 9, 9, 0]
    assert words.values[0].tolist() == [3, 2**30]


def test_a_channel_with_one_result_is_a_bias_that_narrows_to_it() -> None:
    op = Product((0, 2**30, 2**30), (0, -30, -2))
    rows = np.array([[50, 1], [50, 1], [0, 0]], np.int8)
    bias = np.array([0, 7, 4 * 300], np.int32)
    assert why_not_narrow(op, rows, bias) is None
    weights, words = narrow_words(op, rows, bias)
    assert not weights.any()
    for (word, multiplier), result in zip(words.tolist(), (-128, -128, 22), strict=True):
        assert narrow(word >> 8, multiplier, (word & 31) + LEAST_RIGHT, -128) == result


@pytest.mark.parametrize(
    ("op", "rows", "bias", "reason"),
    [
        (Product(shift=(-1,)), [[1]], 0, "0.25 or more"),
        (Product(shift=(-16,)), [[127] * 8], ACC_LIMIT, "0 may reach 8517640"),
    ],
)
def test_the_reason_is_given_where_accumulators_cannot_be_narrowed(
    op: Product, rows: list[list[int]], bias: int, reason: str
) -> None:
    biases = np.full(len(rows), bias, np.int32)
    assert reason in str(why_not_narrow(op, np.array(rows, np.int8), biases))


def test_padding_is_zeros_behind() -> None:
    assert padded(np.ones((3, 5), np.int8), 4, 4).tolist() == [
        *[[1] * 5 + [0] * 3] * 3,
        [0] * 8,
    ]
