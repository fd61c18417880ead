"""An analysis as one page of HTML that needs nothing else: analysis.html filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from edgeq.analysis.analyze import Analysis
from edgeq.analysis.distribution import LayerDistribution
from edgeq.analysis.noise import NO_NOISE, LayerNoise
from edgeq.errors import ToolError
from edgeq.graph import Graph
from edgeq.memory import MemoryPlan
from edgeq.report.analysis import made_by
from edgeq.report.firmware import BoardRow, kib
from edgeq.report.model import layer_rows

SHOWN = 6  # layers whose histograms are open; the noisiest
GOOD, FAIR, BAD = "#3a8f5c", "#d9822b", "#c23b3b"


@dataclass(frozen=True, slots=True)
class _Figure:
    picture: Any
    caption: str


def analysis_page(
    analysis: Analysis, arranged: Graph, plan: MemoryPlan, boards: Sequence[BoardRow]
) -> str:
    """The page; `plan` is that of `arranged`, the graph as the firmware runs it.

    Raises:
        ToolError: matplotlib or jinja2 is missing.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup

        from edgeq.report.analysis_plots import pictures
    except ImportError as error:
        raise ToolError(f"the report needs {error.name}: pip install 'edgeq[report]'") from None
    drawn = {name: Markup(svg) for name, svg in pictures(analysis, arranged, plan).items()}
    noise = {row.name: row for row in analysis.noise}
    order = sorted(analysis.distributions, key=lambda d: _sqnr(noise, d.name))
    shown = {row.name for row in order[:SHOWN]}
    captions = {
        row.name: _Figure(
            drawn[f"layer:{row.name}"],
            _caption(_layer(analysis, row.name), row, noise.get(row.name)),
        )
        for row in analysis.distributions
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(
        (files(__package__) / "analysis.html").read_text(encoding="utf-8")
    )
    weights = sum(t.nbytes for t in analysis.quantized.tensors.values() if t.data is not None)
    verdict, colour = _verdict(analysis)
    return template.render(
        name=analysis.graph.name,
        verdict=verdict,
        colour=colour,
        facts=_facts(analysis, weights, plan),
        samples=analysis.samples,
        calibration=analysis.calibration_samples,
        labelled=analysis.evaluation is not None,
        decides=analysis.agreement is not None,
        pictures=drawn,
        noise_note=_noise_note(analysis),
        sensitivity_note=_sensitivity_note(analysis),
        bits=analysis.bits,
        rounding=analysis.rounding,
        first_layers=[captions[n] for n in captions if n in shown],
        more_layers=[captions[n] for n in captions if n not in shown],
        arena=f"{plan.arena_nbytes:,}",
        bound_note=f" ({plan.lower_bound_nbytes:,} bytes)",
        boards=boards,
        kib=kib,
        layers=_layers(analysis.quantized),
        maker=f"edgeq {_version()}".strip(),
        made_by=made_by(analysis),
        corrections=", ".join(analysis.corrections),
        bits_corrections=_bits_corrections(analysis),
        method=analysis.method,
    )


def _sqnr(noise: dict[str, LayerNoise], name: str) -> float:
    return noise[name].sqnr_db if name in noise else NO_NOISE


def _verdict(analysis: Analysis) -> tuple[str, str]:
    """What a reader should take away, and the colour of it."""
    bits = f"With {analysis.scheme.weight_bits}-bit weights and 8-bit activations the network"
    if analysis.evaluation is None or analysis.float_evaluation is None:
        colour = GOOD if analysis.sqnr_db >= 20 else FAIR if analysis.sqnr_db >= 10 else BAD
        return (
            f"{bits} has {analysis.sqnr_db:.1f} dB of signal to noise at its output. (With "
            "class labels in the data, this page would say what that does to accuracy.)",
            colour,
        )
    before, after = analysis.float_evaluation, analysis.evaluation
    assert analysis.agreement is not None
    lost = before.correct - after.correct
    points = 100 * lost / after.samples
    how = "loses nothing" if lost <= 0 else f"loses {points:.1f} points"
    colour = GOOD if points <= 0.5 else FAIR if points <= 2 else BAD
    return (
        f"{bits} {how}: {100 * after.accuracy:.1f} % right, {100 * before.accuracy:.1f} % "
        f"in float ({after.correct} and {before.correct} of {after.samples}). It decides as "
        f"the float network does on {100 * analysis.agreement:.1f} % of the samples.",
        colour,
    )


def _facts(analysis: Analysis, weights: int, plan: MemoryPlan) -> list[tuple[str, str]]:
    facts = [
        (f"{analysis.sqnr_db:.1f} dB", "signal to noise at the output"),
        (f"{weights:,}", "bytes of weights"),
        (f"{plan.arena_nbytes:,}", "bytes of RAM for activations"),
        (f"{len(analysis.quantized.nodes)}", "integer layers"),
    ]
    if analysis.evaluation is not None:
        facts.insert(0, (f"{100 * analysis.evaluation.accuracy:.1f} %", "accuracy in integers"))
    return facts


def _bits_corrections(analysis: Analysis) -> str:
    """What the rows of fewer bits get beside what the network itself has; or nothing."""
    others = {row.corrections for row in analysis.bits} - {analysis.corrections}
    return " or ".join(", ".join(names) or "none" for names in sorted(others))


def _noise_note(analysis: Analysis) -> str:
    worst = min(analysis.noise, key=lambda r: r.sqnr_db)
    clipped = max(analysis.noise, key=lambda r: r.clipped)
    text = f"The noisiest here is {_layer(analysis, worst.name)} with {worst.sqnr_db:.0f} dB."
    if clipped.clipped >= 1e-4:
        text += (
            f" In {_layer(analysis, clipped.name)}, {100 * clipped.clipped:.2f} % of the "
            "values lie outside the grid and are clipped to its end."
        )
    return text


def _sensitivity_note(analysis: Analysis) -> str:
    worst = min(
        analysis.sensitivity, key=lambda r: min(r.activation_db, r.weights_db or NO_NOISE)
    )
    is_filter = worst.weights_db is not None and worst.weights_db < worst.activation_db
    value = worst.weights_db if is_filter else worst.activation_db
    what = "weights" if is_filter else "output"
    return (
        f"Here it is {_layer(analysis, worst.name)}: rounding its {what} alone leaves "
        f"{value:.0f} dB."
    )


def _layer(analysis: Analysis, name: str) -> str:
    """A layer by number, as the pictures and the table have it, and name."""
    names = [node.name for node in analysis.quantized.nodes]
    return f"layer {names.index(name) + 1} ({name})"


def _caption(name: str, row: LayerDistribution, noise: LayerNoise | None) -> str:
    parts = [name]
    if row.weights is not None:
        parts.append(f"{row.weights.levels} different weights, step {row.weights.step:.3g}")
    parts.append(f"output step {row.activation.step:.3g}")
    if noise is not None:
        parts.append("exact" if noise.sqnr_db >= NO_NOISE else f"{noise.sqnr_db:.0f} dB")
        if noise.clipped >= 1e-4:
            parts.append(f"{100 * noise.clipped:.2f} % clipped")
    return " · ".join(parts)


def _layers(graph: Graph) -> list[dict[str, Any]]:
    rows = []
    for row in layer_rows(graph, None, None):
        quant = graph.tensors[row.name].quant
        rows.append(
            {
                "name": row.name,
                "operator": row.operator.replace("_", " "),
                "macs": row.macs,
                "weight_nbytes": row.weight_nbytes,
                "scale": quant.scale[0] if quant else 1.0,
                "zero_point": quant.zero_point if quant else 0,
            }
        )
    return rows


def _version() -> str:
    try:
        return version("edgeq")
    except PackageNotFoundError:
        return ""  # runs from a folder that is not installed
