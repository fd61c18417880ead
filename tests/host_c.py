"""Generated C on the host, under sanitizers: build a program, run it, give its output."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from toolchains import missing

from edgeq.graph import Array, Graph
from edgeq.memory import MemoryPlan, plan_memory
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.kernels import kernels_folder
from firmware_gen.layers import Choice, choose_kernels, scratch_of
from firmware_gen.model_c import ModelCode, model_code
from firmware_gen.optimize import Optimize

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")

# Fills the arena with a pattern, poisons what no tensor owns, then takes samples from stdin.
_MAIN = """\
#include <stdio.h>
#include <string.h>

#include "model.h"

void __asan_poison_memory_region(void const volatile *at, size_t nbytes);

int main(void) {{
    static const size_t gaps[][2] = {{ {gaps} }};
    uint8_t *const arena = (uint8_t *)edgeq_model_input(0) - {first}u;
    memset(arena, 0xa5, EDGEQ_MODEL_ARENA_NBYTES);
    if ({poisons}) {{
        for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; ++i) {{
            __asan_poison_memory_region(arena + gaps[i][0], gaps[i][1]);
        }}
    }}
    for (;;) {{
        for (size_t i = 0; i < EDGEQ_MODEL_INPUT_COUNT; ++i) {{
            const size_t nbytes = edgeq_model_input_nbytes(i);
            if (fread(edgeq_model_input(i), 1, nbytes, stdin) != nbytes) {{
                return 0;
            }}
        }}
        edgeq_model_run();
        for (size_t i = 0; i < EDGEQ_MODEL_OUTPUT_COUNT; ++i) {{
            (void)fwrite(edgeq_model_output(i), 1, edgeq_model_output_nbytes(i), stdout);
        }}
    }}
}}
"""


@cache
def host_compiler() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command of a C compiler for this host, and its sanitizer options."""
    if (gcc := shutil.which("gcc")) is not None:
        sanitizers = "-fsanitize=address,undefined"
        return (gcc,), (sanitizers, "-fno-sanitize-recover=all")
    try:
        import ziglang  # noqa: F401
    except ImportError:
        missing("no C compiler for the host: install gcc, or `pip install ziglang`")
    return (sys.executable, "-m", "ziglang", "cc"), ("-fsanitize=undefined",)


def build(folder: Path, sources: Sequence[str], options: Sequence[str] = ()) -> Path:
    """The program of these sources in `folder`; a compiler's complaint fails the test."""
    command, sanitizers = host_compiler()
    program = folder / "program"
    done = subprocess.run(
        [
            *command,
            *STRICT,
            *sanitizers,
            *options,
            f"-I{folder}",
            f"-I{kernels_folder()}",
            *(str(folder / name) for name in sources),
            "-o",
            str(program),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, stdin: bytes) -> bytes:
    done = subprocess.run([str(program)], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def planned(graph: Graph, target: Target = PORTABLE) -> MemoryPlan:
    """The plan with the scratch of the kernels that are chosen for a target."""
    return plan_memory(graph, scratch_of(choose_kernels(graph, target)))


def run_model(
    folder: Path,
    graph: Graph,
    plan: MemoryPlan,
    samples: Sequence[Sequence[Array]],
    options: Sequence[str] = ("-O1",),
    target: Target = PORTABLE,
    optimize: Optimize = "speed",
    choices: Sequence[Choice] | None = None,
) -> list[list[bytes]]:
    """Outputs of each sample as bytes, from generated C; `folder` keeps the C."""
    code = write_model(folder, graph, plan, target, optimize, choices)
    assert code.layers
    gaps = _gaps(plan)
    main = _MAIN.format(
        gaps=", ".join(f"{{{offset}, {nbytes}}}" for offset, nbytes in gaps) or "{0, 0}",
        first=plan.placements[graph.inputs[0]].offset,
        poisons=int(bool(gaps) and "-fsanitize=address" in " ".join(host_compiler()[1])),
    )
    if "-fsanitize=address" not in " ".join(host_compiler()[1]):
        main = main.replace(
            "size_t nbytes);\n", "size_t nbytes) { (void)at; (void)nbytes; }\n", 1
        )
    (folder / "main.c").write_text(main, encoding="utf-8")
    program = build(folder, ("model.c", "main.c"), options)
    stdin = b"".join(x.tobytes() for sample in samples for x in sample)
    out = run(program, stdin)
    sizes = [t.nbytes for t in graph.output_tensors()]
    assert len(out) == len(samples) * sum(sizes)
    results, at = [], 0
    for _ in samples:
        row = []
        for size in sizes:
            row.append(out[at : at + size])
            at += size
        results.append(row)
    return results


def write_model(
    folder: Path,
    graph: Graph,
    plan: MemoryPlan,
    target: Target = PORTABLE,
    optimize: Optimize = "speed",
    choices: Sequence[Choice] | None = None,
) -> ModelCode:
    code = model_code(graph, plan, target, optimize=optimize, choices=choices)
    (folder / "model.c").write_text(code.source, encoding="utf-8")
    (folder / "model.h").write_text(code.header, encoding="utf-8")
    return code


def _gaps(plan: MemoryPlan) -> list[tuple[int, int]]:
    gaps, end = [], 0
    for place in sorted(plan.placements.values(), key=lambda p: p.offset):
        if place.offset > end:
            gaps.append((end, place.offset - end))
        end = max(end, place.offset + place.nbytes)
    if plan.arena_nbytes > end:
        gaps.append((end, plan.arena_nbytes - end))
    return gaps
