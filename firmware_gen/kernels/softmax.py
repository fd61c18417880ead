"""SOFTMAX in C: exponentials from powers and corrections. Twin of edgeq/ops/softmax.py."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgeq.arith import INT32_MAX
from edgeq.graph import Array, Shape
from edgeq.ops.softmax import QuantizedSoftmax
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import Constant, Kernel, Layer, LayerCode, Variant

# An exponential below is 0 in the sum, where 12 bits are rounded off, and in a result, where 23
# bits and more are rounded off a product that is no larger: the sum is 2**19 at least, that of
# the maximum itself, so the shift of a result is 12 - 12 + 31 - 8 at least.
LEAST_EXP = 1 << 11
MOST_COMPUTED = 64  # values whose exponentials are computed for each, and take no scratch
# Powers that are tried: this much beside the first exponential, and beside its ratio to one of
# about 1/4.
FIRSTS = np.arange(-480, 121, 12)
RATIOS = np.arange(-600, 601, 4)


@dataclass(frozen=True, slots=True)
class Powers:
    """first * ratio**d / 2**(31 * d), rounded down after each product, plus corrections[d]."""

    first: int
    ratio: int
    corrections: Array

    def exps(self) -> list[int]:
        """What the kernel makes of them."""
        powers = _powers(self.first, self.ratio, len(self.corrections))
        return [p + int(c) for p, c in zip(powers, self.corrections, strict=True)]


def _powers(first: int, ratio: int, count: int) -> list[int]:
    multiplied = itertools.accumulate([first] + [ratio] * (count - 1), lambda a, b: a * b >> 31)
    return list(multiplied)


@lru_cache(maxsize=64)
def powers_of(exps: tuple[int, ...]) -> Powers:
    """Powers whose corrections are small, of exponentials from that of 0 steps downward."""
    wanted = np.array(exps, np.int64)
    at = np.arange(len(exps))
    far = min(max(int((wanted >= 1 << 29).sum()), 1), len(exps) - 1)
    ratio = round((exps[far] / exps[0]) ** (1 / max(far, 1)) * 2**31)
    off = wanted - np.array(_powers(exps[0], ratio, len(exps)), np.int64)
    # What the powers change by: the choice need not be exact, the corrections then are.
    by_first = (ratio / 2**31) ** at
    by_ratio = at * by_first * (2**31 / ratio)
    left = off - FIRSTS[:, None, None] * by_first - RATIOS[None, :, None] * by_ratio
    first, more = np.unravel_index(np.abs(left).max(-1).argmin(), left.shape[:2])
    start = min(exps[0] + int(FIRSTS[first]), INT32_MAX)
    near = min(ratio + int(RATIOS[more]), INT32_MAX)
    corrections = wanted - np.array(_powers(start, near, len(exps)), np.int64)
    most = max(int(corrections.max()), -1 - int(corrections.min()))
    nbytes = next(n for n in (1, 2, 4) if most < 1 << 8 * n - 1)
    return Powers(start, near, corrections.astype(f"i{nbytes}"))


def counted_exps(op: QuantizedSoftmax) -> tuple[int, ...]:
    """The exponentials that count, from that of 0 steps downward."""
    return tuple(e for e in reversed(op.exp_table) if e >= LEAST_EXP)


def emit(op: QuantizedSoftmax, layer: Layer) -> LayerCode:
    """The powers."""
    shape = layer.inputs[0].shape
    keeps = scratch_nbytes(op, shape) > 0
    powers = powers_of(counted_exps(op))
    corrections = powers.corrections
    note = f"of the exponentials of 0 .. {1 - len(corrections)} steps of the input's scale"
    ctype = f"int{8 * corrections.itemsize}_t"
    return LayerCode(
        constants=(Constant("table", ctype, corrections, note),),
        function="edgeq_softmax",
        parameters={
            "first": powers.first,
            "ratio": powers.ratio,
            "corrections": layer.own("table"),
            "width": corrections.itemsize,
            "entries": len(corrections),
            "rows": math.prod(shape[:-1]),
            "classes": shape[-1],
            "is_kept": int(keeps),
        },
        calls=((layer.read(0), layer.scratch() if keeps else "NULL", layer.write()),),
    )


def scratch_nbytes(op: QuantizedSoftmax, *shapes: Shape) -> int:
    """The exponentials, where they are kept."""
    return 4 * len(counted_exps(op)) if math.prod(shapes[0]) > MOST_COMPUTED else 0


def pair_results(op: QuantizedSoftmax) -> Array:
    """What SOFTMAX gives for two values, larger first, by their difference: (256, 2)."""
    rows = np.array([(127, 127 - d) for d in range(256)], np.int16)
    (out,) = op.reference(rows)
    return out


def why_not_pair(op: QuantizedSoftmax, layer: Layer, target: Target) -> str | None:
    """The number of classes, or two results of which one does not follow from the other."""
    classes = layer.inputs[0].shape[-1]
    if classes != 2:
        return f"there are {classes} classes, not 2"
    results = pair_results(op).astype(np.int16)
    if (results[:, 0] != np.minimum(-results[:, 1], 127)).any():
        return "the larger result is not minus the smaller"
    if results[0, 1] != 0 or (np.diff(results[:, 1]) > 0).any():
        return "the smaller result does not fall from 0"
    return None


def emit_pair(op: QuantizedSoftmax, layer: Layer) -> LayerCode:
    """Steps of the smaller result."""
    results = pair_results(op)[:, 1].astype(np.int16)
    steps = np.trim_zeros(-np.diff(results), "b")
    bits = next(n for n in (1, 2, 4, 8) if steps.max(initial=0) < 1 << n)
    spread = (steps[:, None] >> np.arange(bits)) & 1
    packed = np.packbits(spread.astype(np.uint8).ravel(), bitorder="little")
    note = f"by how much the smaller result falls for each difference, {bits} bits each"
    return LayerCode(
        constants=(Constant("table", "uint8_t", packed, note),),
        function="edgeq_softmax_pair",
        parameters={
            "steps": layer.own("table"),
            "bits": bits,
            "entries": len(steps),
            "rows": math.prod(layer.inputs[0].shape[:-1]),
        },
        calls=((layer.read(0), layer.write()),),
    )


PAIR = Variant("pair", "softmax_pair.h", why_not_pair, emit_pair)
KERNEL = Kernel("softmax.h", emit, scratch_nbytes, (PAIR,))
