"""Channels of a 3 x 3 depthwise filter for the DSP kernel that takes a channel's whole image.

Twin of depthwise_conv_2d_plane.h, which derives the rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgeq.arith import Rounding, clamp, requantize_by
from edgeq.graph import Array, Shape
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.window import Window
from firmware_gen.c_text import Value
from firmware_gen.cores import Target
from firmware_gen.kernels.depthwise_3x3 import channels_of
from firmware_gen.kernels.kernel import Constant, Layer, LayerCode

PREFERRED_SHIFT = 12  # EDGEQ_LINES_SHIFT
SHIFTS = (PREFERRED_SHIFT, 11, 13, 10, 14, 9, 15, 8, 7, 6, 5, 4, 3, 2, 1)
MOST_SCALE = 8  # of s, the weights being times 2**s in the accumulator
LEAST_SCALE = 1
LOW_BITS = 5  # of a multiplier, zeros
BIAS_BITS = 32 - LOW_BITS
GROUP = 4  # channels beside each other
BLOCK_NBYTES = 4 * 3 * GROUP  # of two pixels of three lines
TABLE_NBYTES = GROUP * 28  # of a group's channels
FAR = 1 << 40  # beyond every accumulator
MOST_TRIES = 256  # multipliers beside the nearest
AT_FIRST = 4  # of them; mostly one of these serves
NOTE = "of each channel: 9 weights; 8 - s (3 bits), multiplier (26), bias (27)"


def why_not(op: QuantizedDepthwiseConv2D, layer: Layer, target: Target) -> str | None:
    """The core, the shape, the clamp, or numbers that leave their words."""
    if not target.has_dsp:
        return "the core has no DSP extension"
    window = op.window
    if (window.filter_h, window.filter_w) != (3, 3):
        return "the filter is not 3 x 3"
    if window.stride_h != window.stride_w or window.stride_w > 2:
        return "the stride is not 1 or 2 in both directions"
    if (window.dilation_h, window.dilation_w) != (1, 1):
        return "the filter is dilated"
    _, height, width, channels = layer.inputs[0].shape
    _, out_h, out_w, outputs = layer.outputs[0].shape
    if channels < GROUP or outputs != channels:
        return f"not one output channel for each of {GROUP} or more"
    if out_h > height or out_w > width or max(window.pad_top, window.pad_left) > 2:
        return "the output is larger than the input, or begins more than 2 pixels before it"
    if max(width * channels, height) >= 1 << 16:
        return "a row has 65,536 bytes or more, or the image as many rows"
    if (op.activation_min, op.activation_max) != (-128, 127):
        return "the clamp is narrower than int8"
    if _packing(op, layer) is None:
        if op.rounding == "tflm" and op.output_zero_point > -128:
            return "some outputs are below the zero point, where ties round the other way"
        return "no multipliers and biases of one shift give each channel's outputs"
    return None


def is_upright(window: Window, shape: Shape) -> bool:
    """Whether the lines are columns: the longer side of the image is cheaper to run along."""
    return shape[1] > shape[2]


def length_of(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """Of a line of the output."""
    _, out_h, out_w, _ = op.infer_shapes(*shapes)[0]
    return out_h if is_upright(op.window, shapes[0]) else out_w


def blocks_of(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """How often two pixels of a line are laid out."""
    return ((length_of(op, *shapes) - 1) * op.window.stride_w + 4) // 2


def scratch_nbytes(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """The table of a group's channels, then a block for every two pixels of a line."""
    return TABLE_NBYTES + BLOCK_NBYTES * blocks_of(op, *shapes)


def emit(op: QuantizedDepthwiseConv2D, layer: Layer) -> LayerCode:
    """Four words a channel."""
    packing = _packing(op, layer)
    assert packing is not None
    return LayerCode(
        constants=(Constant("filter", "uint32_t", packing.words, NOTE),),
        function="edgeq_depthwise_conv_2d_plane",
        parameters={"shift": packing.shift, "image": _image(op, layer)},
        calls=(
            (
                layer.read(0),
                f"(const struct edgeq_plane_channel *){layer.own('filter')}",
                layer.scratch("uint32_t"),
                layer.write(),
            ),
        ),
    )


def _image(op: QuantizedDepthwiseConv2D, layer: Layer) -> dict[str, Value]:
    """A struct edgeq_plane_image."""
    _, height, width, channels = layer.inputs[0].shape
    _, out_h, out_w, _ = layer.outputs[0].shape
    rows = (op.window.pad_top, height, out_h)
    columns = (op.window.pad_left, width, out_w)
    upright = is_upright(op.window, layer.inputs[0].shape)
    line, run = (columns, rows) if upright else (rows, columns)
    return {
        "channels": channels,
        "zero_point": op.input_zero_point & 0xFF,
        "stride": op.window.stride_w,
        "line_pad": line[0],
        "run_pad": run[0],
        "is_upright": int(upright),
        "input": (run[1], line[1]),
        "output": (run[2], line[2]),
    }


def shift_of(op: QuantizedDepthwiseConv2D, layer: Layer) -> int | None:
    """The t that serves all channels; None: none does."""
    packing = _packing(op, layer)
    return None if packing is None else packing.shift


@dataclass(frozen=True, slots=True)
class _Packing:
    shift: int  # t
    words: Array  # (C, 4) uint32


def _packing(op: QuantizedDepthwiseConv2D, layer: Layer) -> _Packing | None:
    """The words with the preferred shift, or the next that serves; None: none does."""
    weights, bias = layer.filter_and_bias()
    upright = is_upright(op.window, layer.inputs[0].shape)
    return _packed(op, upright, weights.tobytes(), bias.tobytes())


@lru_cache(maxsize=256)  # two variants ask, to be chosen and to be written
def _packed(
    op: QuantizedDepthwiseConv2D, upright: bool, weights: bytes, bias: bytes
) -> _Packing | None:
    filter_ = np.frombuffer(weights, np.int8)
    channels = [
        PlaneChannel(*numbers, op.output_zero_point, op.rounding)
        for numbers in channels_of(op, filter_, np.frombuffer(bias, np.int32))
    ]
    filters = [filter_words(c, op.window.stride_w, upright) for c in channels]
    for shift in SHIFTS:
        numbers = []
        for channel in channels:
            if (found := channel.numbers(shift)) is None:
                break
            numbers.append(found)
        else:
            words = [
                channel_words(taps, *found)
                for taps, found in zip(filters, numbers, strict=True)
            ]
            return _Packing(shift, np.array(words, np.int64).astype(np.uint32))
    return None


def channel_words(taps: list[int], scale: int, multiplier: int, bias: int) -> list[int]:
    """The words of a struct edgeq_plane_channel; taps: as filter_words gives them."""
    high, low = divmod(multiplier >> LOW_BITS, 1 << LOW_BITS)
    return [*taps[:2], taps[2] | MOST_SCALE - scale << 21 | high, bias << LOW_BITS | low]


def filter_words(channel: PlaneChannel, stride: int, upright: bool) -> list[int]:
    """Four pairs of weights as struct edgeq_lines_channel has them, two in a word; the ninth.

    A channel of one output has none.
    """
    low, high = channel.outputs()
    lines = (channel.filter.reshape(3, 3) & (0xFF if low < high else 0)).tolist()
    if upright:
        lines = [list(column) for column in zip(*lines, strict=True)]
    a, b, c = lines
    pairs = [*zip(a, b, strict=True), (c[0], c[1])]
    if stride == 2:
        pairs = [(a[0], a[1]), (b[0], b[1]), (c[0], c[1]), (a[2], b[2])]
    words = [
        p[0] | q[0] << 8 | p[1] << 16 | q[1] << 24
        for p, q in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    return [*words, c[2] << 24]


def first_accumulators(
    rounding: Rounding, multiplier: int, shift: int, outputs: Array
) -> Array:
    """The least accumulator that gives each of these outputs (less the zero point) or more.

    `tflm`: the doubling high product is floor((acc * M + 2**30) / 2**31) for either sign, and
    the shift to the right rounds to nearest, ties away from zero: floor((v + 2**(n - 1)) /
    2**n), for negative v one less in the numerator; two floors are one. The others round once,
    ties upward.
    """
    first = []
    for y in outputs.tolist():
        if rounding == "tflm":
            left, right = max(shift, 0), max(-shift, 0)
            half = (1 << right >> 1) - (1 if right and y <= 0 else 0)
            numerator = ((y << right) - half << 31) - (1 << 30)
            first.append(-(-numerator // (multiplier << left)))
        else:
            bits = exponent_of(rounding, shift)
            first.append(-(((1 << bits >> 1) - (y << bits)) // multiplier))
    return np.array([clamp(acc, -FAR, FAR) for acc in first], np.int64)


def exponent_of(rounding: Rounding, shift: int) -> int:
    """An output is the accumulator times the multiplier times 2 to the minus this, rounded."""
    return -shift if rounding == "shift" else 31 - shift


@dataclass(frozen=True, slots=True)
class PlaneChannel:
    """One channel's numbers."""

    filter: Array  # (9,)
    bias: int  # folded
    multiplier: int
    shift: int
    output_zero_point: int
    rounding: Rounding

    def numbers(self, t: int) -> tuple[int, int, int] | None:
        """s, the multiplier and the bias for a shift of `t`; None: there are none.

        They must place every output's beginning as the header says, the least one's at the
        least accumulator or before, that of one more than the largest beyond the largest.
        """
        low, high = self.outputs()
        if low == high:
            return MOST_SCALE, 1 << 30, low << t + 2
        y = np.arange(low, high + 2, dtype=np.int64)
        first = first_accumulators(
            self.rounding, self.multiplier, self.shift, y - self.output_zero_point
        )
        first -= self.bias
        least, most = self.products()
        first[0] = least if low > -128 else FAR
        first[-1] = most + 1 if high < 127 else -FAR
        for scale in range(MOST_SCALE, LEAST_SCALE - 1, -1):
            found = self._numbers(t, scale, y, first)
            if found is not None:
                return scale, *found
        return None

    def _numbers(self, t: int, scale: int, y: Array, first: Array) -> tuple[int, int] | None:
        """The multiplier and the bias; first: the sums of products that outputs y begin at.

        The first of y need not begin there, but not later; the last not earlier.
        """
        peak = 128 * int(np.abs(self.filter).sum()) << scale
        most_bias = min((1 << BIAS_BITS - 1) - 1, (1 << 31) - 1 - peak)
        right = exponent_of(self.rounding, self.shift) + scale - t - 32 + LOW_BITS
        scaled = self.multiplier << max(-right, 0)
        nearest = scaled + (1 << max(right, 0) >> 1) >> max(right, 0)
        # A step moves where the last output begins by 1/16 at most.
        step = max(nearest * nearest >> 44 + t - LOW_BITS, 1)
        for some in (range(AT_FIRST), range(AT_FIRST, MOST_TRIES)):
            tries = [nearest + (i + 1) // 2 * (step if i % 2 else -step) for i in some]
            multipliers = [m << LOW_BITS for m in tries if 0 < m < 1 << 31 - LOW_BITS]
            start = -(-(y << 32 + t) // np.array(multipliers, np.int64)[:, None])
            least = (start - (first << scale))[:, :-1].max(axis=1)
            most = (start - (first - 1 << scale))[:, 1:].min(axis=1) - 1
            for m, low, high in zip(multipliers, least.tolist(), most.tolist(), strict=True):
                bias = (low + high) // 2
                if low <= high and abs(bias) <= most_bias:
                    return m, bias
        return None

    def products(self) -> tuple[int, int]:
        """The least and the largest sum of products."""
        positive, negative = (int(w.sum()) for w in self._by_sign())
        return 127 * negative - 128 * positive, 127 * positive - 128 * negative

    def _by_sign(self) -> tuple[Array, Array]:
        return np.maximum(self.filter, 0), np.minimum(self.filter, 0)

    def outputs(self) -> tuple[int, int]:
        """The least and the largest output."""
        ends = (
            requantize_by(self.rounding, self.bias + acc, self.multiplier, self.shift)
            for acc in self.products()
        )
        least, most = (clamp(y + self.output_zero_point, -128, 127) for y in ends)
        return least, most
