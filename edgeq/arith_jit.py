"""Numba twins of arith.py: int64 inside, so an overflow of int32 would not show here.

passes/prove_accumulators.py proves that there is none before a graph may run.
"""

from __future__ import annotations

from typing import Any

from edgeq.jit import kernel

Int = Any  # an integer of Python, numpy or Numba


@kernel
def requantize(acc: Int, multiplier: Int, shift: Int) -> Any:
    """Twin of arith.requantize."""
    left = shift if shift > 0 else 0
    right = -shift if shift < 0 else 0
    high = ((acc << left) * multiplier + (1 << 30)) >> 31
    remainder = high & ((1 << right) - 1)
    threshold = (((1 << right) - 1) >> 1) + (1 if high < 0 else 0)
    return (high >> right) + (1 if remainder > threshold else 0)


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
