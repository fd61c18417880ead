"""Layers that call one kernel alike: a row of a table for each, and loops over the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from host_c import planned, run_model

import edgeq
from edgeq.graph import Graph, Node, QuantParams, Tensor
from edgeq.memory import MemoryPlan, Placement, plan_memory
from edgeq.ops.add import Add
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.window import Window
from firmware_gen.arenas import offset_ctype
from firmware_gen.layer_tables import LEAST
from firmware_gen.model_c import ModelCode, model_code
from firmware_gen.optimize import Optimize

INT8 = np.dtype(np.int8)
QUANT = QuantParams((0.5,), -3)


def chain(*layers: int | str, side: int = 4) -> Graph:
    """One behind the other: a number is MAX_POOL_2D with that least result, "relu" is RELU,
    "add" adds a constant.
    """
    shape = (1, side, side, 4)
    names = ["x", *(f"t{i}" for i in range(len(layers)))]
    tensors = [Tensor(name, shape, INT8, QUANT) for name in names]
    constant = Tensor("c", shape, INT8, QUANT, np.arange(-32, 32, dtype=np.int8).reshape(shape))
    nodes = []
    for layer, source, to in zip(layers, names, names[1:], strict=False):
        if layer == "relu":
            op = QuantizedRelu(-3, -3, 2**30, 1, -3, 127)
            nodes.append(Node(op, (source,), (to,)))
        elif layer == "add":
            x, y = (Tensor(name, shape, INT8, QUANT) for name in (source, to))
            nodes.append(Node(Add().lower((x, constant), (y,)), (source, "c"), (to,)))
        else:
            nodes.append(
                Node(QuantizedMaxPool2D(Window(1, 1), int(layer), 127), (source,), (to,))
            )
    if "add" in layers:
        tensors.append(constant)
    return Graph.build("chain", tensors, nodes, ["x"], [names[-1]])


def code_of(graph: Graph, optimize: Optimize = "balanced", **more: bool) -> ModelCode:
    return model_code(graph, planned(graph), optimize=optimize, **more)


def run_of(code: ModelCode) -> list[str]:
    """The statements of edgeq_model_run."""
    body = code.source.split("void edgeq_model_run(void) {\n")[1].split("\n}\n")[0]
    return [line.strip() for line in body.splitlines()]


def check(folder: Path, graph: Graph, optimize: Optimize = "balanced") -> None:
    """The C gives the interpreter's bytes."""
    shape = graph.input_tensors()[0].shape
    x = np.random.default_rng(1).integers(-128, 128, (4, *shape[1:])).astype(np.int8)
    (expected,) = edgeq.Interpreter(graph).run(x)
    got = run_model(folder, graph, planned(graph), [[row] for row in x], optimize=optimize)
    assert [row[0] for row in got] == [row.tobytes() for row in expected]
