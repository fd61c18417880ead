"""`edgeq analyze`: what quantization costs a float network, as a page and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
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
    check_output,
    progress_stages,
    say,
    show,
)
from edgeq.cli.scheme import (
    Activations,
    ActivationsOption,
    CorrectOption,
    MethodOption,
    WeightBitsOption,
    WeightRangeOption,
    WeightScales,
    WeightsOption,
    corrections_of,
    scheme_of,
)
from edgeq.data import read_samples, to_input
from edgeq.errors import DataError
from edgeq.files import write_whole
from edgeq.graph import Array, Graph
from edgeq.importers import read_model
from edgeq.memory import plan_memory
from edgeq.passes import optimize
from edgeq.passes.arrange import arrange_for_device
from edgeq.quantize import DEFAULT_METHOD
from edgeq.report import analysis as picture
from edgeq.report.analysis_page import analysis_page
from edgeq.report.firmware import BoardRow, board_row
from edgeq.sample_files import SampleFiles
from edgeq.scheme import MOST_BITS


def analyze_command(
    model: ModelArgument,
    data: Annotated[
        Path,
        typer.Option(
            help=".npz with `inputs`, and `labels` (class numbers) if there are any; or .npy, "
            "a folder of images or .wav files."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .html page to write.")
    ] = None,
    calibration_samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples in front that calibrate; else 100, at most half."),
    ] = None,
    method: MethodOption = None,
    correct: CorrectOption = None,
    weights: WeightsOption = WeightScales.per_channel,
    weight_bits: WeightBitsOption = MOST_BITS,
    weight_range: WeightRangeOption = None,
    activations: ActivationsOption = Activations.asymmetric,
    input_scale: InputScaleOption = None,
    json: JsonOption = False,
) -> None:
    """Show what quantization costs a float network, and where: a page with pictures."""
    graph = read_model(model)
    if graph.is_quantized:
        raise DataError(
            f"{model}: is quantized already; give the float model, so that both can be compared"
        )
    scheme = scheme_of(weights, weight_bits, weight_range, activations)
    if output is not None:
        check_output(output, ".html", ".htm")
    x, labels = _samples(graph, data, input_scale)
    with progress_stages() as progress:
        analysis = analyze(
            graph,
            x,
            labels,
            calibration=calibration_samples,
            method=method or [DEFAULT_METHOD],
            correct=corrections_of(correct),
            scheme=scheme,
            progress=progress,
            note=say,
        )
    arranged = arrange_for_device(optimize(analysis.quantized))
    plan = plan_memory(arranged)
    boards = [_board(name, arranged) for name in board_names()]
    if output is not None:
        page = analysis_page(analysis, arranged, plan, boards)
        try:
            write_whole(output, page.encode())
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


def _samples(graph: Graph, data: Path, input_scale: float | None) -> tuple[Array, Array | None]:
    """All samples, as the network wants them, and their labels if there are any."""
    if data.suffix.lower() not in (".npz", ".npy"):
        return np.concatenate(list(SampleFiles(graph, data, input_scale, None, say))), None
    raw, labels = read_samples(data)
    try:
        return to_input(graph, raw, input_scale, say), labels
    except DataError as error:
        raise DataError(f"{data}: {error}") from error


def _board(name: str, arranged: Graph) -> BoardRow:
    board = load_board(name)
    return board_row(board, board.core != "cortex-m55", fits(arranged, board))
