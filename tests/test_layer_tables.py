"""Layers that call one kernel alike: a row of a table for each, and loops over the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from host_c import planned, run_model

import edgeq
from edgeq.graph import Graph, Node, QuantParams, Tensor
from edgeq.memory import MemoryPlan, Placement
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
    constant = Tensor(
        "c", shape, INT8, QUANT, np.resize(np.arange(-32, 32, dtype=np.int8), shape)
    )
    nodes = []
    for layer, source, to in zip(layers, names, names[1:], strict=False):
        if layer == "relu":
            nodes.append(Node(QuantizedRelu(-3, -3, 2**30, 1, -3, 127), (source,), (to,)))
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


def test_layers_that_call_one_kernel_have_rows_and_no_functions() -> None:
    code = code_of(chain(*range(LEAST)))
    assert (
        "static const struct edgeq_max_pool_2d_layer edgeq_max_pool_2d_layers[]" in code.source
    )
    assert code.source.count("__attribute__((noinline)) void edgeq_max_pool_2d_layer(") == 1
    for row, layer in enumerate(code.called):
        assert f"void {layer}(void)" not in code.source
        assert f"By edgeq_max_pool_2d_layer(&edgeq_max_pool_2d_layers[{row}]);" in code.source


def test_fewer_layers_stay_functions() -> None:
    code = code_of(chain(*[5] * (LEAST - 1)))
    assert "_layers[]" not in code.source
    assert "edgeq_offset" not in code.source
    assert run_of(code) == [f"{layer}();" for layer in code.called]


@pytest.mark.parametrize("optimize", ["balanced", "speed"])
def test_rows_of_layers_with_the_same_parameters_hold_none(
    optimize: Optimize, tmp_path: Path
) -> None:
    graph = chain(7, "relu", 7, "relu", 7)
    code = code_of(graph, optimize)
    struct = code.source.split("struct edgeq_max_pool_2d_layer {\n")[1].split("};")[0]
    assert struct.split(";") == ["    edgeq_offset x", "\n    edgeq_offset out", "\n"]
    assert code.source.count("static const struct edgeq_max_pool_2d op = {") == 1
    check(tmp_path, graph, optimize)


def test_rows_point_to_parameters_that_most_layers_share(tmp_path: Path) -> None:
    few = chain(0, 1, 2, 0, 1, 2)
    many = chain(0, 1, 2, 3, 4, 0)
    assert "const struct edgeq_max_pool_2d *op;" in code_of(few).source
    assert ".op = &edgeq_max_pool_2d_layer_op_2," in code_of(few).source
    assert "    struct edgeq_max_pool_2d op;" in code_of(many).source
    for name, graph in (("few", few), ("many", many)):
        (tmp_path / name).mkdir()
        check(tmp_path / name, graph)


def test_calls_that_repeat_are_a_loop(tmp_path: Path) -> None:
    graph = chain("relu", *[0, 1, "relu"] * 3, 2)
    code = code_of(graph)
    pool, relu = "edgeq_max_pool_2d_layer", "edgeq_relu_layer"
    assert run_of(code) == [
        "/* Layers 0 to 8. */",
        "for (size_t i = 0; i < 3; ++i) {",
        f"{relu}(&{relu}s[i]);",
        f"{pool}(&{pool}s[2 * i]);",
        f"{pool}(&{pool}s[1 + 2 * i]);",
        "}",
        f"{relu}(&{relu}s[3]);",
        f"{pool}(&{pool}s[6]);",
    ]
    check(tmp_path, graph)


def test_a_loop_begins_behind_what_does_not_repeat(tmp_path: Path) -> None:
    graph = chain(0, "add", 1, 2, 3, 4)
    code = code_of(graph)
    pool = "edgeq_max_pool_2d_layer"
    assert run_of(code) == [
        f"{pool}(&{pool}s[0]);",
        "t1();",
        "/* Layers 2 to 5. */",
        "for (size_t i = 0; i < 4; ++i) {",
        f"{pool}(&{pool}s[1 + i]);",
        "}",
    ]
    check(tmp_path, graph)


def test_two_calls_are_no_loop() -> None:
    assert not any("for" in line for line in run_of(code_of(chain(0, "relu", 1, "relu", 2))))


def test_each_layer_is_measured_by_itself() -> None:
    body = run_of(code_of(chain(*range(5)), measured=True))
    calls = [line for line in body if line.startswith("edgeq_max_pool_2d_layer(")]
    assert calls == [
        f"edgeq_max_pool_2d_layer(&edgeq_max_pool_2d_layers[{i}]);" for i in range(5)
    ]
    assert sum(line.startswith("edgeq_model_cycles[") for line in body) == 5


def test_rows_hold_pointers_to_constants(tmp_path: Path) -> None:
    graph = chain("add", 0, "add", 1, "add")
    code = code_of(graph)
    assert ".input2 = t2_constant_1," in code.source
    assert ".input1 = " in code.source
    check(tmp_path, graph)


def test_an_offset_has_the_narrowest_type_that_holds_all() -> None:
    def plan(*arenas: int) -> MemoryPlan:
        placements = {f"t{i}": Placement(0, n, -1, 1, i) for i, n in enumerate(arenas)}
        return MemoryPlan(sum(arenas), 0, 0, placements)

    assert offset_ctype(plan(65535)) == "uint16_t"
    assert offset_ctype(plan(65536)) == "uint32_t"
    assert offset_ctype(plan(16, 16)) == "uint32_t"
    large = chain(*range(LEAST), side=200)
    assert "typedef uint32_t edgeq_offset;" in code_of(large).source
    assert "typedef uint16_t edgeq_offset;" in code_of(chain(*range(LEAST))).source
