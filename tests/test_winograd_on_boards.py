"""fully_connected_winograd.h on a board, with the parts of its assembly that layers need.

Problems of many layers at once (test_operators_on_boards.py) need all parts together.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from firmware_matrix import board_of, linked
from host_c import planned, run_model
from problem import Problem, activation, build, constant, graph_of
from toolchains import need_compiler

from edgeq.arith import requantize_by
from edgeq.graph import Array
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.stream.verify import verify
from firmware_gen import build as build_firmware
from firmware_gen import generate
from firmware_gen.cores import Target
from firmware_gen.kernels.fully_connected_winograd import WINOGRAD
from firmware_gen.kernels.winograd_starts import SEGMENT
from firmware_gen.layers import choose_kernels, layers_of

RUNS = 4
INPUT_ZERO_POINT = 3
MULTIPLIER = 1_500_000_000


def row(
    taps: int,
    channels: int,
    zero_point: int = -128,
    most: int = 127,
    shift: int = -9,
    is_wide: bool = False,
) -> Problem:
    """A row whose outputs are of all values; a shift of -9 is a sign of 1, of -8 one of 2."""
    rng = np.random.default_rng((taps, channels, zero_point + 128, most + 128, -shift))
    spread = 90 * 2 ** (-8 - shift) / math.sqrt(taps)  # of weights, for such a shift
    weights = np.clip(rng.normal(0, spread, (channels, taps)).round(), -127, 127)
    bias = rng.choice(beside_steps(shift), channels) * (100 if is_wide else 1)
    x = activation((1, taps))
    op = QuantizedFullyConnected(
        INPUT_ZERO_POINT, zero_point, -128, most, (MULTIPLIER,), (shift,)
    )
    tensors = (x, constant(weights.astype(np.int8)), constant(bias.astype(np.int32)))
    return build(op, tensors, (np.full((1, taps), INPUT_ZERO_POINT, np.int8),))


def by_segments(taps: int, channels: int) -> Problem:
    """A row whose biases are near each other only with an offset for each segment."""
    rng = np.random.default_rng((taps, channels))
    weights = rng.integers(-20, 21, (channels, taps))
    mean = np.repeat(rng.integers(-128, 128, taps // SEGMENT), SEGMENT)
    bias = -weights @ mean * 2
    x = activation((1, taps))
    op = QuantizedFullyConnected(INPUT_ZERO_POINT, -128, -128, 127, (MULTIPLIER,), (-9,))
    tensors = (x, constant(weights.astype(np.int8)), constant(bias.astype(np.int32)))
    return build(op, tensors, (mean.reshape(1, -1).astype(np.int8),))


def beside_steps(shift: int) -> list[int]:
    """Accumulators at which an output ends or begins: what a row of the zero point gives."""
    accs = range(-4000, 4000)
    outputs = [requantize_by("tflm", acc, MULTIPLIER, shift) for acc in accs]
    ends = [a for a, now, then in zip(accs, outputs, outputs[1:], strict=False) if now != then]
    return [*ends, *(a + 1 for a in ends)]


CASES = {
    "": [row(128, 12), row(256, 6)],
    "LEFT": [row(128, 16), row(128, 2)],
    "PARTS LEFT": [row(8, 16), row(64, 12), row(200, 6), row(136, 4), row(32, 10)],
    "WIDE LEFT": [row(128, 10, is_wide=True), row(128, 8)],
    "OFFSETS LEFT": [by_segments(256, 14), row(128, 12), by_segments(640, 8)],
    "OFFSETS PARTS LEFT": [by_segments(160, 14), row(8, 12), row(88, 6)],
    "OFFSETS PARTS WIDE SIGNED LEFT ODD TAIL": [
        by_segments(96, 14),
        row(5, 7),
        row(150, 9, is_wide=True),
        row(128, 6, 96),
        row(24, 2),
    ],
    "SIGNED LEFT": [row(128, 14, 96), row(128, 14, 0), row(128, 14)],
    "SIGNED SIGNS": [row(128, 12, 96, shift=-7), row(128, 12, 0), row(128, 12)],
    "PARTS SIGNED SIGNS LEFT ODD": [row(72, 13, 20, shift=-8), row(72, 3), row(128, 1, 5)],
    "PARTS WIDE LEFT ODD TAIL CLAMPS": [
        row(77, 15, most=-100),
        row(5, 7),
        row(150, 9, is_wide=True),
    ],
}


@pytest.mark.parametrize(
    ("compiler", "optimize"), [("gcc", "size"), ("gcc", "speed"), ("zig", "balanced")]
)
@pytest.mark.parametrize("parts", CASES)
def test_what_layers_need_is_enough(parts: str, compiler, optimize, tmp_path: Path) -> None:
    need_compiler(compiler)
    named, graph = graph_of(CASES[parts])
    layers = layers_of(graph)
    for problem, layer in zip(named, layers, strict=True):
        assert WINOGRAD.why_not(problem.op, layer, Target(has_dsp=True)) is None
    needs = {
        name for p, layer in zip(named, layers, strict=True) for name in needs_of(p, layer)
    }
    assert needs == set(parts.split())
    board = board_of("m4")
    elf = build_firmware(
        generate(graph, board, tmp_path, self_test=0, optimize=optimize), compiler
    ).elf
    with linked(elf, board, "virtual") as link:
        found = verify(link, graph, samples_of(named))
    assert found.is_equal, found.differences


def test_the_c_for_other_cores_gives_the_same(tmp_path: Path) -> None:
    named, graph = graph_of([problem for case in CASES.values() for problem in case])
    target = Target(has_dsp=True)
    choices = choose_kernels(graph, target, "balanced")
    assert {choice.variant for choice in choices} == {WINOGRAD.name}
    samples = [list(rows) for rows in zip(*samples_of(named), strict=True)]
    outputs = run_model(
        tmp_path, graph, planned(graph, target), samples, target=target, choices=choices
    )
    for sample, found in zip(samples, outputs, strict=True):
        for problem, x, out in zip(named, sample, found, strict=True):
            want = problem.op.reference(x[None], *problem.values()[1:])[0]
            assert out == want.tobytes(), problem


def samples_of(problems: list[Problem]) -> list[Array]:
    """The row of each problem, and other rows."""
    rng = np.random.default_rng(1)
    samples = [
        np.concatenate([a, *(rng.integers(-128, 128, a.shape) for _ in range(RUNS - 1))])
        for problem in problems
        for a in problem.arrays
    ]
    return [sample.astype(np.int8) for sample in samples]


def needs_of(problem: Problem, layer) -> set[str]:
    """The parts that a layer asks for."""
    code = WINOGRAD.emit(problem.op, layer)
    return {name.removeprefix("EDGEQ_WINOGRAD_") for name in code.defines}
