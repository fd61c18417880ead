"""generate: a quantized graph and a board -> a folder of C that builds by itself.

model.c, model.h, kernels/    the model: all that somebody else's firmware needs
manifest.json                 which kernel serves each layer, where its constants are, and why
serial/                       the program: answers the host's requests on the UART
samples.c, samples.h          inputs in flash, if asked for
self_test.c, self_test.h      inputs and the outputs that the interpreter gives
example_main.c, example.mk    a program of its own that runs the self-test: make -f example.mk
runtime/, link.ld, Makefile, CMakeLists.txt     from project.py
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq import passes
from edgeq.board import Board, load_board
from edgeq.digest import graph_digest
from edgeq.errors import BoardError
from edgeq.graph import Array, Graph
from edgeq.memory import MemoryPlan
from firmware_gen.arenas import (
    PROGRAM_RAM_NBYTES,
    capacities,
    free_for_constants,
    used_memories,
)
from firmware_gen.cores import core_of
from firmware_gen.kernels import kernels_folder
from firmware_gen.layers import arranged, planned
from firmware_gen.linker_script import GUARD_NBYTES, STACK_NBYTES
from firmware_gen.model_c import ModelCode, model_code
from firmware_gen.optimize import DEFAULT, MODES, Optimize
from firmware_gen.profiled import HEADER as CYCLES_HEADER
from firmware_gen.profiled import check_counter
from firmware_gen.project import build_project, project_sources, write_project, writing
from firmware_gen.runtime.drivers import runtime_folder
from firmware_gen.toolchain import BuildResult, CompilerName, Progress
from firmware_gen.vectors import (
    SELF_TEST_HEADER,
    checked_samples,
    self_test_inputs,
    self_test_source,
    sources_of_samples,
)
from firmware_gen.weights import Room, WeightsInRam

KERNELS = "kernels"
SERIAL = "serial"
INCLUDE_DIRS = (".", KERNELS, SERIAL)
_SERIAL_FILES = ("main.c", "edgeq_serial.c", "edgeq_framing.c")
_SERIAL_HEADERS = (
    "edgeq_app.h",
    CYCLES_HEADER,
    "edgeq_framing.h",
    "edgeq_messages.h",
    "edgeq_serial.h",
)

# Code of the program and the runtime at least, with slack to the linked images of all cores
# and both compilers: a model that does not fit beside it cannot fit. The linker has the last
# word.
PROGRAM_FLASH_NBYTES = 1792
# A frame holds the names of model, board and firmware (edgeq_serial.c, IDENTITY).
NAMES_NBYTES = 256 - 22 - 16 - len("1") - 3

_EXAMPLE_MK = """\
# Builds build/example/firmware.elf, which runs the self-test: `make -f example.mk`, with the
# same choices as the Makefile.
override SOURCES = {sources}
BUILD = build/example

include Makefile
"""


@dataclass(frozen=True, slots=True)
class GeneratedFirmware:
    """A folder that builds, and what is in it."""

    folder: Path
    board: Board
    graph: Graph  # as it was given
    optimized: Graph  # what model.c runs: the graph without dead work, arranged
    plan: MemoryPlan  # of `optimized`
    model: ModelCode  # of `optimized`
    digest: bytes  # of `graph`; the firmware's IDENTITY has it
    optimize: Optimize
    sources: tuple[str, ...]  # C files of the program besides the runtime's, in the folder
    example_sources: tuple[str, ...]  # those of the example, empty without a self-test
    include_dirs: tuple[str, ...] = INCLUDE_DIRS


def generate(
    graph: Graph,
    board: Board | str,
    folder: str | Path,
    *,
    samples: Array | Sequence[Array] | None = None,
    self_test: int = 2,
    stack_nbytes: int = STACK_NBYTES,
    optimize_graph: bool = True,
    measured: bool = False,
    optimize: Optimize = DEFAULT,
    weights_in_ram: WeightsInRam = "auto",
) -> GeneratedFirmware:
    """Write the firmware of a quantized graph for a board, or a board's name, into `folder`.

    `samples` are inputs to be stored in flash, which STREAM then runs: an array, or one for
    each input of the graph, samples on the first axis. `self_test` is the number of vectors
    with which example_main.c checks itself (the first samples, else random); 0 leaves it out.
    `optimize_graph` takes dead work out first (passes.optimize), which changes no output byte;
    digest and self-test stay those of `graph`, so that they check the optimized code too.
    `measured`: the firmware counts the cycles of each layer, and sends them (PROFILE).
    `optimize` says what code is for (firmware_gen.optimize.MODES). `weights_in_ram`: "auto"
    copies constants of layers from flash into what rams have left at start-up, where the
    board's file says that flash has wait states and enough of them are saved; "none"; or at
    most so many bytes of the hottest on any board (docs/boards.md).

    Raises:
        GraphError: the graph is not quantized, or cannot be lowered to C.
        BoardError: the model cannot fit the board, with the bytes needed and the bytes there.
        DataError: samples of a wrong shape or type, or the folder cannot be written.
    """
    folder = Path(folder)
    board = load_board(board) if isinstance(board, str) else board
    if measured:
        check_counter(board)
    optimized = passes.optimize(graph) if optimize_graph else graph
    target = core_of(board).target
    sizes = capacities(board, stack_nbytes)
    arrangement = arranged(optimized, target, optimize, sizes[0])
    optimized = arrangement.graph
    plan, choices = planned(optimized, target, optimize, sizes)
    model = model_code(
        optimized,
        plan,
        target,
        optimize=optimize,
        digest=graph_digest(graph),
        measured=measured,
        layers_in_one=arrangement.why,
        room=Room(
            board.flash,
            board.of_kind("ram"),
            free_for_constants(board, stack_nbytes, plan.arenas),
            weights_in_ram,
        ),
        choices=choices,
    )
    _check_names(graph, board)
    stored = None if samples is None else checked_samples(graph, samples)
    sample_nbytes = 0 if stored is None else sum(x.nbytes for x in stored)
    check_fit(board, graph, plan, model.constant_nbytes + sample_nbytes, stack_nbytes)
    with writing(folder):
        sources, example = _write_program(graph, board, folder, model, stored, self_test)
        levels, arenas = MODES[optimize].levels, used_memories(plan.arenas)
        copied = sorted(model.copied)
        write_project(
            board, folder, sources, INCLUDE_DIRS, stack_nbytes, levels, arenas, copied
        )
    return GeneratedFirmware(
        folder,
        board,
        graph,
        optimized,
        plan,
        model,
        graph_digest(graph),
        optimize,
        sources,
        example,
    )


def _write_program(
    graph: Graph,
    board: Board,
    folder: Path,
    model: ModelCode,
    stored: tuple[Array, ...] | None,
    self_test: int,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write all but the project's files; the C files of the program, and of the example."""
    for name in (KERNELS, SERIAL):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write(folder / "model.c", model.source)
    _write(folder / "model.h", model.header)
    _write(folder / "manifest.json", model.manifest.json())
    for name in model.kernel_headers:
        shutil.copyfile(kernels_folder() / name, folder / KERNELS / name)
    sources = ["model.c", *_copy_serial(folder, "flash" if stored is not None else "serial")]
    if stored is not None:
        source, header = sources_of_samples(graph, stored)
        _write(folder / "samples.c", source)
        _write(folder / "samples.h", header)
        sources.append("samples.c")
    example: tuple[str, ...] = ()
    if self_test:
        vectors = self_test_inputs(graph, stored, self_test)
        _write(folder / "self_test.c", self_test_source(graph, vectors))
        _write(folder / "self_test.h", SELF_TEST_HEADER)
        shutil.copyfile(runtime_folder() / "example_main.c", folder / "example_main.c")
        example = ("example_main.c", "self_test.c", "model.c")
        names = " ".join(project_sources(board, example))
        _write(folder / "example.mk", _EXAMPLE_MK.format(sources=names))
    return tuple(sources), example


def build(
    firmware: GeneratedFirmware,
    compiler: CompilerName | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build the generated program into build/ in its folder; errors as `build_project`."""
    return build_project(
        firmware.board,
        firmware.folder,
        firmware.sources,
        firmware.include_dirs,
        compiler,
        MODES[firmware.optimize].levels,
        progress,
    )


def check_fit(
    board: Board, graph: Graph, plan: MemoryPlan, constant_nbytes: int, stack_nbytes: int
) -> None:
    """Refuse a model that cannot fit, before anything is built.

    Raises:
        BoardError: the arena, the stack and the program's least memory exceed the ram, or no
            places in several rams were found, or constants and the least code exceed the
            flash; with the bytes of each.
    """
    stack = stack_nbytes + GUARD_NBYTES
    flash = constant_nbytes + PROGRAM_FLASH_NBYTES
    found = []
    if plan.arenas[0] + stack + PROGRAM_RAM_NBYTES > board.ram.nbytes:
        ram = plan.arena_nbytes + stack + PROGRAM_RAM_NBYTES
        there = ", ".join(f"'{m.name}' has {m.nbytes}" for m in board.of_kind("ram"))
        if len(board.of_kind("ram")) > 1:
            name, place = max(plan.placements.items(), key=lambda item: item[1].nbytes)
            there += f"; each buffer must lie in one, the largest is '{name}', {place.nbytes}"
        found.append(
            f"{ram} bytes of ram needed (arena {plan.arena_nbytes}, stack {stack}, program "
            f"{PROGRAM_RAM_NBYTES}), {there}"
        )
    if flash > board.flash.nbytes:
        found.append(
            f"{flash} bytes of flash needed (constants {constant_nbytes}, program at least "
            f"{PROGRAM_FLASH_NBYTES}), '{board.flash.name}' has {board.flash.nbytes}"
        )
    if found:
        raise BoardError(f"{board.name}: {graph.name} does not fit: {'; '.join(found)}")


def _check_names(graph: Graph, board: Board) -> None:
    nbytes = len(graph.name.encode()) + len(board.name.encode())
    if nbytes > NAMES_NBYTES:
        raise BoardError(
            f"{board.name}: the names of board and model have {nbytes} bytes, at most "
            f"{NAMES_NBYTES} fit into the identity that the firmware sends; rename the model"
        )


def _copy_serial(folder: Path, application: str) -> list[str]:
    """The C files of the serial program; `application` says where inputs come from."""
    sources = [*_SERIAL_FILES, f"edgeq_app_{application}.c"]
    for name in (*sources, *_SERIAL_HEADERS):
        shutil.copyfile(runtime_folder() / name, folder / SERIAL / name)
    return [f"{SERIAL}/{name}" for name in sources]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
