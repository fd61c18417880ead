"""Overlap of an output with its dying input: at overlap_nbytes every kernel is still right.

The bound is also the least one for a kernel that makes use of all that the order contract
permits: such a kernel is made here of each operator's reference, and fails one byte closer.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from host_c import run_model
from problem import Problem, activation, build, constant, graph_of, int8_values
from problems import make_problems

from edgeq.graph import Array, Graph, Tensor
from edgeq.memory import MemoryPlan, Placement
from edgeq.memory.blocks import aligned
from edgeq.ops import OPERATORS, Window
from edgeq.ops.conv_add import QuantizedConvAdd
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.overlap import rows_overlap, window_overlap
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.kernels import KERNELS, kernels_folder
from firmware_gen.kernels.kernel import no_parts
from firmware_gen.layers import Choice, choose_kernels

# Operators whose rows are the rows of an image.
BY_ROWS = (
    "conv_2d",
    "depthwise_conv_2d",
    "average_pool_2d",
    "max_pool_2d",
    "pad",
    "conv_depthwise",
    "conv_add",
)
OVERLAPPING = (
    *BY_ROWS,
    "fully_connected",
    "add",
    "softmax",
    "logistic",
    "relu",
    "quantize",
    "dequantize",
    "move",
)
GUARD = 32  # bytes around the buffers
COUNT = 60


def shadows(name: str) -> list[tuple[Problem, int, int]]:
    """(problem, index of an input, distance) of all inputs that an output may overlap."""
    found = []
    for problem in make_problems(name, COUNT):
        shapes = [t.shape for t in problem.inputs]
        for index, tensor in enumerate(problem.inputs):
            distance = problem.op.overlap_nbytes(index, *shapes)
            if tensor.data is None and distance is not None:
                found.append((problem, index, distance))
    return found


def overlapping_buffers(
    problem: Problem, index: int, distance: int
) -> tuple[tuple[Array, ...], Array]:
    """Inputs, and an output that starts `distance` bytes before the input at `index`."""
    values = [x.copy() for x in problem.values()]
    x, nbytes = values[index], problem.output.nbytes
    start = GUARD + max(distance, 0)
    memory = np.full((start + x.nbytes + nbytes + GUARD) // 8 + 1, 0xA5A5, np.uint64).view(
        np.uint8
    )
    at = start - distance
    memory[start : start + x.nbytes] = x.reshape(-1).view(np.uint8)
    values[index] = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    out = memory[at : at + nbytes].view(problem.output.dtype).reshape(problem.output.shape)
    return tuple(values), out


@pytest.mark.parametrize("name", OVERLAPPING)
def test_numba_kernels_are_right_at_the_distance(name: str) -> None:
    pairs = shadows(name)
    assert len(pairs) >= 10
    for problem, index, least in pairs:
        for distance in (least, least + 1, problem.output.nbytes):
            if problem.output.dtype.itemsize > 1 or problem.inputs[index].dtype.itemsize > 1:
                distance = aligned(distance)
            values, out = overlapping_buffers(problem, index, distance)
            (expected,) = problem.op.reference(*problem.values())
            nbytes = problem.op.scratch_nbytes(*(x.shape for x in values))
            problem.op.bind(values, (out,), np.full(nbytes, 0xA5, np.uint8))()
            np.testing.assert_array_equal(out, expected, err_msg=f"{distance}: {problem}")


def overlapping_plan(
    pairs: list[tuple[Problem, int, int]],
    named: list[Problem],
    graph: Graph,
    choices: tuple[Choice, ...],
) -> MemoryPlan:
    places: dict[str, Placement] = {}
    end = GUARD

    def put(name: str, nbytes: int, below: int = 0) -> None:
        nonlocal end
        offset = -(-(end + below) // 8) * 8
        places[name] = Placement(offset, nbytes, -1, len(graph.nodes))
        end = offset + nbytes + GUARD

    for (_, index, least), problem, choice in zip(pairs, named, choices, strict=True):
        for position, tensor in enumerate(problem.inputs):
            if tensor.data is None:
                put(tensor.name, tensor.nbytes, max(least, 0) if position == index else 0)
                if position == index:
                    distance = 0 if choice.is_exact else aligned(least)
                    at = places[tensor.name].offset - distance
                    nbytes = problem.output.nbytes
                    places[problem.output.name] = Placement(at, nbytes, -1, len(graph.nodes))
                    end = max(end, at + nbytes + GUARD)
        if choice.scratch_nbytes:
            put(f"{choice.node}:scratch", choice.scratch_nbytes)
    return MemoryPlan(end, end, 0, MappingProxyType(places))


def targets_of(name: str) -> list[Target]:
    """Portable, and the others where an operator has kernels for cores."""
    (operator,) = (o for o in OPERATORS if o.name == name)
    has_variants = any(
        KERNELS[kind].variants or KERNELS[kind].parts is not no_parts
        for kind in operator.integer_classes
    )
    others = [Target(has_dsp=True), Target(has_mla=True), Target(has_mul64=False)]
    return [PORTABLE, *others] if has_variants else [PORTABLE]


@pytest.mark.parametrize(
    ("name", "target"), [(name, t) for name in OVERLAPPING for t in targets_of(name)]
)
def test_c_kernels_are_right_at_the_distance(name: str, target: Target, tmp_path: Path) -> None:
    pairs = shadows(name)
    named, graph = graph_of([problem for problem, _, _ in pairs])
    sample = [x for p in named for x in p.arrays]
    plan = overlapping_plan(pairs, named, graph, choose_kernels(graph, target))
    (outputs,) = run_model(tmp_path, graph, plan, [sample], ("-O2",), target)
    for problem, got, (_, _, distance) in zip(named, outputs, pairs, strict=True):
        (expected,) = problem.op.reference(*problem.values())
        assert got == expected.tobytes(), f"{distance}: {problem}"


# Height, width, channels, stride, paddings before and after: rows and columns as lines, outputs
# of the input's size and smaller, a last group of channels that begins before its own.
IN_PLACE = (
    (6, 6, 4, 1, (1, 1)),
    (5, 8, 5, 1, (0, 0)),
    (9, 4, 7, 1, (1, 0)),
    (7, 9, 8, 2, (1, 1)),
    (8, 6, 5, 2, (0, 1)),
    (11, 5, 6, 2, (1, 1)),
    (3, 3, 9, 1, (1, 1)),
    (3, 3, 4, 2, (1, 1)),
)


def depthwise_of(height: int, width: int, channels: int, stride: int, pads: Any) -> Problem:
    before, after = pads
    window = Window(3, 3, stride, stride, 1, 1, before, after, before, after)
    rng = np.random.default_rng(height * width + channels)
    weights = rng.integers(-127, 128, (3, 3, channels)).astype(np.int8)
    bias = rng.integers(-5000, 5000, channels).astype(np.int32)
    op = QuantizedDepthwiseConv2D(window, 5, -128, -128, 127, (1518500250,), (-7,))
    x = activation((1, height, width, channels))
    return build(op, (x, constant(weights), constant(bias)), (int8_values(3, x.shape),))


@pytest.mark.parametrize("options", [("-O2",), ("-O1",)])
def test_a_kernel_whose_output_is_exactly_over_its_input_is_right(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    target = Target(has_dsp=True)
    problems = [(depthwise_of(*shape), 0, 0) for shape in IN_PLACE]
    named, graph = graph_of([problem for problem, _, _ in problems])
    choices = choose_kernels(graph, target)
    assert all(choice.is_exact for choice in choices)
    plan = overlapping_plan(problems, named, graph, choices)
    for problem in named:
        at = plan.placements[problem.inputs[0].name].offset
        assert plan.placements[problem.output.name].offset == at
    sample = [x for p in named for x in p.arrays]
    (outputs,) = run_model(tmp_path, graph, plan, [sample], options, target)
    for problem, got in zip(named, outputs, strict=True):
        (expected,) = problem.op.reference(*problem.values())
        assert got == expected.tobytes(), problem


def rows_read(problem: Problem) -> list[tuple[int, int] | None]:
    """Bytes of the input that each output row needs, from its window or its padding."""
    op = problem.op
    _, height, width, channels = (1,) * (4 - len(problem.inputs[0].shape)) + tuple(
        problem.inputs[0].shape
    )
    if isinstance(op, QuantizedConvDepthwise):
        return rows_read_once(op, height, width * channels, problem.output)
    if isinstance(op, QuantizedConvAdd):
        steps = op.steps(*(t.shape for t in problem.inputs))
        size = width * channels
        return [(step.first * size, (step.first + step.height) * size) for step in steps]
    rows: list[tuple[int, int] | None] = []
    output = (1,) * (4 - len(problem.output.shape)) + tuple(problem.output.shape)
    for y in range(output[1]):
        if hasattr(op, "window"):
            taps = [
                tap
                for x in range(output[2])
                for tap in op.window.taps(y, x, (1, height, width, 1))
            ]
            inside = [in_y for _, _, in_y, _ in taps]
            if not taps:  # a row of taps may still be in the image, beside it
                inside = [
                    in_y
                    for k in range(op.window.filter_h)
                    if 0
                    <= (
                        in_y := y * op.window.stride_h
                        - op.window.pad_top
                        + k * op.window.dilation_h
                    )
                    < height
                ]
        else:
            top = op.pads[-3][0] if len(op.pads) > 2 else 0
            inside = [y - top] if 0 <= y - top < height else []
        size = width * channels
        rows.append((min(inside) * size, (max(inside) + 1) * size) if inside else None)
    return rows


def rows_read_once(
    op: QuantizedConvDepthwise, height: int, row_nbytes: int, output: Tensor
) -> list[tuple[int, int] | None]:
    """As rows_read, of what is made at once: what has been read is kept, and not read again."""
    window = op.depthwise.window
    rows: list[tuple[int, int] | None] = []
    seen: set[int] = set()
    for y in range(0, output.shape[1], op.rows_at_once):
        last = y + op.rows_at_once - 1
        top, end = (r * window.stride_h - window.pad_top for r in (y, last))
        wanted = {r for r in range(top, end + window.filter_h) if 0 <= r < height} - seen
        seen |= wanted
        rows.append(
            (min(wanted) * row_nbytes, (max(wanted) + 1) * row_nbytes) if wanted else None
        )
    return rows


def weakest_kernel(problem: Problem, index: int, distance: int) -> bool:
    """Whether a kernel that writes each row before it reads for it still finds its input.

    The contract leaves the order within a row to the kernel, so this is the worst of all; but
    for those that make rows in scratch, which must read first.
    """
    reads_first = isinstance(problem.op, QuantizedConvDepthwise | QuantizedConvAdd)
    values, out = overlapping_buffers(problem, index, distance)
    x = values[index]
    rows = rows_read(problem)
    flat_out, flat_x = out.reshape(len(rows), -1), x.reshape(-1)
    original = problem.values()[index].reshape(-1)

    def is_gone(reads: tuple[int, int] | None) -> bool:
        return reads is not None and bool(
            (flat_x[slice(*reads)] != original[slice(*reads)]).any()
        )

    for y, reads in enumerate(rows):
        if reads_first and is_gone(reads):
            return False
        for v in (0x11, 0x77):  # so that one differs from what is there
            flat_out[y] = v
            if not reads_first and is_gone(reads):
                return False
    return True


@pytest.mark.parametrize("name", BY_ROWS)
def test_the_distance_is_the_least_for_the_weakest_kernel_of_the_contract(name: str) -> None:
    tight = 0
    for problem, index, distance in shadows(name):
        if index > 0:  # what CONV_ADD adds: byte by byte
            continue
        assert weakest_kernel(problem, index, distance), problem
        if distance > 0:
            assert not weakest_kernel(problem, index, distance - 1), problem
            tight += 1
    assert tight >= 10


def test_distances_counted_by_hand() -> None:
    same3 = Window(3, 3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
    # 25x5x64: the last row but one still needs the row above it, two rows back from its end.
    assert window_overlap(same3, (1, 25, 5, 64), (1, 25, 5, 64)) == 2 * 5 * 64
    assert window_overlap(Window(1, 1), (1, 25, 5, 64), (1, 25, 5, 64)) == 5 * 64
    # Stride 2 writes behind its reads: only the first row is in the way.
    assert window_overlap(Window(2, 2, 2, 2), (1, 8, 8, 4), (1, 4, 4, 4)) == 16
    assert rows_overlap(3, [0, None, 4, None]) == 3 * 3 - 4
    assert rows_overlap(3, [5, 0]) == 6  # a later row needs an earlier byte


def test_every_operator_that_overlaps_is_tried_here() -> None:
    silent = {"mean", "concatenation", "reshape"}
    assert {operator.name for operator in OPERATORS} == {*OVERLAPPING, *silent}
    for name in silent:
        assert not shadows(name)


def test_no_kernel_promises_that_its_input_and_output_are_apart() -> None:
    # In C, `restrict` on them would make an overlap undefined behaviour.
    apart = {"mean.h", "concatenation.h"}
    headers = {k.header for k in KERNELS.values()} - {None} - apart
    headers |= {v.header for k in KERNELS.values() for v in k.variants}
    for header in sorted(headers):
        text = (kernels_folder() / header).read_text(encoding="utf-8")
        assert not re.search(r"restrict (x|input\d?|out)\b", text), header
