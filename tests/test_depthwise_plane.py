"""The numbers of a depthwise channel give the outputs of its rounding; packed weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeq.arith import Rounding, clamp, requantize_by
from edgeq.graph import Array
from firmware_gen.kernels.depthwise_channel import (
    FAR,
    LEAST_SCALE,
    MOST_SCALE,
    PlaneChannel,
    channel_bytes,
    channel_words,
    filter_words,
    first_accumulators,
)
from firmware_gen.kernels.depthwise_plane import PREFERRED_SHIFT

ROUNDINGS: tuple[Rounding, ...] = ("tflm", "single", "shift")
MULTIPLIERS = (2**30, 2**30 + 1, 1518500250, 2**31 - 1)


def output_of(channel: PlaneChannel, acc: int) -> int:
    y = requantize_by(channel.rounding, acc, channel.multiplier, channel.shift)
    return clamp(y + channel.output_zero_point, -128, 127)


@given(
    st.sampled_from(ROUNDINGS),
    st.one_of(st.sampled_from((*MULTIPLIERS, 1, 3, 181)), st.integers(1, 2**31 - 1)),
    st.integers(-31, 0),
    st.integers(-255, 255),
)
def test_an_output_begins_at_its_first_accumulator(
    rounding: Rounding, multiplier: int, shift: int, y: int
) -> None:
    (first,) = first_accumulators(rounding, multiplier, shift, np.array([y])).tolist()
    assume(abs(first) < FAR)
    assert requantize_by(rounding, first, multiplier, shift) >= y
    assert requantize_by(rounding, first - 1, multiplier, shift) < y


@st.composite
def channels(draw: st.DrawFn) -> PlaneChannel:
    rounding = draw(st.sampled_from(ROUNDINGS))
    taps = draw(st.lists(st.integers(-127, 127), min_size=9, max_size=9))
    small = st.integers(1, 2**12)
    return PlaneChannel(
        filter=np.array(taps, np.int64),
        bias=draw(st.integers(-30_000, 30_000)),
        multiplier=draw(small if rounding == "shift" else st.integers(2**30, 2**31 - 1)),
        shift=draw(st.integers(-21, -17) if rounding == "shift" else st.integers(-16, -5)),
        output_zero_point=draw(st.sampled_from((-128, -128, 127, 0, -3))),
        rounding=rounding,
    )


@settings(deadline=None)
@given(channels(), st.sampled_from((PREFERRED_SHIFT, 11, 9, 7)))
def test_one_multiplication_and_one_shift_give_the_outputs_of_all_accumulators(
    channel: PlaneChannel, t: int
) -> None:
    numbers, compact = channel.numbers(t), channel.compact(t)
    if numbers is not None:
        scale, multiplier, bias = numbers
        assert LEAST_SCALE <= scale <= MOST_SCALE
        assert unpacked(channel_words([0, 0, 0], *numbers)) == numbers
        check(channel, t, scale, multiplier, bias)
    if compact is not None:
        check(channel, t, MOST_SCALE, *compact)
        taps = filter_words(channel, 1, upright=False)
        assert compact_unpacked(channel_bytes(taps, *compact)) == compact


def check(channel: PlaneChannel, t: int, scale: int, multiplier: int, bias: int) -> None:
    """These numbers give the channel's outputs."""
    assert 0 < multiplier < 2**31
    low, high = channel.outputs()
    taps = channel.filter if low < high else 0 * channel.filter
    ends = channel.products()
    products = np.arange(min(ends), max(ends) + 1)  # every sum of products, and more
    wide = (products << scale) * bool(taps.any()) + bias
    assert np.abs(wide).max() < 2**31
    got = np.clip((wide * multiplier >> 32) >> t, -128, 127)
    # Outputs rise with the accumulator: equal at every place where they do, they are equal.
    steps = np.flatnonzero(np.diff(got))
    for at in {0, len(products) - 1, *steps.tolist(), *(steps + 1).tolist()}:
        assert got[at] == output_of(channel, channel.bias + int(products[at]))
    if not taps.any():
        assert output_of(channel, channel.bias + ends[0]) == got[0]
        assert output_of(channel, channel.bias + ends[1]) == got[0]


def test_most_channels_are_compact_for_the_preferred_shift() -> None:
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(100):
        multiplier, shift = int(rng.integers(2**30, 2**31)), int(rng.integers(-9, -4))
        taps = rng.integers(-127, 128, 9)
        bias = int(rng.integers(-9000, 9000)) + 128 * int(taps.sum())  # zero point -128
        channel = PlaneChannel(taps, bias, multiplier, shift, -128, "tflm")
        found += channel.compact(PREFERRED_SHIFT) is not None
        assert channel.numbers(PREFERRED_SHIFT) is not None
    assert found >= 97


def unpacked(words: list[int]) -> tuple[int, int, int]:
    """What edgeq_channels_wide makes of a channel's numbers: s, multiplier, bias."""
    _, _, end, bias = np.array(words).astype("<u4").view("<i4").tolist()
    multiplier = (end & 0x1FFFFF) << 10 | (bias & 31) << 5
    return 8 - (end >> 21 & 7), multiplier, bias >> 5


def compact_unpacked(data: bytes) -> tuple[int, int]:
    """What edgeq_channels_compact makes of a channel's numbers: multiplier, bias."""
    weights = sum(np.frombuffer(data, np.int8)[[0, 1, 2, 3, 4, 5, 6, 7, 11]].tolist())
    end = int.from_bytes(data[8:11], "little")
    last = int.from_bytes(data[12:15], "little", signed=True)
    e, f = end >> 21, (end & 0x1FFFFF) << 1 | last & 1
    return 2**22 + f << 1 + e, (last >> 1) - (0xF500000 - 32 * f >> e) + 2**15 * weights


def pairs_of(words: list[int]) -> list[tuple[int, int]]:
    """What the kernel makes of the weights' words: five pairs of int8."""
    data: Array = np.array(words, "<u4").view(np.int8).reshape(3, 4)
    pairs = [(int(w[first]), int(w[first + 2])) for w in data[:2] for first in (0, 1)]
    return [*pairs, (pairs[3][1], int(data[2, 3]))]


@pytest.mark.parametrize("upright", [False, True])
def test_weights_are_packed_as_the_loops_read_them(upright: bool) -> None:
    taps = np.array([[1, 2, 3], [-4, -5, -6], [127, -127, 9]], np.int64)
    lines = taps.T if upright else taps
    (a, b, c), (d, e, f), (g, h, i) = lines.tolist()
    channel = PlaneChannel(taps.ravel(), 0, 2**30, -5, 0, "tflm")
    assert pairs_of(filter_words(channel, 1, upright)) == [
        (a, d),
        (b, e),
        (c, f),
        (g, h),
        (h, i),
    ]
    assert pairs_of(filter_words(channel, 2, upright)) == [
        (a, b),
        (d, e),
        (g, h),
        (c, f),
        (f, i),  # of which the kernel uses the second
    ]
    constant = PlaneChannel(taps.ravel(), 10**6, 2**30, -5, 0, "tflm")
    assert constant.outputs() == (127, 127)
    assert filter_words(constant, 1, upright) == [0, 0, 0]


def test_a_compact_channel_has_a_multiplier_of_its_eight_binades() -> None:
    """Beside the least one the nearest that would serve lies below them."""
    taps = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0])
    for multiplier, shift in ((2**30, -11), (2**31 - 1, -12), (2**30, -12), (2**30, -3)):
        channel = PlaneChannel(taps, 0, multiplier, shift, -128, "single")
        compact = channel.compact(PREFERRED_SHIFT)
        assert compact is None or 2**23 <= compact[0] < 2**31
