"""Weights of groups of four channels as the DSP kernels read them. Twin of edgeq_tile.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.graph import Array
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import Constant, folded_bias
from firmware_gen.kernels.steps import Channel, Step, step_of

GROUP = 4  # channels
TAPS = 4  # taps are filled up to a multiple of this
ACC_LIMIT = 1 << 23  # what an accumulator must stay below for two channels in a word
MAX_RIGHT = 23  # the largest shift; beyond it every accumulator below ACC_LIMIT becomes 0
TAP_ORDER = (0, 2, 1, 3)  # of each four, as SXTB16 pairs them
PREFERRED_SHIFT = 12  # EDGEQ_TILE_SHIFT
SHIFTS = (PREFERRED_SHIFT, 13, 11, 14, 10, 15, 9, 16, 8, 7, 6, 5, 4, 3, 2, 1)
MORE = (0, *(sign * n for n in range(1, 17) for sign in (1, -1)))  # to half, tried in order
SIGNED = "EDGEQ_TILE_SIGNED"

NOTE = (
    "the accumulators' start of channels 1, 0, 3, 2, times 256 + the other's in 1 and 3; for "
    "each two taps 256 * w1 + w0 of channels (0, 1) and (2, 3) as int16; factors"
)
SIGNED_NOTE = "; as bytes signs, what is added to half, fractions of 0 and 2"


@dataclass(frozen=True, slots=True)
class Tile:
    """The channels of a layer, packed."""

    words: Array  # (groups, words of a group) int32
    t: int
    is_signed: bool  # each group ends with its signs and half

    @property
    def defines(self) -> tuple[str, ...]:
        """What edgeq_tile.h must be told."""
        return (SIGNED,) if self.is_signed else ()

    def constant(self) -> Constant:
        """The words with what they are."""
        return Constant(
            "filter", "int32_t", self.words, NOTE + (SIGNED_NOTE if self.is_signed else "")
        )


def why_no_tile(op: Any, rows: Array, bias: Array, target: Target) -> str | None:
    """Why the channels cannot be packed in groups of four; rows: (O, taps)."""
    if not target.has_dsp:
        return "the core has no DSP extension"
    packed = tile_of(op, rows, bias)
    return packed if isinstance(packed, str) else None


def why_not_pairs(rows: Array, folded: Array, group: int) -> str | None:
    """Why two channels cannot share a word."""
    low, high = acc_bounds(rows, folded)
    peak = np.maximum(high, -low)
    if peak.max() >= ACC_LIMIT:
        channel = int(peak.argmax())
        return f"channel {channel} may reach {peak[channel]}, two in a word want below 2**23"
    if (pairs_of(padded_rows(rows, group, TAPS)) < -(1 << 15)).any():
        return "a weight of -128 has a partner below 0, two do not fit an int16"
    return None


def acc_bounds(rows: Array, folded: Array) -> tuple[Array, Array]:
    """The least and the largest that each partial sum with the folded bias can be."""
    wide = rows.astype(np.int64)
    low = folded + np.where(wide > 0, wide * -128, wide * 127).sum(1)
    high = folded + np.where(wide > 0, wide * 127, wide * -128).sum(1)
    return low, high


@dataclass(frozen=True, slots=True)
class TileRows:
    """The channels of a layer before they are packed."""

    rows: Array  # (O, taps); of a channel with one result for every input zeros
    folded: Array  # (O,) biases; of such a channel 0
    channels: list[Channel]
    is_constant: Array  # (O,)
    above: list[int]  # the least output of each, less the zero point


def tile_rows(op: Any, rows: Array, bias: Array) -> TileRows | str:
    """The channels by themselves and in pairs, or why they cannot be so."""
    rows, folded = rows.copy(), folded_bias(op, bias, rows).astype(np.int64)
    channels = _channels(op, rows, folded)
    outputs = [(c.output(c.low), c.output(c.high)) for c in channels]
    is_constant = np.array([low == high for low, high in outputs])
    rows[is_constant], folded[is_constant] = 0, 0
    reason = why_not_pairs(rows, folded, GROUP)
    if reason is not None:
        return reason
    moving = [c for c, constant in zip(channels, is_constant, strict=True) if not constant]
    if any(c.right < 1 for c in moving):
        return "a multiplier is 0.5 or more, the kernel wants a shift to the right"
    above = [low - op.output_zero_point for low, _ in outputs]
    return TileRows(rows, folded, channels, is_constant, above)


def tile_of(op: Any, rows: Array, bias: Array) -> Tile | str:
    """The channels packed, or why they cannot be.

    A channel with one result for every input gets no weights.
    """
    found = tile_rows(op, rows, bias)
    if isinstance(found, str):
        return found
    rows, folded, channels = found.rows, found.folded, found.channels
    is_constant, above = found.is_constant, found.above
    for t in SHIFTS:
        if t == PREFERRED_SHIFT:
            steps = _steps(channels, is_constant, above, t, 0, borrows=True)
            if steps is not None and not any(step.sign for step in steps):
                return Tile(tile_words(rows, folded, steps, []), t, False)
        tried = [
            _group(channels[i : i + GROUP], is_constant[i : i + GROUP], above[i : i + GROUP], t)
            for i in range(0, len(channels), GROUP)
        ]
        groups = [group for group in tried if group is not None]
        if len(groups) == len(tried):
            steps = [step for _, of_group in groups for step in of_group]
            more = [more for more, _ in groups]
            return Tile(tile_words(rows, folded, steps, more), t, True)
    return "no shift serves all channels with one multiplication each"


def _group(
    channels: list[Channel], is_constant: Array, above: list[int], t: int
) -> tuple[int, list[Step]] | None:
    """What is added to half for these channels, and their steps; None: nothing near serves."""
    for more in MORE:
        steps = _steps(channels, is_constant, above, t, more)
        if steps is not None:
            return more, steps
    return None


def _steps(
    channels: list[Channel],
    is_constant: Array,
    above: list[int],
    t: int,
    more: int,
    borrows: bool = False,
) -> list[Step] | None:
    """The numbers of each channel; None: a channel has none."""
    steps = []
    for index, (channel, constant, output) in enumerate(
        zip(channels, is_constant, above, strict=True)
    ):
        # A constant output from 0: (output * 2**t - more) * 2**2 * 2**30 / 2**32, and a byte
        # that is not 0.
        step = Step((output << t + 2) - 4 * more + 2, 1 << 30, 0) if constant else None
        step = step or step_of(channel, t, more, borrows=borrows and index % 2 == 0)
        if step is None:
            return None
        steps.append(step)
    return steps


def _channels(op: Any, rows: Array, folded: Array) -> list[Channel]:
    multiplier, shift = (
        np.broadcast_to(np.asarray(values, np.int64), (len(rows),)).tolist()
        for values in (op.multiplier, op.shift)
    )
    return [
        Channel(
            m,
            -s,
            op.output_zero_point,
            op.activation_min,
            op.activation_max,
            int(low),
            int(high),
            op.rounding,
        )
        for m, s, low, high in zip(multiplier, shift, *acc_bounds(rows, folded), strict=True)
    ]


def tile_words(rows: Array, folded: Array, steps: list[Step], more: list[int]) -> Array:
    """The words of each group; `more` is of each, which then ends with it, signs and
    fractions.
    """
    taps = pair_words(padded_rows(rows, GROUP, TAPS))
    groups = taps.shape[0] * 2 // GROUP
    taps = taps.reshape(groups, 2, -1).transpose(0, 2, 1).reshape(groups, -1)
    start, factor, sign = (np.zeros(groups * GROUP, np.int64) for _ in range(3))
    start[: len(rows)] = folded * 256 + [step.fraction for step in steps]
    factor[: len(rows)] = [step.factor for step in steps]
    sign[: len(rows)] = [step.sign for step in steps]
    low, fractions = start[::2] >> 8, start[::2] & 0xFF
    if not more:
        low = low + (fractions << 24)
    first = np.stack([start[1::2] + low, low], axis=1).reshape(groups, GROUP)
    parts = [first, taps, factor.reshape(groups, GROUP)]
    if more:
        parts.append((sign.reshape(groups, GROUP) << [0, 8, 16, 24]).sum(1)[:, None])
        two = (fractions.reshape(groups, 2) << [8, 16]).sum(1)
        parts.append((two | np.array(more) & 0xFF)[:, None])
    packed: Array = np.concatenate(parts, axis=1) & 0xFFFFFFFF
    return packed.astype(np.uint32).view(np.int32)


def padded_taps(taps: int) -> int:
    """Taps of a channel with those that fill the last four."""
    return -(-taps // TAPS) * TAPS


def filter_nbytes(count: int, taps: int) -> int:
    """Of whole groups of channels without signs: the words, four starts and four factors."""
    return count * (padded_taps(taps) + 8)


def padded_rows(rows: Array, group: int, taps: int) -> Array:
    """Weights with zeros up to whole groups of channels and of taps."""
    padded = np.zeros([-(-n // m) * m for n, m in zip(rows.shape, (group, taps), strict=True)])
    padded[: rows.shape[0], : rows.shape[1]] = rows
    return padded.astype(np.int64)


def pairs_of(padded: Array) -> Array:
    """256 * w1 + w0 of channels 2i + 1 and 2i."""
    pairs: Array = 256 * padded[1::2] + padded[::2]
    return pairs


def pair_words(padded: Array) -> Array:
    """Two taps of two channels in a word, (O / 2, taps / 2), the taps as SXTB16 pairs them."""
    pairs = pairs_of(padded)
    halves = pairs.reshape(len(pairs), -1, TAPS)[..., TAP_ORDER].reshape(len(pairs), -1, 2)
    words: Array = (halves[..., 0] & 0xFFFF) | (halves[..., 1] & 0xFFFF) << 16
    return words
