"""What the default quantizer keeps of real networks, beside their official int8 models.

Image networks: 100 samples of a set calibrate, the others are judged, for nine choices of the
100: the first, the last, evenly spread, and six drawn at random. The autoencoder: the mean
squared error of its reconstruction on 500 random walks around spectra (`spectra`), 100 others
calibrate. Nothing here is asserted; tests/test_quantizer_models.py asserts it.

    EDGEQ_SHARED=... python tools/bench_accuracy.py [--json]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

import edgeq
from edgeq.evaluate import run_graph, run_in_reals
from edgeq.graph import Array, Graph
from edgeq.quantize import quantize

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("EDGEQ_SHARED", ROOT.parent / "shared"))
SAMPLES = 100
DRAWN = 6
FRAMES, MELS = 5, 128  # of ad01's input
WALKS = 500
# float model, official int8 model, data, what a unit of a pixel is worth
NETWORKS = {
    "ic": ("pretrainedResnet.tflite", "pretrainedResnet_quant.tflite", "ic_dev.npz", 1.0),
    "vww": ("vww_96_float.tflite", "vww_96_int8.tflite", "vww_dev.npz", 1 / 255),
}
AD = "ad01_fp32.tflite", "ad01_int8.tflite"


@dataclass(frozen=True, slots=True)
class Choice:
    """Right of `of` samples that did not calibrate."""

    network: str
    calibrated_on: str
    of: int
    exact: int  # in float
    official: int
    ours: int


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Mean squared errors of the autoencoder's output beside its input."""

    samples: int
    exact: float
    official: float
    ours: float


def choices(count: int) -> Iterator[tuple[str, Array]]:
    """(name, mask of SAMPLES of `count` samples), nine of them."""
    places = {
        "the first": np.arange(SAMPLES),
        "the last": np.arange(count - SAMPLES, count),
        "spread": np.linspace(0, count - 1, SAMPLES).round().astype(int),
    }
    for seed in range(DRAWN):
        drawn = np.random.default_rng(seed).choice(count, SAMPLES, replace=False)
        places[f"drawn, seed {seed}"] = drawn
    for name, chosen in places.items():
        mask = np.zeros(count, bool)
        mask[chosen] = True
        yield name, mask


def classified(network: str, model: Path, official: Path, data: Path) -> list[Choice]:
    """Every choice for an image network."""
    graph, integers = edgeq.read_model(model), edgeq.read_model(official)
    archive = np.load(data)
    pixels, labels = archive["inputs"], archive["labels"]
    x = pixels.astype(np.float32) * np.float32(NETWORKS[network][3])
    exact = run_in_reals(graph, x)[0].argmax(1) == labels
    theirs = run_graph(integers, (pixels ^ 0x80).view(np.int8))[0].argmax(1) == labels
    rows = []
    for name, chosen in choices(len(x)):
        y = run_in_reals(quantize(graph, x[chosen]), x[~chosen])[0]
        ours = y.argmax(1) == labels[~chosen]
        counts = (int(part.sum()) for part in (exact[~chosen], theirs[~chosen], ours))
        rows.append(Choice(network, name, int((~chosen).sum()), *counts))
    return rows


def spectra(graph: Graph, count: int) -> Array:
    """(count, 640): random walks around the spectrum that the autoencoder itself settles on.

    The middle is what twenty passes make of a straight slope from -10 to -40 dB; around it a
    level (4 dB), a walk over the five frames (1 dB a step), one over the mel bands (0.5 dB a
    step) and noise (1 dB).
    """
    rng = np.random.default_rng(0)
    x = np.tile(np.linspace(-10, -40, MELS, dtype=np.float32), FRAMES)[np.newaxis]
    for _ in range(20):
        (x,) = run_graph(graph, x)
    bands = rng.normal(0, 0.5, (count, FRAMES, MELS)).cumsum(2)
    walks = bands - bands.mean(2, keepdims=True)
    walks += rng.normal(0, 4, (count, 1, 1)) + rng.normal(0, 1, (count, FRAMES, 1)).cumsum(1)
    walks += rng.normal(0, 1, (count, FRAMES, MELS))
    return (x + walks.reshape(count, -1)).astype(np.float32)


def reconstructed(model: Path, official: Path) -> Reconstruction:
    """The autoencoder on WALKS walks; SAMPLES others calibrate."""
    graph = edgeq.read_model(model)
    x = spectra(graph, SAMPLES + WALKS)
    rest = x[SAMPLES:]
    errors = (
        float(((run_in_reals(g, rest)[0] - rest) ** 2).mean())
        for g in (graph, edgeq.read_model(official), quantize(graph, x[:SAMPLES]))
    )
    return Reconstruction(WALKS, *errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    models, data = SHARED / "models", SHARED / "data"
    if not models.is_dir():
        print(f"no models there: {models} (set EDGEQ_SHARED)")
        return
    rows: list[Choice] = []
    for name, (model, official, samples, _) in NETWORKS.items():
        rows += classified(name, models / model, models / official, data / samples)
    walks = reconstructed(*(models / name for name in AD))
    if arguments.json:
        record = {"choices": [asdict(row) for row in rows], "ad": asdict(walks)}
        print(json.dumps(record, indent=2))
        return
    table = Table("network", "calibrated on", "judged", "float", "official int8", "edgeq")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        cells = (row.of, row.exact, row.official, row.ours)
        table.add_row(row.network, row.calibrated_on, *map(str, cells))
    console = Console()
    console.print(table)
    for network in NETWORKS:
        some = [row for row in rows if row.network == network]
        below = sum(row.ours < row.official for row in some)
        float_below = sum(row.exact < row.official for row in some)
        console.print(
            f"{network}: {sum(r.ours for r in some)} right in all, official "
            f"{sum(r.official for r in some)}, float {sum(r.exact for r in some)}; below the "
            f"official model on {below} of {len(some)} choices, float on {float_below}",
            highlight=False,
        )
    console.print(
        f"ad: mean squared error over {walks.samples} walks {walks.ours:.3f}, in float "
        f"{walks.exact:.3f} ({walks.ours / walks.exact - 1:+.2%}), official int8 "
        f"{walks.official:.3f} ({walks.official / walks.exact - 1:+.2%})",
        highlight=False,
    )


if __name__ == "__main__":
    main()
