"""Commands that show the arithmetic: explain multiplier, explain rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.arith import Rounding
from edgeq.cli.output import (
    CountOption,
    InputScaleOption,
    JsonOption,
    ModelArgument,
    console,
    progress_bar,
    say,
    show,
)
from edgeq.data import read_input, read_samples, to_input
from edgeq.errors import DataError
from edgeq.explain import multiplier_rows
from edgeq.explain_rounding import layer_differences, rounding_rows
from edgeq.importers import read_model
from edgeq.quantize import quantize
from edgeq.report import model as picture
from edgeq.report import rounding as rounding_picture


def explain_multiplier_command(
    m: Annotated[float, typer.Option("--m", help="The real factor M = s1 * s2 / s3.")],
    p: Annotated[int, typer.Option("--p", help="The integer product P to be scaled.")],
    json: JsonOption = False,
) -> None:
    """Show how M * P becomes (M0 * P) >> n: a multiply and a shift, for n = 1..16."""
    rows = multiplier_rows(m, p)
    show(json, {"m": m, "p": p, "product": m * p, "rows": rows})
    if not json:
        console.print(picture.multiplier_picture(m, p, rows))
        console.print(picture.error_bars(rows))
        if not any(row.is_first_within_one for row in rows):
            say("no n up to 16 comes within one: P is too large for a multiplier this short")


def explain_rounding_command(
    model: ModelArgument,
    data: Annotated[
        Path, typer.Option(help=".npz of `inputs`, and `labels` (class numbers) for accuracy.")
    ],
    calibration: Annotated[
        Path | None, typer.Option(help="Samples to quantize a float model by, first.")
    ] = None,
    count: CountOption = None,
    input_scale: InputScaleOption = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Show what changes in the output of each layer.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what the roundings `single` and `shift` change in a model's outputs."""
    graph = read_model(model)
    if not graph.is_quantized:
        if calibration is None:
            raise DataError(
                f"{model}: is a float model; name samples to quantize it by with --calibration"
            )
        graph = quantize(graph, read_input(graph, calibration, input_scale, note=say))
    inputs, labels = read_samples(data)
    x = to_input(graph, inputs, input_scale, say)[:count]
    labels = None if labels is None else labels[:count]
    with progress_bar("running") as update:

        def progress(rounding: Rounding, done: int, total: int) -> None:
            update(done, total)

        rows = rounding_rows(graph, x, labels, progress)
    by_layer = layer_differences(graph, x) if layers else None
    record = {
        "model": graph.name,
        "samples": len(x),
        "roundings": [
            {
                "rounding": row.rounding,
                "multiplier_bits": row.multiplier_bits,
                "values": row.difference.values,
                "changed": row.difference.changed,
                "share": row.difference.share,
                "largest_change": row.difference.largest,
                "decided_otherwise": row.decided_otherwise,
                "correct": row.evaluation.correct if row.evaluation else None,
                "accuracy": row.evaluation.accuracy if row.evaluation else None,
            }
            for row in rows
        ],
        "layers": by_layer,
    }
    show(json, record, rounding_picture.rounding_picture(graph.name, len(x), rows))
    if by_layer is not None and not json:
        console.print(rounding_picture.layers_picture(by_layer, console.width))
