"""Numba kernels that the operators with a filter share: dot products and requantization.

The loops are those that LLVM turns into vector instructions: int8 products summed in int32 over
contiguous memory, and no 64-bit sum. A sum may leave int32 on the way and comes back, since it
is taken modulo 2**32; passes/prove_accumulators.py proves that the result fits.
"""

from __future__ import annotations

import numpy as np

from edgeq.arith_jit import requantize_by
from edgeq.graph import Array
from edgeq.jit import kernel

DEPTH_STEP = 16  # a multiple of it as depth leaves no remainder to a vector loop
BLOCK_OUTPUTS = 1024  # outputs at a time: accumulators and parameters stay in the L1 cache


def block_rows(rows: int, channels: int) -> int:
    """Rows of `channels` outputs to compute at a time."""
    return min(rows, max(4, BLOCK_OUTPUTS // channels))


def padded_depth(weights: Array) -> Array:
    """(O, K) int8 weights with zeros after each row, to a multiple of DEPTH_STEP."""
    channels, depth = weights.shape
    out: Array = np.zeros((channels, -(-depth // DEPTH_STEP) * DEPTH_STEP), np.int8)
    out[:, :depth] = weights
    return out


def folded_bias(bias: Array, weights: Array, zero_point: int) -> Array:
    """(O,) int32: bias - z1 * sum(q2), so that  acc = folded + sum(q1 * q2).  Modulo 2**32."""
    total = weights.reshape(weights.shape[0], -1).sum(1, dtype=np.int64)
    folded: Array = bias.astype(np.int64) - zero_point * total
    return folded.astype(np.int32)


@kernel
def dot_rows(
    rows: Array,  # (R, K) int8
    weights: Array,  # (O, K) int8
    bias: Array,  # (O,) int32
    acc: Array,  # (R, O) int32, written
) -> None:
    """acc[r, o] = bias[o] + sum(rows[r] * weights[o]), two rows by four channels at a time.

    At the edges the last row and channel stand in for those that are not there.
    """
    last_row, last = rows.shape[0] - 1, weights.shape[0] - 1
    for r0 in range(0, last_row + 1, 2):
        r1 = min(r0 + 1, last_row)
        x0, x1 = rows[r0], rows[r1]
        for o0 in range(0, last + 1, 4):
            o1, o2, o3 = min(o0 + 1, last), min(o0 + 2, last), min(o0 + 3, last)
            w0, w1, w2, w3 = weights[o0], weights[o1], weights[o2], weights[o3]
            a00, a01, a02, a03 = bias[o0], bias[o1], bias[o2], bias[o3]
            a10, a11, a12, a13 = bias[o0], bias[o1], bias[o2], bias[o3]
            for k in range(rows.shape[1]):
                q0, q1 = np.int32(x0[k]), np.int32(x1[k])
                a00 = np.int32(a00 + q0 * np.int32(w0[k]))
                a01 = np.int32(a01 + q0 * np.int32(w1[k]))
                a02 = np.int32(a02 + q0 * np.int32(w2[k]))
                a03 = np.int32(a03 + q0 * np.int32(w3[k]))
                a10 = np.int32(a10 + q1 * np.int32(w0[k]))
                a11 = np.int32(a11 + q1 * np.int32(w1[k]))
                a12 = np.int32(a12 + q1 * np.int32(w2[k]))
                a13 = np.int32(a13 + q1 * np.int32(w3[k]))
            acc[r0, o0], acc[r0, o1], acc[r0, o2], acc[r0, o3] = a00, a01, a02, a03
            acc[r1, o0], acc[r1, o1], acc[r1, o2], acc[r1, o3] = a10, a11, a12, a13


@kernel
def dot_row(
    row: Array,  # (K,) int8
    weights: Array,  # (O, K) int8
    bias: Array,  # (O,) int32
    acc: Array,  # (O,) int32, written
) -> None:
    """acc[o] = bias[o] + sum(row * weights[o]): dot_rows on one row."""
    last = weights.shape[0] - 1
    for o0 in range(0, last + 1, 4):
        o1, o2, o3 = min(o0 + 1, last), min(o0 + 2, last), min(o0 + 3, last)
        w0, w1, w2, w3 = weights[o0], weights[o1], weights[o2], weights[o3]
        a0, a1, a2, a3 = bias[o0], bias[o1], bias[o2], bias[o3]
        for k in range(row.shape[0]):
            q = np.int32(row[k])
            a0 = np.int32(a0 + q * np.int32(w0[k]))
            a1 = np.int32(a1 + q * np.int32(w1[k]))
            a2 = np.int32(a2 + q * np.int32(w2[k]))
            a3 = np.int32(a3 + q * np.int32(w3[k]))
        acc[o0], acc[o1], acc[o2], acc[o3] = a0, a1, a2, a3


@kernel
def requantize_row(
    rounding: int,  # arith_jit.code_of
    acc: Array,  # (N,) int32
    multiplier: Array,  # (N,) or longer, int32
    shift: Array,  # (N,) or longer, int32
    output_zero_point: int,
    activation_min: int,
    activation_max: int,
    out: Array,  # (N,) int8, written
) -> None:
    """out[i] = clamp(z3 + acc[i] * M[i])."""
    zero_point = np.int32(output_zero_point)
    low, high = np.int32(activation_min), np.int32(activation_max)
    for i in range(out.shape[0]):
        y = np.int32(requantize_by(rounding, acc[i], multiplier[i], shift[i]) + zero_point)
        out[i] = max(low, min(high, y))
