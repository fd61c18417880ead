"""Problems x backends: reference, Numba and host C give the same bytes for every operator."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from host_c import run_model
from problem import Problem, graph_of
from problems import PROBLEMS, make_problems

from edgeq.arith import ROUNDINGS, Rounding
from edgeq.graph import Array, Graph
from edgeq.memory import MemoryPlan, Placement, scratch_name
from edgeq.ops import OPERATORS, Operator
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.kernels import KERNELS, kernels_folder
from firmware_gen.layers import Choice, choose_kernels
from firmware_gen.optimize import Optimize

REPOSITORY = Path(__file__).parent.parent
RED_ZONE = 24  # bytes at least between two buffers
ALIGNMENT = 8  # of the address sanitizer's shadow
TARGETS = {
    "portable": PORTABLE,
    "dsp": Target(has_dsp=True),
    "mve": Target(has_dsp=True, has_mve=True),
    "mla": Target(has_mla=True),
    "v6m": Target(has_mul64=False),
}


def spread_plan(
    problems: list[Problem], graph: Graph, choices: tuple[Choice, ...]
) -> MemoryPlan:
    """Every buffer by itself between red zones, but for outputs that are to be in place."""
    places: dict[str, Placement] = {}
    end = RED_ZONE

    def put(name: str, nbytes: int) -> None:
        nonlocal end
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        places[name] = Placement(offset, nbytes, -1, len(graph.nodes))
        end = offset + nbytes + RED_ZONE

    for problem, node, choice in zip(problems, graph.nodes, choices, strict=True):
        for tensor in problem.inputs:
            if tensor.data is None:
                put(tensor.name, tensor.nbytes)
        host = host_of(problem)
        if host is None:
            put(problem.output.name, problem.output.nbytes)
        else:
            places[problem.output.name] = places[host]
        if choice.scratch_nbytes:
            put(scratch_name(node), choice.scratch_nbytes)
    return MemoryPlan(end, end, 0, MappingProxyType(places))


def host_of(problem: Problem) -> str | None:
    """The input whose bytes the output takes."""
    if problem.op.is_alias:
        return problem.inputs[0].name
    if problem.in_place:
        shapes = [t.shape for t in problem.inputs]
        for index, tensor in enumerate(problem.inputs):
            is_same_size = tensor.data is None and tensor.nbytes == problem.output.nbytes
            if is_same_size and problem.op.overlap_nbytes(index, *shapes) == 0:
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


BATCH = 50  # problems in one compiled program
OPTIONS: tuple[tuple[tuple[str, ...], Optimize], ...] = (
    (("-O2",), "speed"),
    (("-O1", "-DEDGEQ_NO_LONG_MULTIPLY"), "size"),
    (("-O1",), "balanced"),
)


PARTS = {
    "conv_depthwise": (QuantizedConv2D, QuantizedDepthwiseConv2D),
    "conv_add": (QuantizedConv2D, QuantizedAdd),
}


def variants_of(operator: Operator, rounding: Rounding = "tflm") -> set[str]:
    """The variants of the kernels of an operator and its parts, besides the portable ones."""
    variants = [v for kind in operator.integer_classes for v in KERNELS[kind].variants]
    for kind in PARTS.get(operator.name, ()):  # a part unpacks nothing: it runs for each row
        variants += [v for v in KERNELS[kind].variants if v.saved_nbytes is None]
    return {v.name for v in variants if rounding in v.roundings}


def requantizes(operator: Operator) -> bool:
    """Whether the operator is another one in another profile of rounding."""
    return any(hasattr(kind, "rounding") for kind in operator.integer_classes)


def cases() -> list[Any]:
    """Each operator on each target for which it may have a kernel of its own."""
    return [
        pytest.param(operator, target, rounding, id=f"{operator.name}-{name}-{rounding}")
        for operator in OPERATORS
        for name, target in TARGETS.items()
        if name == "portable" or variants_of(operator)
        for rounding in (ROUNDINGS if requantizes(operator) else ("tflm",))
    ]


@pytest.mark.parametrize(("operator", "target", "rounding"), cases())
def test_reference_numba_and_c_agree_to_the_bit(
    operator: Operator, target: Target, rounding: Rounding, tmp_path: Path
) -> None:
    several = OPTIONS if rounding == "tflm" else OPTIONS[:1]  # most kernels are tflm's alone
    problems = make_problems(operator.name, BATCH * len(several), rounding)
    assert len(problems) >= 25
    for index, (options, optimize) in enumerate(several):
        check(problems[index :: len(several)], options, optimize, tmp_path, target)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_every_variant_is_reached_by_a_problem(operator: Operator) -> None:
    if not variants_of(operator, "tflm"):
        return
    problems = make_problems(operator.name, 4 * BATCH * len(OPTIONS))
    reached = {
        kernel.variant
        for target in TARGETS.values()
        for optimize in ("speed", "size")
        for choice in chosen(graph_of(problems)[1], target, optimize)
        for kernel in choice.kernels()
    }
    assert variants_of(operator, "tflm") <= reached, "delete a variant that no problem reaches"


def chosen(graph: Graph, target: Target, optimize: Optimize) -> tuple[Choice, ...]:
    """The kernels where there is room to unpack all constants."""
    rooms = {node.name: 1 << 20 for node in graph.nodes}
    return choose_kernels(graph, target, optimize, rooms=rooms)


def check(
    problems: list[Problem],
    options: tuple[str, ...],
    optimize: Optimize,
    folder: Path,
    target: Target,
) -> None:
    """Every backend gives the reference's bytes."""
    named, graph = graph_of(problems)
    expected = [p.op.reference(*p.values())[0] for p in named]
    for problem, want in zip(named, expected, strict=True):
        assert want.shape == problem.output.shape
        assert want.dtype == problem.output.dtype
        assert run_numba(problem).tobytes() == want.tobytes(), f"Numba: {problem}"
    sample = [x for p in named for x in p.arrays]
    choices = chosen(graph, target, optimize)
    plan = spread_plan(named, graph, choices)
    (outputs,) = run_model(folder, graph, plan, [sample], options, target, optimize, choices)
    for problem, choice, want, got in zip(named, choices, expected, outputs, strict=True):
        assert got == want.tobytes(), f"C, {choice.variant}: {problem}"


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
    used |= {variant.header for kernel in KERNELS.values() for variant in kernel.variants}
    extra = {path.name for path in kernels_folder().glob("*.h")} - used
    shared = {
        "arith",
        "dsp",
        "dsp_pack",
        "depthwise",
        "depthwise_channel",
        "depthwise_lines",
        "depthwise_strips",
        "lanes",
        "mve",
        "mve_row",
        "narrow",
        "patch",
        "pixel_sum",
        "row",
        "sums",
        "tile",
        "tile_code",
        "tile_packed",
        "winograd_code",
        "widen",
        "window",
        "words",
    }
    assert extra == {f"edgeq_{name}.h" for name in shared}
