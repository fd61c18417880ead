"""ADD as one affine map of its two bytes: the search for its integers. Twin: add_affine.h.

    out(q1, q2) = clamp((A * q1 + B * q2 + C) >> RIGHT)

The roundings of ADD leave its real scales by less than 2**-18 of a step, and no two of the
65,536 pairs of bytes need to be told apart more finely than that: near the rounded scales there
are nearly always integers with which the map gives every pair what ADD gives. For fixed A and
B each pair bounds C from one side or both, so the C that serve all pairs are an interval.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from edgeq.arith import INT32_MAX, INT32_MIN, ROUNDINGS, clamp, requantize_by
from edgeq.graph import Array
from edgeq.ops.add import QuantizedAdd
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import Layer, LayerCode, Variant, parameters_of

RIGHT = 21  # EDGEQ_ADD_RIGHT: beyond, sums of usual scales leave int32
INT8 = (-128, 127)
NEAR = 4  # A and B are sought within so much of the rounded scales

_BYTES = np.arange(-128, 128, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class AffineMap:
    """The integers of one ADD."""

    multiplier1: int  # A
    multiplier2: int  # B
    addend: int  # C


@lru_cache(maxsize=256)
def affine_map(op: QuantizedAdd) -> AffineMap | None:
    """The map that equals ADD for all pairs of bytes, in int32; None: none was found."""
    wanted = all_results(op)
    near = sorted(
        itertools.product(range(-NEAR, NEAR + 1), repeat=2), key=lambda p: (sum(map(abs, p)), p)
    )
    scale1, scale2 = _scales(op)
    for step1, step2 in near:
        a, b = round(scale1 * 2**RIGHT) + step1, round(scale2 * 2**RIGHT) + step2
        if not _fits(a, b, 0):
            continue
        sums = (a * _BYTES)[:, None] + (b * _BYTES)[None, :]
        below = wanted > op.activation_min  # else any smaller sum will do as well
        above = wanted < op.activation_max
        low = int(((wanted << RIGHT) - sums)[below].max(initial=INT32_MIN))
        high = int((((wanted + 1) << RIGHT) - 1 - sums)[above].min(initial=INT32_MAX))
        c = (low + high) // 2
        if low <= high and _fits(a, b, c):
            return AffineMap(a, b, c)
    return None


def all_results(op: QuantizedAdd) -> Array:
    """What ADD gives for every pair of bytes, (256, 256) from -128.

    A requantization rises with its argument, so each result begins at one sum of the inputs.
    """

    def result(total: int) -> int:
        y = requantize_by(op.rounding, total, op.output_multiplier, op.output_shift)
        return clamp(y + op.output_zero_point, op.activation_min, op.activation_max)

    fine = [np.array([op.rescaled(int(q), n) for q in _BYTES], np.int64) for n in (1, 2)]
    totals: Array = fine[0][:, None] + fine[1][None, :]
    every = range(int(totals.min()), int(totals.max()) + 1)
    levels = range(result(every[0]) + 1, result(every[-1]) + 1)
    begins = [every[bisect_left(every, level, key=result)] for level in levels]
    found: Array = result(every[0]) + np.searchsorted(np.array(begins), totals, side="right")
    return found


def _scales(op: QuantizedAdd) -> tuple[float, float]:
    """Steps of the output for a step of each input."""
    if op.rounding == "shift":
        output = 2.0**op.output_shift
        return op.input1_multiplier * output, op.input2_multiplier * output
    output = op.output_multiplier * 2.0 ** (op.output_shift - 31 + op.left_shift)
    return (
        op.input1_multiplier * 2.0 ** (op.input1_shift - 31) * output,
        op.input2_multiplier * 2.0 ** (op.input2_shift - 31) * output,
    )


def _fits(a: int, b: int, c: int) -> bool:
    """Every sum on the way to the result is an int32: A * q1 + (B * q2 + C)."""
    ends = (-128, 127)
    parts = [v for q in ends for v in (a * q, b * q, b * q + c)]
    sums = [a * p + b * q + c for p in ends for q in ends]
    return all(INT32_MIN <= v <= INT32_MAX for v in (*parts, *sums))


def why_not_affine(op: QuantizedAdd, layer: Layer, target: Target) -> str | None:
    """Broadcasting, or no three integers that give the bytes."""
    if any(shape != layer.outputs[0].shape for shape in layer.shapes()):
        return "an input is repeated along an axis"
    if affine_map(op) is None:
        return "no affine map in int32 gives the bytes of all pairs"
    return None


def emit_affine(op: QuantizedAdd, layer: Layer) -> LayerCode:
    """One loop over the bytes."""
    found = affine_map(op)
    assert found is not None  # why_not_affine
    return LayerCode(
        function="edgeq_add_affine",
        parameters={
            **asdict(found),
            **parameters_of(op, "activation_min", "activation_max"),
            "nbytes": layer.outputs[0].nbytes,
        },
        calls=((layer.read(0), layer.read(1), layer.write()),),
        defines=()
        if (op.activation_min, op.activation_max) == INT8
        else ("EDGEQ_ADD_CLAMPED",),
    )


AFFINE = Variant(
    "affine",
    "add_affine.h",
    why_not_affine,
    emit_affine,
    roundings=frozenset(ROUNDINGS),
)
