"""ADD as one affine map: the integers that the search finds give every pair of bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeq.arith import ROUNDINGS, Rounding, quantize_multiplier
from edgeq.graph import Array
from edgeq.ops.add import LEFT_SHIFT, QuantizedAdd
from firmware_gen.kernels.add_affine import NEAR, RIGHT, affine_map, all_results

BYTES = np.arange(-128, 128)


def add_of(s1: float, z1: int, s2: float, z2: int, s3: float, z3: int) -> QuantizedAdd:
    """ADD of these scales and zero points, by the rule of Add.lower."""
    twice = 2 * max(s1, s2)
    input1, input2 = quantize_multiplier(s1 / twice), quantize_multiplier(s2 / twice)
    output = quantize_multiplier(twice / ((1 << LEFT_SHIFT) * s3))
    return QuantizedAdd(z1, z2, z3, *input1, *input2, *output, -128, 127)


USUAL = {
    "a residual": add_of(0.0817, -128, 0.1081, 4, 0.0635, -128),
    "its clamped output": replace(
        add_of(0.31357, 38, 0.79113, -2, 0.46309, -77), activation_min=-77, activation_max=90
    ),
    "equal scales, a tie in every other sum": add_of(1.0, 3, 1.0, -9, 2.0, 1),
    "an output finer than the inputs": add_of(0.11, -5, 0.23, 7, 0.19, 0),
}


def rounded(op: QuantizedAdd, rounding: Rounding) -> QuantizedAdd:
    found = op.rounded(rounding, ())
    assert isinstance(found, QuantizedAdd)
    return found


USUAL |= {
    f"a residual rounded by '{rounding}'": rounded(USUAL["a residual"], rounding)
    for rounding in ROUNDINGS[1:]
}


def reference(op: QuantizedAdd) -> Array:
    q1, q2 = np.meshgrid(BYTES, BYTES, indexing="ij")
    (out,) = op.reference(q1.astype(np.int8), q2.astype(np.int8))
    return out


@pytest.mark.parametrize("op", USUAL.values(), ids=USUAL)
def test_the_map_gives_the_bytes_of_all_pairs_and_stays_in_int32(op: QuantizedAdd) -> None:
    found = affine_map(op)
    assert found is not None
    a, b, c = found.multiplier1, found.multiplier2, found.addend
    inner = b * BYTES + c
    sums = (a * BYTES)[:, None] + inner[None, :]
    assert max(np.abs(inner).max(), np.abs(sums).max()) < 2**31
    out = np.clip(sums >> RIGHT, op.activation_min, op.activation_max)
    assert out.tolist() == reference(op).tolist()


@pytest.mark.parametrize("op", USUAL.values(), ids=USUAL)
def test_what_the_search_aims_at_is_the_reference(op: QuantizedAdd) -> None:
    assert all_results(op).tolist() == reference(op).tolist()


def test_a_constant_beside_the_map_breaks_a_pair() -> None:
    op = USUAL["equal scales, a tie in every other sum"]
    found = affine_map(op)
    assert found is not None
    a, b, c = found.multiplier1, found.multiplier2, found.addend
    step = 1 << (RIGHT - 7)
    for wrong in (c - step, c + step):
        sums = (a * BYTES)[:, None] + (b * BYTES + wrong)[None, :]
        assert (np.clip(sums >> RIGHT, -128, 127) != all_results(op)).any()


def test_sums_beyond_int32_are_not_taken() -> None:
    assert affine_map(add_of(1.0, 0, 1.0, 0, 0.1, 0)) is None


def test_the_search_stays_near_the_scales() -> None:
    op = USUAL["a residual"]
    found = affine_map(op)
    assert found is not None
    assert abs(found.multiplier1 - 2**RIGHT * 0.0817 / 0.0635) <= NEAR + 1
    assert abs(found.multiplier2 - 2**RIGHT * 0.1081 / 0.0635) <= NEAR + 1
