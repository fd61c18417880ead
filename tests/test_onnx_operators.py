"""Hand-made ONNX models for what torch does not write every day: onnxruntime is the oracle."""

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


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(("size", "stride", "height"), [(3, 2, 8), (2, 1, 7), (4, 3, 9)])
def test_auto_pad(tmp_path, auto_pad, size, stride, height):
    check(
        tmp_path,
        [node("Conv", "x w b", "y", auto_pad=auto_pad, strides=[stride, 1])],
        {"x": [1, 3, height, 10]},
        {"y": None},
        {"w": floats(4, 3, size, size), "b": floats(4)},
    )


@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_depthwise_convolution_of_any_multiplier(tmp_path, multiplier):
    graph = check(
        tmp_path,
        [node("Conv", "x w", "y", group=3, pads=[1, 0, 2, 1], dilations=[2, 1])],
        {"x": ["N", 3, 9, 8]},
        {"y": None},
        {"w": floats(3 * multiplier, 1, 3, 2)},
    )
    assert operators(graph) == ["depthwise_conv_2d"]


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("count_include_pad", [0, 1])
@pytest.mark.parametrize(("height", "stride"), [(8, 2), (9, 2), (7, 3), (10, 3)])
def test_average_pooling_with_padding(tmp_path, ceil_mode, count_include_pad, height, stride):
    check(
        tmp_path,
        [
            node(
                "AveragePool",
                "x",
                "y",
                kernel_shape=[3, 3],
                strides=[stride, stride],
                pads=[1, 1, 1, 0],
                ceil_mode=ceil_mode,
                count_include_pad=count_include_pad,
            )
        ],
        {"x": [1, 2, height, height]},
        {"y": None},
        opset=19,
    )


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("height", [6, 7, 8, 9])
def test_max_pooling_with_one_sided_padding(tmp_path, ceil_mode, height):
    check(
        tmp_path,
        [
            node(
                "MaxPool",
                "x",
                "y",
                kernel_shape=[2, 3],
                strides=[3, 2],
                pads=[0, 1, 1, 0],
                ceil_mode=ceil_mode,
            )
        ],
        {"x": [1, 2, height, height]},
        {"y": None},
    )


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias_shape", [None, (), (1,), (6,), (1, 6)])
def test_gemm_in_all_its_forms(tmp_path, transposed, bias_shape):
    constants = {"w": floats(6, 5) if transposed else floats(5, 6)}
    if bias_shape is not None:
        constants["c"] = floats(*bias_shape)
    inputs = "x w" if bias_shape is None else "x w c"
    check(
        tmp_path,
        [node("Gemm", inputs, "y", transB=transposed, alpha=0.5, beta=2.0)],
        {"x": [1, 5]},
        {"y": None},
        constants,
    )


@pytest.mark.parametrize("axis", [1, -3])
def test_flattened_image_into_gemm_takes_its_weights_in_memory_order(tmp_path, axis):
    graph = check(
        tmp_path,
        [node("Flatten", "x", "f", axis=axis), node("Gemm", "f w", "y", transB=1)],
        {"x": [1, 3, 4, 5]},
        {"y": None},
        {"w": floats(7, 60)},
    )
    assert operators(graph) == ["reshape", "fully_connected"]


@pytest.mark.parametrize(
    ("shape", "axis", "first", "second"),
    [((1, 3, 4, 5), 1, 3, 2), ((1, 3, 4, 5), 2, 4, 6), ((1, 3, 4, 5), -1, 5, 1)],
)
def test_concatenation_along_each_axis_of_an_image(tmp_path, shape, axis, first, second):
    other = list(shape)
    other[axis] = second
    graph = check(
        tmp_path,
        [node("Concat", "x z k", "y", axis=axis)],
        {"x": list(shape), "z": other},
        {"y": None},
        {"k": floats(*shape)},
    )
    extents = graph.output_tensors()[0].shape
    assert extents[{1: 3, 2: 1, -1: 2}[axis]] == 2 * first + second


@pytest.mark.parametrize("order", ["x k", "k x"])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1)])
def test_arithmetic_with_one_constant_a_channel(tmp_path, order, op_type, shape):
    check(
        tmp_path,
        [node("Relu", "x0", "x"), node(op_type, order, "y")],
        {"x0": [1, 3, 4, 5]},
        {"y": None},
        {"k": floats(*shape)},
    )


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
def test_constants_after_a_convolution_go_into_its_weights(tmp_path, op_type):
    graph = check(
        tmp_path,
        [node("Conv", "x w", "c"), node(op_type, "c k", "y")],
        {"x": [1, 3, 4, 5]},
        {"y": None},
        {"w": floats(2, 3, 2, 2), "k": floats(2, 1, 1)},
    )
    assert operators(graph) == ["conv_2d"]


def test_a_constant_for_each_pixel_is_added(tmp_path):
    graph = check(
        tmp_path,
        [node("Add", "k x", "y")],
        {"x": [1, 3, 4, 5]},
        {"y": None},
        {"k": floats(3, 4, 5)},
    )
    assert operators(graph) == ["add"]


def test_two_activations_of_different_extents_are_added(tmp_path):
    check(
        tmp_path,
        [node("GlobalAveragePool", "x", "m"), node("Add", "x m", "y")],
        {"x": [1, 3, 4, 5]},
        {"y": None},
    )


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("inputs", ["x w", "x w b"])
def test_batch_normalization_goes_into_the_convolution_before_it(tmp_path, inputs, group):
    graph = check(
        tmp_path,
        [
            node("Conv", inputs, "c", group=group),
            node("BatchNormalization", "c s o m v", "y", epsilon=1e-3),
        ],
        {"x": [1, 3, 5, 5]},
        {"y": None},
        {"w": floats(6, 3 // group, 3, 3), "b": floats(6), **normalization(6)},
    )
    assert len(graph.nodes) == 1


def test_batch_normalization_of_a_shared_output_stays_a_layer(tmp_path):
    graph = check(
        tmp_path,
        [
            node("Conv", "x w", "c"),
            node("Identity", "c", "i"),
            node("BatchNormalization", "i s o m v", "n"),
            node("Add", "c n", "y"),
        ],
        {"x": [1, 3, 5, 5]},
        {"y": None},
        {"w": floats(6, 3, 3, 3), **normalization(6)},
    )
    assert operators(graph) == ["conv_2d", "depthwise_conv_2d", "add"]


def test_batch_normalization_of_a_graph_output_stays_a_layer(tmp_path):
    graph = check(
        tmp_path,
        [node("Gemm", "x w", "c"), node("BatchNormalization", "c s o m v", "n")],
        {"x": [1, 4]},
        {"c": None, "n": None},
        {"w": floats(4, 6), **normalization(6)},
    )
    assert "depthwise_conv_2d" in operators(graph)


@pytest.mark.parametrize("shape", [[1, 6], [1, 6, 5], [1, 6, 5, 4]])
def test_batch_normalization_without_a_layer_before_it(tmp_path, shape):
    nodes = [node("BatchNormalization", "x s o m v", "n")]
    if len(shape) == 3:  # channels are innermost in memory after a transpose only
        nodes = [
            node("Transpose", "x0", "x", perm=[0, 2, 1]),
            *nodes,
            node("Transpose", "n", "y", perm=[0, 2, 1]),
        ]
        check(tmp_path, nodes, {"x0": [1, 5, 6]}, {"y": None}, normalization(6))
    else:
        check(tmp_path, nodes, {"x": shape}, {"n": None}, normalization(6))


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [13, 18])
def test_mean_over_height_and_width(tmp_path, keepdims, opset):
    axes = {"axes": [-1, 2]} if opset < 18 else {}
    check(
        tmp_path,
        [node("ReduceMean", "x" if axes else "x a", "y", keepdims=keepdims, **axes)],
        {"x": [1, 3, 4, 5]},
        {"y": None},
        {} if axes else {"a": np.array([2, 3])},
        opset,
    )


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-0.5, 0.5), (None, 0.3), (0.1, None)])
def test_clip_with_any_bounds(tmp_path, low, high):
    constants = {
        name: np.float32(value)
        for name, value in (("l", low), ("h", high))
        if value is not None
    }
    names = f"x {'-' if low is None else 'l'}{'' if high is None else ' h'}"
    graph = check(tmp_path, [node("Clip", names, "y")], {"x": [1, 8]}, {"y": None}, constants)
    assert operators(graph) == ["relu"]


def test_a_clamp_written_as_maximum_and_minimum(tmp_path):
    nodes = [
        node("CastLike", "l x", "low"),
        node("Max", "x low", "m"),
        node("CastLike", "m f", "c"),
        node("Min", "h c", "y"),
    ]
    constants = {"l": np.array(-1), "h": np.float32(0.5), "f": np.float32(0)}
    graph = check(tmp_path, nodes, {"x": [1, 8]}, {"y": None}, constants)
    assert operators(graph) == ["relu", "relu"]


def test_a_clip_without_bounds_is_nothing(tmp_path):
    limits = {"l": np.finfo(np.float32).min, "h": np.finfo(np.float32).max}
    nodes = [node("Clip", "x l h", "c"), node("Relu", "c", "y")]
    assert operators(check(tmp_path, nodes, {"x": [1, 8]}, {"y": None}, limits)) == ["relu"]


@pytest.mark.parametrize(("opset", "axes"), [(17, None), (18, [-1, 1])])
def test_zero_padding_of_channels_and_rows(tmp_path, opset, axes):
    pads = [0, 1, 2, 0, 0, 3, 0, 1] if axes is None else [1, 2, 0, 3]
    constants = {"p": np.array(pads), "f": np.float32(0)}
    if axes is not None:
        constants["a"] = np.array(axes)
    names = "x p f" if axes is None else "x p f a"
    check(
        tmp_path, [node("Pad", names, "y")], {"x": [1, 3, 4, 5]}, {"y": None}, constants, opset
    )


def test_an_image_that_the_file_itself_turns_to_nchw_is_taken_as_it_is(tmp_path):
    graph = check(
        tmp_path,
        [
            node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
            node("Conv", "t w", "c"),
            node("Transpose", "c", "y", perm=[0, 2, 3, 1]),
        ],
        {"x": [1, 6, 7, 3]},
        {"y": None},
        {"w": floats(4, 3, 3, 3)},
    )
    assert operators(graph) == ["conv_2d"]
    assert graph.input_tensors()[0].shape == (1, 6, 7, 3)
