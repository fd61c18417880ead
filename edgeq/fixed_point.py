"""Fixed-point exp and logistic in Python integers, for the tables of SOFTMAX and LOGISTIC.

The functions and constants are those of gemmlowp (fixedpoint/fixedpoint.h), which TFLM runs on
the device; here they run once per possible int8 input, and firmware reads a table. A format
Qm.n has m integer bits and n = 31 - m fraction bits in an int32.
"""

from __future__ import annotations

import math

from edgeq.arith import (
    INT32_MAX,
    INT32_MIN,
    clamp,
    doubling_high_mul,
    quantize_multiplier,
    requantize,
    rounding_shift_right,
)

SOFTMAX_INTEGER_BITS = 5  # of the scaled difference to the row's maximum: Q5.26
SOFTMAX_SUM_INTEGER_BITS = 12  # of the sum of exponentials: Q12.19
LOGISTIC_INTEGER_BITS = 4  # of the scaled input: Q4.27

_EXP_MINUS_EIGHTH = 1895147668  # exp(-1/8) in Q0.31
_ONE_THIRD = 715827883  # 1/3 in Q0.31
_EXP_POWERS = (  # (e, exp(-2**e) in Q0.31)
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
_48_OVER_17 = 1515870810  # Q2.29
_MINUS_32_OVER_17 = -1010580540  # Q2.29


def exp_on_negative_values(a: int, integer_bits: int) -> int:
    """exp(a) in Q0.31 for a <= 0 in Q(integer_bits), integer_bits <= 5."""
    if a == 0:
        return INT32_MAX
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (a & (quarter - 1)) - quarter  # in [-1/4, 0)
    result = _exp_above_minus_quarter(rest << integer_bits)
    remainder = rest - a
    for exponent, factor in _EXP_POWERS:
        if exponent < integer_bits and remainder & (1 << (fraction_bits + exponent)):
            result = doubling_high_mul(result, factor)
    return result


def _exp_above_minus_quarter(a: int) -> int:
    # Taylor around -1/8, all in Q0.31.
    x = a + (1 << 28)
    x2 = doubling_high_mul(x, x)
    x3 = doubling_high_mul(x2, x)
    x4 = doubling_high_mul(x2, x2)
    cubic = doubling_high_mul(rounding_shift_right(x4, 2) + x3, _ONE_THIRD)
    tail = rounding_shift_right(cubic + x2, 1)
    return _EXP_MINUS_EIGHTH + doubling_high_mul(_EXP_MINUS_EIGHTH, x + tail)


def one_over_one_plus_x(x: int) -> int:
    """1 / (1 + x) in Q0.31 for x in [0, 1) in Q0.31: three Newton-Raphson steps."""
    half_denominator = (x + INT32_MAX + 1) // 2  # both terms >= 0: rounds half up
    estimate = _48_OVER_17 + doubling_high_mul(half_denominator, _MINUS_32_OVER_17)  # Q2.29
    for _ in range(3):
        error = (1 << 29) - doubling_high_mul(half_denominator, estimate)  # Q2.29
        step = doubling_high_mul(estimate, error)  # Q4.27
        estimate += clamp(step << 2, INT32_MIN, INT32_MAX)
    return clamp(estimate << 1, INT32_MIN, INT32_MAX)  # x / 2 in Q1.30, taken to Q0.31


def logistic(a: int, integer_bits: int) -> int:
    """1 / (1 + exp(-a)) in Q0.31 for a in Q(integer_bits)."""
    if a == 0:
        return 1 << 30
    positive = one_over_one_plus_x(exp_on_negative_values(-abs(a), integer_bits))
    return positive if a > 0 else INT32_MAX - positive


def input_radius(integer_bits: int, shift: int) -> int:
    """Largest |input| that scaled stays in Q(integer_bits); TFLite's CalculateInputRadius."""
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**shift)


def logistic_table(scale: float, zero_point: int) -> tuple[int, ...]:
    """LOGISTIC: the output for each input -128..127; output scale 1/256, zero point -128.

    Rule: TFLM reference_integer_ops::Logistic (integer_ops/logistic.h) and its Prepare.
    """
    multiplier, shift = quantize_multiplier(scale * 2.0 ** (31 - LOGISTIC_INTEGER_BITS))
    radius = input_radius(LOGISTIC_INTEGER_BITS, shift)
    table = []
    for q in range(-128, 128):
        x = q - zero_point
        if x <= -radius:
            table.append(-128)
        elif x >= radius:
            table.append(127)
        else:
            y = logistic(requantize(x, multiplier, shift), LOGISTIC_INTEGER_BITS)
            table.append(clamp(rounding_shift_right(y, 23) - 128, -128, 127))
    return tuple(table)


def softmax_exp_table(scale: float, beta: float) -> tuple[int, ...]:
    """exp(beta * scale * d) in Q0.31 for d = -255..0; 0 where TFLM leaves the term out.

    Rule: TFLM reference_ops::Softmax (reference/softmax.h), PreprocessSoftmaxScaling.
    """
    fraction_bits = 31 - SOFTMAX_INTEGER_BITS
    real = min(beta * scale * 2.0**fraction_bits, 2.0**31 - 1.0)
    multiplier, shift = quantize_multiplier(real)
    diff_min = -input_radius(SOFTMAX_INTEGER_BITS, shift)
    return tuple(
        exp_on_negative_values(requantize(d, multiplier, shift), SOFTMAX_INTEGER_BITS)
        if d >= diff_min
        else 0
        for d in range(-255, 1)
    )
