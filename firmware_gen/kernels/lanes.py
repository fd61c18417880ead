"""Weights of channels as the kernels of cores without DSP read them. Twin of edgeq_lanes.h."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.arith import clamp, requantize
from edgeq.graph import Array
from firmware_gen.c_text import Value
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import Constant, Layer, folded_bias, parameters_of
from firmware_gen.kernels.tile import ACC_LIMIT, MAX_RIGHT, acc_bounds

BLOCK = 4  # taps of which the products stay in 16-bit lanes
LANE_LIMIT = 255  # of the sum of abs(weight) in a block: 255 * 128 < 2**15
LEAST_RIGHT = 2  # the least shift
HAS_LIST = 32
LAST = 256
TAP = 2048

WEIGHTS_NOTE = "of each channel, zeros up to a multiple of 4 taps, less what is in the list"
INTERLEAVED_NOTE = (
    "eight channels side by side, zeros up to 8 channels and 4 taps, less what is in the list"
)
WORDS_NOTE = "of each channel: bias * 256 + (32 if it is in the list) + n - 2, multiplier"
LIST_NOTE = "tap * 2048 + (256 if the channel's last) + what to add to its weight as a byte"


def why_dsp(target: Target) -> str | None:
    """Why this is not an Armv6-M or Armv7-M core without the DSP extension."""
    if target.has_dsp:
        return "the core has the DSP extension"
    return None if target.has_mla or not target.has_mul64 else "the core is not known"


def narrow_channels(op: Any, rows: Array, bias: Array) -> tuple[Array, Array, Array, Array]:
    """Weights, folded bias, multiplier and shift of each channel.

    A channel with one result for every input gets no weights, and numbers that the kernel can
    always take: 8 * (result - zero_point) times 2**30 * 2**-33.
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
            folded[channel] = 8 * (at_low - op.output_zero_point)
            multiplier[channel], shift[channel] = 1 << 30, -LEAST_RIGHT
    return rows, folded, multiplier, shift


def why_not_narrow(op: Any, rows: Array, bias: Array) -> str | None:
    """Why edgeq_narrow.h cannot bring accumulators to bytes; rows: (O, taps)."""
    rows, folded, _, shift = narrow_channels(op, rows, bias)
    low, high = acc_bounds(rows, folded)
    peak = np.maximum(high, -low)
    if peak.max() >= ACC_LIMIT:
        channel = int(peak.argmax())
        return f"channel {channel} may reach {peak[channel]}, the kernel wants below 2**23"
    if (shift > -LEAST_RIGHT).any():
        return "a multiplier is 0.25 or more, the kernel shifts to the right by 2 or more"
    return None


def narrow_words(op: Any, rows: Array, bias: Array) -> tuple[Array, Array]:
    """The weights, and of each channel bias * 256 + n - 2 and the multiplier, (O, 2) int32."""
    rows, folded, multiplier, shift = narrow_channels(op, rows, bias)
    nothing = -shift > MAX_RIGHT
    multiplier[nothing], shift[nothing] = 0, -LEAST_RIGHT
    words = np.stack([folded * 256 - shift - LEAST_RIGHT, multiplier], axis=1)
    return rows, words.astype(np.uint32).view(np.int32)


def why_no_mla(target: Target) -> str | None:
    """Why this is not a core with MLA, SMULL and SSAT but without SMLAD."""
    return None if target.has_mla and not target.has_dsp else "the core is no Armv7-M"


def why_no_v6m(target: Target) -> str | None:
    """Why this is not a core with 16-bit instructions only."""
    return "the core is no Armv6-M" if target.has_mul64 else None


def padded_taps(taps: int) -> int:
    """Taps of a channel with those that fill the last block."""
    return -(-taps // BLOCK) * BLOCK


def lanes_nbytes(taps: int) -> int:
    """Scratch of four pixels."""
    return 8 * padded_taps(taps)


def lanes_parameters(op: Any, channels: int, taps: int, step: int) -> dict[str, Value]:
    """What edgeq_lanes_four must know; step: bytes from a weight to the next of its channel."""
    return {
        "nbytes": lanes_nbytes(taps),
        "step": step,
        "channels": channels,
        **parameters_of(op, "output_zero_point", "activation_min", "activation_max"),
    }


def lanes_constants(op: Any, rows: Array, bias: Array, step: int) -> tuple[Constant, ...]:
    """The weights, two words a channel, and the list (one word at least)."""
    rows, words = narrow_words(op, rows, bias)
    clipped, rest = clip_blocks(padded(rows, 1, BLOCK))
    words[:, 0] |= np.where(rest.any(1), HAS_LIST, 0).astype(np.int32)
    weights, note = clipped, WEIGHTS_NOTE
    if step > 1:
        groups = padded(clipped, step, 1).reshape(-1, step, clipped.shape[1])
        weights, note = groups.transpose(0, 2, 1), INTERLEAVED_NOTE
    return (
        Constant("filter", "int8_t", weights.astype(np.int8), note),
        Constant("bias", "int32_t", words, WORDS_NOTE),
        Constant("table", "uint32_t", list_words(rest), LIST_NOTE),
    )


def lanes_arguments(layer: Layer) -> tuple[str, ...]:
    """The names of the three constants."""
    return layer.own("filter"), layer.own("bias"), layer.own("table")


def clip_blocks(rows: Array, taps: int = BLOCK) -> tuple[Array, Array]:
    """Weights of which each `taps` are within the limit, and what was taken off them."""
    clipped = rows.copy()
    blocks = clipped.reshape(-1, taps)
    for block in blocks:
        while (excess := int(np.abs(block).sum()) - LANE_LIMIT) > 0:
            largest = int(np.abs(block).argmax())
            kept = max(abs(int(block[largest])) - excess, 0)
            block[largest] = kept if block[largest] > 0 else -kept
    return clipped, rows - clipped


def list_words(rest: Array) -> Array:
    """The words of all channels in turn; a single 0 if there is none."""
    words = [0]
    for row in rest:
        taps = np.flatnonzero(row)
        words += [int(tap) * TAP + (int(row[tap]) & 0xFF) for tap in taps]
        if taps.size:
            words[-1] += LAST
    return np.array(words[1:] or words, np.uint32)


def padded(rows: Array, channels: int, taps: int) -> Array:
    """Weights with zeros up to multiples of channels and of taps."""
    shape = [-(-n // m) * m for n, m in zip(rows.shape, (channels, taps), strict=True)]
    result = np.zeros(shape, np.int64)
    result[: rows.shape[0], : rows.shape[1]] = rows
    return result
