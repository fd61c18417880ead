"""Draw docs/equalization.svg: a network made to need equalization, before and after.

The network is tests/networks.uneven_network: a depthwise layer whose channels' filters span
1:1000, between two others, all with one scale a filter. On the left how far each of its
channels reaches beside one step of the filter's grid: what is below half a step becomes 0. On
the right the signal-to-quantization-noise ratio of every layer in integers, on samples that
nothing was calibrated with.

    python tools/draw_equalization.py [-o FILE.svg] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from edgeq.analysis.noise import layer_noise
from edgeq.passes.products import rows_of
from edgeq.quantize import calibrate_and_rewrite
from edgeq.report.analysis_plots import BLUE, GREY, ORANGE, STYLE, svg_of
from edgeq.scheme import Scheme

ROOT = Path(__file__).parent.parent
LAYER = "dw"
WAYS = ("none", "bias", "equalize", "equalize,bias")
BEFORE, AFTER = WAYS[0], WAYS[2]


@dataclass(frozen=True, slots=True)
class Measured:
    """The network quantized in one of WAYS."""

    ranges: tuple[float, ...]  # of the magnitudes of each channel's filter in LAYER
    step: float  # of that filter's grid
    sqnr_db: dict[str, float]  # by layer


def measured(correct: str, weights: str = "per-tensor") -> Measured:
    """32 samples calibrate, 32 others are measured."""
    from networks import samples, uneven_network

    x = samples(uneven_network(), 64)
    names = () if correct == "none" else correct
    calibrated = calibrate_and_rewrite(
        uneven_network(),
        x[:32],
        scheme=Scheme(weights=weights),  # type: ignore[arg-type]
        correct=names,
    )
    quantized = calibrated.quantized(correct=names)
    node = next(n for n in calibrated.graph.nodes if n.name == LAYER)
    data = calibrated.graph.tensors[node.inputs[1]].data
    assert data is not None
    grid = quantized.tensors[node.inputs[1]].quant
    assert grid is not None
    return Measured(
        tuple(np.abs(rows_of(node.op, data)).max(1).tolist()),
        max(grid.scale),
        {row.name: row.sqnr_db for row in layer_noise(calibrated.graph, quantized, x[32:])},
    )


def draw(found: dict[str, Measured]) -> str:
    """The picture, as SVG."""
    with mpl.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), width_ratios=(1.15, 1))
        _channels(left, found)
        _layers(right, found)
        figure.tight_layout()
        return svg_of(figure)


def _channels(axes: Axes, found: dict[str, Measured]) -> None:
    for way, colour, label in ((BEFORE, ORANGE, "before"), (AFTER, BLUE, "after")):
        one = found[way]
        numbers = np.arange(1, len(one.ranges) + 1)
        axes.plot(numbers, one.ranges, "o-", color=colour, ms=4, lw=1, label=label)
        axes.axhline(one.step / 2, color=colour, lw=1, ls="--")
    lost = sum(value < found[BEFORE].step / 2 for value in found[BEFORE].ranges)
    axes.text(
        0.6,
        found[BEFORE].step / 2,
        f"half a step, before: {lost} channels below are lost",
        color=ORANGE,
        fontsize=8,
        va="bottom",
    )
    axes.text(
        0.6, found[AFTER].step / 2, "half a step, after", color=BLUE, fontsize=8, va="top"
    )
    axes.set_yscale("log")
    axes.set_xlabel("channel of the depthwise layer")
    axes.set_ylabel("largest weight of the channel")
    axes.legend(loc="upper right", fontsize=8, frameon=False)


def _layers(axes: Axes, found: dict[str, Measured]) -> None:
    colours = {"none": ORANGE, "bias": "#e9bd8c", "equalize": BLUE, "equalize,bias": GREY}
    names = list(found[BEFORE].sqnr_db)
    height = 0.8 / len(WAYS)
    for i, way in enumerate(WAYS):
        values = [found[way].sqnr_db[name] for name in names]
        places = np.arange(len(names)) + (i - (len(WAYS) - 1) / 2) * height
        axes.barh(places, values, height * 0.9, color=colours[way], label=way)
        for place, value in zip(places, values, strict=True):
            axes.text(value + 0.5, place, f"{value:.1f} dB", va="center", fontsize=7)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 62)
    axes.set_xlabel("signal to noise of the layer in integers, dB")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/equalization.svg")
    parser.add_argument("--json", action="store_true", help="print the figures, draw nothing")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    found = {way: measured(way) for way in WAYS}
    if arguments.json:
        print(json.dumps({way: asdict(one) for way, one in found.items()}, indent=2))
        return
    arguments.output.write_text(draw(found) + "\n", encoding="utf-8")
    for way, one in found.items():
        figures = ", ".join(f"{name} {value:.1f} dB" for name, value in one.sqnr_db.items())
        print(
            f"{way}: {figures}; channels differ {max(one.ranges) / min(one.ranges):,.0f}-fold"
        )
    print(f"{arguments.output}: drawn")


if __name__ == "__main__":
    main()
