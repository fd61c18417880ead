"""Commands that make integers of a float network, and that check the data for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from edgeq.arith import Rounding
from edgeq.auto_quantize import AutoResult, quantize_auto
from edgeq.calibration.check import DataCheck, TensorCheck, check_data
from edgeq.cli.output import (
    CountOption,
    InputScaleOption,
    JsonOption,
    ModelArgument,
    RoundingKind,
    check_output,
    progress_bar,
    say,
    show,
)
from edgeq.cli.scheme import (
    AUTO,
    Activations,
    ActivationsOption,
    CorrectOption,
    MethodOrAutoOption,
    WeightBitsOption,
    WeightRangeOption,
    WeightScales,
    WeightsOption,
    corrections_of,
    scheme_of,
)
from edgeq.errors import DataError, QuantizeError
from edgeq.graph import Graph
from edgeq.importers import read_model
from edgeq.memory import plan_memory
from edgeq.model_file import save_graph
from edgeq.passes import optimize, run_passes
from edgeq.passes.arrange import arrange_for_device
from edgeq.passes.round_as import round_as
from edgeq.quantize import DEFAULT_METHOD, check_constants, quantize
from edgeq.report import model as picture
from edgeq.sample_files import SampleFiles
from edgeq.samples import SampleStream
from edgeq.scheme import MOST_BITS

ROWS = 12  # activations shown by check-data


_DATA = typer.Option(
    "--data",
    "--calibration",
    help="Representative samples: .npz, .npy, or a folder of images or .wav files.",
)
DataOption = Annotated[Path, _DATA]


def quantize_command(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .edgeq file to write.")],
    data: Annotated[Path | None, _DATA] = None,
    method: MethodOrAutoOption = None,
    correct: CorrectOption = None,
    weights: WeightsOption = WeightScales.per_channel,
    weight_bits: WeightBitsOption = MOST_BITS,
    weight_range: WeightRangeOption = None,
    activations: ActivationsOption = Activations.asymmetric,
    budget: Annotated[
        float, typer.Option(help=f"Seconds of search with --method {AUTO}.")
    ] = 60.0,
    count: CountOption = None,
    input_scale: InputScaleOption = None,
    rounding: Annotated[
        RoundingKind | None,
        typer.Option(help="How products are rounded (`edgeq explain rounding`); else tflm."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Quantize a float model after training: calibrate, correct, make it integer.

    A model that is quantized already keeps its scales and gets another --rounding.
    """
    scheme = scheme_of(weights, weight_bits, weight_range, activations)
    check_output(output, ".edgeq")
    methods = method or [DEFAULT_METHOD]
    if AUTO in methods and (len(methods) > 1 or correct is not None):
        raise QuantizeError(f"--method {AUTO} chooses methods and corrections: give no others")
    graph = read_model(model)
    if graph.is_quantized:
        _round_as(graph, model, output, data, rounding, json)
        return
    if data is None:
        raise DataError(f"{model}: is a float model; name its samples with --data")
    profile: Rounding = rounding.value if rounding else "tflm"
    samples = SampleFiles(graph, data, input_scale, count, say)
    search: AutoResult | None = None
    if AUTO in methods:
        with progress_bar("trying", "seconds") as progress:
            search = quantize_auto(
                graph, samples, budget_s=budget, scheme=scheme, progress=progress, note=say
            )
        quantized = round_as(search.graph, profile)
    else:
        with progress_bar("quantizing", "") as progress:
            quantized = quantize(
                graph,
                samples,
                method=methods,
                scheme=scheme,
                correct=corrections_of(correct),
                rounding=profile,
                progress=progress,
                note=say,
            )
    save_graph(quantized, output)
    plan = plan_memory(arrange_for_device(optimize(quantized)))
    record = {
        "output": output,
        "samples": len(samples),
        "layers": len(quantized.nodes),
        "float_weight_nbytes": _weight_nbytes(graph),
        "weight_nbytes": _weight_nbytes(quantized),
        "weight_bits": weight_bits,
        "arena_nbytes": plan.arena_nbytes,
        "rounding": quantized.rounding,
        "input": picture.tensor_row(quantized.input_tensors()[0]),
        "tries": [] if search is None else search.tries,
        "best": None if search is None else search.best,
        "untried": [] if search is None else search.untried,
    }
    parts = [] if search is None else [_tries_table(search)]
    show(
        json,
        record,
        *parts,
        f"{output}: {len(quantized.nodes)} integer layers, calibrated on {len(samples)} "
        f"samples\nweights {_weight_nbytes(graph):,} -> {_weight_nbytes(quantized):,} bytes, "
        f"arena {plan.arena_nbytes:,} bytes, rounding {quantized.rounding}",
    )


def check_data_command(
    model: ModelArgument,
    data: DataOption,
    against: Annotated[
        Path | None, typer.Option(help="Other data, as met in use, to hold against the set.")
    ] = None,
    count: CountOption = None,
    input_scale: InputScaleOption = None,
    json: JsonOption = False,
) -> None:
    """Check a calibration set: do its ranges settle, do other data stay within them."""
    graph = read_model(model)
    if graph.is_quantized:
        raise DataError(f"{model}: is quantized already, must be the float network")
    prepared = run_passes(graph)
    check_constants(prepared, say)
    stream = SampleStream(prepared, SampleFiles(graph, data, input_scale, count, say))
    other = None
    if against is not None:
        other = SampleStream(prepared, SampleFiles(graph, against, input_scale, None, say))
    with progress_bar("checking") as progress:
        check = check_data(prepared, stream, other, progress)
    for line in _warnings(check):
        say(line)
    record = {
        "samples": check.samples,
        "other_samples": check.other_samples,
        "settled_after": check.settled_after,
        "slowest": check.slowest.name,
        "constant": check.constant,
        "left": [t.name for t in check.left],
        "tensors": check.tensors,
    }
    show(json, record, _check_table(check), _check_summary(check))


def _round_as(
    graph: Graph,
    model: Path,
    output: Path,
    data: Path | None,
    rounding: RoundingKind | None,
    json: bool,
) -> None:
    """Write the integer graph of `model` with another rounding."""
    if rounding is None or data is not None:
        raise DataError(
            f"{model}: is quantized already; it can be used as it is, or get another "
            "--rounding, without --data"
        )
    converted = round_as(graph, rounding.value)
    save_graph(converted, output)
    record = {
        "output": output,
        "layers": len(converted.nodes),
        "weight_nbytes": _weight_nbytes(converted),
        "rounding": converted.rounding,
        "rounding_before": graph.rounding,
        "input": picture.tensor_row(converted.input_tensors()[0]),
    }
    show(
        json,
        record,
        f"{output}: {len(converted.nodes)} integer layers, scales and weights as they were, "
        f"rounding {graph.rounding} -> {converted.rounding}",
    )


def _weight_nbytes(graph: Graph) -> int:
    return sum(t.nbytes for t in graph.tensors.values() if t.data is not None)


def _tries_table(search: AutoResult) -> Table:
    table = Table("", "method", "corrections", "held out", "seen", "time")
    for column in table.columns[3:]:
        column.justify = "right"
    for tried in sorted(search.tries, key=lambda t: -t.held_out_db):
        table.add_row(
            "*" if tried is search.best else "",
            tried.method,
            ", ".join(tried.correct) or "none",
            "fails" if tried.failure else f"{tried.held_out_db:.1f} dB",
            "" if tried.failure else f"{tried.fitted_db:.1f} dB",
            f"{tried.seconds:.1f} s",
        )
    return table


def _warnings(check: DataCheck) -> list[str]:
    lines = []
    if check.samples == 1:
        lines.append("one sample: its ranges stand for no other; some 100 are usual")
    elif check.settled_after > 0.8 * check.samples:
        lines.append(
            f"'{check.slowest.name}' still widened at sample {check.settled_after} of "
            f"{check.samples}: more samples would widen it again"
        )
    if check.constant:
        names = ", ".join(f"'{name}'" for name in check.constant[:ROWS])
        more = f" and {len(check.constant) - ROWS} more" if len(check.constant) > ROWS else ""
        lines.append(f"constant over all samples: {names}{more}")
    for tensor in check.left[:ROWS]:
        lines.append(
            f"'{tensor.name}': {tensor.other_share:.4%} of the other data's values leave "
            f"[{tensor.low:.4g}, {tensor.high:.4g}], by up to {tensor.other_overshoot:.0%} "
            "of its width"
        )
    if len(check.left) > ROWS:
        lines.append(f"and {len(check.left) - ROWS} more activations")
    return lines


def _check_table(check: DataCheck) -> Table:
    table = Table("activation", "range", "settled", "late out")
    for column in table.columns[1:]:
        column.justify = "right"
    if check.other_samples:
        table.add_column("others out", justify="right")
        table.add_column("by", justify="right")

    def badness(tensor: TensorCheck) -> tuple[float, float, int]:
        return tensor.other_share, tensor.late_share, tensor.settled_after

    for tensor in sorted(check.tensors, key=badness, reverse=True)[:ROWS]:
        row = [
            tensor.name,
            f"{tensor.low:.4g} to {tensor.high:.4g}",
            str(tensor.settled_after),
            f"{tensor.late_share:.4%}",
        ]
        if check.other_samples:
            row += [f"{tensor.other_share:.4%}", f"{tensor.other_overshoot:.0%}"]
        table.add_row(*row)
    return table


def _check_summary(check: DataCheck) -> str:
    shown = min(ROWS, len(check.tensors))
    text = (
        f"{check.samples} samples; the worst {shown} of {len(check.tensors)} activations; "
        f"every range had 99 % of its width after {check.settled_after} samples; late out: "
        "values of the last fifth outside the ranges of those before"
    )
    if check.other_samples:
        text += f"; {len(check.left)} are left by the {check.other_samples} other samples"
    return text
