"""The commands that make firmware: generate, build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from edgeq.board import Board, load_board
from edgeq.cli.firmware import built, constants_picture, quantized_model
from edgeq.cli.output import (
    BoardOption,
    CompilerOption,
    JsonOption,
    ModelArgument,
    OptimizeOption,
    Purpose,
    WeightsOption,
    show,
    weights_in_ram,
)
from edgeq.data import read_input
from edgeq.errors import ToolError
from edgeq.report import firmware as picture

if TYPE_CHECKING:
    from edgeq.emulator.stack import StackBound
    from firmware_gen import GeneratedFirmware

FolderOption = Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")]
WhyOption = Annotated[
    bool, typer.Option("--why", help="Say of every layer why no other kernel serves it.")
]
MeasuredOption = Annotated[
    bool,
    typer.Option("--measured", help="Count the cycles of each layer (`edgeq profile --port`)."),
]
SamplesOption = Annotated[
    Path | None,
    typer.Option(
        help=".npz or .npy of samples to store in flash; the board then streams them."
    ),
]


def generate_command(
    model: ModelArgument,
    board: BoardOption,
    output: FolderOption,
    samples: SamplesOption = None,
    optimize_for: OptimizeOption = Purpose.balanced,
    measured: MeasuredOption = False,
    weights: WeightsOption = "auto",
    why: WhyOption = False,
    json: JsonOption = False,
) -> None:
    """Write C firmware for a board: a folder that builds as it is, without edgeq."""
    firmware = _generated(
        model, load_board(board), output, samples, optimize_for, measured, weights
    )
    files = sorted(p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file())
    record = {
        "folder": output,
        "board": firmware.board.name,
        "digest": firmware.digest,
        "rounding": firmware.graph.rounding,
        "arena_nbytes": firmware.plan.arena_nbytes,
        "constant_nbytes": firmware.model.constant_nbytes,
        "files": files,
        "kernels": firmware.model.manifest,
    }
    show(
        json,
        record,
        _kernels(firmware, why),
        constants_picture(firmware),
        f"{output}: {len(files)} files for {firmware.board.title}\n"
        f"arena {firmware.plan.arena_nbytes:,} bytes, constants "
        f"{firmware.model.constant_nbytes:,} bytes, rounding {firmware.graph.rounding}\n"
        f"next: make -C {output}, or edgeq build (no system compiler needed)",
    )


def build_command(
    model: ModelArgument,
    board: BoardOption,
    output: FolderOption,
    compiler: CompilerOption = None,
    samples: SamplesOption = None,
    optimize_for: OptimizeOption = Purpose.balanced,
    measured: MeasuredOption = False,
    weights: WeightsOption = "auto",
    why: WhyOption = False,
    json: JsonOption = False,
) -> None:
    """Generate firmware and build it; prints flash and RAM as the linked ELF has them."""
    firmware = _generated(
        model, load_board(board), output, samples, optimize_for, measured, weights
    )
    result = built(firmware, compiler)
    bound = _stack_bound(result.elf, firmware.board)
    record = {
        "build": result,
        "board": firmware.board.name,
        "digest": firmware.digest,
        "rounding": firmware.graph.rounding,
        "stack_bound_nbytes": bound.known_nbytes if bound else None,
        "kernels": firmware.model.manifest,
    }
    show(
        json,
        record,
        _kernels(firmware, why),
        constants_picture(firmware),
        picture.memory_picture(firmware.board, result.memories),
        picture.stack_text(bound, result.stack_nbytes),
        f"{result.elf} by {result.compiler}, rounding {firmware.graph.rounding}",
    )


def _stack_bound(elf: Path, board: Board) -> StackBound | None:
    """Of the whole program; None without the package that reads its code."""
    from edgeq.emulator.image import read_image
    from edgeq.emulator.stack import firmware_bounds

    try:
        return firmware_bounds(read_image(elf), board.core)[1]
    except ToolError:
        return None


def _kernels(firmware: GeneratedFirmware, why: bool) -> RenderableType:
    """Which kernel serves each layer, as a picture."""
    from firmware_gen.cores import core_of

    manifest = firmware.model.manifest
    rows = []
    for layer in manifest.layers:
        if layer.header is None:
            continue
        made = sum(part.constant_nbytes for part in layer.parts)
        rows += [
            picture.KernelRow(
                f"{layer.layer}_{part.role}",
                layer.operator,
                part.kernel,
                part.copy,
                part.constant_nbytes,
                part.why_not,
            )
            for part in layer.parts
        ]
        rows.append(
            picture.KernelRow(
                layer.layer,
                layer.operator,
                layer.kernel,
                layer.copy,
                layer.constant_nbytes - made,
                layer.why_not,
            )
        )
    has_more = core_of(firmware.board).target.has_dsp
    table = picture.kernels_picture(rows, manifest.optimize, firmware.board.core, has_more, why)
    fused = ", ".join(layer.layer for layer in manifest.layers if layer.parts)
    if not fused:
        return table
    return Group(table, Text(f"{fused}: two layers {manifest.layers_in_one}"))


def _generated(
    model: Path,
    board: Board,
    folder: Path,
    samples: Path | None,
    optimize_for: Purpose,
    measured: bool,
    weights: str,
) -> GeneratedFirmware:
    from firmware_gen import generate

    graph = quantized_model(model)
    stored = None if samples is None else read_input(graph, samples)
    return generate(
        graph,
        board,
        folder,
        samples=stored,
        optimize=optimize_for.value,
        measured=measured,
        weights_in_ram=weights_in_ram(weights),
    )
