"""The profiles of rounding in firmware, on every class of core."""

from __future__ import annotations

from pathlib import Path

import pytest
from firmware_matrix import EmulatorName, board_of, linked
from problem import graph_of
from problems import make_problems
from test_operators import requantizes
from toolchains import COMPILERS, need_compiler

from edgeq.arith import Rounding
from edgeq.ops import OPERATORS
from edgeq.stream.verify import verify
from firmware_gen import build, generate

PROBLEMS_AN_OPERATOR = 6


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("target", "emulator"),
    [
        ("nucleo_g0b1re", "virtual"),
        ("m3", "virtual"),
        ("m4", "virtual"),
        ("m7", "virtual"),
        ("m33", "qemu"),
        ("m55", "qemu"),
    ],
)
@pytest.mark.parametrize("rounding", ["single", "shift"])
def test_a_board_gives_the_interpreters_bytes(
    rounding: Rounding, target: str, emulator: EmulatorName, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    problems = [
        problem
        for operator in OPERATORS
        if requantizes(operator)
        for problem in make_problems(operator.name, PROBLEMS_AN_OPERATOR, rounding)
    ]
    named, graph = graph_of(problems)
    assert graph.rounding == rounding
    board = board_of(target)
    elf = build(generate(graph, board, tmp_path, self_test=0), compiler).elf
    with linked(elf, board, emulator) as link:
        found = verify(link, graph, [x for p in named for x in p.arrays])
    assert found.is_equal, [named[int(d.output[1:].split("/")[0])] for d in found.differences]
