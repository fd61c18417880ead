"""An analysis on a terminal, and as a record for scripts."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.text import Text

from edgeq.analysis.analyze import Analysis
from edgeq.analysis.noise import NO_NOISE
from edgeq.evaluate import Evaluation
from edgeq.report.model import keep_numbers, new_table, titled


def analysis_record(analysis: Analysis) -> dict[str, Any]:
    """What --json prints of it."""
    return {
        "model": analysis.graph.name,
        "calibration_samples": analysis.calibration_samples,
        "samples": analysis.samples,
        "method": analysis.method,
        "corrections": analysis.corrections,
        "scheme": analysis.scheme,
        "float_accuracy": _accuracy(analysis.float_evaluation),
        "accuracy": _accuracy(analysis.evaluation),
        "agreement": analysis.agreement,
        "sqnr_db": analysis.sqnr_db,
        "noise": analysis.noise,
        "sensitivity": analysis.sensitivity,
        "distributions": analysis.distributions,
        "bits": [
            {
                "bits": r.bits,
                "corrections": r.corrections,
                "sqnr_db": r.sqnr_db,
                "accuracy": _accuracy(r.evaluation),
            }
            for r in analysis.bits
        ],
        "rounding": [
            {
                "rounding": r.rounding,
                "difference": r.difference,
                "decided_otherwise": r.decided_otherwise,
                "accuracy": _accuracy(r.evaluation),
            }
            for r in analysis.rounding
        ],
    }


def _accuracy(evaluation: Evaluation | None) -> float | None:
    return None if evaluation is None else evaluation.accuracy


def analysis_picture(analysis: Analysis) -> Group:
    """Noise and sensitivity by layer, and the sum of it."""
    table = new_table()
    table.add_column("layer", overflow="fold")
    for name in ("SQNR", "clipped", "weights alone", "output alone"):
        table.add_column(name, justify="right", no_wrap=True)
    alone = {row.name: row for row in analysis.sensitivity}
    for row in analysis.noise:
        sensitivity = alone[row.name]
        table.add_row(
            row.name,
            _db(row.sqnr_db),
            f"{100 * row.clipped:.2f} %" if row.clipped else "",
            "" if sensitivity.weights_db is None else _db(sensitivity.weights_db),
            _db(sensitivity.activation_db),
            style="yellow" if row.sqnr_db < 15 else None,
        )
    keep_numbers(table)
    title = (
        f"{analysis.graph.name}: noise by layer over {analysis.samples} samples "
        f"({analysis.calibration_samples} others calibrated); alone: at the output, if only "
        "this is quantized"
    )
    text = Text(f"{made_by(analysis)}\noutput: {analysis.sqnr_db:.1f} dB")
    before, after = analysis.float_evaluation, analysis.evaluation
    if before is not None and after is not None:
        text.append(
            f", accuracy {100 * after.accuracy:.2f} %, {100 * before.accuracy:.2f} % in float"
        )
    if analysis.agreement is not None:
        text.append(f", the same decision on {100 * analysis.agreement:.1f} %")
    text.append("\nbits of weights: ")
    text.append(", ".join(f"{r.bits}: {_db(r.sqnr_db)}" for r in analysis.bits))
    return Group(titled(title, table), text)


def made_by(analysis: Analysis) -> str:
    """How the integers were made: as `edgeq quantize` does with the same options."""
    scheme = analysis.scheme
    return (
        f"{scheme.weight_bits}-bit weights {scheme.weights}, {scheme.activations} 8-bit "
        f"activations; ranges by {analysis.method}; corrections: "
        f"{', '.join(analysis.corrections) or 'none'}"
    )


def _db(value: float) -> str:
    return "exact" if value >= NO_NOISE else f"{value:.1f} dB"
