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
from firmware_gen.cores import core_of
from firmware_gen.kernels import KERNELS
from firmware_gen.layers import choose_kernels

PROBLEMS_A_BOARD = 60
# One core of each kind that has kernels of its own. The machine with an M0 is too small.
ON: list[tuple[str, EmulatorName]] = [
    ("m4", "virtual"),
    ("m33", "qemu"),
    ("m3", "virtual"),
    ("m3", "qemu"),
    ("m0-on-m3", "qemu"),
    ("nucleo_g0b1re", "virtual"),
]
WITH_VARIANTS = [
    operator
    for operator in OPERATORS
    if any(KERNELS[kind].variants for kind in operator.integer_classes)
]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("target", "emulator"), ON)
@pytest.mark.parametrize("operator", WITH_VARIANTS, ids=lambda operator: operator.name)
def test_every_variant_gives_the_interpreters_bytes_on_a_board(
    operator, target: str, emulator: EmulatorName, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    board = board_of(target)
    problems = make_problems(operator.name, PROBLEMS_A_BOARD)
    named, graph = graph_of(problems)
    elf = build(generate(graph, board, tmp_path, self_test=0), compiler).elf
    with linked(elf, board, emulator) as link:
        found = verify(link, graph, [x for p in named for x in p.arrays])
    assert found.is_equal, [named[int(d.output[1:].split("/")[0])] for d in found.differences]


@pytest.mark.parametrize("operator", WITH_VARIANTS, ids=lambda operator: operator.name)
def test_every_variant_runs_on_a_board(operator) -> None:
    _, graph = graph_of(make_problems(operator.name, PROBLEMS_A_BOARD))
    targets = [core_of(board_of(target)).target for target, _ in ON]
    chosen = {c.variant for target in targets for c in choose_kernels(graph, target)}
    variants = {v.name for kind in operator.integer_classes for v in KERNELS[kind].variants}
    assert variants <= chosen, "a variant that no problem reaches"
