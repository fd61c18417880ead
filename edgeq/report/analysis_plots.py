"""The pictures of an analysis, as SVG text: words stay words, in the reader's fonts."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from edgeq.analysis.analyze import Analysis, BitsRow
from edgeq.analysis.distribution import Distribution, LayerDistribution
from edgeq.analysis.noise import NO_NOISE, LayerNoise
from edgeq.analysis.sensitivity import LayerSensitivity
from edgeq.graph import Graph
from edgeq.memory import MemoryPlan

BLUE, ORANGE, GREY, RED, GREEN = "#2f6db5", "#d9822b", "#8a9199", "#c23b3b", "#3a8f5c"
WIDTH = 4.0  # inches: words stay legible on a phone, and two fit a desktop
ROW = 0.24  # inches a layer
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b8bec5",
    "axes.labelcolor": "#3d444b",
    "xtick.color": "#3d444b",
    "ytick.color": "#3d444b",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8ebee",
    "svg.hashsalt": "edgeq",
}


def svg_of(figure: Figure) -> str:
    """The figure as an <svg> element that scales with the page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r' width="([\d.]+)pt" height="[\d.]+pt"', _scaled, text, count=1)


def _scaled(match: re.Match[str]) -> str:
    pixels = float(match[1]) * 4 / 3
    return f' style="width:100%;max-width:{pixels:.0f}px;height:auto"'


def short(name: str, most: int = 22) -> str:
    """A layer's name in the room there is: its end tells most."""
    return name if len(name) <= most else "…" + name[-(most - 1) :]


class Labels:
    """Layers by their number in the page's table, and the end of their name."""

    def __init__(self, quantized: Graph) -> None:
        self._numbers = {node.name: i for i, node in enumerate(quantized.nodes, 1)}

    def number(self, name: str) -> str:
        """Empty for what the table does not have."""
        return str(self._numbers.get(name, ""))

    def __call__(self, name: str, most: int = 20) -> str:
        """Such as "3 …NormV3_24"."""
        return f"{self.number(name)} {short(name, most)}".strip()


def _rows(count: int) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(WIDTH, 0.7 + ROW * max(count, 2)))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    return figure, axes


def noise_picture(rows: Sequence[LayerNoise], labels: Labels) -> str:
    """SQNR of every layer as bars."""
    with mpl.rc_context(STYLE):
        figure, axes = _rows(len(rows))
        values = [min(r.sqnr_db, 60.0) for r in rows]
        colours = [RED if v < 15 else ORANGE if v < 25 else BLUE for v in values]
        axes.barh(range(len(rows)), values, color=colours, height=0.7)
        for i, row in enumerate(rows):
            text = "exact" if row.sqnr_db >= NO_NOISE else f"{row.sqnr_db:.0f}"
            axes.text(values[i] + 0.6, i, text, va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [labels(r.name) for r in rows])
        axes.set_xlim(min(0.0, *values), 66)
        axes.set_xlabel("signal to noise, dB (more is better)")
        return svg_of(figure)


def sensitivity_picture(rows: Sequence[LayerSensitivity], labels: Labels) -> str:
    """Noise at the output from each layer alone: filters and outputs, the worst at the top."""
    worst = sorted(rows, key=lambda r: min(r.activation_db, r.weights_db or NO_NOISE))[:20]
    with mpl.rc_context(STYLE):
        figure, axes = _rows(len(worst))
        for i, row in enumerate(worst):
            ends = [min(v, 80.0) for v in (row.activation_db, row.weights_db) if v is not None]
            axes.plot(ends, [i] * len(ends), color="#cfd5da", lw=2, zorder=1)
            if row.weights_db is not None:
                axes.plot(min(row.weights_db, 80), i, "s", color=ORANGE, ms=5)
            axes.plot(min(row.activation_db, 80), i, "o", color=BLUE, ms=5)
        axes.plot([], [], "s", color=ORANGE, label="its weights")
        axes.plot([], [], "o", color=BLUE, label="its output")
        axes.set_yticks(range(len(worst)), [labels(r.name) for r in worst])
        axes.set_xlabel("output's signal to noise with only this rounded, dB")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, frameon=False)
        return svg_of(figure)


def bits_picture(rows: Sequence[BitsRow], float_accuracy: float | None) -> str:
    """SQNR and accuracy against the bits of the weights."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 2.8))
        bits = [r.bits for r in rows]
        axes.plot(bits, [r.sqnr_db for r in rows], "o-", color=GREY, ms=4)
        axes.set_xticks(bits)
        axes.set_xlabel("bits of a weight")
        axes.set_ylabel("output's signal to noise, dB", color=GREY)
        shares = [100 * r.evaluation.accuracy for r in rows if r.evaluation is not None]
        if float_accuracy is not None and len(shares) == len(rows):
            right = axes.twinx()
            right.grid(visible=False)
            right.spines["right"].set_visible(True)
            right.axhline(100 * float_accuracy, color=GREEN, lw=1, ls="--")
            right.text(2, 100 * float_accuracy, "float", color=GREEN, fontsize=8, va="bottom")
            right.plot(bits, shares, "s-", color=BLUE, ms=5)
            right.set_ylabel("accuracy, %", color=BLUE)
            right.set_ylim(0, 105)
        return svg_of(figure)


def distribution_picture(row: LayerDistribution) -> str:
    """Histograms of a layer's weights and output; shaded is where the grid reaches."""
    parts = [("weights", row.weights, ORANGE), ("output", row.activation, BLUE)]
    shown = [(what, d, colour) for what, d, colour in parts if d is not None]
    with mpl.rc_context(STYLE):
        figure, grid = plt.subplots(1, len(shown), figsize=(WIDTH, 1.7), squeeze=False)
        for axes, (what, distribution, colour) in zip(grid[0], shown, strict=True):
            _histogram(axes, distribution, colour)
            axes.set_title(what, fontsize=9, loc="left")
        figure.tight_layout()
        return svg_of(figure)


def _histogram(axes: Axes, distribution: Distribution, colour: str) -> None:
    edges = np.array(distribution.edges)
    axes.axvspan(distribution.grid_low, distribution.grid_high, color="#eef3f8", zorder=0)
    axes.bar(edges[:-1], distribution.counts, np.diff(edges), align="edge", color=colour)
    axes.set_yscale("log")
    axes.set_yticks([])
    axes.minorticks_off()
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(visible=False)


def memory_picture(plan: MemoryPlan, names: Sequence[str], labels: Labels) -> str:
    """Where each buffer lies in the arena while which layers run; `names` of the layers."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
        for name, place in sorted(plan.placements.items()):
            is_scratch = name.endswith(":scratch")
            first, last = place.first_step, place.last_step
            box = Rectangle(
                (first - 0.5, place.offset / 1024),
                last - first + 1,
                place.nbytes / 1024,
                facecolor=GREY if is_scratch else BLUE,
                alpha=0.75 if is_scratch else 0.45,
                edgecolor="white",
                lw=0.8,
            )
            axes.add_patch(box)
        steps = len(names)
        axes.axhline(plan.lower_bound_nbytes / 1024, color=GREEN, lw=1, ls="--")
        axes.set_xlim(-1.5, steps + 0.5)
        axes.set_ylim(0, plan.arena_nbytes / 1024 * 1.06)
        step = max(1, steps // 8)
        axes.set_xticks(range(0, steps, step), [labels.number(n) for n in names[::step]])
        axes.set_xlabel("layer that runs (numbers as in the table), over time")
        axes.set_ylabel("place in the arena, KiB")
        return svg_of(figure)


def graph_picture(graph: Graph, labels: Labels) -> str:
    """The layers from top to bottom; what skips layers runs along the side."""
    order = [*graph.inputs, *(n.name for n in graph.nodes)]
    height = {name: i for i, name in enumerate(order)}
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 0.3 + 0.3 * len(order)))
        axes.set_axis_off()
        for name, y in height.items():
            shape = "x".join(map(str, graph.tensors[name].shape[1:]))
            producer = graph.producer(name)
            kind = producer.op.name if producer else "input"
            axes.add_patch(Rectangle((0, y - 0.36), 10, 0.72, fc="#f3f6f9", ec="#b8bec5"))
            axes.text(0.2, y, labels(name, 12), va="center", fontsize=8)
            kind = kind.replace("_2d", "").replace("_", " ")
            axes.text(6.6, y, kind, va="center", ha="center", fontsize=7)
            axes.text(9.8, y, shape, va="center", ha="right", fontsize=8, color=GREY)
        for node in graph.nodes:
            for source in node.inputs:
                if source in height:
                    _edge(axes, height[source], height[node.name])
        axes.set_xlim(-0.2, 13)
        axes.set_ylim(len(order) - 0.4, -0.6)
        return svg_of(figure)


def _edge(axes: Axes, start: int, end: int) -> None:
    if end == start + 1:
        axes.plot([5, 5], [start + 0.36, end - 0.36], color=GREY, lw=1)
        return
    bend = FancyArrowPatch(
        (10, start),
        (10, end),
        connectionstyle=f"arc3,rad={-min(0.5, 1.6 / (end - start))}",
        arrowstyle="-|>",
        mutation_scale=7,
        color=ORANGE,
        lw=1.2,
    )
    axes.add_patch(bend)


def pictures(analysis: Analysis, arranged: Graph, plan: MemoryPlan) -> dict[str, str]:
    """Every picture of the page by name; those of layers under "layer:NAME"."""
    float_accuracy = analysis.float_evaluation.accuracy if analysis.float_evaluation else None
    labels = Labels(analysis.quantized)
    found = {
        "noise": noise_picture(analysis.noise, labels),
        "sensitivity": sensitivity_picture(analysis.sensitivity, labels),
        "bits": bits_picture(analysis.bits, float_accuracy),
        "memory": memory_picture(plan, [n.name for n in arranged.nodes], labels),
        "graph": graph_picture(analysis.graph, labels),
    }
    for row in analysis.distributions:
        found[f"layer:{row.name}"] = distribution_picture(row)
    return found
