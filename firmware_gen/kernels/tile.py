"""Weights of groups of four channels as the DSP kernels read them. Twin of edgeq_tile.h."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.arith import clamp, requantize
from edgeq.graph import Array
from firmware_gen.c_text import Value
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import Constant, folded_bias

GROUP = 4  # channels
TAPS = 4  # taps are filled up to a multiple of this
ACC_LIMIT = 1 << 23  # what an accumulator must stay below for two channels in a word
MAX_RIGHT = 23  # the largest shift; beyond it every accumulator below ACC_LIMIT becomes 0
TAP_ORDER = (0, 2, 1, 3)  # of each four, as SXTB16 pairs them

NOTE = (
    "for each two taps 256 * w1 + w0 of channels (0, 1) and (2, 3) as int16, then bias * 256 + "
    "n - 1 of each, then the multipliers"
)


def why_no_tile(op: Any, rows: Array, bias: Array, target: Target) -> str | None:
    """Why the channels cannot be packed in groups of four; rows: (O, taps)."""
    if not target.has_dsp:
        return "the core has no DSP extension"
    rows, folded, multiplier, shift = channels_of(op, rows, bias)
    reason = why_not_pairs(rows, folded, GROUP)
    if reason is None and ((multiplier != 0) & (shift >= 0)).any():
        reason = "a multiplier is 0.5 or more, the kernel wants a shift to the right"
    return reason


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


def channels_of(op: Any, rows: Array, bias: Array) -> tuple[Array, Array, Array, Array]:
    """Weights, folded bias, multiplier and shift of each channel.

    A channel with one result for every input gets no weights, and numbers that the kernel can
    always take: 4 * (result - zero_point) times 2**30 * 2**-32.
    """
    count = len(rows)
    multiplier, shift = (
        np.broadcast_to(np.asarray(values, np.int64), (count,)).copy()
        for values in (op.multiplier, op.shift)
    )
    rows, folded = rows.copy(), folded_bias(op, bias, rows).astype(np.int64)
    low, high = acc_bounds(rows, folded)
    for channel in range(count):
        at_low, at_high = (
            clamp(
                requantize(int(acc), int(multiplier[channel]), int(shift[channel]))
                + op.output_zero_point,
                op.activation_min,
                op.activation_max,
            )
            for acc in (low[channel], high[channel])
        )
        if at_low == at_high:
            rows[channel] = 0
            folded[channel] = 4 * (at_low - op.output_zero_point)
            multiplier[channel], shift[channel] = 1 << 30, -1
    return rows, folded, multiplier, shift


def padded_taps(taps: int) -> int:
    """Taps of a channel with those that fill the last four."""
    return -(-taps // TAPS) * TAPS


def tile_parameters(op: Any, channels: int, taps: int) -> dict[str, Value]:
    """What the kernel must know of the groups, besides their words."""
    return {
        "nbytes": 4 * padded_taps(taps),
        "groups": channels // GROUP,
        "two_zero_plus": 2 * op.output_zero_point + 1,
        "has_signs": int(op.activation_min < op.output_zero_point),
    }


def tile_constant(op: Any, rows: Array, bias: Array) -> Constant:
    """The groups, one after another; a last one is filled with channels of zeros."""
    rows, folded, multiplier, shift = channels_of(op, rows, bias)
    words = pair_words(padded_rows(rows, GROUP, TAPS))
    groups = words.shape[0] * 2 // GROUP
    taps = words.reshape(groups, 2, -1).transpose(0, 2, 1).reshape(groups, -1)
    nothing = -shift > MAX_RIGHT
    multiplier[nothing], shift[nothing] = 0, -1
    tail = np.zeros((2, groups * GROUP), np.int64)
    tail[0, : len(rows)] = folded * 256 - shift - 1
    tail[1, : len(rows)] = multiplier
    packed = np.concatenate([taps, *tail.reshape(2, groups, GROUP)], axis=1)
    return Constant("filter", "int32_t", packed.astype(np.uint32).view(np.int32), NOTE)


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
