"""generate: the folder is whole, builds by make and both compilers, passes its self-test."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from host_c import build as build_for_host
from host_c import run as run_on_host
from networks import samples as float_samples
from networks import small_network
from problem import graph_of
from problems import PROBLEMS, make_problems
from test_boards import running
from test_generated_c import tiny_network
from toolchains import COMPILERS, need_compiler, need_program

import edgeq
from edgeq.board import load_board
from edgeq.digest import graph_digest
from edgeq.errors import BoardError, DataError, GraphError
from edgeq.graph import Graph
from edgeq.model_file import save_graph
from firmware_gen import GeneratedFirmware, build, generate
from firmware_gen.firmware import PROGRAM_FLASH_NBYTES, PROGRAM_RAM_NBYTES
from firmware_gen.linker_script import GUARD_NBYTES, STACK_NBYTES
from firmware_gen.toolchain import CompilerName, compile_and_link


def quantized_network() -> Graph:
    graph = small_network()
    return edgeq.quantize(graph, float_samples(graph, 20))


def int8_samples(graph: Graph, count: int) -> np.ndarray:
    (tensor,) = graph.input_tensors()
    rng = np.random.default_rng(9)
    return rng.integers(-128, 128, (count, *tensor.shape[1:])).astype(tensor.dtype)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_folders_of_one_model_are_equal_and_name_nothing_local(tmp_path: Path) -> None:
    graph = quantized_network()
    board = load_board("mps2_an386")
    both = []
    for name in ("first", "second"):
        generate(graph, board, tmp_path / name, samples=int8_samples(graph, 3))
        both.append(files_of(tmp_path / name))
    assert both[0] == both[1]
    for name, data in both[0].items():
        text = data.decode("utf-8")
        assert str(tmp_path) not in text, name
        assert not re.search(r"20\d\d-\d\d-\d\d", text), name


def test_only_the_kernels_in_use_are_in_the_folder(tmp_path: Path) -> None:
    generate(tiny_network(), load_board("mps2_an385"), tmp_path)
    assert sorted(path.name for path in (tmp_path / "kernels").iterdir()) == [
        "conv_2d.h",
        "edgeq_arith.h",
        "edgeq_narrow.h",
        "edgeq_sums.h",
        "edgeq_window.h",
        "fully_connected_pairs.h",
        "max_pool_2d.h",
        "pad.h",
    ]


def test_the_manifest_says_which_kernel_serves_a_layer_and_why_no_other(
    tmp_path: Path,
) -> None:
    found = {}
    for name in ("mps2_an385", "mps2_an386"):
        generate(tiny_network(), load_board(name), tmp_path / name, optimize="speed")
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        found[name] = {layer["operator"]: layer for layer in manifest["layers"]}
        for layer in found[name].values():
            assert layer["header"] is None or (
                (tmp_path / name / "kernels" / layer["header"]).is_file()
            )
    conv, dense = (found["mps2_an386"][name] for name in ("conv_2d", "fully_connected"))
    assert (dense["kernel"], dense["header"]) == ("dsp_winograd", "fully_connected_winograd.h")
    no_helium = {"mve": "the core has no vector extension"}
    assert dense["why_not"].items() >= no_helium.items()
    assert dense["scratch_nbytes"] == 16
    assert (conv["kernel"], conv["header"]) == ("portable", "conv_2d.h")
    assert conv["why_not"] == no_helium | {
        "dsp_pointwise_packed": "`--optimize speed` does not unpack constants in each run",
        "dsp_pointwise": "an output is made of other pixels than the one at its place",
        "dsp": "a multiplier is 0.5 or more, the kernel wants a shift to the right",
        "lanes": "the core is no Armv7-M",
        "lanes_v6m": "the core is no Armv6-M",
    }
    dense = found["mps2_an385"]["fully_connected"]
    assert (dense["kernel"], dense["header"]) == ("pairs", "fully_connected_pairs.h")
    assert dense["why_not"]["dsp_winograd"] == "the core has no DSP extension"


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["microbit", "mps2_an386", "nucleo_g0b1re"])
def test_firmware_without_samples_has_no_code_for_streams(
    name: str, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    graph, board = quantized_network(), load_board(name)
    functions, flash = [], []
    for samples in (None, int8_samples(graph, 1)):
        folder = tmp_path / str(samples is None)
        firmware = generate(graph, board, folder, samples=samples, self_test=0)
        result = build(firmware, compiler)
        functions.append({line.split()[-1] for line in result.map.read_text().splitlines()})
        flash.append(result.flash_nbytes)
    assert "edgeq_app_load_sample" not in functions[0]
    assert "edgeq_app_load_sample" in functions[1]
    sample_nbytes = sum(t.nbytes for t in graph.input_tensors())
    assert flash[0] + sample_nbytes < flash[1]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["microbit", "mps2_an385", "mps2_an386", "mps3_an547"])
def test_the_program_builds_and_the_estimates_are_lower_bounds(
    name: str, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    graph = quantized_network()
    firmware = generate(graph, load_board(name), tmp_path, samples=int8_samples(graph, 2))
    result = build(firmware, compiler)
    constants = firmware.model.constant_nbytes
    assert result.flash_nbytes >= constants + PROGRAM_FLASH_NBYTES
    assert result.ram_nbytes >= firmware.plan.arena_nbytes + PROGRAM_RAM_NBYTES
    assert result.stack_nbytes == STACK_NBYTES + GUARD_NBYTES
    functions = {line.split()[-1] for line in result.map.read_text().splitlines() if line}
    assert set(firmware.model.layers) - {"flat"} <= functions  # a RESHAPE has no code


@pytest.mark.parametrize("compiler", COMPILERS)
def test_make_builds_the_folder_and_its_example(compiler, tmp_path: Path) -> None:
    need_compiler(compiler)
    make = need_program("make", "make")
    generate(quantized_network(), load_board("mps2_an386"), tmp_path)
    common = [make, "-C", str(tmp_path), f"COMPILER={compiler}", f"PYTHON={sys.executable}"]
    for extra in ([], ["-f", "example.mk"]):
        done = subprocess.run([*common, *extra], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr
    assert (tmp_path / "build" / "firmware.elf").is_file()
    assert (tmp_path / "build" / "example" / "firmware.elf").is_file()


def example_elf(firmware: GeneratedFirmware, compiler: CompilerName) -> Path:
    folder = firmware.folder
    text = (folder / "example.mk").read_text(encoding="utf-8")
    (names,) = re.findall(r"SOURCES = (.*)", text)
    return compile_and_link(
        [folder / name for name in names.split()],
        [folder / name for name in (*firmware.include_dirs, "runtime")],
        folder / "link.ld",
        firmware.board,
        folder / "build" / "example.elf",
        compiler,
    ).elf


def passes_in_qemu(firmware: GeneratedFirmware, compiler: CompilerName) -> bool:
    """Whether every vector of the example gives the interpreter's bytes."""
    with running(example_elf(firmware, compiler), firmware.board) as line:
        text = line.read_until(b" ticks\r\n").decode()
        while not re.search(r"(PASS|FAIL)\r\n$", text):
            text += line.read_until(b"\r\n").decode()
    assert ("PASS" in text) == (text.count(" 0 bytes differ") == text.count("vector"))
    return "PASS" in text


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["microbit", "mps2_an386"])
def test_the_example_passes_in_qemu(name: str, compiler, tmp_path: Path) -> None:
    need_compiler(compiler)
    firmware = generate(quantized_network(), load_board(name), tmp_path, self_test=4)
    assert passes_in_qemu(firmware, compiler)


# Code for the M0 runs on the M3 too, whose machine has the memory that QEMU's M0 has not.
MACHINES = (
    ("cortex-m0", "mps2_an385"),
    ("cortex-m3", "mps2_an385"),
    ("cortex-m4", "mps2_an386"),
    ("cortex-m7", "mps2_an500"),
    ("cortex-m33", "mps2_an505"),
    ("cortex-m55", "mps3_an547"),
)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("core", "name"), MACHINES)
def test_every_operator_gives_the_same_bytes_on_every_core(
    core: str, name: str, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    board = replace(load_board(name), core=core)

    problems = [p for name in PROBLEMS for p in make_problems(name, 5)]
    named, graph = graph_of(problems)
    arrays = [x for problem in named for x in problem.arrays]
    # As they are: an operator whose output is constant would not be run.
    firmware = generate(
        graph, board, tmp_path, samples=arrays, self_test=1, optimize_graph=False
    )
    assert passes_in_qemu(firmware, compiler), problems


_HOST_MAIN = """\
#include <stdio.h>

#include "self_test.h"

int main(void) {
    for (uint32_t i = 0; i < edgeq_self_test_count(); ++i) {
        printf("%u\\n", (unsigned)edgeq_self_test_run(i));
    }
    return 0;
}
"""


def test_the_self_test_sees_a_changed_weight(tmp_path: Path) -> None:
    graph = tiny_network()
    generate(graph, load_board("mps2_an386"), tmp_path, self_test=5)
    (tmp_path / "host_main.c").write_text(_HOST_MAIN, encoding="utf-8")
    sources = ("host_main.c", "self_test.c", "model.c")
    assert run_on_host(build_for_host(tmp_path, sources), b"").split() == [b"0"] * 5
    model = (tmp_path / "model.c").read_text(encoding="utf-8")
    changed = model.replace(
        "    -4, -3, -2, -1, 0, 1, 2, 3,", "    -4, -3, -2, -1, 0, 1, 2, 9,"
    )
    assert changed != model
    (tmp_path / "model.c").write_text(changed, encoding="utf-8")
    counts = run_on_host(build_for_host(tmp_path, sources), b"").split()
    assert any(int(count) > 0 for count in counts)


_SAMPLES_MAIN = """\
#include <stdio.h>

#include "model.h"
#include "serial/edgeq_app.h"

int main(void) {
    for (uint32_t i = 0; i < edgeq_app_sample_count(); ++i) {
        edgeq_app_load_sample(i);
        for (size_t t = 0; t < EDGEQ_MODEL_INPUT_COUNT; ++t) {
            (void)fwrite(edgeq_model_input(t), 1, edgeq_model_input_nbytes(t), stdout);
        }
    }
    return 0;
}
"""


def test_samples_reach_the_inputs(tmp_path: Path) -> None:
    graph = tiny_network()
    x = int8_samples(graph, 7)
    firmware = generate(graph, load_board("mps2_an386"), tmp_path, samples=x, self_test=0)
    assert "samples.c" in firmware.sources
    assert firmware.example_sources == ()
    assert not (tmp_path / "self_test.c").exists()
    (tmp_path / "host_main.c").write_text(_SAMPLES_MAIN, encoding="utf-8")
    sources = ("host_main.c", "serial/edgeq_app_flash.c", "samples.c", "model.c")
    assert run_on_host(build_for_host(tmp_path, sources), b"") == x.tobytes()


def test_the_digest_in_the_firmware_is_the_graphs(tmp_path: Path) -> None:
    graph = tiny_network()
    firmware = generate(graph, load_board("mps2_an386"), tmp_path)
    text = (tmp_path / "model.h").read_text(encoding="utf-8")
    (values,) = re.findall(r"EDGEQ_MODEL_DIGEST \{(.*?)\}", text, re.DOTALL)
    assert bytes(int(v, 16) for v in re.findall(r"0x\w\w", values)) == graph_digest(graph)
    assert firmware.digest == graph_digest(graph)
    save_graph(graph, tmp_path / "again.edgeq")
    assert graph_digest(edgeq.read_model(tmp_path / "again.edgeq")) == firmware.digest


def test_a_model_that_does_not_fit_is_refused_with_its_bytes(
    model_path, tmp_path: Path
) -> None:
    graph = edgeq.read_model(model_path("vww"))
    with pytest.raises(BoardError) as refused:
        generate(graph, load_board("microbit"), tmp_path)
    text = str(refused.value)
    assert re.search(r"microbit: vww\w* does not fit: \d+ bytes of ram needed", text)
    assert "has 16384" in text
    assert not list(tmp_path.iterdir())


def test_samples_that_do_not_fit_the_flash_are_refused(tmp_path: Path) -> None:
    graph = tiny_network()
    many = np.zeros((60_000, 3, 3, 1), np.int8)
    with pytest.raises(BoardError, match=r"\d+ bytes of flash needed .*has 262144"):
        generate(graph, load_board("microbit"), tmp_path, samples=many)


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (np.zeros((2, 3, 3, 1), np.float32), "must be int8"),
        (np.zeros((2, 3, 4, 1), np.int8), r"\(samples, 3, 3, 1\)"),
        (np.zeros((0, 3, 3, 1), np.int8), "above 0"),
        ([np.zeros((1, 3, 3, 1), np.int8)] * 2, "2 arrays"),
    ],
)
def test_wrong_samples_are_refused(samples, text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=text):
        generate(tiny_network(), load_board("mps2_an386"), tmp_path, samples=samples)


def test_a_float_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="float graph"):
        generate(small_network(), load_board("mps2_an386"), tmp_path)
