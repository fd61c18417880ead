"""Shapes in hand-made ONNX models: folded, reshaped, squeezed; onnxruntime is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_builder import assert_like_onnxruntime, make_model, node, normalization, save

RNG = np.random.default_rng(5)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def check(folder, nodes, inputs, outputs, constants=None, opset=17):
    return assert_like_onnxruntime(
        save(make_model(nodes, inputs, outputs, constants, opset), folder)
    )


def operators(graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


@pytest.mark.parametrize("axis", [1, 2])
def test_squeeze_unsqueeze_and_softmax(tmp_path, axis):
    check(
        tmp_path,
        [
            node("GlobalMaxPool", "x", "g"),
            node("Squeeze", "g hw", "s"),
            node("Unsqueeze", "s a", "u"),
            node("Softmax", "u", "y", axis=3 - axis),
        ],
        {"x": [1, 6, 3, 4]},
        {"y": None},
        {"hw": np.array([2, 3]), "a": np.array([axis])},
    )


def test_softmax_over_a_flattened_image_before_gemm(tmp_path):
    nodes = [node("Flatten", "x", "f"), node("Softmax", "f", "s"), node("Gemm", "s w", "y")]
    check(tmp_path, nodes, {"x": [1, 2, 3, 4]}, {"y": None}, {"w": floats(24, 5)})


def test_softmax_over_the_channels_of_an_image(tmp_path):
    nodes = [node("Softmax", "x", "y", axis=1)]
    check(tmp_path, nodes, {"x": [1, 6, 3, 4]}, {"y": None})


def test_shapes_taken_apart_and_put_together_are_folded(tmp_path):
    graph = check(
        tmp_path,
        [
            node("Shape", "x", "s"),
            node("Slice", "s zero one", "n"),
            node("Gather", "s two", "h", axis=0),
            node("Cast", "h", "hf", to=1),
            node("Div", "hf half", "hh"),
            node("Floor", "hh", "hf2"),
            node("Cast", "hf2", "hi", to=7),
            node("Unsqueeze", "hi zero", "h1"),
            node("Concat", "n h1 minus", "target", axis=0),
            node("Reshape", "x target", "r"),
            node("MatMul", "r w", "y"),
        ],
        {"x": ["batch", 1, 6, 4]},
        {"y": None},
        {
            "zero": np.array([0]),
            "one": np.array([1]),
            "two": np.array(2),
            "half": np.float32(2),
            "minus": np.array([-1]),
            "w": floats(8, 3),
        },
    )
    assert operators(graph) == ["reshape", "fully_connected"]
    assert graph.output_tensors()[0].shape == (1, 3, 3)


def test_two_inputs_and_two_outputs_keep_their_order(tmp_path):
    graph = check(
        tmp_path,
        [node("Sigmoid", "b", "p"), node("Relu", "a", "q"), node("Relu", "b", "dead")],
        {"a": [1, 3], "b": [1, 4]},
        {"p": None, "q": None},
    )
    assert graph.inputs == ("a", "b")
    assert operators(graph) == ["logistic", "relu"]


def test_a_normalized_flat_image_is_reshaped_once(tmp_path):
    nodes = [
        node("Relu", "x", "r"),
        node("Flatten", "r", "f"),
        node("BatchNormalization", "f s o m v", "n"),
        node("Gemm", "n w", "y"),
    ]
    constants = {"w": floats(24, 5), **normalization(24)}
    graph = check(tmp_path, nodes, {"x": [1, 2, 3, 4]}, {"y": None}, constants)
    assert operators(graph) == [
        "relu",
        "reshape",
        "depthwise_conv_2d",
        "reshape",
        "fully_connected",
    ]


def test_dropout_and_identity_vanish(tmp_path):
    nodes = [node("Dropout", "x", "d"), node("Identity", "d", "i"), node("Relu", "i", "y")]
    assert operators(check(tmp_path, nodes, {"x": [1, 3]}, {"y": None})) == ["relu"]
