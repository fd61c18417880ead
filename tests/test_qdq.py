"""Quantized models that others have made: the same integers here, the same bytes or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from oracle import tflm_run

import edgeq
from edgeq.demo import demo_model_path, load_digits
from edgeq.errors import ImportFailure
from edgeq.exporters.tflite import tflite_bytes
from edgeq.graph import Graph
from edgeq.ops.conv_2d import QuantizedConv2D

DATA = Path(__file__).parent / "data"


class _Digits(CalibrationDataReader):
    def __init__(self) -> None:
        images, _, _, _ = load_digits()
        self.rows = iter([{"image": x[None].transpose(0, 3, 1, 2)} for x in images[:50]])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rows, None)


def by_onnxruntime(
    path: Path, activations: QuantType, weights: QuantType, *, per_channel: bool
) -> Path:
    quantize_static(
        demo_model_path(),
        path,
        _Digits(),
        quant_format=QuantFormat.QDQ,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
    )
    return path


def initializers(path: Path) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def integers_of(path: Path, graph: Graph) -> None:
    """Each convolution's filter and bias are those that the file stores."""
    stored = initializers(path)
    filters = [a.transpose(0, 2, 3, 1) for a in stored.values() if a.ndim == 4]
    biases = [a for a in stored.values() if a.dtype == np.int32 and a.ndim == 1 and a.size > 1]
    compared = 0
    for node in graph.nodes:
        if isinstance(node.op, QuantizedConv2D):
            _, weights, bias = graph.tensors_of(node.inputs)
            assert any(np.array_equal(weights.data, f) for f in filters), node.name
            assert any(np.array_equal(bias.data, b) for b in biases), node.name
            compared += 1
    assert compared == 3


@pytest.mark.parametrize(
    ("activations", "per_channel"), [(QuantType.QInt8, True), (QuantType.QUInt8, False)]
)
def test_onnxruntimes_file_has_its_integers_here(
    activations: QuantType, per_channel: bool, tmp_path: Path
) -> None:
    path = by_onnxruntime(
        tmp_path / "digits.onnx", activations, QuantType.QInt8, per_channel=per_channel
    )
    graph = edgeq.read_model(path)
    assert graph.is_quantized
    integers_of(path, graph)
    stored = initializers(path)
    quant = graph.input_tensors()[0].quant
    assert quant is not None
    shift = 128 if activations == QuantType.QUInt8 else 0
    assert quant.scale[0] == stored["image_scale"]
    assert quant.zero_point == int(stored["image_zero_point"]) - shift


def test_it_has_the_classes_that_onnxruntime_gives(tmp_path: Path) -> None:
    path = by_onnxruntime(
        tmp_path / "digits.onnx", QuantType.QInt8, QuantType.QInt8, per_channel=True
    )
    _, _, images, labels = load_digits()
    session = onnxruntime.InferenceSession(path)
    theirs = np.concatenate(
        [session.run(None, {"image": x[None].transpose(0, 3, 1, 2)})[0] for x in images]
    )
    graph = edgeq.read_model(path)
    quant = graph.input_tensors()[0].quant
    assert quant is not None
    q = np.clip(np.rint(images / quant.scale[0]) + quant.zero_point, -128, 127)
    (ours,) = edgeq.Interpreter(graph).run(q.astype(np.int8))
    right = [(y.argmax(1) == labels).sum() for y in (ours, theirs)]
    assert abs(int(right[0]) - int(right[1])) <= 2, "two roundings of one network"


def test_weights_with_a_zero_point_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = by_onnxruntime(
        tmp_path / "digits.onnx", QuantType.QUInt8, QuantType.QUInt8, per_channel=False
    )
    with pytest.raises(ImportFailure, match="quantize the weights symmetric"):
        edgeq.read_model(path)


def test_a_file_of_ai_edge_quantizer_gives_the_bytes_of_tflite_micro() -> None:
    raw = (DATA / "ai_edge_quantizer.tflite").read_bytes()
    graph = edgeq.read_model(DATA / "ai_edge_quantizer.tflite")
    assert graph.is_quantized
    shape = graph.input_tensors()[0].shape[1:]
    inputs = np.random.default_rng(2).integers(-128, 128, (50, *shape)).astype(np.int8)
    (ours,) = edgeq.Interpreter(graph).run(inputs)
    np.testing.assert_array_equal(ours, tflm_run(raw, inputs))
    np.testing.assert_array_equal(ours, tflm_run(tflite_bytes(graph), inputs))


def qdq_model(path: Path, *, scale: float = 0.1, second_scale: float = 0.1, **extra) -> Path:
    """x -> Q -> DQ -> Conv(DQ) -> Q -> DQ, with what `extra` changes."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (2, 3, 1, 1)).astype(np.int8)
    constants = {
        "s": np.float32(scale),
        "s2": np.float32(second_scale),
        "z": np.array(extra.get("zero_point", 3), extra.get("dtype", np.int8)),
        "w": weights,
        "ws": np.array([0.01, 0.02], np.float32),
        "wz": np.zeros(2, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s2", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name="conv"),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["y"]),
    ]
    if extra.get("unquantized"):
        nodes = [*nodes[:4], helper.make_node("Sigmoid", ["c"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, 4, 4))],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path)
    return path


def test_scales_of_a_channel_each_are_kept(tmp_path: Path) -> None:
    graph = edgeq.read_model(qdq_model(tmp_path / "m.onnx"))
    (node,) = graph.nodes
    weights = graph.tensors[node.inputs[1]]
    assert weights.quant is not None
    assert weights.quant.axis == 0
    assert weights.quant.scale == tuple(float(np.float32(s)) for s in (0.01, 0.02))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second_scale": 0.2}, "reads integers of"),
        ({"scale": -0.1, "second_scale": -0.1}, "must be positive"),
        ({"dtype": np.int16}, "must be int8 or uint8"),
        ({"unquantized": True}, "conv: no QuantizeLinear follows"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ImportFailure, match=message):
        edgeq.read_model(qdq_model(tmp_path / "m.onnx", **change))
