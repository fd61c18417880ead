"""Numba twins of arith.py: an overflow of int32 would wrap unseen.

passes/prove_accumulators.py proves that there is none before a graph may run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.arith import ROUNDINGS, Rounding
from edgeq.jit import kernel

_TFLM, _SINGLE = 0, 1
Int = Any  # an integer of Python, numpy or Numba


@kernel
def requantize(acc: Int, multiplier: Int, shift: Int) -> Any:
    """Twin of arith.requantize; int32 but for the product, so that a loop of it vectorizes."""
    left = shift if shift > 0 else 0
    right = -shift if shift < 0 else 0
    product = np.int64(np.int32(acc << left)) * np.int64(np.int32(multiplier))
    high = np.int32((product + (1 << 30)) >> 31)
    mask = np.int32((1 << right) - 1)
    remainder = np.int32(high & mask)
    threshold = np.int32((mask >> 1) + (1 if high < 0 else 0))
    return np.int32((high >> right) + (1 if remainder > threshold else 0))


@kernel
def requantize_single(acc: Int, multiplier: Int, shift: Int) -> Any:
    """Twin of arith.requantize_single.

    For n = -shift > 0, half a step is a multiple of 2**31, so the product's low 31 bits do not
    count:  (high + 2**(n - 1)) >> n  with  high = product >> 31.  Shifting by n - 1 first keeps
    the sum in int32.
    """
    left = shift if shift > 0 else 0
    right = -shift if shift < 0 else 0
    product = np.int64(np.int32(acc << left)) * np.int64(np.int32(multiplier))
    if right == 0:
        return np.int32((product + (1 << 30)) >> 31)
    return np.int32((np.int32(np.int32(product >> 31) >> (right - 1)) + np.int32(1)) >> 1)


@kernel
def requantize_shift(acc: Int, multiplier: Int, shift: Int) -> Any:
    """Twin of arith.requantize_shift, in int32 throughout."""
    half = np.int32((1 << -shift) >> 1)
    return np.int32(np.int32(np.int32(acc * multiplier) + half) >> -shift)


@kernel
def requantize_by(code: Int, acc: Int, multiplier: Int, shift: Int) -> Any:
    """Twin of arith.requantize_by; the profile by its code."""
    if code == _TFLM:
        return requantize(acc, multiplier, shift)
    if code == _SINGLE:
        return requantize_single(acc, multiplier, shift)
    return requantize_shift(acc, multiplier, shift)


def code_of(rounding: Rounding) -> int:
    """What requantize_by takes for a profile."""
    return ROUNDINGS.index(rounding)


@kernel
def clamp(x: Int, low: Int, high: Int) -> Any:
    """Twin of arith.clamp."""
    return low if x < low else (high if x > high else x)


@kernel
def divide_rounding(numerator: Int, denominator: Int) -> Any:
    """Twin of arith.divide_rounding."""
    half = denominator // 2
    if numerator >= 0:
        return (numerator + half) // denominator
    return -((-numerator + half) // denominator)
