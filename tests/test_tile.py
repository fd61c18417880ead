"""The DSP kernels' requantization equals the two roundings; how weights are packed for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.arith import Rounding, requantize
from edgeq.graph import Array
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.kernels.steps import Channel, Step, half_of, step_of
from firmware_gen.kernels.tile import (
    ACC_LIMIT,
    MAX_RIGHT,
    PREFERRED_SHIFT,
    Tile,
    pair_words,
    tile_of,
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
    rounding: Rounding = "tflm"
    name = "product"


def row_out(acc: int, multiplier: int, n: int, zero_point: int, signs: bool) -> int:
    """What edgeq_row.h computes, before it saturates; every step fits in int32."""
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
    assert row_out(acc, multiplier, n, zero_point, signs=True) == expected
    without = row_out(acc, multiplier, n, zero_point, signs=False)
    assert max(without, zero_point) == max(expected, zero_point)


@pytest.mark.parametrize("n", range(1, MAX_RIGHT + 1))
def test_ties_of_both_signs_equal_two_roundings(n: int) -> None:
    for multiplier in MULTIPLIERS:
        for half in range(-7, 8, 2):
            near = half * 2 ** (n - 1) * 2**31 // multiplier
            for acc in range(near - 3, near + 4):
                if abs(acc) < ACC_LIMIT:
                    expected = requantize(acc, multiplier, -n) - 5
                    assert row_out(acc, multiplier, n, -5, signs=True) == expected


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


def kernel_out(acc: int, step: Step, half: int, t: int, borrows: bool = False) -> int:
    """What edgeq_tile.h computes; p and the sum fit in int32."""
    p = 256 * acc + step.fraction
    if borrows:  # B's start has the fraction above the rest; a rotation by 24 is p
        b = (acc + (step.fraction >> 8) + ((step.fraction & 0xFF) << 24)) % 2**32
        rotated = (b << 8 | b >> 24) % 2**32
        p -= p < 0
        assert rotated == p % 2**32
    y = (p * step.factor >> 32) + half - (step.sign if p < 0 else 0)
    assert -(2**31) <= p < 2**31
    assert -(2**31) <= y < 2**31
    assert 0 <= step.factor < 2**31
    return min(max(y >> t, -128), 127)


def check_channel(
    channel: Channel, step: Step, half: int, t: int, accs: list[int], borrows: bool = False
) -> None:
    for acc in accs:
        got = kernel_out(acc, step, half, t, borrows)
        clamped = min(max(got, channel.activation_min), channel.activation_max)
        assert clamped == channel.output(acc), (channel, step, acc)


@st.composite
def channels(draw: st.DrawFn) -> Channel:
    zero_point = draw(st.integers(-128, 127))
    has_signs = draw(st.booleans())
    low = draw(st.integers(1 - ACC_LIMIT, ACC_LIMIT - 2))
    return Channel(
        multiplier=draw(st.one_of(st.sampled_from(MULTIPLIERS), st.integers(2**30, 2**31 - 1))),
        right=draw(st.integers(1, 31)),
        zero_point=zero_point,
        activation_min=-128 if has_signs else zero_point,
        activation_max=draw(st.integers(zero_point, 127)),
        low=low,
        high=draw(st.integers(low + 1, ACC_LIMIT - 1)),
        rounding=draw(st.sampled_from(("tflm", "single"))),
    )


@given(channels(), st.integers(1, 16), st.integers(-16, 16), st.booleans(), st.data())
def test_a_channels_step_gives_its_outputs(
    channel: Channel, t: int, more: int, borrows: bool, data: st.DataObject
) -> None:
    if channel.output(channel.low) == channel.output(channel.high):
        return
    step = step_of(channel, t, more, borrows=borrows)
    if step is None:
        return
    half = half_of(channel.zero_point, t) + more
    reach = st.integers(channel.low, channel.high)
    accs = [channel.low, channel.high, *data.draw(st.lists(reach, min_size=20, max_size=40))]
    near_zero = [acc for acc in range(-3, 4) if channel.low <= acc <= channel.high]
    check_channel(channel, step, half, t, accs + near_zero, borrows)


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize("right", [5, 6, 7, 8])
@pytest.mark.parametrize("activation_min", [-128, 0])
@pytest.mark.parametrize("rounding", ["tflm", "single"])
def test_every_accumulator_of_usual_channels(
    multiplier: int, right: int, activation_min: int, rounding: Rounding
) -> None:
    low, high = -(1 << 7 + right + 1), 1 << 7 + right + 1
    channel = Channel(multiplier, right, 0, activation_min, 127, low, high, rounding)
    step = step_of(channel, PREFERRED_SHIFT)
    assert step is not None
    half = half_of(0, PREFERRED_SHIFT)
    check_channel(channel, step, half, PREFERRED_SHIFT, list(range(low, high + 1)))
    if (step := step_of(channel, PREFERRED_SHIFT, borrows=True)) is not None:
        check_channel(channel, step, half, PREFERRED_SHIFT, list(range(low, high + 1)), True)
    else:
        assert activation_min < 0 or multiplier == 2**30


def test_a_broken_step_is_seen() -> None:
    channel = Channel(1518500250, 7, -128, -128, 127, 0, 1 << 15)
    step = step_of(channel, PREFERRED_SHIFT)
    assert step is not None
    half = half_of(-128, PREFERRED_SHIFT)
    broken = Step(step.fraction + 256, step.factor, step.sign)
    with pytest.raises(AssertionError):
        check_channel(channel, broken, half, PREFERRED_SHIFT, list(range(1 << 15)))


def test_a_channel_with_one_result_needs_no_weights() -> None:
    op = Product((2**30, 2**30), (-6, -28), output_zero_point=3)
    bias = np.array([0, 2**30], np.int32)
    tile = tile_of(op, rows_of([50, 1, 0, 0], [50, 1, 0, 0]), bias)
    assert isinstance(tile, Tile)
    first, second = tile.words[0, 4:8:2].tolist()
    assert (first, second) == (50, 1)
    # Its outputs are 3 + round(2**30 / 2**29): A - B is p, from the starts alone.
    p = (int(tile.words[0, 0]) - int(tile.words[0, 1])) % 2**32
    factor = int(tile.words[0, 4 + 4 + 1])
    more = (int(tile.words[0, -1]) + 128) % 256 - 128
    half = half_of(op.output_zero_point, tile.t)
    assert (p * factor >> 32) + half + more >> tile.t == 5


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


def test_a_group_is_starts_then_taps_then_factors() -> None:
    op = Product((2**30, 2**30 + 1, 2**30), (-5, -6, -7))
    rows = rows_of([1, 2, 3], [4, 5, 6], [7, 8, 9])
    tile = tile_of(op, rows, np.array([700, -800, 900], np.int32))
    assert isinstance(tile, Tile)
    assert (tile.t, tile.is_signed, tile.words.shape) == (12, False, (1, 4 + 2 * 2 + 4))
    words = tile.words[0].tolist()
    for start, bias in ((words[1], 700), (words[3], 900)):
        assert start & 0xFFFFFF in (bias, bias + 1)  # and the whole part of the fraction
        assert start >> 24 != 0  # the rest of it
    assert words[4:6] == [256 * 4 + 1 | 256 * 6 + 3 << 16, 7 | 9 << 16]
    assert words[8:11] == [2**30, (2**30 + 2) >> 1, 2**28]


def test_a_large_bias_without_weights_does_not_fit_a_row() -> None:
    folded = np.array([0, ACC_LIMIT])
    assert why_not_pairs(rows_of([1], [0]), np.array([0, ACC_LIMIT - 1]), 8) is None
    assert "channel 1 may reach 8388608" in str(why_not_pairs(rows_of([1], [0]), folded, 8))
