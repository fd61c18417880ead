"""Numbers of a channel of a 3 x 3 depthwise filter with which DSP kernels give its outputs.

Twin of edgeq_depthwise_channel.h; depthwise_conv_2d_plane.h derives the rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeq.arith import Rounding, clamp, requantize_by
from edgeq.graph import Array

MOST_SCALE = 8  # of s, the weights being times 2**s in the accumulator
LEAST_SCALE = 1
LOW_BITS = 5  # of a multiplier, zeros; of a wide channel, as the next
BIAS_BITS = 32 - LOW_BITS
COMPACT_LEAST = 1 << 23  # multiplier; of a compact channel, as the next two
F_BITS = 22
REST_BITS = 23
FAR = 1 << 40  # beyond every accumulator
MOST_TRIES = 256  # multipliers beside the nearest
AT_FIRST = 4  # of them; mostly one of these serves


def channel_bytes(taps: list[int], multiplier: int, bias: int) -> bytes:
    """A compact channel of edgeq_depthwise_channel.h; taps: as filter_words gives them."""
    weights = int(np.array(taps, "<u4").view(np.int8).sum())
    exponent, f, rest = compact_fields(weights, multiplier, bias)
    words = np.array([*taps[:2], taps[2] | exponent << F_BITS - 1 | f >> 1], "<u4")
    return words.tobytes() + (rest << 1 & 0xFFFFFF | f & 1).to_bytes(3, "little")


def compact_fields(weights: int, multiplier: int, bias: int) -> tuple[int, int, int]:
    """e, f and what is left of the bias, as edgeq_depthwise_channel.h has them.

    weights: their sum. The bias is about 128 * 2**8 times that where the input's zero point is
    -128, and less 128 * 2**44 / multiplier where that of the output is.
    """
    exponent = multiplier.bit_length() - COMPACT_LEAST.bit_length()
    f = (multiplier >> exponent + 1) - (1 << F_BITS)
    return exponent, f, bias - (weights << 15) + (0xF500000 - (f << 5) >> exponent)


def channel_words(taps: list[int], scale: int, multiplier: int, bias: int) -> list[int]:
    """A wide channel of edgeq_depthwise_channel.h; taps: as filter_words gives them."""
    high, low = divmod(multiplier >> LOW_BITS, 1 << LOW_BITS)
    return [*taps[:2], taps[2] | MOST_SCALE - scale << 21 | high, bias << LOW_BITS | low]


def _fits(value: int, bits: int) -> bool:
    return -1 << bits - 1 <= value < 1 << bits - 1


def filter_words(channel: PlaneChannel, stride: int, upright: bool) -> list[int]:
    """Four pairs of weights as struct edgeq_lines_channel has them, two in a word; the ninth.

    A channel of one output has none.
    """
    low, high = channel.outputs()
    lines = (channel.filter.reshape(3, 3) & (0xFF if low < high else 0)).tolist()
    if upright:
        lines = [list(column) for column in zip(*lines, strict=True)]
    a, b, c = lines
    pairs = [*zip(a, b, strict=True), (c[0], c[1])]
    if stride == 2:
        pairs = [(a[0], a[1]), (b[0], b[1]), (c[0], c[1]), (a[2], b[2])]
    words = [
        p[0] | q[0] << 8 | p[1] << 16 | q[1] << 24
        for p, q in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    return [*words, c[2] << 24]


def first_accumulators(
    rounding: Rounding, multiplier: int, shift: int, outputs: Array
) -> Array:
    """The least accumulator that gives each of these outputs (less the zero point) or more.

    `tflm`: the doubling high product is floor((acc * M + 2**30) / 2**31) for either sign, and
    the shift to the right rounds to nearest, ties away from zero: floor((v + 2**(n - 1)) /
    2**n), for negative v one less in the numerator; two floors are one. The others round once,
    ties upward.
    """
    first = []
    for y in outputs.tolist():
        if rounding == "tflm":
            left, right = max(shift, 0), max(-shift, 0)
            half = (1 << right >> 1) - (1 if right and y <= 0 else 0)
            numerator = ((y << right) - half << 31) - (1 << 30)
            first.append(-(-numerator // (multiplier << left)))
        else:
            bits = exponent_of(rounding, shift)
            first.append(-(((1 << bits >> 1) - (y << bits)) // multiplier))
    return np.array([clamp(acc, -FAR, FAR) for acc in first], np.int64)


def exponent_of(rounding: Rounding, shift: int) -> int:
    """An output is the accumulator times the multiplier times 2 to the minus this, rounded."""
    return -shift if rounding == "shift" else 31 - shift


@dataclass(frozen=True, slots=True)
class PlaneChannel:
    """One channel's numbers."""

    filter: Array  # (9,)
    bias: int  # folded
    multiplier: int
    shift: int
    output_zero_point: int
    rounding: Rounding

    def compact(self, t: int) -> tuple[int, int] | None:
        """The multiplier and the bias for a shift of `t` and s = 8, if they fit 48 bits."""
        beginnings = self._beginnings()
        if beginnings is None:
            return self._constant(t)
        exponent = self._nearest(t, MOST_SCALE).bit_length() - COMPACT_LEAST.bit_length()
        if not 0 <= exponent < 8:
            return None
        weights = int(self.filter.sum())

        def fits(multiplier: int, bias: int) -> bool:
            if multiplier < COMPACT_LEAST:
                return False
            exponent, _, rest = compact_fields(weights, multiplier, bias)
            return multiplier % (1 << exponent + 1) == 0 and _fits(rest, REST_BITS)

        return self._numbers(t, MOST_SCALE, exponent + 1, beginnings, fits)

    def numbers(self, t: int) -> tuple[int, int, int] | None:
        """s, the multiplier and the bias for a shift of `t`; None: there are none.

        They must place every output's beginning as the header says, the least one's at the
        least accumulator or before, that of one more than the largest beyond the largest.
        """
        beginnings = self._beginnings()
        if beginnings is None:
            return MOST_SCALE, *self._constant(t)
        for scale in range(MOST_SCALE, LEAST_SCALE - 1, -1):
            found = self._numbers(
                t, scale, LOW_BITS, beginnings, lambda _, bias: _fits(bias, BIAS_BITS)
            )
            if found is not None:
                return scale, *found
        return None

    def _constant(self, t: int) -> tuple[int, int]:
        low, _ = self.outputs()
        return 1 << 30, low << t + 2

    def _beginnings(self) -> tuple[Array, Array] | None:
        """Outputs, and the sums of products that each begins at; None: there is one output.

        The first need not begin there, but not later; the last not earlier.
        """
        low, high = self.outputs()
        if low == high:
            return None
        y = np.arange(low, high + 2, dtype=np.int64)
        first = first_accumulators(
            self.rounding, self.multiplier, self.shift, y - self.output_zero_point
        )
        first -= self.bias
        least, most = self.products()
        first[0] = least if low > -128 else FAR
        first[-1] = most + 1 if high < 127 else -FAR
        return y, first

    def _nearest(self, t: int, scale: int) -> int:
        """The multiplier that is this one's in the accumulator's unit, rounded."""
        right = exponent_of(self.rounding, self.shift) + scale - t - 32
        scaled = self.multiplier << max(-right, 0)
        return scaled + (1 << max(right, 0) >> 1) >> max(right, 0)

    def _numbers(
        self,
        t: int,
        scale: int,
        low_bits: int,
        beginnings: tuple[Array, Array],
        fits: Callable[[int, int], bool],
    ) -> tuple[int, int] | None:
        """A multiplier, a multiple of 2**low_bits, and a bias that fit."""
        y, first = beginnings
        peak = 128 * int(np.abs(self.filter).sum()) << scale
        nearest = self._nearest(t, scale) + (1 << low_bits - 1) >> low_bits
        # A step moves where the last output begins by 1/16 at most.
        step = max(nearest * nearest >> 44 + t - low_bits, 1)
        for some in (range(AT_FIRST), range(AT_FIRST, MOST_TRIES)):
            tries = [nearest + (i + 1) // 2 * (step if i % 2 else -step) for i in some]
            multipliers = [m << low_bits for m in tries if 0 < m < 1 << 31 - low_bits]
            start = -(-(y << 32 + t) // np.array(multipliers, np.int64)[:, None])
            least = (start - (first << scale))[:, :-1].max(axis=1)
            most = (start - (first - 1 << scale))[:, 1:].min(axis=1) - 1
            for m, low, high in zip(multipliers, least.tolist(), most.tolist(), strict=True):
                bias = (low + high) // 2
                if low <= high and abs(bias) + peak < 1 << 31 and fits(m, bias):
                    return m, bias
        return None

    def products(self) -> tuple[int, int]:
        """The least and the largest sum of products."""
        positive, negative = (int(w.sum()) for w in self._by_sign())
        return 127 * negative - 128 * positive, 127 * positive - 128 * negative

    def _by_sign(self) -> tuple[Array, Array]:
        return np.maximum(self.filter, 0), np.minimum(self.filter, 0)

    def outputs(self) -> tuple[int, int]:
        """The least and the largest output."""
        ends = (
            requantize_by(self.rounding, self.bias + acc, self.multiplier, self.shift)
            for acc in self.products()
        )
        least, most = (clamp(y + self.output_zero_point, -128, 127) for y in ends)
        return least, most
