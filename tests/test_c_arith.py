"""edgeq_arith.h beside arith.py, with 64-bit products and without (as on Armv6-M)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from host_c import build, run

from edgeq import arith, fixed_point
from edgeq.arith import INT32_MAX, INT32_MIN
from edgeq.graph import Array

VARIANTS = ((), ("-DEDGEQ_NO_LONG_MULTIPLY",))

# Each call of {call} takes the int32 `v` and gives one int32.
_HARNESS = """\
#include <stdio.h>

#include "edgeq_arith.h"
#include "softmax.h"

int main(void) {{
    int32_t v[3];
    while (fread(v, sizeof v, 1, stdin) == 1) {{
        const int32_t y = {call};
        (void)fwrite(&y, sizeof y, 1, stdout);
    }}
    return 0;
}}
"""


def interesting() -> list[int]:
    """Ends of int32, powers of two and their neighbours, of both signs."""
    powers = [sign * (2**k + d) for k in range(31) for d in (-1, 0, 1) for sign in (1, -1)]
    return sorted({0, INT32_MIN, INT32_MIN + 1, INT32_MAX, INT32_MAX - 1, *powers})


def random_int32(count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(INT32_MIN, 2**31, count).tolist()


def c_results(
    folder: Path, call: str, rows: list[tuple[int, int, int]], options: tuple[str, ...]
) -> list[int]:
    (folder / "main.c").write_text(_HARNESS.format(call=call), encoding="utf-8")
    program = build(folder, ("main.c",), ("-O1", *options))
    stdin: Array = np.array(rows, np.int32)
    return np.frombuffer(run(program, stdin.tobytes()), np.int32).tolist()


@pytest.mark.parametrize("options", VARIANTS)
def test_doubling_high_mul(tmp_path: Path, options: tuple[str, ...]) -> None:
    values = interesting()
    rows = [(a, b, 0) for a in values for b in values]
    rows += list(
        zip(random_int32(20_000, 1), random_int32(20_000, 2), [0] * 20_000, strict=True)
    )
    # Exact ties: an odd multiple of 2**30, of both signs.
    ties = [
        (s * (2 * i + 1) << 15, t << 15, 0)
        for i in range(200)
        for s in (1, -1)
        for t in (1, -1)
    ]
    rows = [row for row in rows + ties if row[:2] != (INT32_MIN, INT32_MIN)]
    got = c_results(tmp_path, "edgeq_doubling_high_mul(v[0], v[1])", rows, options)
    assert got == [arith.doubling_high_mul(a, b) for a, b, _ in rows]


def test_rounding_shift_right(tmp_path: Path) -> None:
    values = [*interesting(), *random_int32(500, 3)]
    rows = [(x, n, 0) for x in values for n in range(32)]
    # Ties of both signs for every n: an odd multiple of half a step.
    rows += [
        (s * (2 * i + 1) << (n - 1), n, 0)
        for n in range(1, 31)
        for i in range(8)
        for s in (1, -1)
        if (2 * i + 1) << (n - 1) <= INT32_MAX
    ]
    got = c_results(tmp_path, "edgeq_rounding_shift_right(v[0], v[1])", rows, ())
    assert got == [arith.rounding_shift_right(x, n) for x, n, _ in rows]


@pytest.mark.parametrize("options", VARIANTS)
def test_requantize(tmp_path: Path, options: tuple[str, ...]) -> None:
    rng = np.random.default_rng(4)
    multipliers = [0, 2**30, 2**30 + 1, 2**31 - 1, *rng.integers(2**30, 2**31, 12).tolist()]
    accs = [*interesting(), *random_int32(60, 5)]
    rows = [
        (acc, multiplier, shift)
        for acc in accs
        for multiplier in multipliers
        for shift in range(-31, 31)
        if INT32_MIN <= acc << max(shift, 0) <= INT32_MAX
    ]
    got = c_results(tmp_path, "edgeq_requantize(v[0], v[1], v[2])", rows, options)
    assert got == [arith.requantize(*row) for row in rows]


@pytest.mark.parametrize("options", VARIANTS)
def test_divide_rounding(tmp_path: Path, options: tuple[str, ...]) -> None:
    counts = [*range(1, 40), 49, 64, 255, 256, 1000, 46 * 46, 2**16, 2**23]
    steps = (0.0, 0.25, 0.499, 0.5, 0.501, 1.0, 63.5, 126.5, 127.0, 127.5, 128.0)
    rows = [
        (s * round(q * d) + e, d, 0)
        for d in counts
        for q in steps
        for s in (1, -1)
        for e in (0, 1)
    ]
    rows = [row for row in rows if abs(row[0]) <= 128 * row[1]]
    got = c_results(tmp_path, "edgeq_divide_rounding(v[0], v[1])", rows, options)
    assert got == [arith.divide_rounding(n, d) for n, d, _ in rows]


def test_clamp(tmp_path: Path) -> None:
    rows = [(x, lo, hi) for x in interesting() for lo, hi in ((-128, 127), (0, 0), (-5, 3))]
    got = c_results(tmp_path, "edgeq_clamp(v[0], v[1], v[2])", rows, ())
    assert got == [arith.clamp(*row) for row in rows]


@pytest.mark.parametrize("options", VARIANTS)
def test_reciprocal_of_softmax(tmp_path: Path, options: tuple[str, ...]) -> None:
    """C takes half of 1 + x, Python x; both in Q0.31."""
    xs = [0, 1, 2, 3, 2**30, INT32_MAX, INT32_MAX - 1, *range(1, 2**31 - 1, 2**20 + 7)]
    rows = [((x + 2**31) >> 1, 0, 0) for x in xs]
    even = [x - (x & 1) for x in xs]  # the bit that halving drops
    got = c_results(tmp_path, "edgeq_reciprocal(v[0])", rows, options)
    assert got == [fixed_point.one_over_one_plus_x(x) for x in even]
