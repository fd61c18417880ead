"""FULLY_CONNECTED of one row for cores with DSP: products of sums in place of sums of products.

Twin of fully_connected_winograd.h, which derives them.
"""

from __future__ import annotations

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
    why_not_one_row,
)
from firmware_gen.kernels.steps import Channel, Step, step_of
from firmware_gen.kernels.tile import (
    acc_bounds,
    padded_rows,
    pair_words,
    why_not_pairs,
)
from firmware_gen.kernels.winograd_starts import int32_words, starts_of

SHIFT = 9  # EDGEQ_WINOGRAD_SHIFT
GROUP = 3  # pairs of channels
MOST = 1 << 14  # channels in 14 bits
TAPS = 8  # taps are filled up to a multiple of this
ROUND = 128  # taps; in every mode rows of as many are whole rounds of the loop
NOTE = (
    "perhaps offsets of the row; groups of three pairs of channels, then pairs: the starts of "
    "each pair, then for each eight taps of each pair 256 * w1 + w0 as int16 of taps 0 and 2, "
    "of 1 and 3; 4 .. 7"
)


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
    channels, taps = weights.shape
    starts = starts_of(padded, raw, op.input_zero_point, taps)
    offsets = starts.offset_words()
    whole = channels // (2 * GROUP) * GROUP
    is_wide = starts.words.shape[1] == 2
    needs = {
        "PARTS": padded.shape[1] % ROUND != 0,
        "OFFSETS": len(offsets) > 0,
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
        constants=(
            Constant(
                "filter",
                "int32_t",
                np.concatenate([offsets, _packed(starts.words, padded, whole)]),
                NOTE,
            ),
        ),
        function="edgeq_fully_connected_winograd",
        parameters={
            "weights": layer.own("filter") + (f" + {len(offsets)}" if len(offsets) else ""),
            "base": step.fraction + 256 * starts.lacking,
            "factor": step.factor,
            "inputs": f"4 * {taps} + {2 * needs['OFFSETS'] + is_wide}",
            "outputs": f"2 * {channels} + {int(not needs['SIGNED'])}",
            "offset": 0 if needs["OFFSETS"] else starts.offsets[0],
            "zero_point": op.output_zero_point + 128,
            **({"more_sign": step.sign - 1} if needs["SIGNS"] else {}),
            **(clamps if needs["CLAMPS"] else {}),
        },
        calls=((layer.read(0), layer.write(), layer.scratch("uint32_t")),),
        defines=tuple(f"EDGEQ_WINOGRAD_{name}" for name, wanted in needs.items() if wanted),
    )


def scratch_nbytes(op: QuantizedFullyConnected, *shapes: Shape) -> int:
    """The row as int16."""
    return 2 * -(-shapes[1][1] // TAPS) * TAPS


def _packed(starts: Array, padded: Array, whole: int) -> Array:
    """The words of all groups, one after the other; `whole` pairs are in groups of three."""
    blocks = int32_words(pair_words(padded)).reshape(len(starts), -1, 2, 2)  # of eight taps
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
