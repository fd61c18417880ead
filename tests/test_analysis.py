"""What an analysis says is what one's own computation finds; its page needs nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from cli import CommandLine
from networks import NetworkBuilder, samples, small_network

import edgeq
from edgeq.analysis.analyze import Analysis, analyze, split
from edgeq.analysis.distribution import layer_distributions
from edgeq.analysis.noise import NO_NOISE, layer_noise, sqnr_db
from edgeq.analysis.sensitivity import layer_sensitivity
from edgeq.calibrate import calibrate
from edgeq.digest import graph_digest
from edgeq.errors import DataError
from edgeq.evaluate import run_in_reals
from edgeq.float_run import run_float
from edgeq.graph import Graph
from edgeq.memory import plan_memory
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.weights import quantize_array
from edgeq.passes import optimize, run_passes
from edgeq.passes.arrange import arrange_for_device
from edgeq.quantize import quantize, quantize_with_ranges
from edgeq.report.analysis_page import analysis_page
from edgeq.report.firmware import BoardRow
from edgeq.scheme import Scheme


@pytest.fixture(scope="module", name="network")
def _network() -> tuple[Graph, Graph, np.ndarray]:
    """The float graph after its passes, its integer graph, and samples."""
    graph = run_passes(small_network())
    x = samples(graph, 20)
    return graph, quantize_with_ranges(graph, calibrate(graph, x[:10])), x[10:]


@pytest.fixture(scope="module", name="found")
def _found() -> Analysis:
    graph = small_network()
    x = samples(graph, 40)
    labels = run_float(graph, {"input": x})["prob"].argmax(1)
    return analyze(graph, x, labels, calibration=16)


def test_noise_of_a_layer_is_that_of_its_own_computation(network) -> None:
    graph, quantized, x = network
    quant = quantized.input_tensors()[0].quant
    interpreter = edgeq.Interpreter(quantized, threads=1)
    signal = noise = 0.0
    reals = run_float(graph, {"input": x})["stem"].astype(np.float64)
    stem = quantized.tensors["stem"].quant
    for sample, real in zip(x, reals, strict=True):
        q = interpreter.trace(quantize_array(sample[np.newaxis], quant))["stem"][0]
        signal += (real**2).sum()
        noise += ((stem.scale[0] * (q.astype(float) - stem.zero_point) - real) ** 2).sum()
    rows = {row.name: row for row in layer_noise(graph, quantized, x)}
    assert rows["stem"].sqnr_db == pytest.approx(10 * np.log10(signal / noise))
    assert list(rows) == [node.name for node in graph.nodes]


def test_a_range_cut_in_half_shows_as_clipped_values(network) -> None:
    graph, _, x = network
    ranges = dict(calibrate(graph, x))
    ranges["stem"] = replace(ranges["stem"], high=ranges["stem"].high / 2)
    rows = layer_noise(graph, quantize_with_ranges(graph, ranges), x)
    stem = next(row for row in rows if row.name == "stem")
    values = run_float(graph, {"input": x})["stem"]
    assert stem.clipped == pytest.approx((values > ranges["stem"].high * 1.01).mean(), abs=0.02)
    assert stem.clipped > 0


def test_sqnr_has_a_value_without_noise_and_without_signal() -> None:
    assert sqnr_db(1.0, 0.0) == NO_NOISE
    assert sqnr_db(0.0, 1.0) == -NO_NOISE
    assert sqnr_db(100.0, 1.0) == pytest.approx(20.0)


def test_the_layer_with_the_spoiled_filter_is_the_sensitive_one(network) -> None:
    graph, quantized, x = network
    node = next(n for n in quantized.nodes if n.name == "pw")
    weights = quantized.tensors[node.inputs[1]]
    spoiled = replace(weights, data=(weights.data // 32 * 32).astype(np.int8))
    tensors = {**quantized.tensors, weights.name: spoiled}
    other = Graph.build(
        "spoiled", tensors.values(), quantized.nodes, quantized.inputs, quantized.outputs
    )
    rows = layer_sensitivity(graph, other, x)
    worst = min(rows, key=lambda r: NO_NOISE if r.weights_db is None else r.weights_db)
    assert worst.name == "pw"


def test_distributions_count_every_value_once(network) -> None:
    graph, quantized, x = network
    for row in layer_distributions(graph, quantized, x):
        values = run_float(graph, {"input": x})[row.name]
        assert sum(row.activation.counts) == values.size
        if row.weights is not None:
            node = next(n for n in graph.nodes if n.name == row.name)
            assert sum(row.weights.counts) == graph.tensors[node.inputs[1]].data.size


def test_more_bits_are_less_noise(found: Analysis) -> None:
    values = [row.sqnr_db for row in found.bits]
    assert [row.bits for row in found.bits] == [2, 3, 4, 5, 6, 7, 8]
    assert values[0] < values[3] < values[6]
    assert found.bits[-1].sqnr_db == pytest.approx(found.sqnr_db)


def test_calibration_samples_are_not_looked_at_again(found: Analysis) -> None:
    assert (found.calibration_samples, found.samples) == (16, 24)
    assert found.float_evaluation is not None
    assert found.float_evaluation.samples == 24
    assert found.float_evaluation.accuracy == 1.0, "the labels are the float network's own"
    assert found.evaluation is not None
    assert found.evaluation.accuracy == pytest.approx(found.agreement)


@pytest.mark.parametrize(("count", "wanted"), [(10, 5), (500, 100), (2, 1)])
def test_how_many_samples_calibrate_if_nobody_says(count: int, wanted: int) -> None:
    assert split(np.zeros((count, 1)), None) == wanted


@pytest.mark.parametrize(("count", "calibration"), [(1, None), (10, 10)])
def test_too_few_samples_are_refused(count: int, calibration: int | None) -> None:
    with pytest.raises(DataError, match=r"must be at least 2|none would be left"):
        split(np.zeros((count, 1)), calibration)


class _Page(HTMLParser):
    """Counts the elements and collects what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.loads.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "br", "link", "img"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(found: Analysis) -> str:
    arranged = arrange_for_device(optimize(found.quantized))
    board = BoardRow("b", "B", "cortex-m4", 1, 2048, 1024, True, None, None, "no <room>", ())
    return analysis_page(found, arranged, plan_memory(arranged), [board])


def test_the_page_is_one_file_with_every_picture(found: Analysis) -> None:
    text = page_of(found)
    page = _Page()
    page.feed(text)
    assert not page.open
    assert page.loads == []
    assert not re.search(r"url\((?!#)|@import|<script", text)
    assert page.tags.count("svg") == 5 + len(found.distributions)
    assert "no &lt;room&gt;" in text
    for row in found.noise:
        assert row.name in text


def test_the_verdict_says_what_was_lost(found: Analysis) -> None:
    assert found.evaluation is not None
    assert f"{found.evaluation.correct} and 24 of 24" in page_of(found)


def test_a_page_without_labels_says_so() -> None:
    graph = small_network()
    text = page_of(analyze(graph, samples(graph, 12)))
    assert "With class labels in the data" in text
    assert "accuracy in integers" not in text


def test_a_network_that_chooses_nothing_has_no_decisions() -> None:
    b = NetworkBuilder((1, 16))
    graph = b.build(b.layer("fc", FullyConnected(), "input", b.constant("w", 16, 16)))
    found = analyze(graph, samples(graph, 12))
    assert found.agreement is None
    assert "decisions changed" not in page_of(found)
    assert "decisions changed" in page_of(
        analyze(small_network(), samples(small_network(), 12))
    )


def test_a_dead_channel_does_not_set_the_step_that_is_shown() -> None:
    b = NetworkBuilder((1, 16))
    graph = b.build(b.layer("fc", FullyConnected(), "input", b.constant("w", 4, 16)))
    graph.tensors["w"].data[:3] *= 1e-9
    found = analyze(graph, samples(graph, 12))
    weights = found.distributions[0].weights
    assert weights.step == pytest.approx(np.abs(graph.tensors["w"].data[3]).max() / 127)


def test_the_analysis_is_of_the_integers_that_quantize_makes() -> None:
    graph = small_network()
    x = samples(graph, 40)
    for options in (
        {},
        {"scheme": Scheme("per-tensor", 4)},
        {"method": "minmax", "correct": ()},
        {"method": ["mse", "stem=percentile:99"], "correct": "equalize,absorb,rounding,bias"},
    ):
        found = analyze(graph, x, calibration=16, **options)
        made = quantize(graph, x[:16], **options)
        assert graph_digest(found.quantized) == graph_digest(made)
        same = next(r for r in found.bits if r.bits == found.scheme.weight_bits)
        assert same.sqnr_db == found.sqnr_db
    few = next(r for r in analyze(graph, x, calibration=16).bits if r.bits == 4)
    assert few.corrections == ("rounding", "bias")
    made = quantize(graph, x[:16], scheme=Scheme(weight_bits=4))
    exact, y = (run_in_reals(g, x[16:])[0] for g in (graph, made))
    assert few.sqnr_db == pytest.approx(
        sqnr_db(float((exact.astype(float) ** 2).sum()), float(((exact - y) ** 2).sum())), 1e-4
    )


def test_the_page_says_how_its_integers_were_made(found: Analysis) -> None:
    text = page_of(found)
    assert "ranges by mse; corrections: bias-analytic" in text
    assert "(those with corrections rounding, bias, which" in text
    names = [node.name for node in found.quantized.nodes]
    for row in found.distributions:
        assert f"layer {names.index(row.name) + 1} ({row.name})" in text


def test_a_corrected_bias_counts_as_the_layers_weights() -> None:
    """Rounding shifts a mean, the corrected bias takes it back: with it less noise is left."""
    graph = run_passes(small_network())
    x = samples(graph, 64) + 3
    plain, corrected = (
        {
            row.name: row.weights_db
            for row in layer_sensitivity(
                graph, quantize(graph, x, scheme=Scheme(weight_bits=3), correct=c), x
            )
        }
        for c in ((), "bias")
    )
    assert corrected["stem"] > plain["stem"] + 3


def test_analyze_writes_a_page_and_a_record(edgeq_command: CommandLine) -> None:
    done = edgeq_command(
        "analyze", "float.onnx", "--data", "test.npz", "-o", "report.html", "--json"
    )
    assert done.status == 0, done.err
    record = json.loads(done.out)
    assert record["calibration_samples"] == 100
    assert record["samples"] == 260
    assert abs(record["accuracy"] - record["float_accuracy"]) < 0.02
    assert {row["fits"] for row in record["boards"]} >= {"yes"}
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_an_integer_model_is_refused_with_what_to_give(edgeq_command: CommandLine) -> None:
    done = edgeq_command("analyze", "digits.edgeq", "--data", "test.npz")
    assert "give the float model" in done.error()
