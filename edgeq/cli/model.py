"""Commands on models alone: inspect, export, run, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from edgeq.cli.output import (
    InputScaleOption,
    JsonOption,
    ModelArgument,
    console,
    progress_bar,
    say,
    show,
)
from edgeq.data import read_input, read_labelled, to_input
from edgeq.errors import DataError
from edgeq.evaluate import evaluate, run_graph
from edgeq.exporters import write_model
from edgeq.importers import read_model
from edgeq.memory import plan_memory
from edgeq.passes import optimize
from edgeq.passes.arrange import arrange_for_device
from edgeq.report import model as picture


def inspect_command(model: ModelArgument, json: JsonOption = False) -> None:
    """Show a model's layers, inputs, outputs, MACs, weights and the firmware's memory plan."""
    graph = read_model(model)
    optimized = optimize(graph) if graph.is_quantized else None
    arranged = arrange_for_device(optimized) if optimized else None
    plan = plan_memory(arranged) if arranged else None
    rows = picture.layer_rows(graph, optimized, plan, arranged)
    record = {
        "name": graph.name,
        "quantized": graph.is_quantized,
        "rounding": graph.rounding if graph.is_quantized else None,
        "inputs": [picture.tensor_row(t) for t in graph.input_tensors()],
        "outputs": [picture.tensor_row(t) for t in graph.output_tensors()],
        "layers": rows,
        "macs": sum(r.macs for r in rows),
        "live_macs": sum(r.live_macs for r in rows),
        "weight_nbytes": sum(r.weight_nbytes for r in rows),
        "live_weight_nbytes": sum(r.live_weight_nbytes for r in rows),
        "arena_nbytes": plan.arena_nbytes if plan else None,
        "lower_bound_nbytes": plan.lower_bound_nbytes if plan else None,
        "peak_step": plan.peak_step if plan else None,
        "placements": dict(plan.placements) if plan else None,
        "overlaps": plan.overlaps() if plan else None,
    }
    show(
        json,
        record,
        picture.model_picture(graph, rows, plan, console.width),
        picture.model_summary(graph, arranged, rows, plan),
    )


def export_command(
    model: ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .tflite, .onnx or .edgeq file to write.")
    ],
    json: JsonOption = False,
) -> None:
    """Write a quantized model for other runtimes: int8 .tflite, or ONNX QDQ."""
    graph = read_model(model)
    write_model(graph, output)
    nbytes = output.stat().st_size
    same = {
        ".tflite": "read back: the same integers; TFLite Micro gives the same bytes",
        ".onnx": "float operators between the same integers: others round their own way",
        ".edgeq": "the same graph",
    }[output.suffix.lower()]
    show(
        json,
        {"output": output, "nbytes": nbytes, "layers": len(graph.nodes)},
        f"{output}: {len(graph.nodes)} layers, {nbytes:,} bytes ({same})",
    )


def run_command(
    model: ModelArgument,
    input: Annotated[Path, typer.Option("--input", "-i", help=".npy or .npz of samples.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npy file to write.")],
    input_scale: InputScaleOption = None,
    json: JsonOption = False,
) -> None:
    """Run a model on samples and write its first output."""
    graph = read_model(model)
    x = read_input(graph, input, input_scale, note=say)
    with progress_bar("running") as progress:
        outputs = run_graph(graph, x, progress)
    try:
        with output.open("wb") as stream:
            np.save(stream, outputs[0], allow_pickle=False)
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error.strerror}") from error
    record = {
        "output": output,
        "samples": len(x),
        "shape": outputs[0].shape,
        "dtype": outputs[0].dtype.name,
        "tensor": picture.tensor_row(graph.output_tensors()[0]),
    }
    show(json, record, f"{output}: {outputs[0].dtype} {outputs[0].shape}")


def evaluate_command(
    model: ModelArgument,
    data: Annotated[
        Path, typer.Option(help=".npz with `inputs` and `labels` (class numbers).")
    ],
    input_scale: InputScaleOption = None,
    json: JsonOption = False,
) -> None:
    """Measure a classifier's accuracy, with its confusion matrix."""
    graph = read_model(model)
    inputs, labels = read_labelled(data)
    x = to_input(graph, inputs, input_scale, say)
    with progress_bar("evaluating") as progress:
        result = evaluate(graph, x, labels, progress)
    record = {
        "model": graph.name,
        "quantized": graph.is_quantized,
        "samples": result.samples,
        "correct": result.correct,
        "accuracy": result.accuracy,
        "confusion": result.confusion,
    }
    show(json, record, picture.evaluation_picture(result))
