"""Fixed-point primitives in plain Python integers: the meaning every other form must match.

Twins: arith_jit.py (Numba) and firmware_gen/kernels/edgeq_arith.h (C). The profile is `tflm`:
bit-exact with TensorFlow Lite Micro, which rounds twice (docs/numerics.md; gemmlowp,
doc/quantization.md). A `multiplier` has 31 fraction bits; a `shift` > 0 is to the left.
"""

from __future__ import annotations

import math

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
