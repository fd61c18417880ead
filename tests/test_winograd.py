"""The sums of fully_connected_winograd.h equal the dot products, from the starts as packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.graph import Array
from firmware_gen.kernels.fully_connected_winograd import SHIFT, TAPS
from firmware_gen.kernels.steps import half_of
from firmware_gen.kernels.winograd_starts import SEGMENT, Starts, starts_of


def signed(value: int, bits: int) -> int:
    """The low bits as two's complement."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def starts(pair: Array) -> tuple[int, int]:
    """A's and B's start from the words of a pair, as the kernel reads them."""
    if len(pair) == 2:
        return int(pair[0]), int(pair[1])
    word = int(pair[0])
    return word >> 8, signed((word >> 8 & 0xFF) | (word & 0xFF) << 8, 16)


def sums(packed: Starts, pair: int, low: Array, high: Array, row: Array) -> tuple[int, int]:
    """S0 and 256 * S1 of a pair by the kernel's steps, modulo 2**32."""
    a, b = starts(packed.words[pair])
    x = row + 2 * np.repeat(packed.offsets, len(row) // len(packed.offsets))
    h, (xe, xo) = 256 * high + low, (x[::2], x[1::2])
    t, u = xo + low[::2], xe + low[1::2]
    for halves in (h, x, t, u):
        assert np.abs(halves).max() < 1 << 15
    products = int((xe * xo).sum())
    b += int((t * u).sum())
    a += int((h[1::2] * xo).sum() + (h[::2] * u).sum()) + 256 * packed.lacking + products
    return signed(b - products + packed.lacking, 32), signed(a - b, 32)


@st.composite
def layers(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Weights of pairs of channels, biases without a zero point, a row of bytes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blocks = draw(st.integers(1, 20) | st.sampled_from((8, 16, 32)))
    shape = (2 * draw(st.integers(1, 4)), TAPS * blocks)
    most = draw(st.sampled_from((1, 20, 127)))
    largest = draw(st.sampled_from((0, 1000, 30_000, 100_000, 2**22)))
    return (
        rng.integers(-most, most + 1, shape),
        rng.integers(-largest, largest + 1, shape[0]),
        rng.integers(-128, 128, shape[1]),
    )


@given(layers(), st.integers(-128, 127))
def test_both_sums_of_every_pair_are_dot_products(
    layer: tuple[Array, Array, Array], zero_point: int
) -> None:
    rows, bias, row = layer
    packed = starts_of(rows, bias, zero_point, rows.shape[1])
    for pair in range(len(rows) // 2):
        low, high = rows[2 * pair : 2 * pair + 2]
        s0, s1 = (bias + rows @ (row - zero_point))[2 * pair : 2 * pair + 2]
        if max(abs(s0), abs(s1)) < 1 << 23:
            assert sums(packed, pair, low, high, row) == (s0, 256 * s1)


@pytest.mark.parametrize(("apart", "words"), [(65_000, 1), (70_000, 2)])
def test_biases_that_are_near_each_other_take_one_word_a_pair(apart: int, words: int) -> None:
    rows = np.zeros((4, TAPS), np.int64)
    for far in (1 << 20, -(1 << 20)):  # wherever they are
        for channel in (0, 1):
            bias = np.full(4, far)
            bias[channel] += apart
            assert starts_of(rows, bias, 0, TAPS).words.shape == (2, words)


def test_offsets_bring_biases_near_that_come_from_what_the_row_is_on_average() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-20, 21, (16, 8 * SEGMENT))
    mean = np.repeat(rng.integers(-128, 128, 8), SEGMENT)
    bias = -rows @ mean * 2
    assert np.ptp(bias) > 1 << 16
    packed = starts_of(rows, bias, 5, rows.shape[1])
    assert packed.words.shape == (8, 1)
    assert len(packed.offsets) == 8
    assert packed.offset_words().tobytes() == np.array(packed.offsets, np.int8).tobytes()
    # Of rows that are no whole segments, and where it would take more offsets than there are.
    assert starts_of(rows, bias, 5, rows.shape[1] - 1).words.shape == (8, 2)
    bias[3] += 1 << 22
    assert starts_of(rows, bias, 5, rows.shape[1]).words.shape == (8, 2)


def test_one_offset_takes_the_zero_point_off_or_one_more() -> None:
    rows, bias = np.ones((2, TAPS), np.int64), np.zeros(2, np.int64)
    for zero_point in range(-128, 128):
        (offset,) = starts_of(rows, bias, zero_point, TAPS).offsets
        assert 2 * offset + zero_point in (0, -1)
        assert -128 <= offset < 128


@given(
    st.integers(-(1 << 31), -1),
    st.integers(0, (1 << 31) - 1),
    st.integers(-128, 127),
    st.sampled_from((0, 1, 20)),
    st.sampled_from((1, 2, 128)),
)
def test_a_sign_changes_nothing_where_no_output_is_below_the_zero_point(
    p: int, factor: int, zero_point: int, above: int, sign: int
) -> None:
    activation_min = min(zero_point + above, 127)
    v = (p * factor >> 32) + half_of(zero_point, SHIFT)
    without, with_sign = (max(out >> SHIFT, activation_min) for out in (v, v - sign))
    assert without == with_sign == activation_min
