"""Requantization of one channel as the DSP kernels compute it: one multiplication, one shift.

A channel's output is a staircase: each output has a least accumulator that gives it. With

    p = 256 * acc + fraction
    out = (floor(p * factor / 2**32) + half - (sign if p < 0)) >> t, saturated to int8

the kernel's output is a staircase too, and equal if every step is at the same accumulator. For
a given t and fraction each step bounds the factor from both sides; a channel gets a factor
within all bounds, or is refused. Twin of edgeq_tile.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.arith import Rounding, clamp, requantize_by
from edgeq.graph import Array

NEAREST = (0, 1, -1, 2, -2, 3, -3)  # fractions around the one that real numbers would want


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's rounding, and the least and largest of its outputs and accumulators."""

    multiplier: int
    right: int  # n: minus the shift, 1 at least
    zero_point: int  # of the output
    activation_min: int
    activation_max: int
    low: int
    high: int
    rounding: Rounding = "tflm"  # or "single"

    def output(self, acc: int) -> int:
        """What an accumulator becomes."""
        y = requantize_by(self.rounding, acc, self.multiplier, -self.right) + self.zero_point
        return clamp(y, self.activation_min, self.activation_max)


@dataclass(frozen=True, slots=True)
class Step:
    """The numbers of a channel in the kernel."""

    fraction: int
    factor: int
    sign: int


def half_of(zero_point: int, t: int) -> int:
    """Half a unit of the output and its zero point, times 2**t."""
    return (2 * zero_point + 1) << (t - 1)


@dataclass(frozen=True, slots=True)
class Staircase:
    """Where the steps of a channel must be, and what the kernel reaches there.

    p * factor >= reached * 2**32 at the accumulators `reached_at`, p * factor < limit * 2**32
    at those before a step.
    """

    reached_at: Array
    reached: Array
    before: Array
    limit: Array
    sign: int
    borrows: bool

    def factors(self, fraction: int) -> tuple[int, int]:
        """The least and the largest factor with which all steps are right; none if that is
        the larger one.
        """
        p, q = (256 * accs + fraction for accs in (self.reached_at, self.before))
        if self.borrows:
            p, q = p - (p < 0), q - (q < 0)
        return _bounds(
            p, self.reached + self.sign * (p < 0), q, self.limit + self.sign * (q < 0)
        )


def staircase_of(
    channel: Channel, t: int, more: int = 0, *, borrows: bool = False
) -> Staircase | None:
    """The steps of a channel that has two outputs or more; None: the shift cannot serve it.

    `more` is added to half, and taken back by the fraction: other numbers to choose from.
    `borrows`: p is 1 less below 0, and its lowest byte not 0 (channels 0 and 2 of a group).
    """
    has_signs = channel.rounding == "tflm" and channel.activation_min < channel.zero_point
    if channel.right + 7 < t or (has_signs and channel.right > t):
        return None
    lowest, highest = channel.output(channel.low), channel.output(channel.high)
    outputs = np.arange(lowest + 1, highest + 1, dtype=np.int64)
    least_accs = _first_accs(outputs - channel.zero_point, channel)
    half = half_of(channel.zero_point, t) + more
    reached_at, reached = least_accs, (outputs << t) - half
    before, limit = least_accs - 1, reached
    if lowest > channel.activation_min:  # nothing clamps what is below
        reached_at = np.append(reached_at, channel.low)
        reached = np.append(reached, (lowest << t) - half)
    if highest < channel.activation_max:
        before = np.append(before, channel.high)
        limit = np.append(limit, (highest + 1 << t) - half)
    sign = 1 << t >> channel.right if has_signs else 0
    return Staircase(reached_at, reached, before, limit, sign, borrows)


def is_possible(channel: Channel, fraction: int, *, borrows: bool) -> bool:
    """Whether p fits an int32, and its lowest byte the kernel."""
    if max(256 * channel.high + fraction, -256 * channel.low - fraction) >= 1 << 31:
        return False
    return not borrows or fraction % 256 != 0


def step_of(channel: Channel, t: int, more: int = 0, *, borrows: bool = False) -> Step | None:
    """Numbers with which the kernel gives all outputs of a channel that has two or more;
    None: there are none near those that real numbers would want.

    `more` and `borrows` as in staircase_of.
    """
    stairs = staircase_of(channel, t, more, borrows=borrows)
    if stairs is None:
        return None
    lost = channel.right + 7 - t  # bits of the multiplier
    ideal = (channel.multiplier + (1 << lost >> 1)) >> lost
    once = (1 << 38) if channel.rounding == "tflm" else 0  # half a unit of the first rounding
    wanted = round((once - (more << 32 + lost)) / channel.multiplier)
    for fraction in (wanted + d for d in NEAREST):
        if not is_possible(channel, fraction, borrows=borrows):
            continue
        least, most = stairs.factors(fraction)
        if least <= most:
            return Step(fraction, clamp(ideal, least, most), stairs.sign)
    return None


def _first_accs(y: Array, channel: Channel) -> Array:
    """The least accumulator that becomes each of y, in int64.

    requantize is floor((acc * multiplier + 2**30 + 2**(30 + right)) / 2**(31 + right)), the
    numerator less 2**31 where acc < 0; rounded once, 2**30 and 2**31 are not in it.
    """
    multiplier, right = channel.multiplier, channel.right
    numerator = (y << 31 + right) - (1 << 30 + right)
    if channel.rounding == "single":
        once: Array = -(-numerator // multiplier)
        return once
    first: Array = -(-(numerator - (1 << 30)) // multiplier)
    negative = -(-(numerator + (1 << 30)) // multiplier)
    return np.where(first > 0, first, np.minimum(negative, 0))


def _bounds(p: Array, reached: Array, q: Array, limit: Array) -> tuple[int, int]:
    """The least and the largest factor with p * factor >= reached * 2**32 everywhere, and
    q * factor < limit * 2**32.
    """
    least, most = 0, (1 << 31) - 1
    for at, want in ((p, reached << 32), (-q, 1 - (limit << 32))):
        up, down = at > 0, at < 0
        if (want[at == 0] > 0).any():
            return 1, 0
        least = max([least, *(-(-want[up] // at[up])).tolist()])
        most = min([most, *(want[down] // at[down]).tolist()])
    return least, most
