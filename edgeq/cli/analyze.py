"""`edgeq analyze`: what quantization costs a float network, as a page and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from edgeq.analysis.analyze import analyze
from edgeq.board import board_names, load_board
from edgeq.cli.firmware import fits
from edgeq.cli.output import (
    InputScaleOption,
    JsonOption,
    ModelArgument,
    progress_stages,
    say,
    show,
)
from edgeq.data import read_samples, to_input
from edgeq.errors import DataError
from edgeq.graph import Graph
from edgeq.importers import read_model
from edgeq.memory import plan_memory
from edgeq.passes import optimize
from edgeq.passes.arrange import arrange_for_device
from edgeq.report import analysis as picture
from edgeq.report.analysis_page import analysis_page
from edgeq.report.firmware import BoardRow, board_row
from edgeq.scheme import Scheme


def analyze_command(
    model: ModelArgument,
    data: Annotated[
        Path,
        typer.Option(help=".npz with `inputs`, and `labels` (class numbers) if there are any."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .html page to write.")
    ] = None,
    calibration_samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples in front that calibrate; else 100, at most half."),
    ] = None,
    calibrate: Annotated[str, typer.Option(help="How ranges are chosen.")] = "minmax",
    weights: Annotated[str, typer.Option(help="per-channel or per-tensor.")] = "per-channel",
    weight_bits: Annotated[int, typer.Option(help="Bits of the weights, 2 to 8.")] = 8,
    input_scale: InputScaleOption = None,
    json: JsonOption = False,
) -> None:
    """Show what quantization costs a float network, and where: a page with pictures."""
    graph = read_model(model)
    if graph.is_quantized:
        raise DataError(
            f"{model}: is quantized already; give the float model, so that both can be compared"
        )
    raw, labels = read_samples(data)
    x = to_input(graph, raw, input_scale, say)
    scheme = Scheme(weights=weights, weight_bits=weight_bits)  # type: ignore[arg-type]
    with progress_stages() as progress:
        analysis = analyze(
            graph,
            x,
            labels,
            calibration=calibration_samples,
            method=calibrate,
            scheme=scheme,
            progress=progress,
        )
    arranged = arrange_for_device(optimize(analysis.quantized))
    plan = plan_memory(arranged)
    boards = [_board(name, arranged) for name in board_names()]
    if output is not None:
        page = analysis_page(analysis, arranged, plan, boards)
        try:
            output.write_text(page, encoding="utf-8")
        except OSError as error:
            raise DataError(f"{output}: cannot be written: {error.strerror}") from error
    record = {
        "output": output,
        **picture.analysis_record(analysis),
        "arena_nbytes": plan.arena_nbytes,
        "lower_bound_nbytes": plan.lower_bound_nbytes,
        "boards": boards,
    }
    written = Text(f"{output}: open it in a browser") if output is not None else Text("")
    show(json, record, Group(picture.analysis_picture(analysis), written))


def _board(name: str, arranged: Graph) -> BoardRow:
    board = load_board(name)
    return board_row(board, board.core != "cortex-m55", fits(arranged, board))
