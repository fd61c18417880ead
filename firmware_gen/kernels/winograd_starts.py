"""Where the sums of fully_connected_winograd.h start, and the offsets of a row that bring the
starts near each other.

A sum of products is the same with any number added to x, if the bias loses that number times
the sum of the weights: so biases (with most of what else starts hold) are partly up to choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.graph import Array

SEGMENT = 32  # EDGEQ_WINOGRAD_SEGMENT
ROUNDS = 200  # of the search for offsets


@dataclass(frozen=True, slots=True)
class Starts:
    """Where the sums of each pair start, and what x gets."""

    words: Array  # (pairs, 1) or, wide, (pairs, 2)
    lacking: int  # all B lack it, all A 256 times this
    offsets: tuple[int, ...]  # halves of what is added to x: one, or one for each SEGMENT taps

    def offset_words(self) -> Array:
        """Bytes that end with the offsets, if there are several."""
        if len(self.offsets) == 1:
            return np.zeros(0, np.int32)
        padded = (0,) * (-len(self.offsets) % 4) + self.offsets
        return np.array(padded, np.int8).view(np.int32)


def starts_of(rows: Array, bias: Array, zero_point: int, taps: int) -> Starts:
    """The starts in one word a pair if there are offsets with which they fit, else in two.

    rows: (O, taps) in int64, both padded, `taps` of them real; bias: (O,), with no zero point
    in it.
    """
    nearest = np.array([-zero_point // 2])
    if (starts := _near(rows, bias, zero_point, nearest)) is not None:
        return starts
    if taps % SEGMENT == 0 and taps > SEGMENT:
        sums = rows.reshape(len(rows), -1, SEGMENT).sum(2)
        values = _b_and_whole(rows, bias).astype(np.float64).ravel()
        factors = np.concatenate([sums, np.ones((len(rows), 1))], 1).astype(np.float64)
        weights = np.full(len(rows), 1 / len(rows))
        for _ in range(ROUNDS):
            # The largest deviation becomes least where the farthest weigh more and more.
            root = np.sqrt(weights)[:, None]
            found = np.linalg.lstsq(factors * root, -values * root[:, 0], rcond=None)[0]
            offsets = np.clip(np.round((found[:-1] + zero_point) / -2), -128, 127)
            starts = _near(rows, bias, zero_point, offsets.astype(np.int64))
            if starts is not None:
                return starts
            deviations = np.abs(values + factors @ found)
            if deviations.max() < 1 << 14:
                break  # near enough, but for offsets beyond a byte
            weights *= 1 + deviations / deviations.max()
            weights /= weights.sum()
    b, whole = _b_and_whole(rows, _with_offsets(rows, bias, zero_point, nearest)).T
    words = int32_words(np.stack([256 * whole + b, b], axis=1))
    return Starts(words, 0, (int(nearest[0]),))


def int32_words(values: Array) -> Array:
    """Modulo 2**32."""
    words: Array = (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return words


def _near(rows: Array, bias: Array, zero_point: int, offsets: Array) -> Starts | None:
    """The starts in one word a pair."""
    b, whole = _b_and_whole(rows, _with_offsets(rows, bias, zero_point, offsets)).T
    lacking = int(min(b.min(), whole.min()) + max(b.max(), whole.max())) // 2
    near = b - lacking
    above = whole + (near >> 8) - lacking
    if max(np.abs(near).max(), np.abs(above).max()) >= 1 << 15:
        return None
    words = int32_words(above << 16 | (near & 0xFF) << 8 | (near >> 8 & 0xFF))
    return Starts(words[:, None], lacking, tuple(offsets.tolist()))


def _with_offsets(rows: Array, bias: Array, zero_point: int, offsets: Array) -> Array:
    """The biases where x is the row plus twice the offsets, not less its zero point."""
    result: Array = bias - rows.reshape(len(rows), len(offsets), -1).sum(2) @ (
        2 * offsets + zero_point
    )
    return result


def _b_and_whole(rows: Array, bias: Array) -> Array:
    """The starts of B, and of A as A - B is 256 times them, of each pair."""
    taps = rows.reshape(len(rows) // 2, 2, -1, 2)  # pair, channel, two taps, the second odd
    values: Array = bias.reshape(-1, 2) - (taps[..., 0] * taps[:, :1, :, 1]).sum(2)
    return values
