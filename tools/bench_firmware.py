"""What the generated firmware costs beside TFLite Micro with CMSIS-NN: `make bench-firmware`.

Instructions, cycles, code and memory of the four MLPerf Tiny models on each class of core:
instructions are counted on the virtual board, those of the Cortex-M55 by QEMU (-icount);
cycles are estimates (edgeq/emulator/cycles.py). The figures of others, and what is to be
reached, are those of TARGETS.md beside the models. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeq.board import Board, load_board
from edgeq.cli.output import Compiler, Purpose
from edgeq.cli.profile import inputs_of, profile_model
from edgeq.emulator.cycles import MODELS as CYCLE_MODELS
from edgeq.emulator.image import read_image
from edgeq.emulator.qemu import QemuBoard
from edgeq.emulator.stack import firmware_bounds
from edgeq.errors import EdgeqError
from edgeq.graph import Graph
from edgeq.importers import read_model
from edgeq.stream import open_link
from edgeq.stream.verify import verify
from firmware_gen import GeneratedFirmware, build, generate

ROOT = Path(__file__).parent.parent
MODELS = Path(os.environ.get("EDGEQ_SHARED", ROOT.parent / "shared")) / "models"
FILES = {
    "kws": "kws_ref_model.tflite",
    "ic": "pretrainedResnet_quant.tflite",
    "vww": "vww_96_int8.tflite",
    "ad": "ad01_int8.tflite",
}
BOARDS = {
    "M0+": "nucleo_g0b1re",
    "M3": "mps2_an385",
    "M4": "mps2_an386",
    "M33": "mps2_an505",
    "M7": "mps2_an500",
    "M55": "mps3_an547",
}
# TARGETS.md, in the order of FILES. Instructions in millions, TFLite Micro with CMSIS-NN.
TFLM_INSTRUCTIONS = {
    "M0+": (25.0, 97.6, 74.7, 1.76),
    "M3": (10.5, 36.8, 32.0, 0.956),
    "M4": (7.70, 29.9, 24.1, 0.583),
    "M33": (7.68, 29.9, 24.0, 0.583),
    "M7": (7.65, 29.1, 24.0, 0.583),
    "M55": (1.70, 4.42, 6.04, 0.063),
}
TIMES_FEWER = {"M0+": 2.0, "M3": 2.0, "M55": 1.5}  # of the others cycles count
TFLM_M4_CYCLES = (9.36, 38.4, 29.6, 0.729)
BAKENN_M4_CYCLES = (29.2, 70.0, 49.7, 0.772)
TARGET_M4_CYCLES = (3.75, 15.4, 6.0, 0.30)
TFLM_ARENA = (22_820, 54_996, 100_708, 2_580)
TFLM_RAM = (23_424, 55_600, 101_312, 3_304)  # all static
TARGET_ARENA = (9 * 1024, 34 * 1024, 30 * 1024, 2 * 1024)  # with scratch
LIVE_WEIGHTS = (22_016, 77_360, 29_636, 264_192)
TFLM_FLASH = (106_780, 149_144, 386_132, 304_484)
TARGET_FLASH = (10 * 1024, 10 * 1024, 12 * 1024, 6 * 1024)  # beyond the live weights


@dataclass(frozen=True, slots=True)
class Figures:
    """One model on one core by one compiler."""

    core: str
    model: str
    compiler: str
    instructions: float
    cycles: float | None  # estimated; None where the core has no model
    arena_nbytes: int
    static_nbytes: int  # .data and .bss, with the arena
    stack_nbytes: int | None  # high-water mark from the stack's top; None: not watched
    stack_bound_nbytes: int | None  # of the program with interrupts, by its code
    flash_nbytes: int
    alone_nbytes: int  # flash of a program that runs the model and does no more
    equal: bool  # to the interpreter, every byte
    smallest_nbytes: int | None = None  # alone_nbytes by `--optimize size`; on the M4


def measure(
    graph: Graph, core: str, model: str, compiler: Compiler, optimize: Purpose
) -> Figures:
    board = load_board(BOARDS[core])
    inputs = inputs_of(graph, None, 1)
    if board.core in CYCLE_MODELS:
        found = profile_model(graph, board, compiler, inputs, optimize, "none")
        profile, result, equal = found.profile, found.build, found.is_equal
        return Figures(
            core,
            model,
            compiler.value,
            profile.instructions,
            profile.cycles,
            profile.arena_nbytes,
            result.ram_nbytes,
            profile.whole_stack_nbytes,
            profile.whole_stack_bound_nbytes,
            result.flash_nbytes,
            alone_nbytes(graph, board, compiler, optimize),
            equal,
        )
    with tempfile.TemporaryDirectory(prefix="edgeq-bench-") as folder:
        firmware = generated(graph, board, folder, optimize)
        result = build(firmware, compiler.value)
        with QemuBoard(result.elf, board, tcp=True, counting=True) as machine:
            with open_link(machine.port) as link:
                checked = verify(link, graph, inputs)
            machine.check()
        _, bound = firmware_bounds(read_image(result.elf), board.core)
    seconds = checked.ticks[0] / board.clock.core_hz  # QEMU: one nanosecond an instruction
    return Figures(
        core,
        model,
        compiler.value,
        seconds * 1e9,
        None,
        firmware.plan.arena_nbytes,
        result.ram_nbytes,
        None,
        bound.known_nbytes,
        result.flash_nbytes,
        alone_nbytes(graph, board, compiler, optimize),
        checked.is_equal,
    )


# The least program that uses a model: start code, fault report on the UART, the model.
ALONE = """\
#include "model.h"

int main(void) {
    for (;;) {
        *(volatile signed char *)edgeq_model_input(0) = 0;
        edgeq_model_run();
        (void)*(const volatile signed char *)edgeq_model_output(0);
    }
}
"""


def generated(graph: Graph, board: Board, folder: str, optimize: Purpose) -> GeneratedFirmware:
    """Firmware without a self-test, constants in flash as those of others are."""
    return generate(
        graph, board, folder, self_test=0, optimize=optimize.value, weights_in_ram="none"
    )


def alone_nbytes(graph: Graph, board: Board, compiler: Compiler, optimize: Purpose) -> int:
    """Flash of an image without the serial program: linked, not subtracted."""
    with tempfile.TemporaryDirectory(prefix="edgeq-bench-") as folder:
        firmware = generated(graph, board, folder, optimize)
        (Path(folder) / "alone.c").write_text(ALONE, encoding="utf-8")
        program = dataclasses.replace(firmware, sources=("alone.c", "model.c"))
        return build(program, compiler.value).flash_nbytes


class Tables:
    """The figures of one compiler as tables, models across."""

    def __init__(self, figures: list[Figures], models: list[str]) -> None:
        self.by = {(f.core, f.model): f for f in figures}
        self.models = models
        self.columns = [list(FILES).index(name) for name in models]

    def table(self, title: str) -> Table:
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("", no_wrap=True)
        for name in self.models:
            table.add_column(name, justify="right", no_wrap=True)
        return table

    def add(self, table: Table, title: str, values: tuple[float, ...], form: str) -> None:
        table.add_row(title, *(form.format(values[i]) for i in self.columns), style="dim")

    def cells(self, core: str, of: str, scale: float, bound: tuple[float, ...] | None) -> list:
        """Ours, each with how it stands to a bound: met or not, and the factor to it."""
        found = []
        for name, column in zip(self.models, self.columns, strict=True):
            figures = self.by.get((core, name))
            value = getattr(figures, of) if figures else None
            if value is None:
                found.append(Text("-"))
                continue
            text = f"{value * scale:,.3f}" if scale != 1 else f"{value:,}"
            style = ""
            if bound is not None:
                style = "green" if value * scale <= bound[column] else "red"
            found.append(Text(text, style=style))
        return found

    def beyond(self, core: str, of: str) -> list[Text]:
        """Bytes of flash besides the live weights."""
        found = []
        for name, column in zip(self.models, self.columns, strict=True):
            nbytes = getattr(self.by.get((core, name)), of, None)
            if nbytes is None:
                found.append(Text("-"))
                continue
            value = nbytes - LIVE_WEIGHTS[column]
            style = "green" if value <= TARGET_FLASH[column] else "red"
            found.append(Text(f"{value:,}", style=style))
        return found

    def ratios(self, core: str, of: str, scale: float, others: tuple[float, ...]) -> list:
        found = []
        for name, column in zip(self.models, self.columns, strict=True):
            figures = self.by.get((core, name))
            value = getattr(figures, of) if figures else None
            found.append(f"{others[column] / (value * scale):.2f} x" if value else "-")
        return found


def instructions_table(tables: Tables, cores: list[str]) -> Table:
    table = tables.table("million instructions (exact), and how many times fewer than TFLM")
    for core in cores:
        theirs = TFLM_INSTRUCTIONS[core]
        times = TIMES_FEWER.get(core)
        bound = tuple(value / times for value in theirs) if times else None
        table.add_row(f"{core} edgeq", *tables.cells(core, "instructions", 1e-6, bound))
        tables.add(table, f"{core} TFLM + CMSIS-NN", theirs, "{:,.3f}")
        ratios = tables.ratios(core, "instructions", 1e-6, theirs)
        wanted = f", wanted {times:g}" if times else ""
        table.add_row(f"{core} ratio{wanted}", *ratios, end_section=True)
    return table


def cycles_table(tables: Tables, cores: list[str]) -> Table:
    table = tables.table("million estimated cycles")
    for core in cores:
        model = CYCLE_MODELS.get(load_board(BOARDS[core]).core)
        if model is None:
            continue
        bound = TARGET_M4_CYCLES if core in ("M4", "M33") else None
        title = f"{core} edgeq ({model.sureness})"
        table.add_row(title, *tables.cells(core, "cycles", 1e-6, bound))
    if "M4" in cores:
        tables.add(table, "M4 TFLM + CMSIS-NN", TFLM_M4_CYCLES, "{:,.3f}")
        tables.add(table, "M4 BakeNN 1.0", BAKENN_M4_CYCLES, "{:,.3f}")
        tables.add(table, "M4 and M33 to reach, at most", TARGET_M4_CYCLES, "{:,.3f}")
        table.add_row("M4 ratio to TFLM", *tables.ratios("M4", "cycles", 1e-6, TFLM_M4_CYCLES))
    return table


def memory_table(tables: Tables, core: str) -> Table:
    table = tables.table(f"bytes on the {core}")
    table.add_row("arena with scratch", *tables.cells(core, "arena_nbytes", 1, TARGET_ARENA))
    tables.add(table, "  to reach, at most", TARGET_ARENA, "{:,}")
    tables.add(table, "  TFLM + CMSIS-NN, M4", TFLM_ARENA, "{:,}")
    table.add_row("all static RAM", *tables.cells(core, "static_nbytes", 1, None))
    tables.add(table, "  TFLM + CMSIS-NN, M4", TFLM_RAM, "{:,}")
    table.add_row("stack taken", *tables.cells(core, "stack_nbytes", 1, None))
    bounds = tables.cells(core, "stack_bound_nbytes", 1, None)
    table.add_row("stack at most, with interrupts", *bounds)
    table.add_row("flash, whole image", *tables.cells(core, "flash_nbytes", 1, None))
    tables.add(table, "  TFLM + CMSIS-NN, M4", TFLM_FLASH, "{:,}")
    table.add_row("flash beyond the live weights", *tables.beyond(core, "flash_nbytes"))
    table.add_row("  without the serial program", *tables.beyond(core, "alone_nbytes"))
    table.add_row("  the same by --optimize size", *tables.beyond(core, "smallest_nbytes"))
    tables.add(table, "  to reach, at most", TARGET_FLASH, "{:,}")
    theirs = tuple(a - b for a, b in zip(TFLM_FLASH, LIVE_WEIGHTS, strict=True))
    tables.add(table, "  TFLM + CMSIS-NN, M4", theirs, "{:,}")
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--compiler", choices=["gcc", "zig", "both"], default="both")
    parser.add_argument("--models", nargs="+", choices=list(FILES), default=list(FILES))
    parser.add_argument("--cores", nargs="+", choices=list(BOARDS), default=list(BOARDS))
    parser.add_argument("--optimize", choices=list(Purpose), default="balanced")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    if not MODELS.is_dir():
        print(f"{MODELS}: not there; set EDGEQ_SHARED", file=sys.stderr)
        return 1
    compilers = list(Compiler) if arguments.compiler == "both" else [arguments.compiler]
    purpose = Purpose(arguments.optimize)
    console, everything, failed = Console(), [], False
    for compiler in map(Compiler, compilers):
        figures = []
        for model in arguments.models:
            graph = read_model(MODELS / FILES[model])
            for core in arguments.cores:
                try:
                    found = measure(graph, core, model, compiler, purpose)
                    if core == "M4":
                        board = load_board(BOARDS[core])
                        nbytes = alone_nbytes(graph, board, compiler, Purpose.size)
                        found = dataclasses.replace(found, smallest_nbytes=nbytes)
                    figures.append(found)
                except EdgeqError as error:
                    failed = True
                    print(f"{model} on {core} by {compiler.value}: {error}", file=sys.stderr)
        for found in figures:
            if not found.equal:
                failed = True
                console.print(
                    f"{found.model} on {found.core}: outputs differ", style="bold red"
                )
        tables = Tables(figures, arguments.models)
        console.rule(f"edgeq by {compiler.value}, --optimize {purpose.value}")
        console.print(instructions_table(tables, arguments.cores), "")
        console.print(cycles_table(tables, arguments.cores), "")
        memory_core = "M4" if "M4" in arguments.cores else arguments.cores[0]
        console.print(memory_table(tables, memory_core), "")
        everything += [dataclasses.asdict(f) for f in figures]
    for core, model in CYCLE_MODELS.items():
        console.print(f"cycles, {core}: {model.sureness}: {model.source}", style="dim")
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=2), encoding="utf-8")
    return 1 if failed else 0


class _Raw(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description."""


if __name__ == "__main__":
    sys.exit(main())
