"""Corrections: each alone does what it says, and keeps what it must keep."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SAME3, NetworkBuilder, samples, small_network, uneven_network

import edgeq
from edgeq.calibrate import calibrate
from edgeq.correction import CORRECTIONS, parse_corrections
from edgeq.correction.absorb import absorb
from edgeq.correction.equalize import equalize
from edgeq.correction.layerwise import correct_layers, snap
from edgeq.correction.moments import Moments, clipped_normal
from edgeq.correction.rounding import damped, round_rows
from edgeq.errors import QuantizeError
from edgeq.evaluate import run_in_reals, sqnr_db
from edgeq.float_run import run_float
from edgeq.graph import Graph
from edgeq.grids import activation_grids
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.ops.weights import quantize_filter
from edgeq.ops.window import Window
from edgeq.passes.round_filters import round_filters
from edgeq.samples import SampleStream
from edgeq.scheme import Scheme, on_grid

ROOT = Path(__file__).parent.parent
PER_TENSOR = Scheme(weights="per-tensor")


def quality(graph: Graph, x: np.ndarray, **options) -> float:
    quantized = edgeq.quantize(graph, x[: len(x) // 2], **options)
    rest = x[len(x) // 2 :]
    return sqnr_db(run_in_reals(graph, rest)[0], run_in_reals(quantized, rest)[0])


def largest_difference(before: Graph, after: Graph, x: np.ndarray) -> float:
    a, b = (run_float(g, {"input": x})[g.outputs[0]] for g in (before, after))
    return float(np.abs(a - b).max() / np.abs(a).max())


def test_equalization_rescues_a_network_made_to_need_it() -> None:
    graph = uneven_network()
    x = samples(graph, 64)
    before = quality(graph, x, scheme=PER_TENSOR, correct=())
    after = quality(graph, x, scheme=PER_TENSOR, correct="equalize")
    assert before < 15
    assert after > 28


def test_the_figure_of_equalization_shows_what_is_measured() -> None:
    """docs/equalization.svg and the table beside it, made by tools/draw_equalization.py."""
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    sys.path.insert(0, str(ROOT / "tools"))
    tool = importlib.import_module("draw_equalization")
    figure = (ROOT / "docs/equalization.svg").read_text(encoding="utf-8")
    text = (ROOT / "docs/quantizer.md").read_text(encoding="utf-8")
    found = {way: tool.measured(way) for way in tool.WAYS}
    for one in found.values():
        for value in one.sqnr_db.values():
            assert f">{value:.1f} dB<" in figure, "run: python tools/draw_equalization.py"
    for weights in ("per-tensor", "per-channel"):
        row = [tool.measured(way, weights).sqnr_db["last"] for way in tool.WAYS]
        cells = " | ".join(f"{value:.1f} dB" for value in row)
        assert f"| {weights} filters | {cells} |" in text
    before, after = found[tool.BEFORE], found[tool.AFTER]
    spread = [max(one.ranges) / min(one.ranges) for one in (before, after)]
    assert spread[0] > 500
    assert spread[1] < 4
    assert sum(value < before.step / 2 for value in before.ranges) == 3
    assert min(after.ranges) > 100 * after.step / 2
    assert after.sqnr_db["last"] > before.sqnr_db["last"] + 30


@pytest.mark.parametrize("scheme", [PER_TENSOR, Scheme()])
def test_equalization_keeps_the_function(scheme: Scheme) -> None:
    graph = uneven_network()
    x = samples(graph, 16)
    notes: list[str] = []
    after = equalize(graph, SampleStream(graph, x), scheme, notes.append)
    assert largest_difference(graph, after, x) < 1e-5
    assert not np.array_equal(graph.tensors["b"].data, after.tensors["b"].data)
    assert notes[0].startswith("equalize: 2 pairs of layers;")


def test_a_relu6_is_rescaled_only_where_no_sample_reaches_6() -> None:
    x = samples(uneven_network(), 16)
    top = max(run_float(uneven_network(), {"input": x})[n].max() for n in ("first", "dw"))
    notes: list[str] = []
    free = uneven_network(2 * float(top))
    after = equalize(free, SampleStream(free, x), PER_TENSOR, notes.append)
    assert largest_difference(free, after, x) < 1e-5
    assert "2 pairs" in notes[0]
    bounds = [node.op.activation_max for node in after.nodes[:2]]
    assert all(np.isfinite(bounds))
    reached = uneven_network(0.5)
    notes.clear()
    after = equalize(reached, SampleStream(reached, x), PER_TENSOR, notes.append)
    assert notes[0] == "equalize: 2 layers left alone, samples reach their upper clamp"
    assert after is reached


def test_equalization_goes_through_a_flattened_image() -> None:
    b = NetworkBuilder((1, 4, 4, 2))
    conv = b.layer("conv", Conv2D(SAME3, 0.0), "input", b.constant("w", 6, 3, 3, 2))
    b.tensors["w"].data[:] *= np.logspace(0, -2, 6)[:, None, None, None]
    flat = b.layer("flat", Reshape((1, 96)), conv)
    graph = b.build(b.layer("fc", FullyConnected(), flat, b.constant("v", 3, 96)))
    x = samples(graph, 16)
    after = equalize(graph, SampleStream(graph, x), PER_TENSOR, lambda text: None)
    assert largest_difference(graph, after, x) < 1e-5
    peaks = np.abs(after.tensors["w"].data).max((1, 2, 3))
    assert peaks.max() / peaks.min() < 20


def test_a_layer_with_two_readers_is_not_equalized() -> None:
    graph = small_network()
    notes: list[str] = []
    x = samples(graph, 8)
    assert equalize(graph, SampleStream(graph, x), PER_TENSOR, notes.append) is graph
    assert notes == ["equalize: no two layers between which channels can be rescaled"]


@pytest.mark.parametrize("activation_min", [0.0, -np.inf])
def test_absorption_narrows_an_activation_and_keeps_the_function(activation_min) -> None:
    b = NetworkBuilder((1, 6))
    hidden = b.layer(
        "hidden",
        FullyConnected(activation_min),
        "input",
        b.constant("w", 8, 6),
        b.constant("c", 8),
    )
    b.tensors["c"].data[:] = np.linspace(0, 40, 8)
    graph = b.build(
        b.layer("out", FullyConnected(), hidden, b.constant("v", 3, 8), b.constant("d", 3))
    )
    x = samples(graph, 32)
    notes: list[str] = []
    after = absorb(graph, SampleStream(graph, x), notes.append)
    assert largest_difference(graph, after, x) < 1e-5
    before, narrowed = (calibrate(g, x)["hidden"] for g in (graph, after))
    assert narrowed.high - narrowed.low < 0.5 * (before.high - before.low)
    assert notes[0].startswith("absorb: ")


def test_absorption_stops_at_a_padded_border() -> None:
    graph = uneven_network()
    graph.tensors["p"].data[:] = 50.0  # before the depthwise, whose padding is 0
    x = samples(graph, 8)
    after = absorb(graph, SampleStream(graph, x), lambda text: None)
    assert np.array_equal(after.tensors["p"].data, graph.tensors["p"].data)
    assert largest_difference(graph, after, x) < 1e-5


def test_bias_correction_brings_each_channels_mean_back() -> None:
    graph = uneven_network()
    x = samples(graph, 32)
    scheme = Scheme(weight_bits=3)
    grids = activation_grids(graph, calibrate(graph, x))
    means = []
    for bias in (False, True):
        corrected = correct_layers(
            graph, grids, {"input": x}, scheme, rounding=False, bias=bias
        )
        linear = [replace(n, op=replace(n.op, activation_min=-np.inf)) for n in corrected.nodes]
        first = Graph.build("g", corrected.tensors.values(), linear[:1], ["input"], ["first"])
        exact = Graph.build(
            "g",
            graph.tensors.values(),
            [replace(graph.nodes[0], op=linear[0].op)],
            ["input"],
            ["first"],
        )
        on_its_grid = snap(x, grids["input"])
        a = run_float(exact, {"input": x})["first"]
        b = run_float(first, {"input": on_its_grid})["first"]
        means.append(np.abs((a - b).mean((0, 1, 2))).max())
    assert means[1] < 0.01 * means[0]


@given(
    st.floats(-4, 4),
    st.floats(0.05, 3),
    st.sampled_from([(-np.inf, np.inf), (0.0, np.inf), (0.0, 6.0), (-1.0, 0.5)]),
)
def test_moments_of_a_clipped_normal_are_those_of_its_integral(mean, deviation, bounds) -> None:
    z = np.linspace(-9, 9, 20_001)
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    values = np.clip(mean + deviation * z, *bounds)
    first, second = (values * density).sum(), (values**2 * density).sum()
    got = clipped_normal(Moments(np.array([mean]), np.array([deviation**2])), *bounds)
    assert got.mean[0] == pytest.approx(first, abs=1e-4)
    assert got.variance[0] == pytest.approx(second - first**2, abs=1e-3)


@settings(max_examples=50)
@given(
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(2, 8),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_rounding_is_never_worse_than_the_nearest_and_no_single_change_helps(
    rows, taps, bits, apart, per_channel, seed
) -> None:
    rng = np.random.default_rng(seed)
    w = rng.normal(0, 1, (rows, taps))
    x = rng.normal(0.5, 1, (rows if apart else 1, 50, taps)) @ rng.normal(0, 1, (taps, taps))
    squares = x.transpose(0, 2, 1) @ x / 50
    scheme = Scheme("per-channel" if per_channel else "per-tensor", bits)
    snapped, scales = round_rows(w, squares, squares, 50, scheme)
    hessian = np.broadcast_to(damped(squares, 50), (rows, taps, taps))

    def errors(values: np.ndarray) -> np.ndarray:
        e = values - w
        return np.einsum("oi,oij,oj->o", e, hessian, e)

    q = snapped / scales[:, None]
    assert np.abs(q - np.rint(q)).max() < 1e-9
    assert np.abs(q).max() <= scheme.q_max + 1e-9
    if not per_channel:
        assert len(set(scales.tolist())) == 1
    found = errors(snapped)
    # 1e-6: a fitted scale is rounded to float32
    start = scheme.scales(w, np.diagonal(hessian, axis1=1, axis2=2))
    assert found.sum() <= errors(on_grid(w, start, scheme.q_max)).sum() * (1 + 1e-6) + 1e-12
    for tap in range(taps):
        for step in (-1, 1):
            changed = np.rint(q)
            changed[:, tap] = np.clip(changed[:, tap] + step, -scheme.q_max, scheme.q_max)
            assert (errors(changed * scales[:, None]) >= found * (1 - 1e-9) - 1e-9).all()


def test_rounding_gains_at_4_bits_on_data_it_has_not_seen() -> None:
    b = NetworkBuilder((1, 32))
    hidden = b.layer("hidden", FullyConnected(0.0), "input", b.constant("w", 24, 32))
    graph = b.build(b.layer("out", FullyConnected(), hidden, b.constant("v", 8, 24)))
    rng = np.random.default_rng(0)  # inputs that go together, as pixels of an image do
    x = (rng.normal(0, 1, (256, 4)) @ rng.normal(0, 1, (4, 32))).astype(np.float32)
    nearest, better = (
        quality(graph, x, scheme=Scheme(weight_bits=4), correct=c) for c in ((), "rounding")
    )
    assert better > nearest + 6


@pytest.mark.parametrize("correct", CORRECTIONS)
def test_each_correction_alone_gives_a_network_that_follows_the_float_one(correct) -> None:
    graph = small_network()
    x = samples(graph, 64)
    assert quality(graph, x, correct=correct) > 20


def test_layers_that_share_weights_are_corrected_apart() -> None:
    b = NetworkBuilder((1, 6, 6, 2))
    w, bias = b.constant("w", 2, 1, 1, 2), b.constant("b", 2)
    first = b.layer("first", Conv2D(Window(1, 1)), "input", w, bias)
    graph = b.build(b.layer("second", Conv2D(Window(1, 1)), first, w, bias))
    x = samples(graph, 64)
    scheme = Scheme(weight_bits=4)
    assert quality(graph, x, scheme=scheme, correct="rounding,bias") > 10
    assert quality(graph, x, correct="equalize,absorb,bias-analytic") > 25


@pytest.mark.parametrize("correct", ["bias-analytic", "equalize,absorb,rounding,bias"])
def test_padded_channels_and_reshaped_rows_are_no_trouble(correct: str) -> None:
    b = NetworkBuilder((1, 4, 4, 2))
    padded = b.layer("padded", Pad(((0, 0), (1, 0), (0, 1), (1, 2))), "input")
    conv = b.layer("conv", Conv2D(Window(2, 2), 0.0), padded, b.constant("w", 6, 2, 2, 5))
    rows = b.layer("rows", Reshape((1, 8, 12)), conv)
    fc = b.layer("fc", FullyConnected(), rows, b.constant("v", 12, 12))
    odd = b.layer("odd", Reshape((1, 12, 8)), fc)
    last = b.layer("last", FullyConnected(), odd, b.constant("u", 3, 8))
    x = samples(graph := b.build(last), 64)
    assert quality(graph, x, correct=correct) > 20


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_filter_on_its_grid_gives_the_integers_that_made_it(bits: int) -> None:
    graph = small_network()
    scheme = Scheme(weight_bits=bits, weight_range="minmax")
    rounded = round_filters(graph, scheme)
    for name, axis in (("stem/w", 0), ("dw/w", 2), ("fc/w", 0)):
        weights, grid = graph.tensors[name].data, rounded.tensors[name].quant
        q, quant, _ = quantize_filter(rounded.tensors[name].data, None, 0.1, axis, grid=grid)
        steps = np.expand_dims(np.array(grid.scale), [i for i in range(q.ndim) if i != axis])
        assert np.array_equal(q, np.rint(weights.astype(np.float64) / steps))
        assert quant == grid
        if bits == 8:  # what a filter that is on no grid becomes
            assert np.array_equal(q, quantize_filter(weights, None, 0.1, axis)[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("equalise", "correction 'equalise': must be of equalize, absorb, rounding, bias"),
        ("bias,bias-analytic", "must be one of the two"),
    ],
)
def test_corrections_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(QuantizeError, match=message):
        parse_corrections(text)


def test_corrections_are_done_in_their_order() -> None:
    assert parse_corrections("bias, rounding,equalize") == ("equalize", "rounding", "bias")
    assert parse_corrections(()) == ()
