"""The modes of --optimize: the same bytes; copies are there only for layers that use them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli import CommandLine
from firmware_matrix import digits, linked
from host_c import planned, run_model
from toolchains import need_compiler, need_program

import edgeq
from edgeq.board import load_board
from edgeq.data import to_input
from edgeq.demo import load_digits
from edgeq.graph import Graph, Node, QuantParams, Tensor
from edgeq.memory import plan_memory
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.window import Window
from edgeq.stream.verify import verify
from firmware_gen import build, generate
from firmware_gen.cores import Target
from firmware_gen.kernels import kernels_folder
from firmware_gen.layers import choose_kernels
from firmware_gen.model_c import ModelCode, model_code
from firmware_gen.optimize import MODES, Optimize

FEW = MODES["balanced"].few or 0
INT8 = np.dtype(np.int8)
QUANT = QuantParams((0.5,), -3)
DSP = Target(has_dsp=True)


def pools(*least: int) -> Graph:
    """MAX_POOL_2D one behind the other; each parameter is the least value that comes out."""
    names = ["x", *(f"p{i}" for i in range(len(least)))]
    tensors = [Tensor(name, (1, 4, 4, 4), INT8, QUANT) for name in names]
    nodes = [
        Node(QuantizedMaxPool2D(Window(1, 1), low, 127), (a,), (b,))
        for low, a, b in zip(least, names, names[1:], strict=False)
    ]
    return Graph.build("pools", tensors, nodes, ["x"], [names[-1]])


def code_of(graph: Graph, optimize: Optimize) -> ModelCode:
    return model_code(graph, plan_memory(graph), optimize=optimize)


def copies_in(code: ModelCode) -> list[str]:
    """The functions of model.c that are neither a layer nor declared in model.h."""
    heads = [line for line in code.source.splitlines() if line.startswith("static __attr")]
    names = [head.split("void ")[1].split("(")[0] for head in heads]
    return [name for name in names if name not in code.layers]


@pytest.mark.parametrize("optimize", MODES)
def test_layers_of_the_same_parameters_share_a_copy_made_for_these(optimize: Optimize) -> None:
    code = code_of(pools(-128, 5, -128), optimize)
    assert copies_in(code) == ["edgeq_max_pool_2d_1"]
    assert code.source.count("static const struct edgeq_max_pool_2d op") == 2
    assert [layer.copy for layer in code.manifest.layers] == ["shared", "own", "shared"]


def test_many_kinds_of_layer_share_a_copy_that_reads_parameters_but_for_speed() -> None:
    graph = pools(*range(FEW + 1))
    assert copies_in(code_of(graph, "speed")) == []
    for optimize in ("balanced", "size"):
        code = code_of(graph, optimize)
        assert copies_in(code) == ["edgeq_max_pool_2d_layer"]
        assert {layer.copy for layer in code.manifest.layers} == {"shared"}


@pytest.mark.parametrize("optimize", MODES)
def test_no_copy_is_emitted_that_no_two_layers_call(optimize: Optimize) -> None:
    code = code_of(pools(*range(FEW)), optimize)
    assert copies_in(code) == []
    assert {layer.copy for layer in code.manifest.layers} == {"own"}


@pytest.mark.parametrize("optimize", MODES)
def test_shared_copies_give_the_interpreters_bytes(optimize: Optimize, tmp_path: Path) -> None:
    graph = pools(-128, -90, -60, -60, -30, -20, -128)
    x = np.random.default_rng(1).integers(-128, 128, (5, 4, 4, 4)).astype(np.int8)
    (expected,) = edgeq.Interpreter(graph).run(x)
    got = run_model(tmp_path, graph, planned(graph), [[row] for row in x], optimize=optimize)
    assert [row[0] for row in got] == [row.tobytes() for row in expected]


def test_layers_of_little_work_are_compiled_for_size_but_for_speed() -> None:
    from edgeq.ops.add import Add

    side = 80
    tensors = [
        *(Tensor(name, (1, side, side, 4), INT8, QUANT) for name in ("x", "p")),
        *(Tensor(name, (1, 1, 1, 4), INT8, QUANT) for name in ("a", "b")),
    ]
    small = tensors[-1]
    nodes = [
        Node(QuantizedMaxPool2D(Window(1, 1), -100, 127), ("x",), ("p",)),
        Node(Add().lower((small, small), (small,)), ("a", "a"), ("b",)),
    ]
    graph = Graph.build("both", tensors, nodes, ["x", "a"], ["p", "b"])
    for mode in MODES:
        source = code_of(graph, mode).source
        assert "__attribute__((noinline)) void p(void)" in source
        cold = "" if mode == "speed" else "cold, "
        assert f"__attribute__(({cold}noinline)) void b(void)" in source


def dense_after(taps: int) -> Graph:
    """Two FULLY_CONNECTED: one of `taps` inputs, then a small one."""
    rng = np.random.default_rng(0)
    tensors = [Tensor("x", (1, 1, taps), INT8, QUANT), Tensor("flat", (1, taps), INT8, QUANT)]
    nodes = [Node(QuantizedReshape((1, taps)), ("x",), ("flat",))]
    source, depth = "flat", taps
    for name, outputs in (("a", 8), ("b", 4)):
        weights = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
        bias = np.zeros(outputs, np.int32)
        tensors += [
            Tensor(f"{name}/w", weights.shape, INT8, None, weights),
            Tensor(f"{name}/b", bias.shape, bias.dtype, None, bias),
            Tensor(name, (1, outputs), INT8, QUANT),
        ]
        op = QuantizedFullyConnected(-3, -3, -128, 127, (2**30,), (-9,))
        nodes.append(Node(op, (source, f"{name}/w", f"{name}/b"), (name,)))
        source, depth = name, outputs
    return Graph.build("dense", tensors, nodes, ["x"], ["b"])


def test_code_for_little_of_the_work_is_left_out_with_the_reason() -> None:
    tensors = [Tensor("in", (1, 4, 4, 4), INT8, QUANT)]
    graph = dense_after(64)
    assert {c.variant for c in choose_kernels(graph, DSP, "size")[1:]} == {"dsp_winograd"}
    from edgeq.ops.conv_2d import QuantizedConv2D

    weights = np.ones((64, 1, 1, 64), np.int8)
    bias = np.zeros(64, np.int32)
    tensors = [
        Tensor("image", (1, 64, 64, 64), INT8, QUANT),
        Tensor("c/w", weights.shape, INT8, None, weights),
        Tensor("c/b", bias.shape, bias.dtype, None, bias),
        Tensor("c", (1, 64, 64, 64), INT8, QUANT),
    ]
    conv = QuantizedConv2D(Window(1, 1), -3, -3, -128, 127, (2**30,), (-9,))
    node = Node(conv, ("image", "c/w", "c/b"), ("c",))
    both = Graph.build(
        "both",
        [*graph.tensors.values(), *tensors],
        [node, *graph.nodes],
        ["x", "image"],
        ["b", "c"],
    )
    chosen = {mode: choose_kernels(both, DSP, mode) for mode in MODES}
    assert {c.variant for c in chosen["speed"][2:]} == {"dsp_winograd"}
    for mode in ("balanced", "size"):
        for choice in chosen[mode][2:]:
            assert choice.variant == "portable"
            assert "would serve 544 of" in choice.why_not["dsp_winograd"]
        assert chosen[mode][0].variant == chosen["speed"][0].variant == "dsp_pointwise"


@pytest.mark.parametrize("optimize", MODES)
def test_a_network_gives_the_interpreters_bytes_in_every_mode(
    optimize: Optimize, tmp_path: Path
) -> None:
    need_compiler("gcc")
    graph, board = digits(), load_board("mps2_an386")
    elf = build(generate(graph, board, tmp_path, self_test=0, optimize=optimize), "gcc").elf
    x = to_input(graph, load_digits()[2][:5])
    with linked(elf, board, "virtual") as link:
        assert verify(link, graph, [x]).is_equal


def test_size_is_smallest_and_the_makefile_builds_the_same(tmp_path: Path) -> None:
    need_compiler("gcc")
    make = need_program("make", "make")
    import subprocess

    sizes = {}
    for mode in MODES:
        firmware = generate(digits(), "mps2_an386", tmp_path / mode, self_test=0, optimize=mode)
        sizes[mode] = build(firmware, "gcc").flash_nbytes
        image = tmp_path / mode / "build" / "firmware.bin"
        built = image.read_bytes()
        image.unlink()
        subprocess.run([make, "-s", "-C", str(tmp_path / mode)], check=True)
        assert image.read_bytes() == built
    assert sizes["size"] <= sizes["balanced"] < sizes["speed"]


def test_generate_shows_the_kernels_and_what_has_no_dsp_form(
    edgeq_command: CommandLine,
) -> None:
    common = ("generate", "digits.edgeq", "-b", "mps2_an386", "-o", "out")
    done = edgeq_command(*common, "--optimize", "size", "--json")
    kernels = json.loads(done.out)["kernels"]
    assert kernels["optimize"] == "size"
    assert kernels == json.loads(Path("out/manifest.json").read_text())
    shown = edgeq_command(*common).out
    assert "--optimize balanced" in shown
    left = [x["layer"] for x in kernels["layers"] if x["kernel"] == "portable" and x["header"]]
    assert left
    for layer in left:
        assert layer in shown.split("no DSP instructions")[0]
    assert "not dsp" not in shown.split("the portable kernel")[0]
    assert "kernel" in edgeq_command(*common, "--why").out


def test_assembly_that_counts_from_a_multiple_of_4_begins_at_one() -> None:
    """ADR rounds the program counter down to a word; -Os puts functions at any halfword."""
    found = 0
    for path in kernels_folder().glob("*.h"):
        text = path.read_text(encoding="utf-8")
        found += '"adr' in text
        assert '"adr' not in text or "aligned(4)))" in text, path.name
    assert found
