"""Post-training quantization: accuracy is kept, and what does not fit is refused clearly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from networks import NetworkBuilder, samples, small_network

import edgeq
from edgeq.errors import DataError, GraphError, QuantizeError
from edgeq.float_run import run_float
from edgeq.graph import Graph
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.quantize import Requantize
from edgeq.ops.weights import quantize_array, range_params
from edgeq.ops.window import Window


def outputs_in_reals(graph: Graph, x: np.ndarray) -> np.ndarray:
    source, target = graph.input_tensors()[0], graph.output_tensors()[0]
    (y,) = edgeq.Interpreter(graph).run(quantize_array(x, source.quant))
    return (y.astype(np.float32) - target.quant.zero_point) * target.quant.scale[0]


def test_the_integer_network_follows_the_float_network() -> None:
    graph = small_network()
    x = samples(graph, 64)
    exact = run_float(graph, {"input": x})["prob"]
    approximate = outputs_in_reals(edgeq.quantize(graph, x[:32]), x)
    assert np.abs(exact - approximate).max() < 0.06
    assert (exact.argmax(1) == approximate.argmax(1)).mean() >= 0.95


@pytest.mark.parametrize(
    ("model", "data", "unit"), [("ic_float", "ic_dev", 1.0), ("vww_float", "vww_dev", 1 / 255)]
)
def test_real_networks_keep_their_accuracy_within_one_point(
    model, data, unit, model_path, data_path
) -> None:
    graph = edgeq.read_model(model_path(model))
    archive = np.load(data_path(data))
    x, labels = archive["inputs"].astype(np.float32) * np.float32(unit), archive["labels"]
    name = graph.inputs[0]
    parts = [run_float(graph, {name: x[i : i + 16]}) for i in range(0, len(x), 16)]
    exact = np.concatenate([part[graph.outputs[0]] for part in parts])
    quantized = outputs_in_reals(edgeq.quantize(graph, x[:100]), x)
    float_accuracy = (exact.argmax(1) == labels).mean()
    assert (quantized.argmax(1) == labels).mean() >= float_accuracy - 0.01


def test_a_concatenation_gives_its_scale_to_its_inputs_or_rescales_them() -> None:
    quantized = edgeq.quantize(small_network(), samples(small_network(), 8))
    both = quantized.tensors["both"]
    # "dw" feeds another layer too, and the sum does not: one is rescaled, one takes the scale.
    assert quantized.tensors["sum"].quant == both.quant
    assert [n.name for n in quantized.nodes if isinstance(n.op, Requantize)] == ["dw/to/both"]


def test_weights_shared_by_two_layers_get_a_bias_for_each() -> None:
    b = NetworkBuilder((1, 6, 6, 2))
    w, bias = b.constant("w", 2, 1, 1, 2), b.constant("b", 2)
    first = b.layer("first", Conv2D(Window(1, 1)), "input", w, bias)
    second = b.layer("second", Conv2D(Window(1, 1)), first, w, bias)
    graph = b.build(second)
    x = samples(graph, 16)
    exact = run_float(graph, {"input": x})["second"]
    assert np.abs(exact - outputs_in_reals(edgeq.quantize(graph, x), x)).max() < 0.2


def test_channels_of_zero_weights_keep_their_bias() -> None:
    b = NetworkBuilder((1, 4))
    w, bias = b.constant("w", 3, 4), b.constant("b", 3)
    b.tensors["w"].data[1] = 0.0
    b.tensors["w"].data[2] = 1e-12
    b.tensors["b"].data[:] = (0.3, -1.25, 0.7)
    graph = b.build(b.layer("fc", FullyConnected(), "input", w, bias))
    x = samples(graph, 16)
    exact = run_float(graph, {"input": x})["fc"]
    assert np.abs(exact - outputs_in_reals(edgeq.quantize(graph, x), x)).max() < 0.03


def test_pooling_a_constant_zero_and_an_all_zero_network_are_no_trouble() -> None:
    b = NetworkBuilder((1, 4, 4, 1))
    w = b.constant("w", 2, 1, 1, 1)
    b.tensors["w"].data[:] = 0.0
    conv = b.layer("conv", Conv2D(Window(1, 1)), "input", w)
    pool = b.layer("pool", MaxPool2D(Window(2, 2, 2, 2)), conv)
    graph = b.build(b.layer("both", Concatenation(3), pool, pool))
    assert not outputs_in_reals(
        edgeq.quantize(graph, samples(graph, 4)), samples(graph, 2)
    ).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :4], r"have shape \(8, 4, 6, 3\), must be \(samples, 8, 6, 3\)"),
        (lambda x: x[:0], "no samples"),
        (lambda x: np.where(x > 2, np.nan, x), "hold NaN or infinite values"),
        (lambda x: np.where(x > 2, np.inf, x), "hold NaN or infinite values"),
        (lambda x: x.astype(str), "must be numbers"),
    ],
)
def test_calibration_data_that_do_not_fit_are_refused(change, message) -> None:
    graph = small_network()
    with pytest.raises(DataError, match=message):
        edgeq.quantize(graph, change(samples(graph, 8)))


def test_a_quantized_graph_is_not_quantized_again() -> None:
    quantized = edgeq.quantize(small_network(), samples(small_network(), 4))
    with pytest.raises(GraphError, match="is quantized already"):
        edgeq.quantize(quantized, samples(small_network(), 4))


def test_an_accumulator_that_could_overflow_is_refused() -> None:
    quantized = edgeq.quantize(small_network(), samples(small_network(), 4))
    tensors = dict(quantized.tensors)
    tensors["fc/b"] = replace(tensors["fc/b"], data=np.full(5, 2**31 - 1, np.int32))
    graph = Graph.build(
        "g", tensors.values(), quantized.nodes, quantized.inputs, quantized.outputs
    )
    with pytest.raises(GraphError, match=r"fc: channel 0 could reach an accumulator of \d+"):
        edgeq.Interpreter(graph)


def test_missing_ranges_are_named() -> None:
    from edgeq.quantize import quantize_with_ranges

    with pytest.raises(QuantizeError, match="'input' has no calibrated range"):
        quantize_with_ranges(small_network(), {})


def test_a_range_is_widened_to_hold_zero() -> None:
    assert range_params(0.0, 255.0).zero_point == -128
    assert range_params(10.0, 255.0) == range_params(0.0, 255.0)
    assert range_params(-255.0, -3.0).zero_point == 127
