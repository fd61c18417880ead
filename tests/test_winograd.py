"""The sums of fully_connected_winograd.h equal the dot products, from the starts as packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.graph import Array
from firmware_gen.kernels.fully_connected_winograd import SHIFT, TAPS, Starts, starts_of
from firmware_gen.kernels.steps import half_of

LARGEST_X = 255  # a byte less a zero point


def signed(value: int, bits: int) -> int:
    """The low bits as two's complement."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def starts(pair: Array) -> tuple[int, int]:
    """A's and B's start from the words of a pair, as the kernel reads them."""
    if len(pair) == 2:
        return int(pair[0]), int(pair[1])
    word = int(pair[0])
    return word >> 8, signed((word >> 8 & 0xFF) | (word & 0xFF) << 8, 16)


def sums(packed: Starts, pair: int, low: Array, high: Array, x: Array) -> tuple[int, int]:
    """S0 and 256 * S1 of a pair by the kernel's steps, modulo 2**32."""
    a, b = starts(packed.words[pair])
    h, (xe, xo) = 256 * high + low, (x[::2], x[1::2])
    assert np.abs(h).max() < 1 << 15
    t, u = xo + low[::2], xe + low[1::2]
    b += int((t * u).sum())
    a += int((h[1::2] * xo).sum() + (h[::2] * u).sum())
    products = int((xe * xo).sum())
    a += 256 * packed.odd + products
    return signed(b - products + packed.even, 32), signed(a - b, 32)


@st.composite
def layers(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Weights of pairs of channels, biases without a zero point, a row less its zero point."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (2 * draw(st.integers(1, 4)), TAPS * draw(st.integers(1, 20)))
    most = draw(st.sampled_from((1, 20, 127)))
    largest = draw(st.sampled_from((0, 1000, 30_000, 2**22)))
    return (
        rng.integers(-most, most + 1, shape),
        rng.integers(-largest, largest + 1, shape[0]),
        rng.integers(-LARGEST_X, LARGEST_X + 1, shape[1]),
    )


@given(layers())
def test_both_sums_of_every_pair_are_dot_products(layer: tuple[Array, Array, Array]) -> None:
    rows, bias, x = layer
    packed = starts_of(rows, bias)
    for pair in range(len(rows) // 2):
        low, high = rows[2 * pair : 2 * pair + 2]
        s0, s1 = bias[2 * pair : 2 * pair + 2] + rows[2 * pair : 2 * pair + 2] @ x
        if max(abs(s0), abs(s1)) < 1 << 23:
            assert sums(packed, pair, low, high, x) == (s0, 256 * s1)


@pytest.mark.parametrize(("apart", "words"), [(65_000, 1), (70_000, 2)])
def test_biases_that_are_near_each_other_take_one_word_a_pair(apart: int, words: int) -> None:
    rows = np.zeros((4, TAPS), np.int64)
    for far in (1 << 20, -(1 << 20)):  # wherever they are
        for channel in (0, 1):
            bias = np.full(4, far)
            bias[channel] += apart
            assert starts_of(rows, bias).words.shape == (2, words)


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
