"""Generated firmware equals the interpreter in every byte: on the host and on every core."""

from __future__ import annotations

import re
from pathlib import Path

import host_c
import numpy as np
import pytest
from firmware_matrix import NETWORKS, Images, board_of, emulators_of, every_image, linked
from toolchains import COMPILERS, need_compiler

import edgeq
from edgeq.board import load_board
from edgeq.digest import graph_digest
from edgeq.stream.verify import verify
from firmware_gen import build, generate
from firmware_gen.toolchain import CompilerName

# Inputs from stdin, outputs to stdout, until the inputs end.
_MAIN = """\
#include <stdio.h>

#include "model.h"

int main(void) {
    for (;;) {
        for (size_t i = 0; i < EDGEQ_MODEL_INPUT_COUNT; ++i) {
            const size_t nbytes = edgeq_model_input_nbytes(i);
            if (fread(edgeq_model_input(i), 1, nbytes, stdin) != nbytes) {
                return 0;
            }
        }
        edgeq_model_run();
        for (size_t i = 0; i < EDGEQ_MODEL_OUTPUT_COUNT; ++i) {
            (void)fwrite(edgeq_model_output(i), 1, edgeq_model_output_nbytes(i), stdout);
        }
    }
}
"""

_SELF_TEST_MAIN = """\
#include "self_test.h"

int main(void) {
    uint32_t differences = 0;
    for (uint32_t i = 0; i < edgeq_self_test_count(); ++i) {
        differences += edgeq_self_test_run(i);
    }
    return differences == 0u && edgeq_self_test_count() == 3u ? 0 : 1;
}
"""


@pytest.mark.parametrize("network", NETWORKS)
def test_the_generated_folder_gives_the_interpreters_bytes_on_the_host_under_sanitizers(
    network: str, images: Images, tmp_path: Path
) -> None:
    graph, x = images.graph(network), images.inputs(network, 8)
    generate(graph, load_board("mps2_an386"), tmp_path, samples=x[:3], self_test=3)
    kernels = f"-I{tmp_path / 'kernels'}"  # the folder's own, before the package's
    (tmp_path / "host.c").write_text(_MAIN, encoding="utf-8")
    program = host_c.build(tmp_path, ("model.c", "host.c"), (kernels, "-O1"))
    expected = b"".join(
        np.ascontiguousarray(y[i]).tobytes()
        for i in range(len(x))
        for y in edgeq.Interpreter(graph).run(x)
    )
    assert host_c.run(program, x.tobytes()) == expected

    (tmp_path / "host.c").write_text(_SELF_TEST_MAIN, encoding="utf-8")
    sources = ("model.c", "self_test.c", "host.c")
    host_c.run(host_c.build(tmp_path, sources, (kernels, "-O1")), b"")


@every_image
def test_every_byte_over_the_serial_port_is_the_interpreters_on_every_emulator(
    network: str, target: str, compiler: CompilerName, images: Images
) -> None:
    image, board = images.image(network, target, compiler), board_of(target)
    x = images.inputs(network)
    outputs = {}
    for emulator in emulators_of(board):
        with linked(image.built.elf, board, emulator) as link:
            assert link.identity.board == board.name
            assert link.identity.model == image.graph.name
            assert link.identity.digest == graph_digest(image.graph)
            assert link.identity.ticks_hz > 0
            found = verify(link, image.graph, [x])
            assert link.statistics.frames_lost == 0
        assert found.is_equal, f"{emulator}: {found.differences}"
        assert found.compared_nbytes == len(x) * link.identity.output_nbytes
        assert all(ticks > 0 for ticks in found.ticks)
        outputs[emulator] = found.outputs
    assert outputs, f"no emulator has {board.name}"
    assert len(set(outputs.values())) == 1


@pytest.mark.parametrize("compiler", COMPILERS)
def test_one_weight_that_differs_is_found(
    compiler: CompilerName, images: Images, tmp_path: Path
) -> None:
    need_compiler(compiler)
    graph, board = images.graph("digits"), board_of("m4")
    firmware = generate(graph, board, tmp_path, self_test=0)
    source = (tmp_path / "model.c").read_text(encoding="utf-8")
    table = re.search(r"int8_t \w+\[\d+\] = \{\s*(-?\d+)", source)
    assert table is not None
    wrong = "100" if int(table[1]) < 0 else "-100"
    altered = source[: table.start(1)] + wrong + source[table.end(1) :]
    (tmp_path / "model.c").write_text(altered, encoding="utf-8")
    with linked(build(firmware, compiler).elf, board, "virtual") as link:
        found = verify(link, graph, [images.inputs("digits", 20)])
    assert not found.is_equal
    assert found.equal_samples < found.samples
    assert found.differences[0].board != found.differences[0].interpreter
