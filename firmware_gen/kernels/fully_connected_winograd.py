"""FULLY_CONNECTED of one row for cores with DSP: products of sums in place of sums of products.

Twin of fully_connected_winograd.h, which derives them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.ops.fully_connected import QuantizedFullyConnected
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import (
    Constant,
    Layer,
    LayerCode,
    Variant,
    folded_bias,
    parameters_of,
    why_not_one_row,
)
from firmware_gen.kernels.steps import Channel, Step, step_of
from firmware_gen.kernels.tile import (
    acc_bounds,
    padded_rows,
    pair_words,
    why_not_pairs,
)

SHIFT = 9  # EDGEQ_WINOGRAD_SHIFT
GROUP = 3  # pairs of channels
MOST = 1 << 15  # channels in 16 bits
TAPS = 8  # taps are filled up to a multiple of this
ROUND = 128  # taps; in every mode rows of as many are whole rounds of the loop
NOTE = (
    "groups of three pairs of channels, then pairs: the starts of each pair, then for each "
    "eight taps of each pair 256 * w1 + w0 as int16 of taps 0 and 2, of 1 and 3; 4 .. 7"
)


@dataclass(frozen=True, slots=True)
class Starts:
    """Where the sums of each pair start, and what is left out."""

    words: Array  # (pairs, 1) or, wide, (pairs, 2)
    even: int  # all B lack it
    odd: int  # all A lack 256 times this


def why_not(op: QuantizedFullyConnected, layer: Layer, target: Target) -> str | None:
    """The core, the number of rows, the multiplier, the input or the weights."""
    if not target.has_dsp:
        return "the core has no DSP extension"
    if layer.inputs[0].data is not None:
        return "the input is a constant, the kernel reads words"
    if (reason := why_not_one_row(op, layer)) is not None:
        return reason
    weights, bias = layer.filter_and_bias()
    if max(weights.shape) >= MOST:
        return f"{max(weights.shape)} channels, the kernel wants fewer than {MOST}"
    reason = why_not_pairs(weights, folded_bias(op, bias, weights).astype(np.int64), 2)
    if reason is not None:
        return reason
    if _step_of(op, layer) is None:
        return f"no multiplication and a shift by {SHIFT} give all outputs"
    return None


def emit(op: QuantizedFullyConnected, layer: Layer) -> LayerCode:
    """Filter and biases in groups."""
    weights, bias = layer.filter_and_bias()
    step = _step_of(op, layer)
    assert step is not None
    padded = padded_rows(weights, 2, TAPS)
    raw = np.zeros(len(padded), np.int64)
    raw[: len(bias)] = bias
    starts = starts_of(padded, raw)
    whole = len(weights) // (2 * GROUP) * GROUP
    is_wide = starts.words.shape[1] == 2
    channels, taps = weights.shape
    needs = {
        "PARTS": padded.shape[1] % ROUND != 0,
        "WIDE": is_wide,
        "SIGNED": step.sign != 0,
        "SIGNS": step.sign > 1,
        "LEFT": channels % (2 * GROUP) != 0,
        "ODD": channels % 2 != 0,
        "TAIL": taps % TAPS != 0,
        "CLAMPS": op.activation_min > -128 or op.activation_max < 127,
    }
    clamps = {
        "above_least": op.activation_min + 128,
        "below_most": 127 - op.activation_max,
    }
    return LayerCode(
        constants=(Constant("filter", "int32_t", _packed(starts.words, padded, whole), NOTE),),
        function="edgeq_fully_connected_winograd",
        parameters={
            "weights": layer.own("filter"),
            "even": step.fraction + 256 * starts.even,
            "odd": step.fraction + 256 * starts.odd,
            "factor": step.factor,
            "input_channels": taps,
            "output_channels": channels,
            **parameters_of(op, "input_zero_point", "output_zero_point"),
            "sign": step.sign,
            "flags": f"EDGEQ_WINOGRAD_FLAGS({taps}, {int(is_wide)})",
            **(clamps if needs["CLAMPS"] else {}),
        },
        calls=((layer.read(0), layer.write(), layer.scratch("uint32_t")),),
        defines=tuple(f"EDGEQ_WINOGRAD_{name}" for name, wanted in needs.items() if wanted),
    )


def scratch_nbytes(op: QuantizedFullyConnected, *shapes: Shape) -> int:
    """The row as int16."""
    return 2 * -(-shapes[1][1] // TAPS) * TAPS


def starts_of(rows: Array, bias: Array) -> Starts:
    """The starts in one word a pair if they fit, else in two.

    rows: (O, taps) in int64, both padded; bias: (O,), with no zero point in it.
    """
    taps = rows.reshape(len(rows) // 2, 2, -1, 2)  # pair, channel, two taps, the second odd
    low, high = taps[:, 0], taps[:, 1]
    b = bias[::2] - (low[..., 0] * low[..., 1]).sum(1)
    whole = bias[1::2] - (high[..., 0] * low[..., 1]).sum(1)
    even = _middle(b)
    near = b - even
    above = whole + (near >> 8)
    odd = _middle(above)
    above = above - odd
    if max(np.abs(near).max(), np.abs(above).max()) < 1 << 15:
        word = above << 16 | (near & 0xFF) << 8 | (near >> 8 & 0xFF)
        return Starts(_int32(word[:, None]), even, odd)
    return Starts(_int32(np.stack([256 * whole + b, b], axis=1)), 0, 0)


def _middle(values: Array) -> int:
    return int(values.min() + values.max()) // 2


def _int32(values: Array) -> Array:
    words: Array = (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return words


def _packed(starts: Array, padded: Array, whole: int) -> Array:
    """The words of all groups, one after the other; `whole` pairs are in groups of three."""
    blocks = _int32(pair_words(padded)).reshape(len(starts), -1, 2, 2)  # of eight taps
    parts: list[Array] = []
    for first, end, count in ((0, whole, GROUP), (whole, len(starts), 1)):
        for at in range(first, end, count):
            words = blocks[at : at + count].transpose(1, 2, 0, 3).reshape(-1, 2 * count, 2)
            parts.append(starts[at : at + count].ravel())
            # Of a group's last pair the other four taps come first.
            parts.append(np.roll(words, count // GROUP, axis=1).ravel())
    return np.concatenate(parts)


def _step_of(op: QuantizedFullyConnected, layer: Layer) -> Step | None:
    """The rounding of all channels; None: the kernel cannot do it."""
    if not -31 <= op.shift[0] < 0:
        return None
    weights, bias = layer.filter_and_bias()
    low, high = acc_bounds(weights, folded_bias(op, bias, weights).astype(np.int64))
    channel = Channel(
        op.multiplier[0],
        -op.shift[0],
        op.output_zero_point,
        op.activation_min,
        op.activation_max,
        int(low.min()),
        int(high.max()),
        op.rounding,
    )
    if channel.output(channel.low) == channel.output(channel.high):
        return None
    return step_of(channel, SHIFT)


WINOGRAD = Variant(
    "dsp_winograd",
    "fully_connected_winograd.h",
    why_not,
    emit,
    scratch_nbytes,
    code_nbytes=1900,
)
