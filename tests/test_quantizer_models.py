"""The default quantizer on real networks: what accuracy it keeps. Needs the real models."""

from __future__ import annotations

import numpy as np
import pytest

import edgeq
from edgeq.evaluate import run_graph, run_in_reals
from edgeq.graph import Array, Graph
from edgeq.quantize import quantize

FRAMES, MELS = 5, 128


@pytest.mark.parametrize("part", ["front", "spread"])
@pytest.mark.parametrize(("name", "unit"), [("ic", 1.0), ("vww", 1 / 255)])
def test_top_1_stays_within_half_a_point_of_float(
    name: str, unit: float, part: str, model_path, data_path
) -> None:
    graph = edgeq.read_model(model_path(f"{name}_float"))
    archive = np.load(data_path(f"{name}_dev"))
    x, labels = archive["inputs"].astype(np.float32) * np.float32(unit), archive["labels"]
    chosen = np.zeros(len(x), bool)
    chosen[:100] = True
    if part == "spread":
        chosen[:] = False
        chosen[np.linspace(0, len(x) - 1, 100).round().astype(int)] = True
    quantized = quantize(graph, x[chosen])
    official = edgeq.read_model(model_path(name))

    def accuracy(y: Array) -> float:
        return float((y.argmax(1) == labels[~chosen]).mean())

    ours, exact = (accuracy(run_in_reals(g, x[~chosen])[0]) for g in (quantized, graph))
    pixels = (archive["inputs"][~chosen] ^ 0x80).view(np.int8)
    assert ours >= exact - 0.005
    assert ours >= accuracy(run_graph(official, pixels)[0])


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


def test_an_autoencoders_reconstruction_error_stays_within_1_percent(model_path) -> None:
    graph = edgeq.read_model(model_path("ad_float"))
    x = spectra(graph, 600)
    quantized = quantize(graph, x[:100])
    rest = x[100:]
    exact, ours = (
        float(((run_in_reals(g, rest)[0] - rest) ** 2).mean()) for g in (graph, quantized)
    )
    assert abs(ours / exact - 1) < 0.01


def test_rounding_keeps_4_bit_filters_usable(model_path, data_path) -> None:
    graph = edgeq.read_model(model_path("ic_float"))
    archive = np.load(data_path("ic_dev"))
    x, labels = archive["inputs"].astype(np.float32), archive["labels"]
    scheme = edgeq.Scheme(weight_bits=4)

    def correct(y: Array) -> int:
        return int((y.argmax(1) == labels[100:]).sum())

    plain, better = (
        correct(run_in_reals(quantize(graph, x[:100], scheme=scheme, correct=c), x[100:])[0])
        for c in ("bias-analytic", "rounding,bias")
    )
    assert better >= correct(run_in_reals(graph, x[100:])[0]) - 5
    assert better >= plain + 10
