"""What problems of several operators are drawn from: windows, filters, multipliers, clamps."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from problem import int8_values

from edgeq.graph import Array, Shape
from edgeq.ops import Window

Draw = Any
T = TypeVar("T")
zero_points = st.sampled_from((-128, 127, 0, -1, 3, -77))
seeds = st.integers(0, 2**32 - 1)
multipliers = st.one_of(
    st.sampled_from((2**30, 2**31 - 1, 2**30 + 1, 0)), st.integers(2**30, 2**31 - 1)
)


def drawn(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """`count` examples, or fewer: for tests that compile one program of many."""
    made: list[T] = []

    @settings(
        max_examples=count,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: T) -> None:
        made.append(example)

    collect()
    return made


@st.composite
def scales(draw: Draw) -> float:
    exponent = draw(st.sampled_from((0, 0, -1, 1, -7, 6, -20, 12)))
    return float(np.float32(draw(st.floats(0.5, 1.0)) * 2.0**exponent))


@st.composite
def clamps(draw: Draw) -> tuple[int, int]:
    if draw(st.booleans()):
        return -128, 127
    low = draw(st.integers(-128, 127))
    return low, draw(st.integers(low, 127))


@st.composite
def windows(draw: Draw) -> tuple[Window, int, int]:
    """A window and an image's height and width that it fits."""
    filter_h, filter_w = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation_h, dilation_w = (draw(st.sampled_from((1, 1, 1, 2, 3))) for _ in range(2))
    stride_h, stride_w = (draw(st.sampled_from((1, 1, 2, 3, 5))) for _ in range(2))
    padding = st.sampled_from((0, 0, 0, 1, 2, 3))
    top, bottom, left, right = (draw(padding) for _ in range(4))
    reach_h, reach_w = (filter_h - 1) * dilation_h + 1, (filter_w - 1) * dilation_w + 1
    height = max(1, reach_h - top - bottom) + draw(st.integers(0, 5))
    width = max(1, reach_w - left - right) + draw(st.integers(0, 5))
    window = Window(
        filter_h,
        filter_w,
        stride_h,
        stride_w,
        dilation_h,
        dilation_w,
        top,
        bottom,
        left,
        right,
    )
    return window, height, width


@st.composite
def product_fields(draw: Draw, rows: Array, bias: Array) -> dict[str, Any]:
    """The fields that operators with a filter share: no accumulator leaves int32."""
    zero_point = draw(zero_points)
    peak = np.abs(bias.astype(np.int64)) + (128 + abs(zero_point)) * np.abs(
        rows.astype(np.int64)
    ).sum(1)
    count = len(bias) if draw(st.booleans()) else 1
    headroom = 31 - max(int(peak.max()), 1).bit_length()
    useful = 7 - max(int(peak.max()), 1).bit_length()
    shifts = []
    for _ in range(count):
        near = st.integers(max(useful - 2, -31), min(useful + 2, headroom))
        anything = st.integers(-31, headroom)
        ends = st.sampled_from((-31, min(0, headroom), headroom))
        shifts.append(draw(st.one_of(near, near, anything, ends)))
    low, high = draw(clamps())
    return {
        "input_zero_point": zero_point,
        "output_zero_point": draw(zero_points),
        "activation_min": low,
        "activation_max": high,
        "multiplier": tuple(draw(multipliers) for _ in range(count)),
        "shift": tuple(shifts),
    }


def filter_and_bias(draw: Draw, shape: Shape, channels: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(draw(seeds))
    weights = int8_values(draw(seeds), shape)
    largest = draw(st.sampled_from((0, 100, 20_000, 2**29)))
    return weights, rng.integers(-largest, largest + 1, channels).astype(np.int32)


@st.composite
def usual_windows(draw: Draw) -> tuple[Window, int, int]:
    """3 x 3 as networks have it, and an image's height and width that it fits."""
    stride_h, stride_w = draw(st.sampled_from(((1, 1), (2, 2), (3, 1), (1, 2))))
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    height = max(1, 3 - pads[0] - pads[1]) + draw(st.integers(0, 6))
    width = max(1, 3 - pads[2] - pads[3]) + draw(st.integers(0, 9))
    return Window(3, 3, stride_h, stride_w, 1, 1, *pads), height, width
