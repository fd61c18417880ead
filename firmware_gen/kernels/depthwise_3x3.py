"""Channels of a 3 x 3 depthwise filter as the DSP kernel reads them.

Twin of depthwise_conv_2d_3x3.h, which derives the rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import (
    Constant,
    Layer,
    LayerCode,
    folded_bias,
    image_of,
    window_of,
)

PREFERRED_SHIFT = 10  # EDGEQ_DEPTHWISE_SHIFT
SHIFTS = (PREFERRED_SHIFT, 9, 11, 8, 12, 7, 13, 6, 14, 5, 15, 4, 3, 2, 1)
GROUP = 4  # channels beside each other
WORDS_OF_TWO_COLUMNS = 3
NOTE = (
    "of each channel: columns of rows 0 and 1, pairs of row 2, multiplier, addend, bias; the "
    "weights and the bias times a power of two"
)


def why_not(op: QuantizedDepthwiseConv2D, layer: Layer, target: Target) -> str | None:
    """The core, the shape, the clamp, or numbers that leave their words."""
    if not target.has_dsp:
        return "the core has no DSP extension"
    window = op.window
    if (window.filter_h, window.filter_w) != (3, 3) or window.stride_w > 2:
        return "the filter is not 3 x 3 with a horizontal stride of 1 or 2"
    if (window.dilation_h, window.dilation_w) != (1, 1):
        return "the filter is dilated"
    channels = layer.inputs[0].shape[3]
    if channels < GROUP or layer.outputs[0].shape[3] != channels:
        return f"not one output channel for each of {GROUP} or more"
    if (op.output_zero_point, op.activation_min, op.activation_max) != (-128, -128, 127):
        return (
            "the output's zero point is not the clamp's lower end, -128, or the upper not 127"
        )
    if _packing(op, layer) is None:
        return "no power of two brings all channels to one shift within their words"
    return None


def scratch_nbytes(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """Three words for every two columns of each of four channels."""
    _, _, width, _ = op.infer_shapes(*shapes)[0]
    blocks = ((width - 1) * op.window.stride_w + 4) // 2
    return 4 * blocks * WORDS_OF_TWO_COLUMNS * GROUP


def emit(op: QuantizedDepthwiseConv2D, layer: Layer) -> LayerCode:
    """Eight words a channel."""
    packing = _packing(op, layer)
    assert packing is not None
    return LayerCode(
        constants=(Constant("filter", "int32_t", packing.words, NOTE),),
        function="edgeq_depthwise_conv_2d_3x3",
        parameters={
            "window": window_of(op),
            "zero_points": (op.input_zero_point & 0xFF) * 0x01010101,
            "shift": packing.shift,
            "input": image_of(layer.inputs[0]),
            "output": image_of(layer.outputs[0]),
        },
        calls=(
            (
                layer.read(0),
                f"(const struct edgeq_depthwise_channel *){layer.own('filter')}",
                layer.scratch("uint32_t"),
                layer.write(),
            ),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Packing:
    shift: int  # t
    words: Array  # (C, 8) int32


def channels_of(
    op: QuantizedDepthwiseConv2D, weights: Array, bias: Array
) -> Iterator[tuple[Array, int, int, int]]:
    """Of each channel of a 3 x 3 filter: nine weights, folded bias, multiplier, shift."""
    rows = weights.reshape(9, -1).T.astype(np.int64)
    folded = folded_bias(op, bias, rows)
    per_channel = len(op.multiplier) > 1
    for c, taps in enumerate(rows):
        m = c if per_channel else 0
        yield taps, int(folded[c]), op.multiplier[m], op.shift[m]


def _packing(op: QuantizedDepthwiseConv2D, layer: Layer) -> _Packing | None:
    """The words with the preferred shift, or the next that fits; None: none does."""
    channels = [_Channel(*numbers) for numbers in channels_of(op, *layer.filter_and_bias())]
    for shift in SHIFTS:
        words = [channel.words(shift) for channel in channels]
        if all(word is not None for word in words):
            return _Packing(shift, np.array(words, np.int64).astype(np.uint32).view(np.int32))
    return None


@dataclass(frozen=True, slots=True)
class _Channel:
    """One channel's numbers."""

    filter: Array  # (9,)
    bias: int  # folded
    multiplier: int
    shift: int

    def words(self, t: int) -> list[int] | None:
        """The channel's eight words for a shift of `t`; None: they do not fit.

        Where n + s - 1 would exceed t, the multiplier gives bits, and the bias is such that
        each output still begins at the same accumulator.
        """
        left, right = max(self.shift, 0), max(-self.shift, 0)
        half = (1 << 30) + ((1 << 30 + right) if right else 0)
        low, high = (
            min(max((acc * 2**left * self.multiplier + half) >> (31 + right), 0), 255)
            for acc in self._range()
        )
        addend = (low << t) + ((1 << t - 1) if right else 0) - (128 << t)
        if low == high:
            return [*[0] * 5, 0, (low - 128) << t, 0]
        exact = t + 1 - right
        if exact >= 2:
            bias = self.bias << exact + left
            addend += (1 << exact - 2) - (low << t)
            return self._fitted(exact + left, bias, self.multiplier, addend)
        for scale in range(8, 1, -1):
            lost = scale - exact
            multiplier = (self.multiplier + (1 << lost - 1)) >> lost
            bias_or_none = self._bias(scale, multiplier, t, low, high)
            if bias_or_none is not None:
                words = self._fitted(scale, bias_or_none, multiplier, addend)
                if words is not None:
                    return words
        return None

    def _fitted(self, power: int, bias: int, multiplier: int, addend: int) -> list[int] | None:
        taps = self.filter << power
        peak = abs(bias) + 128 * int(np.abs(taps).sum())
        if taps.min() < -(1 << 15) or taps.max() >= 1 << 15 or peak >= 1 << 30:
            return None
        return [*_pairs(taps), multiplier, addend, bias]

    def _range(self) -> tuple[int, int]:
        """The least and the largest accumulator."""
        high = np.where(self.filter > 0, self.filter * 127, self.filter * -128).sum()
        low = np.where(self.filter > 0, self.filter * -128, self.filter * 127).sum()
        return self.bias + int(low), self.bias + int(high)

    def _bias(self, scale: int, multiplier: int, t: int, low: int, high: int) -> int | None:
        """A scaled bias with which each output, low at least, begins where it should."""
        right = -self.shift
        half = (1 << 30) + (1 << 30 + right)
        least, most = -(1 << 40), 1 << 40
        for y in range(max(low, 1), high + 1):
            first = -((half - (y << (31 + right))) // self.multiplier) - self.bias
            # The least scaled accumulator that gives y, half of 2**t being in the addend.
            start = -(((1 << t - 1) - ((y - low) << t) << 32) // multiplier)
            least = max(least, start - (first << scale))
            most = min(most, start - 1 - ((first - 1) << scale))
        return (least + most) // 2 if least <= most else None


def _pairs(taps: Array) -> list[int]:
    """(9,) -> two weights in each of five words."""
    rows = (taps.reshape(3, 3) & 0xFFFF).tolist()
    columns = [a | b << 16 for a, b in zip(rows[0], rows[1], strict=True)]
    return [*columns, rows[2][0] | rows[2][1] << 16, rows[2][1] | rows[2][2] << 16]
