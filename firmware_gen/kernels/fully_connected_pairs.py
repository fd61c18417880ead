"""FULLY_CONNECTED of one row for cores without DSP: two channels in one multiplication.

Twin of fully_connected_pairs.h.
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
    parameters_of,
    why_not_one_row,
)
from firmware_gen.kernels.lanes import (
    HAS_LIST,
    LEAST_RIGHT,
    LIST_NOTE,
    clip_blocks,
    list_words,
    padded,
    why_dsp,
)
from firmware_gen.kernels.tile import ACC_LIMIT, MAX_RIGHT, acc_bounds

GROUP = 4  # channels
TAPS = 8  # of which the products stay in 16-bit lanes
NBYTES = 20  # of the scratch for eight taps
NOTE = (
    "for each two taps w + 128 of channels (0, 1), then (2, 3) of each four, the taps of a "
    "channel side by side, less what is in the list"
)
WORDS_NOTE = "of each channel: bias * 256 + (32 if it is in the list)"


def why_not(op: QuantizedFullyConnected, layer: Layer, target: Target) -> str | None:
    """The core, the number of rows, the multiplier or the weights."""
    if (reason := why_dsp(target)) is not None:
        return reason
    if (reason := why_not_one_row(op, layer)) is not None:
        return reason
    if not -MAX_RIGHT <= op.shift[0] <= -LEAST_RIGHT:
        return f"shift is {op.shift[0]}, must be within -{MAX_RIGHT} .. -{LEAST_RIGHT}"
    weights, folded = _weights_and_bias(op, layer)
    low, high = acc_bounds(weights, folded)
    peak = np.maximum(high, -low)
    if peak.max() >= ACC_LIMIT:
        channel = int(peak.argmax())
        return f"channel {channel} may reach {peak[channel]}, the kernel wants below 2**23"
    _, rest = clip_blocks(padded(weights, GROUP, TAPS), TAPS)
    if np.count_nonzero(rest) * TAPS > rest.size:
        return f"more than one weight in {TAPS} is too large for its lane"
    return None


def emit(op: QuantizedFullyConnected, layer: Layer) -> LayerCode:
    """Weights of four channels, two channels and two taps in a word."""
    weights, folded = _weights_and_bias(op, layer)
    clipped, rest = clip_blocks(padded(weights, GROUP, TAPS), TAPS)
    # (group, pair, channel, taps / 2, tap) -> (group, taps / 2, pair, channel, tap)
    grouped = (clipped + 128).reshape(-1, 2, 2, clipped.shape[1] // 2, 2)
    packed = grouped.transpose(0, 3, 1, 2, 4).astype(np.uint8).reshape(-1, 4)
    biases = np.zeros(len(clipped), np.int64)
    biases[: len(folded)] = folded
    words = biases * 256 + np.where(rest.any(1), HAS_LIST, 0)
    return LayerCode(
        constants=(
            Constant("filter", "uint32_t", np.ascontiguousarray(packed).view("<u4"), NOTE),
            Constant("bias", "int32_t", words.astype(np.uint32).view(np.int32), WORDS_NOTE),
            Constant("table", "uint32_t", list_words(rest), LIST_NOTE),
        ),
        function="edgeq_fully_connected_pairs",
        parameters={
            "input_channels": weights.shape[1],
            "output_channels": weights.shape[0],
            **parameters_of(op, "output_zero_point", "activation_min", "activation_max"),
            "multiplier": op.multiplier[0],
            "k": -op.shift[0] - LEAST_RIGHT,
        },
        calls=(
            (
                layer.read(0),
                layer.own("filter"),
                layer.own("bias"),
                layer.own("table"),
                layer.write(),
                layer.scratch("uint32_t"),
            ),
        ),
    )


def scratch_nbytes(op: QuantizedFullyConnected, *shapes: Shape) -> int:
    """Five words for each eight taps."""
    return NBYTES * -(-shapes[1][1] // TAPS)


def _weights_and_bias(op: QuantizedFullyConnected, layer: Layer) -> tuple[Array, Array]:
    weights, bias = layer.filter_and_bias()
    return weights.astype(np.int64), folded_bias(op, bias, weights).astype(np.int64)


PAIRS = Variant(
    "pairs", "fully_connected_pairs.h", why_not, emit, scratch_nbytes, code_nbytes=700
)
