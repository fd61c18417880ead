"""SOFTMAX in C: powers and their corrections are the table, steps are the pair's results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from host_c import planned, run_model

import edgeq
from edgeq.fixed_point import softmax_exp_table
from edgeq.graph import Array, Graph, Node, QuantParams, Tensor
from edgeq.ops.logistic import UNIT_INTERVAL
from edgeq.ops.softmax import QuantizedSoftmax
from firmware_gen.cores import PORTABLE
from firmware_gen.kernels.softmax import (
    LEAST_EXP,
    MOST_COMPUTED,
    counted_exps,
    powers_of,
    scratch_nbytes,
)
from firmware_gen.layers import choose_kernels

INT8 = np.dtype(np.int8)
# From all differences within a step of the sum to none but 0 that counts.
SCALES = (*(float(s) for s in np.geomspace(1e-4, 40.0, 60)), 1 / 16, 0.5, 1.0)


def softmax(scale: float, *shape: int, table: tuple[int, ...] | None = None) -> Graph:
    op = QuantizedSoftmax(softmax_exp_table(scale, 1.0) if table is None else table)
    tensors = [
        Tensor("x", shape, INT8, QuantParams((scale,), 0)),
        Tensor("y", shape, INT8, UNIT_INTERVAL),
    ]
    return Graph.build("softmax", tensors, [Node(op, ("x",), ("y",))], ["x"], ["y"])


def check(folder: Path, graph: Graph, x: Array) -> None:
    (expected,) = edgeq.Interpreter(graph).run(x)
    got = run_model(folder, graph, planned(graph), [[row] for row in x])
    assert [row[0] for row in got] == [row.tobytes() for row in expected]


@pytest.mark.parametrize("scale", SCALES)
def test_powers_and_corrections_are_the_exponentials_that_count(scale: float) -> None:
    table = softmax_exp_table(scale, 1.0)
    exps = counted_exps(QuantizedSoftmax(table))
    assert powers_of(exps).exps() == list(exps)
    assert list(exps) == [e for e in reversed(table) if e >= LEAST_EXP]
    assert powers_of(exps).corrections.itemsize <= 2


@pytest.mark.parametrize("rows", [1, 7])
def test_numbers_that_are_no_powers_are_corrected_too(rows: int, tmp_path: Path) -> None:
    exps = (2**31 - 1, 2**30, 2**30 - 5, 3000)
    assert powers_of(exps).exps() == list(exps)
    assert powers_of(exps).corrections.itemsize == 4
    table = (*[0] * 252, *reversed(exps))
    x = np.random.default_rng(3).integers(60, 66, (40, rows, 12)).astype(np.int8)
    check(tmp_path, softmax(0.5, 1, rows, 12, table=table), x)


@pytest.mark.parametrize("scale", [0.002, 0.05, 0.14469251036643982, 1.0, 30.0])
@pytest.mark.parametrize("rows", [1, 7])
def test_rows_give_the_interpreters_bytes(scale: float, rows: int, tmp_path: Path) -> None:
    classes = 12
    graph = softmax(scale, 1, rows, classes)
    (choice,) = choose_kernels(graph, PORTABLE)
    assert (choice.scratch_nbytes > 0) == (rows * classes > MOST_COMPUTED)
    rng = np.random.default_rng(3)
    x = rng.integers(-128, 128, (40, rows, classes))
    near = rng.integers(-3, 1, (40, rows, classes)) + 127
    check(tmp_path, graph, np.concatenate([x, near]).astype(np.int8))


@pytest.mark.parametrize(("scale", "bits"), [(0.0146, 1), (0.03, 2), (0.15, 4), (3.0, 8)])
def test_two_classes_give_the_interpreters_bytes_for_every_pair(
    scale: float, bits: int, tmp_path: Path
) -> None:
    graph = softmax(scale, 1, 256, 2)
    (choice,) = choose_kernels(graph, PORTABLE)
    code = choice.emit(graph.nodes[0].op, choice.layer)
    assert (choice.variant, code.parameters["bits"]) == ("pair", bits)
    every = np.arange(-128, 128)
    x = np.stack(np.meshgrid(every, every, indexing="ij"), axis=-1)
    check(tmp_path, graph, x.astype(np.int8))


def test_few_values_take_no_scratch() -> None:
    op = QuantizedSoftmax(softmax_exp_table(0.1, 1.0))
    assert scratch_nbytes(op, (1, MOST_COMPUTED)) == 0
    shape = (1, MOST_COMPUTED + 1)
    assert scratch_nbytes(op, shape) == 4 * len(counted_exps(op))
