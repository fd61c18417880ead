"""Rounding of a filter by what it does to the layer's output, not by each weight alone.

For one output channel with float weights w, inputs x of the float network and x' of the
integer one, the integers q and the scale s are sought that minimize the mean over samples of

    (w.x - s q.x')^2  =  (s q - t)^T H (s q - t) + const,
    H = E[x' x'^T],   t = w + w (E[x x'^T] - H) H^-1,

t being the weights that would make up best for the errors of the layers before. Three steps:

1. One column after the other is rounded to the nearest, and the error of each is spread over
   the columns that are left, as the inverse of H says: Frantar et al. 2022, "GPTQ", after
   Hassibi's optimal brain surgeon.
2. Coordinate descent: each q is set to its best integer, all others held, until none changes.
   AdaRound (Nagel et al. 2020) seeks the least of the same objective among the two neighbours
   of each w by gradient steps; here any integer may be taken.
3. The scale is fitted to the integers, s = (t H q) / (q H q), and step 2 goes on.
"""

from __future__ import annotations

import numpy as np

from edgeq.graph import Array
from edgeq.scheme import Scheme, on_grid

DAMPING = 0.01  # of the mean diagonal of H: GPTQ's
FITS = 4  # fits of the scale
SWEEPS = 20  # of coordinate descent, at most, between two fits


def round_rows(
    rows: Array, squares: Array, cross: Array, count: int, scheme: Scheme
) -> tuple[Array, Array]:
    """(rows on their grid (O, taps), scales (O,)) for float rows (O, taps).

    `squares` is H and `cross` E[x x'^T], (B, taps, taps) with B = 1 or O, of `count` pixels.
    """
    hessian = damped(squares, count)
    target = rows + _times(_times(rows, cross - squares), np.linalg.inv(hessian))
    importance = np.diagonal(hessian, axis1=1, axis2=2)
    scales = scheme.scales(target, importance)
    q = _spread(target, hessian, scales, scheme.q_max)
    q = _descend(q, target, hessian, scales, scheme.q_max)
    for _ in range(FITS):
        fitted = _fitted(q, target, hessian, scales, scheme)
        if np.array_equal(fitted, scales):
            break
        scales = fitted
        q = _descend(q, target, hessian, scales, scheme.q_max)
    snapped: Array = q * scales[:, None]
    return snapped, scales


def damped(squares: Array, count: int) -> Array:
    """H made safe to invert and not to trust beyond its samples.

    Off the diagonal it is shrunk by count / (count + taps): with fewer pixels than taps, what
    taps seem to have in common is mostly chance. What is still not positive definite, by the
    rounding of floats, gets more on its diagonal until it is.
    """
    taps = squares.shape[-1]
    diagonal = np.maximum(np.diagonal(squares, axis1=1, axis2=2), 0.0)
    shrunk: Array = squares * (count / (count + taps))
    mean = diagonal.mean(1, keepdims=True)
    places = np.arange(taps)
    damping = DAMPING
    while True:
        shrunk[:, places, places] = diagonal + damping * mean + np.where(mean > 0, 0.0, 1.0)
        try:
            np.linalg.cholesky(np.linalg.inv(shrunk))
        except np.linalg.LinAlgError:
            damping *= 10
        else:
            return shrunk


def _times(rows: Array, matrix: Array) -> Array:
    """rows[o] @ matrix[o], or one matrix for all rows."""
    if matrix.shape[0] == 1:
        product: Array = rows @ matrix[0]
        return product
    each: Array = np.matmul(rows[:, None, :], matrix)[:, 0]
    return each


def _spread(target: Array, hessian: Array, scales: Array, q_max: int) -> Array:
    """Step 1: integers (O, taps)."""
    taps = target.shape[1]
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2).mean(0), kind="stable")
    inverse = np.linalg.inv(hessian[:, order][:, :, order])
    # Upper triangular U with H^-1 = U^T U: row j says how the error of column j spreads.
    upper = np.linalg.cholesky(inverse).transpose(0, 2, 1)
    left = target[:, order].copy()
    q = np.zeros_like(left)
    steps = np.where(scales > 0, scales, 1.0)
    for j in range(taps):
        q[:, j] = np.clip(np.rint(left[:, j] / steps), -q_max, q_max)
        error = (left[:, j] - q[:, j] * steps) / upper[:, j, j]
        left[:, j + 1 :] -= error[:, None] * upper[:, j, j + 1 :]
    restored = np.empty_like(q)
    restored[:, order] = q
    nearest = on_grid(target, scales, q_max) / steps[:, None]
    keep = _error(restored, target, hessian, steps) <= _error(nearest, target, hessian, steps)
    chosen: Array = np.where(keep[:, None], restored, nearest)
    return chosen


def _descend(q: Array, target: Array, hessian: Array, scales: Array, q_max: int) -> Array:
    """Step 2: the same or less error in every row."""
    q = q.copy()
    steps = np.where(scales > 0, scales, 1.0)
    gradient = _times(q * steps[:, None] - target, hessian)
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    for _ in range(SWEEPS):
        changes = 0
        for j in range(q.shape[1]):
            wanted = q[:, j] - gradient[:, j] / (diagonal[:, j] * steps)
            best = np.clip(np.rint(wanted), -q_max, q_max)
            # A tie, or what rounding of floats makes of one, is no reason to move.
            moved = np.abs(wanted - q[:, j]) > 0.5 + 1e-9
            delta = np.where(moved, (best - q[:, j]) * steps, 0.0)
            if not delta.any():
                continue
            q[:, j] = np.where(moved, best, q[:, j])
            gradient += delta[:, None] * hessian[:, j, :]
            changes += int(np.count_nonzero(delta))
        if not changes:
            break
    return q


def _fitted(q: Array, target: Array, hessian: Array, scales: Array, scheme: Scheme) -> Array:
    """Step 3: the best scales for these integers; the old one where there is no better."""
    weighted = _times(q, hessian)
    above, below = (weighted * target).sum(1), (weighted * q).sum(1)
    if not scheme.is_per_channel:
        above, below = np.full_like(above, above.sum()), np.full_like(below, below.sum())
    usable = (above > 0) & (below > 0)
    fitted = np.where(usable, above / np.where(usable, below, 1.0), scales)
    return fitted.astype(np.float32).astype(np.float64)


def _error(q: Array, target: Array, hessian: Array, steps: Array) -> Array:
    """(O,): the objective of each row."""
    e = q * steps[:, None] - target
    total: Array = (_times(e, hessian) * e).sum(1)
    return total
