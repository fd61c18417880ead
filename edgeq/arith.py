"""Fixed-point primitives in plain Python integers: the meaning every other form must match.

Twins: arith_jit.py (Numba) and firmware_gen/kernels/edgeq_arith.h (C). The default profile of
rounding is `tflm`: bit-exact with TensorFlow Lite Micro, which rounds twice (docs/numerics.md;
gemmlowp, doc/quantization.md). A `multiplier` has 31 fraction bits, in the profile `shift`
none; a shift > 0 is to the left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

Rounding: TypeAlias = Literal["tflm", "single", "shift"]
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT8_MIN, INT8_MAX = -128, 127


def quantize_multiplier(real: float) -> tuple[int, int]:
    """The pair (M0, shift) with  real ≈ M0 * 2**(shift - 31),  M0 in [2**30, 2**31) or 0.

    M = 2**-n * M0: `math.frexp` gives the fraction in [0.5, 1), which is rounded half up to 31
    bits. Below 2**-32 the pair is (0, 0), as TFLite's QuantizeMultiplier has it
    (quantization_util.cc).

    Raises:
        ValueError: `real` is negative, infinite or not a number.
    """
    if not (math.isfinite(real) and real >= 0):
        raise ValueError(f"multiplier is {real}, must be finite and >= 0")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def doubling_high_mul(a: int, b: int) -> int:
    """A * b / 2**31, rounded to nearest, ties upward; both int32, not both INT32_MIN.

    Arm's VQRDMULH; gemmlowp's SaturatingRoundingDoublingHighMul.
    """
    return (a * b + (1 << 30)) >> 31


def rounding_shift_right(x: int, n: int) -> int:
    """X / 2**n, rounded to nearest, ties away from zero; 0 <= n <= 31.

    gemmlowp's RoundingDivideByPOT.
    """
    magnitude = (abs(x) + ((1 << n) >> 1)) >> n
    return magnitude if x >= 0 else -magnitude


def requantize(acc: int, multiplier: int, shift: int) -> int:
    """Acc * M with  M = multiplier * 2**(shift - 31),  rounded twice (NUMERICS).

    acc * 2**max(shift, 0) must fit in int32: passes/prove_accumulators.py shows that it does.
    """
    high = doubling_high_mul(acc << max(shift, 0), multiplier)
    return rounding_shift_right(high, max(-shift, 0))


def requantize_single(acc: int, multiplier: int, shift: int) -> int:
    """Acc * M with  M = multiplier * 2**(shift - 31),  rounded once, ties upward.

    The same acc are allowed as for requantize; where shift >= 0, the results are the same too.
    """
    return _upward_shift_right(acc * multiplier, 31 - shift)


def requantize_shift(acc: int, multiplier: int, shift: int) -> int:
    """Acc * M with  M = multiplier * 2**shift,  -31 <= shift <= 0, rounded once, ties upward.

    acc * multiplier, with half a step added or not, must fit in int32 (product_peak).
    """
    return _upward_shift_right(acc * multiplier, -shift)


def requantize_by(rounding: Rounding, acc: int, multiplier: int, shift: int) -> int:
    """Acc * M in the profile `rounding`."""
    if rounding == "tflm":
        return requantize(acc, multiplier, shift)
    if rounding == "single":
        return requantize_single(acc, multiplier, shift)
    return requantize_shift(acc, multiplier, shift)


def product_peak(peak: int, multiplier: int, shift: int) -> int:
    """The largest magnitude in requantize_shift for abs(acc) <= peak: int32 must hold it."""
    return peak * multiplier + ((1 << -shift) >> 1)


def short_multipliers(terms: Sequence[tuple[int, int, int]]) -> tuple[tuple[int, ...], int]:
    """Multipliers and their shift for requantize_shift of the sum of acc[i] * M[i].

    A term is (factor, exponent, peak): M = factor * 2**exponent >= 0 and abs(acc) <= peak. The
    shift is the most to the right, at most by 31, with which the sum of the products' peaks and
    half a step fit in int32. All zero: ((0, ...), 0).

    Raises:
        ValueError: the sum does not fit even without fraction bits.
    """
    for n in range(31, -1, -1):
        multipliers = tuple(_scaled(factor, exponent + n) for factor, exponent, _ in terms)
        total = sum(m * peak for m, (_, _, peak) in zip(multipliers, terms, strict=True))
        if total + ((1 << n) >> 1) <= INT32_MAX and max(multipliers) <= INT32_MAX:
            return multipliers, -n if any(multipliers) else 0
    raise ValueError(f"a sum of {total} does not fit in int32")


def _upward_shift_right(x: int, n: int) -> int:
    """X / 2**n, rounded to nearest, ties upward."""
    return (x + ((1 << n) >> 1)) >> n


def _scaled(factor: int, exponent: int) -> int:
    """Factor * 2**exponent, rounded half up."""
    return factor << exponent if exponent >= 0 else _upward_shift_right(factor, -exponent)


def clamp(x: int, low: int, high: int) -> int:
    """The value of [low, high] nearest to x."""
    return min(max(x, low), high)


def divide_rounding(numerator: int, denominator: int) -> int:
    """Numerator / denominator, ties away from zero; denominator > 0. TFLM's AVERAGE_POOL_2D."""
    magnitude = (2 * abs(numerator) + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude


def round_half_away(x: float) -> int:
    """X rounded to nearest, ties away from zero: C's round(), TFLite's TfLiteRound."""
    return math.floor(x + 0.5) if x >= 0 else math.ceil(x - 0.5)
