"""Operators whose kernels have variants, on emulated boards: the bytes of the interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest
from firmware_matrix import EmulatorName, board_of, linked
from problem import graph_of
from problems import make_problems
from toolchains import COMPILERS, need_compiler

from edgeq.ops import OPERATORS
from edgeq.stream.verify import verify
from firmware_gen import build, generate
from firmware_gen.kernels import KERNELS
from firmware_gen.kernels.kernel import no_parts
from firmware_gen.optimize import Optimize

PROBLEMS_A_BOARD = 30
WITH_VARIANTS = [
    operator
    for operator in OPERATORS
    if any(
        KERNELS[kind].variants or KERNELS[kind].parts is not no_parts
        for kind in operator.integer_classes
    )
]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("target", "emulator", "optimize"),
    [
        ("m0-on-m3", "virtual", "speed"),
        ("nucleo_g0b1re", "virtual", "balanced"),
        ("m3", "virtual", "balanced"),
        ("m4", "virtual", "speed"),
        ("m33", "qemu", "size"),
        ("m55", "qemu", "size"),
    ],
)
@pytest.mark.parametrize("operator", WITH_VARIANTS, ids=lambda operator: operator.name)
def test_every_variant_gives_the_interpreters_bytes_on_a_board(
    operator, target: str, emulator: EmulatorName, optimize: Optimize, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    board = board_of(target)
    problems = make_problems(operator.name, PROBLEMS_A_BOARD)
    named, graph = graph_of(problems)
    elf = build(generate(graph, board, tmp_path, self_test=0, optimize=optimize), compiler).elf
    with linked(elf, board, emulator) as link:
        found = verify(link, graph, [x for p in named for x in p.arrays])
    assert found.is_equal, [named[int(d.output[1:].split("/")[0])] for d in found.differences]
