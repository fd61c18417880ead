"""Problems x backends: reference, Numba and host C give the same bytes for every operator."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from host_c import run_model
from hypothesis import given, settings
from hypothesis import strategies as st
from problem import Problem, graph_of
from problems import PROBLEMS, make_problems

from edgeq.graph import Array, Graph
from edgeq.memory import MemoryPlan, Placement, scratch_name
from edgeq.ops import OPERATORS
from firmware_gen.kernels import KERNELS, kernels_folder

REPOSITORY = Path(__file__).parent.parent
RED_ZONE = 24  # bytes at least between two buffers
ALIGNMENT = 8  # of the address sanitizer's shadow


def spread_plan(problems: list[Problem], graph: Graph) -> MemoryPlan:
    """Every buffer by itself between red zones, but for outputs that are to be in place."""
    places: dict[str, Placement] = {}
    end = RED_ZONE

    def put(name: str, nbytes: int) -> None:
        nonlocal end
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        places[name] = Placement(offset, nbytes, -1, len(graph.nodes))
        end = offset + nbytes + RED_ZONE

    for problem, node in zip(problems, graph.nodes, strict=True):
        for tensor in problem.inputs:
            if tensor.data is None:
                put(tensor.name, tensor.nbytes)
        host = host_of(problem)
        if host is None:
            put(problem.output.name, problem.output.nbytes)
        else:
            places[problem.output.name] = places[host]
        if scratch := problem.op.scratch_nbytes(*(t.shape for t in problem.inputs)):
            put(scratch_name(node), scratch)
    return MemoryPlan(end, end, 0, MappingProxyType(places))


def host_of(problem: Problem) -> str | None:
    """The input whose bytes the output takes."""
    if problem.op.is_alias:
        return problem.inputs[0].name
    if problem.in_place:
        for index in problem.op.inplace_inputs:
            tensor = problem.inputs[index]
            if tensor.data is None and tensor.shape == problem.output.shape:
                return tensor.name
    return None


def run_numba(problem: Problem) -> Array:
    values = tuple(x.copy() for x in problem.values())
    out = np.full(problem.output.shape, 0x55, problem.output.dtype)
    host = host_of(problem)
    for tensor, x in zip(problem.inputs, values, strict=True):
        if tensor.name == host:
            out = x.reshape(-1).view(problem.output.dtype).reshape(problem.output.shape)
    scratch = np.full(problem.op.scratch_nbytes(*(x.shape for x in values)), 0xA5, np.uint8)
    problem.op.bind(values, (out,), scratch)()
    return out


BATCH = 80  # problems in one compiled program
OPTIONS = (("-O2",), ("-O1", "-DEDGEQ_NO_LONG_MULTIPLY"), ("-O1",))


@pytest.mark.parametrize("name", [operator.name for operator in OPERATORS])
def test_reference_numba_and_c_agree_to_the_bit(name: str, tmp_path: Path) -> None:
    problems = make_problems(name, BATCH * len(OPTIONS))
    assert len(problems) >= 25
    for index, options in enumerate(OPTIONS):
        check(problems[index :: len(OPTIONS)], options, tmp_path)


def check(problems: list[Problem], options: tuple[str, ...], folder: Path) -> None:
    named, graph = graph_of(problems)
    expected = [p.op.reference(*p.values())[0] for p in named]
    for problem, want in zip(named, expected, strict=True):
        assert want.shape == problem.output.shape
        assert want.dtype == problem.output.dtype
        assert run_numba(problem).tobytes() == want.tobytes(), f"Numba: {problem}"
    sample = [x for p in named for x in p.arrays]
    (outputs,) = run_model(folder, graph, spread_plan(named, graph), [sample], options)
    for problem, want, got in zip(named, expected, outputs, strict=True):
        assert got == want.tobytes(), f"C: {problem}"


def test_every_operator_has_its_files_its_kernel_and_its_problems() -> None:
    missing = []
    for operator in OPERATORS:
        wanted = [
            f"edgeq/ops/{operator.name}.py",
            f"firmware_gen/kernels/{operator.name}.py",
        ]
        for kind in operator.integer_classes:
            if kind not in KERNELS:
                missing.append(f"firmware_gen/kernels/__init__.py: KERNELS[{kind.__name__}]")
            elif (header := KERNELS[kind].header) is not None:
                wanted.append(f"firmware_gen/kernels/{header}")
            elif not kind.is_alias:
                missing.append(f"firmware_gen/kernels/{operator.name}.h")
        missing += [path for path in wanted if not (REPOSITORY / path).is_file()]
        if operator.name not in PROBLEMS:
            missing.append(f"tests/problems.py: PROBLEMS[{operator.name!r}]")
    assert not missing
    used = {kernel.header for kernel in KERNELS.values()} - {None}
    extra = {path.name for path in kernels_folder().glob("*.h")} - used
    assert extra == {"edgeq_arith.h", "edgeq_window.h"}


@settings(max_examples=10, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", [operator.name for operator in OPERATORS])
def test_kernels_want_the_scratch_that_the_operator_plans(
    name: str, data: st.DataObject
) -> None:
    problem = data.draw(PROBLEMS[name])
    shapes = [t.shape for t in problem.inputs]
    kernel = KERNELS[type(problem.op)]
    assert kernel.scratch_nbytes(problem.op, *shapes) == problem.op.scratch_nbytes(*shapes)
