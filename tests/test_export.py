"""Exported files say the same: in TFLite Micro, in onnxruntime, and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from firmware_matrix import digits as digits_of_the_demo
from float_networks import float_networks
from hypothesis import HealthCheck, given, settings
from networks import samples, small_network
from oracle import tflm_run

import edgeq
from edgeq.arith import Rounding
from edgeq.demo import load_digits
from edgeq.errors import ExportFailure
from edgeq.exporters import write_model
from edgeq.exporters.onnx import onnx_bytes
from edgeq.exporters.tflite import tflite_bytes
from edgeq.graph import Graph
from edgeq.importers.onnx import read_onnx
from edgeq.passes.round_as import round_as


def random_inputs(graph: Graph, count: int) -> np.ndarray:
    shape = graph.input_tensors()[0].shape[1:]
    return np.random.default_rng(5).integers(-128, 128, (count, *shape)).astype(np.int8)


def require_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs.reshape(ours.shape))


@pytest.fixture(scope="module", name="digits")
def _digits() -> Graph:
    return digits_of_the_demo()


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(graph=float_networks())
def test_a_tflite_file_gives_our_bytes_in_tflite_micro(graph: Graph) -> None:
    quantized = edgeq.quantize(graph, samples(graph, 8))
    inputs = random_inputs(quantized, 8)
    (ours,) = edgeq.Interpreter(quantized, threads=1).run(inputs)
    require_equal(ours, tflm_run(tflite_bytes(quantized), inputs))


@pytest.mark.parametrize("name", ["kws", "ic", "vww", "ad", "kws_float", "ic_float"])
def test_a_real_model_written_again_gives_its_bytes(name: str, model_path) -> None:
    graph = edgeq.read_model(model_path(name))
    if not graph.is_quantized:
        graph = edgeq.quantize(graph, samples(graph, 10))
    inputs = random_inputs(graph, 10)
    (ours,) = edgeq.Interpreter(graph).run(inputs)
    require_equal(ours, tflm_run(tflite_bytes(graph), inputs))


def test_litert_loads_the_file(digits: Graph) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite_bytes(digits))
    interpreter.allocate_tensors()
    assert interpreter.get_output_details()[0]["shape"].tolist() == [1, 10]


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(graph=float_networks())
def test_onnx_qdq_is_read_back_as_the_same_integers(
    graph: Graph, tmp_path_factory: pytest.TempPathFactory
) -> None:
    quantized = edgeq.quantize(graph, samples(graph, 8))
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_model(quantized, path)
    back = read_onnx(path)
    inputs = random_inputs(quantized, 8)
    for ours, again in zip(
        edgeq.Interpreter(quantized, threads=1).run(inputs),
        edgeq.Interpreter(back, threads=1).run(inputs),
        strict=True,
    ):
        require_equal(ours, again)


def test_onnxruntime_runs_the_qdq_file_to_the_same_classes(digits: Graph) -> None:
    _, _, images, _ = load_digits()
    session = onnxruntime.InferenceSession(onnx_bytes(digits))
    name = session.get_inputs()[0].name
    theirs = [session.run(None, {name: x[None].transpose(0, 3, 1, 2)})[0] for x in images]
    quant = digits.input_tensors()[0].quant
    assert quant is not None
    integers = np.clip(np.rint(images / quant.scale[0]) + quant.zero_point, -128, 127)
    (ours,) = edgeq.Interpreter(digits).run(integers.astype(np.int8))
    agreed = np.concatenate(theirs).argmax(1) == ours.argmax(1)
    assert agreed.mean() > 0.99, "it computes in float between the same integers"


def test_the_suffix_says_the_format(digits: Graph, tmp_path: Path) -> None:
    for suffix in ("tflite", "onnx", "edgeq"):
        path = tmp_path / f"model.{suffix}"
        write_model(digits, path)
        inputs = random_inputs(digits, 3)
        (a,), (b,) = (
            edgeq.Interpreter(g).run(inputs) for g in (digits, edgeq.read_model(path))
        )
        require_equal(a, b)
    with pytest.raises(ExportFailure, match=r"is '\.h5', must be"):
        write_model(digits, tmp_path / "model.h5")


def test_a_float_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportFailure, match="must be quantized"):
        write_model(small_network(), tmp_path / "model.tflite")


def test_a_clamp_that_the_format_lacks_is_named(digits: Graph) -> None:
    node = digits.nodes[0]
    op = replace(node.op, activation_max=100)
    clipped = replace(digits, nodes=(replace(node, op=op), *digits.nodes[1:]))
    with pytest.raises(ExportFailure, match=r"clamps to \[-128, 100\], .tflite has only"):
        tflite_bytes(clipped)


def test_multipliers_that_no_scale_gives_are_found(digits: Graph) -> None:
    node = digits.nodes[0]
    op = replace(node.op, multiplier=tuple(m + 1 for m in node.op.multiplier))
    other = replace(digits, nodes=(replace(node, op=op), *digits.nodes[1:]))
    with pytest.raises(ExportFailure, match="its scales do not give its multipliers"):
        tflite_bytes(other)


@pytest.mark.parametrize("rounding", ["single", "shift"])
def test_another_rounding_than_the_runtimes_is_refused(
    digits: Graph, rounding: Rounding, tmp_path: Path
) -> None:
    rounded = round_as(digits, rounding)
    for suffix in ("tflite", "onnx"):
        path = tmp_path / f"model.{suffix}"
        with pytest.raises(ExportFailure, match=f"is rounded as '{rounding}'"):
            write_model(rounded, path)
        assert not path.exists()
    write_model(rounded, tmp_path / "model.edgeq")
    assert edgeq.read_model(tmp_path / "model.edgeq").rounding == rounding
