"""Weights of edgeq_tile.h in fewer bytes, which a run unpacks. Twin of edgeq_tile_packed.h.

What fills up taps and channels to whole fours is not in flash, and the numbers of a channel are
of 6 bytes instead of 8: a fraction that serves (steps.py) is near the one that the factor
tells, and a factor needs few bits below its highest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from edgeq.graph import Array
from firmware_gen.kernels.kernel import Constant
from firmware_gen.kernels.steps import Channel, Step, is_possible, staircase_of
from firmware_gen.kernels.tile import (
    GROUP,
    PREFERRED_SHIFT,
    TAPS,
    TileRows,
    padded_rows,
    pair_words,
    tile_rows,
)

NUMERATOR = 0x7E000000  # EDGEQ_TILE_PACKED_NUMERATOR
LEAST_F_BITS = 22
MORE_F_BITS = (0, 1, 2)
F_AND_BIAS_BITS = 42
LEAST_LENGTHS = (24, 23)  # of factors, in bits
LENGTHS = 8  # of them in a layer
DELTAS = 8  # fractions above the one that is told
NOTE = (
    "packed: of each channel f and its bias, 16 bits more of each; for each two taps "
    "256 * w1 + w0 of channels (0, 1) and (2, 3)"
)


@dataclass(frozen=True, slots=True)
class PackedTile:
    """The channels of a layer, packed."""

    words: Array  # int32, groups one behind the other
    taps: int  # of a channel; the others have no weight
    channels: int  # an even number; the others of the last four are at the zero point
    how: int  # of edgeq_tile_unpack

    def constant(self) -> Constant:
        """The words with what they are."""
        return Constant("filter", "int32_t", self.words, NOTE)


@dataclass(frozen=True, slots=True)
class Form:
    """How the numbers of a layer's channels are packed."""

    more: int  # bits of f above 22
    least_length: int  # of a factor

    @property
    def how(self) -> int:
        """As edgeq_tile_unpack has it."""
        return 16 * (32 - self.least_length) + self.more

    def bits(self, channel: Channel, folded: int, *, borrows: bool) -> int | None:
        """The 48 bits of a channel of several outputs; None: there are none."""
        stairs = staircase_of(channel, PREFERRED_SHIFT, borrows=borrows)
        if stairs is None or stairs.sign:
            return None
        told = (NUMERATOR << 7) // channel.multiplier
        for fraction in range(told - 1, told + DELTAS + 1):
            if not is_possible(channel, fraction, borrows=borrows):
                continue
            least, most = stairs.factors(fraction)
            if least <= most:
                found = self._bits(folded, fraction, least, most)
                if found is not None:
                    return found
        return None

    def constant_bits(self, above: int) -> int:
        """Those of a channel with one output, so much above the zero point."""
        factor = 1 << self.least_length + LENGTHS - 2
        p = (above << PREFERRED_SHIFT + 32) // factor
        found = self._bits((p >> 8) - 1, 256, factor, factor + (factor >> 16))
        assert found is not None
        return found

    def step(self, bits: int) -> tuple[int, Step]:
        """The bias, and the numbers of the kernel, as edgeq_tile_unpack has them."""
        m = 1 << 31 | bits >> 17
        shift = 32 - F_AND_BIAS_BITS + LEAST_F_BITS + self.more
        bias = (bits >> 6 << shift & 0xFFFFFFFF ^ 1 << 31) - (1 << 31) >> shift
        fraction = NUMERATOR // (m >> 8) + (bits & 7)
        return bias, Step(fraction, m >> (self.how >> 4) - (bits >> 3 & 7), 0)

    def _bits(self, folded: int, fraction: int, least: int, most: int) -> int | None:
        """The 48 bits with a factor from `least` to `most`, of one length with the latter."""
        length = most.bit_length()
        e = length - self.least_length
        f_bits = LEAST_F_BITS + self.more
        bias_bits = F_AND_BIAS_BITS - f_bits
        if not 0 <= e < LENGTHS or not -1 << bias_bits - 1 <= folded < 1 << bias_bits - 1:
            return None
        # What follows f in the factor: the bias, from above.
        below = (folded & (1 << bias_bits) - 1) >> bias_bits - (31 - f_bits)
        wanted = (max(least, 1 << length - 1) << 32 - length) - (1 << 31) - below
        f = max(-(-wanted >> 31 - f_bits), 0)
        if f >> f_bits:
            return None
        bits = (f << bias_bits | folded & (1 << bias_bits) - 1) << 6 | e << 3
        told, step = self.step(bits)
        delta = fraction - step.fraction
        if told != folded or not least <= step.factor <= most or not 0 <= delta < DELTAS:
            return None
        return bits | delta


def packed_tile(op: Any, rows: Array, bias: Array) -> PackedTile | str:
    """The channels packed, or why they cannot be; rows: (O, taps)."""
    return _packed(op, rows.shape, rows.tobytes(), bias.tobytes())


@lru_cache(maxsize=64)  # asked to be chosen, and to be written
def _packed(op: Any, shape: tuple[int, int], weights: bytes, biases: bytes) -> PackedTile | str:
    rows = np.frombuffer(weights, np.int8).reshape(shape)
    found = tile_rows(op, rows, np.frombuffer(biases, np.int32))
    if isinstance(found, str):
        return found
    for least_length in LEAST_LENGTHS:
        for more in MORE_F_BITS:
            form = Form(more, least_length)
            bits = _all_bits(form, found)
            if bits is not None:
                return _tile(form, found, bits)
    return "no 48 bits for each channel give its outputs"


def _all_bits(form: Form, rows: TileRows) -> list[int] | None:
    """Of each channel; None: one has none."""
    found = []
    for index, channel in enumerate(rows.channels):
        if rows.is_constant[index]:
            bits: int | None = form.constant_bits(rows.above[index])
        else:
            bits = form.bits(channel, int(rows.folded[index]), borrows=index % 2 == 0)
        if bits is None:
            return None
        found.append(bits)
    return found


def _tile(form: Form, rows: TileRows, bits: list[int]) -> PackedTile:
    """Without the taps that no channel has, and two channels that are at the zero point."""
    used = np.flatnonzero(rows.rows.any(axis=0))
    count, taps = rows.rows.shape
    taps = max(taps - TAPS + 1, int(used[-1]) + 1 if used.size else 0, TAPS)
    last = rows.is_constant[-2:].all() and not any(rows.above[-2:])
    channels = count - 2 if last else count
    pairs = pair_words(padded_rows(rows.rows[:, :taps], GROUP, TAPS)).astype(np.uint64)
    words: list[int] = []
    for first in range(0, channels, GROUP):
        numbers = bits[first : min(first + GROUP, channels)]
        words += [n >> 16 for n in numbers]
        words += [
            a & 0xFFFF | (b & 0xFFFF) << 16
            for a, b in zip(numbers[::2], numbers[1::2], strict=True)
        ]
        group = pairs[first // 2 : first // 2 + len(numbers) // 2].T  # (taps / 2, pairs)
        whole = len(group) if len(numbers) < GROUP else taps // TAPS * 2
        words += group[:whole].ravel().tolist()
        if whole < len(group):
            low, high = group[whole:] & 0xFFFF, group[whole:] >> 16
            left = [low[0], low[1], high[0]][: taps % TAPS]
            words += [int(a) | int(b) << 16 for a, b in left]
    return PackedTile(np.array(words, np.uint32).view(np.int32), taps, channels, form.how)
