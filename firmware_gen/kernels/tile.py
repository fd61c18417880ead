"""Weights of groups of four channels as the DSP kernels read them. Twin of edgeq_tile.h."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    """Why the channels cannot be packed in groups; rows: (O, taps)."""
    if not target.has_dsp:
        return "the core has no DSP extension"
    if not all(m == 0 or s < 0 for m, s in zip(op.multiplier, op.shift, strict=True)):
        return "a multiplier is 0.5 or more, the kernel wants a shift to the right"
    wide = rows.astype(np.int64)
    folded = folded_bias(op, bias, rows).astype(np.int64)
    high = folded + np.where(wide > 0, wide * 127, wide * -128).sum(1)
    low = folded + np.where(wide > 0, wide * -128, wide * 127).sum(1)
    peak = np.maximum(np.maximum(high, -low), np.abs(folded))
    if peak.max() >= ACC_LIMIT:
        channel = int(peak.argmax())
        return f"channel {channel} may reach {peak[channel]}, two in a word want below 2**23"
    if (_pairs(_padded(rows)) < -(1 << 15)).any():
        return "a weight of -128 has a partner below 0, two do not fit an int16"
    return None


def padded_taps(taps: int) -> int:
    """Taps of a channel with those that fill the last four."""
    return -(-taps // TAPS) * TAPS


def tile_parameters(op: Any, channels: int, taps: int) -> dict[str, Value]:
    """What the kernel must know of the groups, besides their words."""
    return {
        "nbytes": 4 * padded_taps(taps),
        "groups": channels // GROUP,
        "two_zero_plus": 2 * op.output_zero_point + 1,
    }


def tile_constant(op: Any, rows: Array, bias: Array) -> Constant:
    """The groups, one after another; a last one is filled with channels of zeros."""
    channels = rows.shape[0]
    padded = _padded(rows)
    groups = padded.shape[0] // GROUP
    h = _pairs(padded).reshape(groups, 2, -1, TAPS)[..., TAP_ORDER]
    halves = h.reshape(groups, 2, -1, 2) & 0xFFFF
    taps = (halves[..., 0] | halves[..., 1] << 16).transpose(0, 2, 1).reshape(groups, -1)
    multiplier, right = np.zeros((2, groups * GROUP), np.int64)
    multiplier[:channels] = op.multiplier
    right[:channels] = -np.asarray(op.shift)
    nothing = (multiplier == 0) | (right > MAX_RIGHT)
    multiplier[nothing], right[nothing] = 0, 1
    words = np.zeros(groups * GROUP, np.int64)
    words[:channels] = folded_bias(op, bias, rows).astype(np.int64) * 256
    words += right - 1
    packed = np.concatenate(
        [taps, words.reshape(groups, GROUP), multiplier.reshape(groups, GROUP)], axis=1
    )
    return Constant("filter", "int32_t", packed.astype(np.uint32).view(np.int32), NOTE)


def _padded(rows: Array) -> Array:
    channels, taps = rows.shape
    padded = np.zeros((-(-channels // GROUP) * GROUP, padded_taps(taps)), np.int64)
    padded[:channels, :taps] = rows
    return padded


def _pairs(padded: Array) -> Array:
    """256 * w1 + w0 of channels 2i + 1 and 2i."""
    pairs: Array = 256 * padded[1::2] + padded[::2]
    return pairs
