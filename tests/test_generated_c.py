"""What the generator writes: a snapshot that runs, names, the digest, what it refuses."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from host_c import build, run, run_model, write_model
from networks import samples, small_network
from problem import graph_of
from problems import PROBLEMS, make_problems
from toolchains import COMPILERS, need_compiler

import edgeq
from edgeq.board import load_board
from edgeq.digest import graph_digest
from edgeq.errors import GraphError
from edgeq.graph import Graph, Node, QuantParams, Tensor
from edgeq.memory import plan_memory
from edgeq.model_file import load_graph, save_graph
from edgeq.ops import Window
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.reshape import QuantizedReshape
from firmware_gen.cores import core_of
from firmware_gen.kernels import kernels_folder
from firmware_gen.layers import choose_kernels, scratch_of
from firmware_gen.model_c import model_code
from firmware_gen.names import layer_names, telling_name
from firmware_gen.toolchain import compile_flags, find_compiler

GOLDEN = Path(__file__).parent / "golden"
INT8 = np.dtype(np.int8)


def tiny_network() -> Graph:
    """Two constants, five layers, every number chosen by hand."""
    quant, wide = QuantParams((0.5,), -3), QuantParams((0.1,), 7)
    weights = (np.arange(2 * 2 * 2 * 1) - 4).reshape(2, 2, 2, 1).astype(np.int8)
    dense = (np.arange(3 * 8) % 7 - 3).reshape(3, 8).astype(np.int8)
    window = Window(2, 2, stride_h=2, stride_w=2, pad_bottom=1)
    conv = QuantizedConv2D(window, -3, 7, 7, 127, (1518500250, 2**30), (-1, 0))
    fc = QuantizedFullyConnected(7, -3, -128, 127, (1288490189,), (-2,))
    tensors = [
        Tensor("input", (1, 3, 3, 1), INT8, quant),
        Tensor("net/pad", (1, 3, 4, 1), INT8, quant),
        Tensor("net/conv/Relu", (1, 2, 2, 2), INT8, wide),
        Tensor("net/conv/w", weights.shape, INT8, None, weights),
        Tensor("net/conv/b", (2,), np.dtype(np.int32), None, np.array([5, -6], np.int32)),
        Tensor("net/pool", (1, 2, 2, 2), INT8, wide),
        Tensor("net/flat", (1, 8), INT8, wide),
        Tensor("net/fc/w", dense.shape, INT8, None, dense),
        Tensor("net/fc/b", (3,), np.dtype(np.int32), None, np.array([1, 2, 3], np.int32)),
        Tensor("scores", (1, 3), INT8, quant),
    ]
    nodes = [
        Node(QuantizedPad(((0, 0), (0, 0), (0, 1), (0, 0)), -3), ("input",), ("net/pad",)),
        Node(conv, ("net/pad", "net/conv/w", "net/conv/b"), ("net/conv/Relu",)),
        Node(QuantizedMaxPool2D(Window(1, 1), -128, 100), ("net/conv/Relu",), ("net/pool",)),
        Node(QuantizedReshape((1, 8)), ("net/pool",), ("net/flat",)),
        Node(fc, ("net/flat", "net/fc/w", "net/fc/b"), ("scores",)),
    ]
    return Graph.build("tiny", tensors, nodes, ["input"], ["scores"])


@pytest.mark.parametrize("name", ["model.c", "model.h"])
def test_generated_c_is_the_snapshot(name: str, request: pytest.FixtureRequest) -> None:
    graph = tiny_network()
    code = model_code(graph, plan_memory(graph))
    text = code.source if name == "model.c" else code.header
    path = GOLDEN / f"tiny_{name}"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"pytest --update-golden rewrites {path}"


def test_the_snapshot_runs_like_the_interpreter(tmp_path: Path) -> None:
    graph = tiny_network()
    x = np.random.default_rng(0).integers(-128, 128, (50, 3, 3, 1)).astype(np.int8)
    (expected,) = edgeq.Interpreter(graph).run(x)
    assert len(np.unique(expected)) > 20
    got = run_model(tmp_path, graph, plan_memory(graph), [[row] for row in x])
    assert [row[0] for row in got] == [row.tobytes() for row in expected]
    for name in ("model.c", "model.h"):
        golden = (GOLDEN / f"tiny_{name}").read_bytes()
        assert (tmp_path / name).read_bytes() == golden


# Says where the first input and output are within the arena, and whether there is a second.
WHERE = """\
#include <stdio.h>
{declarations}
int main(void) {{
    const unsigned char *const arena = edgeq_arena;
    printf("%d %d", (int)((const unsigned char *)edgeq_model_input(0) - arena),
           (int)((const unsigned char *)edgeq_model_output(0) - arena));
    for (size_t i = 1; i < 4; ++i) {{
        printf(" %d%d", edgeq_model_input(i) != NULL, edgeq_model_output(i) != NULL);
    }}
}}
"""


@pytest.mark.parametrize(
    "declarations",
    [
        '#include "model.h"',
        "#include <stddef.h>\nextern unsigned char edgeq_arena[];\n"
        "void *edgeq_model_input(size_t);\nconst void *edgeq_model_output(size_t);",
    ],
    ids=["inline", "called"],
)
def test_the_one_input_and_output_are_found_and_no_others(
    declarations: str, tmp_path: Path
) -> None:
    graph = tiny_network()
    plan = plan_memory(graph)
    write_model(tmp_path, graph, plan)
    (tmp_path / "main.c").write_text(WHERE.format(declarations=declarations))
    at = [plan.placements[name].offset for name in ("input", "scores")]
    got = run(build(tmp_path, ("model.c", "main.c")), b"")
    assert got.decode() == f"{at[0]} {at[1]} 00 00 00"


def test_a_quantized_network_runs_like_the_interpreter(tmp_path: Path) -> None:
    graph = small_network()
    quantized = edgeq.quantize(graph, samples(graph, 20))
    (tensor,) = quantized.input_tensors()
    rng = np.random.default_rng(3)
    x = rng.integers(-128, 128, (20, *tensor.shape[1:])).astype(tensor.dtype)
    (expected,) = edgeq.Interpreter(quantized).run(x)
    got = run_model(tmp_path, quantized, plan_memory(quantized), [[row] for row in x])
    assert [row[0] for row in got] == [row.tobytes() for row in expected]


@pytest.mark.parametrize("name", ["hello_world", "ad", "kws", "ic", "vww"])
def test_a_real_model_runs_like_the_interpreter(name: str, model_path, tmp_path: Path) -> None:
    graph = edgeq.read_model(model_path(name))
    (tensor,) = graph.input_tensors()
    rng = np.random.default_rng(5)
    x = rng.integers(-128, 128, (4, *tensor.shape[1:])).astype(tensor.dtype)
    (expected,) = edgeq.Interpreter(graph).run(x)
    got = run_model(tmp_path, graph, plan_memory(graph), [[row] for row in x], ("-O2",))
    assert [row[0] for row in got] == [row.tobytes() for row in expected]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("board", ["microbit", "mps2_an386", "mps3_an547"])
def test_every_operator_compiles_without_a_warning_or_a_helper(
    board: str, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)

    _, graph = graph_of([p for name in PROBLEMS for p in make_problems(name, 2)])
    core = core_of(load_board(board)).target
    plan = plan_memory(graph, scratch_of(choose_kernels(graph, core)))
    write_model(tmp_path, graph, plan, core)
    tool = find_compiler(compiler)
    target = tmp_path / "model.o"
    command = [*tool.command, *compile_flags(load_board(board), compiler)]
    command += [f"-I{kernels_folder()}", "-c", str(tmp_path / "model.c"), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = {name for name in undefined_symbols(target) if "mem" not in name}  # mem.c has them
    assert not wanted, "kernels must do without the compilers' own routines"


def undefined_symbols(path: Path) -> set[str]:
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        return {s.name for s in table.iter_symbols() if s["st_shndx"] == "SHN_UNDEF" and s.name}


@pytest.mark.parametrize(
    ("names", "op_name", "expected"),
    [
        (("model/activation/Relu;model/conv2d_3/Conv2D",), "conv_2d", "conv2d_3"),
        (("model/activation_2/Relu_24", "model/conv2d_1/Conv2D"), "conv_2d", "conv2d_1"),
        (
            ("m/a/Relu;m/depthwise_conv2d_1/depthwise",),
            "depthwise_conv_2d",
            "depthwise_conv2d_1",
        ),
        (
            ("StatefulPartitionedCall:0", "sequential/dense_2/MatMul"),
            "fully_connected",
            "dense_2",
        ),
        (("StatefulPartitionedCall:0",), "softmax", "softmax"),
        (("/layers/layers.0/Conv_output_0",), "conv_2d", "layers_0"),
        (("/fc1/Gemm_output_0",), "fully_connected", "fc1"),
        (("stem",), "conv_2d", "stem"),
        (("3",), "relu", "relu"),
        (("while",), "add", "x_while"),
        (("exp",), "softmax", "exp_layer"),
        (("memcpy",), "pad", "memcpy_layer"),
        (("a-b c",), "add", "a_b_c"),
    ],
)
def test_a_layer_is_called_by_what_tells_most(names, op_name: str, expected: str) -> None:
    assert telling_name(names, op_name) == expected


def test_layer_names_are_unique_with_all_that_derives_from_them() -> None:
    graph = tiny_network()
    quant = QuantParams((0.5,), -3)
    names = ["x/conv", "y/conv", "conv_output", "conv", "conv_filter"]
    tensors = [Tensor(name, (1, 3), INT8, quant) for name in ["input", *names]]
    nodes = [
        Node(QuantizedReshape((1, 3)), (a,), (b,))
        for a, b in zip(["input", *names], names, strict=False)
    ]
    graph = Graph.build("names", tensors, nodes, ["input"], [names[-1]])
    roles = ("filter", "output")
    layers = layer_names(graph, roles)
    every = [*layers, *(f"{layer}_{role}" for layer in layers for role in roles)]
    assert len(set(every)) == len(every)
    assert layers[0] == "conv"


def test_the_digest_says_whether_two_graphs_are_one(tmp_path: Path) -> None:
    graph = tiny_network()
    digest = graph_digest(graph)
    assert len(digest) == 16
    save_graph(graph, tmp_path / "tiny.edgeq")
    assert graph_digest(load_graph(tmp_path / "tiny.edgeq")) == digest
    changed = []
    for name, tensor in graph.tensors.items():
        if tensor.data is not None:
            data = tensor.data.copy()
            data.flat[-1] += 1
            changed.append({name: replace(tensor, data=data)})
        elif tensor.quant is not None and name == "input":
            changed.append({name: replace(tensor, quant=QuantParams((0.25,), -3))})
    others = [
        Graph.build(
            graph.name,
            [change.get(n, t) for n, t in graph.tensors.items()],
            graph.nodes,
            graph.inputs,
            graph.outputs,
        )
        for change in changed
    ]
    conv = replace(graph.nodes[1].op, activation_min=8)  # type: ignore[type-var]
    nodes = [*graph.nodes]
    nodes[1] = Node(conv, nodes[1].inputs, nodes[1].outputs)
    others.append(
        Graph.build("tiny", graph.tensors.values(), nodes, graph.inputs, graph.outputs)
    )
    digests = {digest, *(graph_digest(other) for other in others)}
    assert len(digests) == len(others) + 1
    renamed = Graph.build("x", graph.tensors.values(), graph.nodes, graph.inputs, graph.outputs)
    assert graph_digest(renamed) == digest


def test_what_cannot_be_c_is_refused_with_the_reason() -> None:
    float_graph = small_network()
    tiny = tiny_network()
    with pytest.raises(GraphError, match="quantize it first"):
        model_code(float_graph, plan_memory(tiny))
    weights = np.zeros((2, 2, 2, 1), np.int8)
    tensors = {**tiny.tensors}
    tensors["net/conv/w"] = replace(tensors["net/conv/w"], data=weights)
    bias = np.zeros(2, np.int32)
    tensors["net/conv/b"] = replace(tensors["net/conv/b"], data=bias)
    nodes = [*tiny.nodes]
    far = replace(nodes[1].op, shift=(40, 0))  # type: ignore[type-var]
    nodes[1] = Node(far, nodes[1].inputs, nodes[1].outputs)
    graph = Graph.build("tiny", tensors.values(), nodes, tiny.inputs, tiny.outputs)
    with pytest.raises(GraphError, match=r"net/conv/Relu: conv_2d: shift is 40"):
        model_code(graph, plan_memory(graph))


def test_an_input_added_to_itself_and_two_outputs(tmp_path: Path) -> None:
    from edgeq.ops.add import Add

    quant = QuantParams((0.5,), -3)
    tensors = [Tensor(name, (1, 2, 3), INT8, quant) for name in ("a", "b", "s", "t")]
    (a, b, s, t) = tensors
    nodes = [
        Node(Add().lower((a, a), (s,)), ("a", "a"), ("s",)),
        Node(Add().lower((s, b), (t,)), ("s", "b"), ("t",)),
    ]
    graph = Graph.build("twice", tensors, nodes, ["a", "b"], ["t", "s"])
    rng = np.random.default_rng(6)
    x = [rng.integers(-128, 128, (30, 2, 3)).astype(np.int8) for _ in range(2)]
    expected = edgeq.Interpreter(graph).run(*x)
    got = run_model(
        tmp_path, graph, plan_memory(graph), [[x[0][i], x[1][i]] for i in range(30)]
    )
    assert got == [[y[i].tobytes() for y in expected] for i in range(30)]
