"""ONNX files that cannot be read: one text that says where, what is, and what must be."""

from __future__ import annotations

import builtins
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper
from onnx_builder import assert_like_onnxruntime, make_model, node, save

from edgeq.errors import ImportFailure, ToolError
from edgeq.importers.onnx import read_onnx

SAMPLE = Path(__file__).parent / "data" / "onnx" / "cnnbnrelu6_dynamo.onnx"


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def refusal(path: Path) -> str:
    with pytest.raises(ImportFailure) as caught:
        read_onnx(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text


def refused(folder, nodes, inputs, constants=None, opset=17, outputs=("y",)) -> str:
    model = make_model(nodes, inputs, dict.fromkeys(outputs), constants, opset)
    return refusal(save(model, folder))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 40,
        b"\x7fELF garbage",
        b"{}",
        "Umläut".encode("latin-1"),
        random.Random(1).randbytes(999),
    ],
    ids=["empty", "zeros", "elf", "json", "latin", "random"],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert "is not an ONNX model" in refusal(path)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, fraction):
    raw = SAMPLE.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(raw[: int(len(raw) * fraction)])
    refusal(path)


def test_no_damage_to_a_file_gives_anything_but_a_refusal_or_a_graph(tmp_path):
    rng, raw, refusals = random.Random(3), SAMPLE.read_bytes(), 0
    path = tmp_path / "damaged.onnx"
    for _ in range(400):
        damaged = bytearray(raw)
        for _ in range(rng.choice((1, 3, 20))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_onnx(path).verify()
        except ImportFailure as error:
            refusals += "\n" not in str(error)
    assert refusals > 100


def test_an_absent_file_is_refused(tmp_path):
    assert "cannot be read" in refusal(tmp_path / "absent.onnx")


def test_everything_unsupported_is_in_one_message(tmp_path):
    model = make_model(
        [
            node("LSTM", "x w w", "a"),
            node("Conv", "b g", "c", group=2),
            node("HardSwish", "c", "d"),
            node("Relu", "d", "e"),
            node("Mul", "e e", "y"),
        ],
        {"x": [1, 4, 6, 6], "b": [1, 4, 6, 6]},
        {"y": None},
        {"w": floats(3, 3), "g": floats(4, 2, 3, 3)},
    )
    model.graph.value_info.append(
        helper.make_tensor_value_info("d", TensorProto.FLOAT, [1, 4, 4, 4])
    )
    text = refusal(save(model, tmp_path))
    assert "n_a (LSTM): operator not supported" in text
    assert "n_c (Conv): group is 2, must be 1 or the 4 input channels" in text
    assert "n_d (HardSwish): operator not supported" in text
    assert "n_y (Mul): works on two activations" in text


@pytest.mark.parametrize("op_type", ["DequantizeLinear", "QLinearConv", "ConvInteger"])
def test_quantized_onnx_is_refused_with_advice(tmp_path, op_type):
    text = refused(tmp_path, [node(op_type, "x s", "y")], {"x": [1, 4]}, {"s": floats()})
    assert "export the float model and quantize it here" in text


def test_another_domain_is_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["y"], domain="com.example")]
    assert "domain com.example" in refused(tmp_path, nodes, {"x": [1, 4]})


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([4, 3, 8, 8], "has a batch of 4, must be 1 or dynamic; export it with batch 1"),
        ([1, 3, "height", 8], "axis 2 has extent 'height', must be fixed"),
    ],
)
def test_an_input_of_the_wrong_extent_is_refused(tmp_path, inputs, said):
    assert said in refused(tmp_path, [node("Relu", "x", "y")], {"x": inputs})


def test_an_input_of_another_type_is_refused(tmp_path):
    model = make_model([node("Relu", "x", "y")], {"x": [1, 4]}, {"y": None})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    assert "must be float32" in refusal(save(model, tmp_path))


def conv(folder, shape, constants, **attributes) -> str:
    nodes = [node("Conv", " ".join(["x", *constants]), "y", **attributes)]
    return refused(folder, nodes, {"x": shape}, constants)


def test_convolutions_that_do_not_fit_are_refused(tmp_path):
    image = [1, 4, 8, 8]
    assert "only 2-D Conv" in conv(tmp_path, [1, 4, 8], {"w": floats(2, 4, 3)})
    assert "in 1 groups, input has 4 channels" in conv(
        tmp_path, image, {"w": floats(2, 3, 3, 3)}
    )
    assert "filter reaches over 9x9" in conv(tmp_path, image, {"w": floats(2, 4, 9, 9)})
    assert "kernel_shape is (5, 5), the filter has (3, 3)" in conv(
        tmp_path, image, {"w": floats(2, 4, 3, 3)}, kernel_shape=[5, 5]
    )
    assert "strides is (0, 1)" in conv(
        tmp_path, image, {"w": floats(2, 4, 3, 3)}, strides=[0, 1]
    )
    assert "pads is (-1, 0, 0, 0)" in conv(
        tmp_path, image, {"w": floats(2, 4, 3, 3)}, pads=[-1, 0, 0, 0]
    )
    assert "bias shape is (3,), must be (2,)" in conv(
        tmp_path, image, {"w": floats(2, 4, 3, 3), "b": floats(3)}
    )
    weights = floats(2, 4, 3, 3)
    weights[1, 1] = np.nan
    assert "filter holds NaN" in conv(tmp_path, image, {"w": weights})
    assert "filter is float64" in conv(tmp_path, image, {"w": weights.astype(np.float64)})


@pytest.mark.parametrize(
    ("nodes", "constants", "said"),
    [
        ([node("Reshape", "x s", "y")], {"s": np.array([1, 6, 6])}, "cannot become (1, 6, 6)"),
        ([node("Softmax", "x", "y", axis=2)], {}, "not innermost in memory"),
        ([node("Flatten", "x", "y")], {}, "end the model before that"),
        ([node("Transpose", "x", "y", perm=[0, 2, 1, 3])], {}, "end the model before that"),
        ([node("Transpose", "x", "y", perm=[0, 1, 1, 3])], {}, "must name each of 4 axes once"),
        ([node("Concat", "x x", "y", axis=4)], {}, "axis is 4, the tensor has 4 axes"),
        ([node("Concat", "x x", "y", axis=0)], {}, "must not be the batch"),
        ([node("Pad", "x p", "y", mode="reflect")], {"p": np.zeros(8, np.int64)}, "mode is"),
        ([node("Pad", "x p v", "y")], {"p": np.ones(8, np.int64), "v": floats()}, "must be 0"),
        ([node("Clip", "x v v", "y")], {"v": floats()}, "min must be below max"),
        ([node("Dropout", "x - t", "y")], {"t": np.array(True)}, "training mode"),
        ([node("MaxPool", "x", "y i", kernel_shape=[2, 2]), node("Relu", "i", "z")], {}, "'i'"),
        ([node("MaxPool", "x", "y")], {}, "attribute kernel_shape is missing"),
        ([node("Gemm", "x w", "y", transA=1)], {"w": floats(4, 4)}, "transA is 1, must be 0"),
        ([node("MatMul", "x w", "y")], {"w": floats(5, 4)}, "B wants 5 features"),
        ([node("Relu", "ghost", "y")], {}, "reads 'ghost', which no earlier node writes"),
        ([node("Relu", "b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")], {}, "'b'"),
        ([node("Relu", "x", "y"), node("Sigmoid", "x", "y")], {}, "has a value already"),
        ([node("Identity", "w", "y")], {"w": floats(1, 4)}, "does not depend on an input"),
        ([node("ReduceMean", "x", "y", axes=[1])], {}, "mean over height and width"),
        ([node("Shape", "x", "s"), node("Expand", "x s", "y")], {}, "on constants only"),
        (
            [node("ConstantOfShape", "n", "c"), node("Add", "x c", "y")],
            {"n": np.array([2**20, 2**20])},
            "more than",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_operator_can_do_is_refused(tmp_path, nodes, constants, said):
    assert said in refused(tmp_path, nodes, {"x": [1, 4, 6, 4]}, constants)


def test_an_old_opset_is_refused_with_advice(tmp_path):
    text = refused(tmp_path, [node("Relu", "x", "y")], {"x": [1, 4]}, opset=9)
    assert "opset is 9, must be 13 to" in text


def test_weights_of_the_wrong_size_are_refused(tmp_path):
    model = make_model(
        [node("Conv", "x w", "y")], {"x": [1, 4, 6, 6]}, {"y": None}, {"w": floats(2, 4, 3, 3)}
    )
    model.graph.initializer[0].dims[0] = 3
    text = refusal(save(model, tmp_path))
    assert "initializer 'w': data does not fit shape (3, 4, 3, 3)" in text


def external(folder: Path) -> onnx.ModelProto:
    """A convolution whose filter is in the file `weights.bin`."""
    model = make_model(
        [node("Conv", "x w", "y")],
        {"x": [1, 4, 6, 6]},
        {"y": None},
        {"w": np.arange(72, dtype=np.float32).reshape(2, 4, 3, 3)},
    )
    tensor = model.graph.initializer[0]
    (folder / "weights.bin").write_bytes(b"12345678" + tensor.raw_data)
    external_data_helper.set_external_data(tensor, "weights.bin", offset=8, length=72 * 4)
    tensor.ClearField("raw_data")
    return model


def test_external_data_beside_the_model_is_read(tmp_path):
    assert_like_onnxruntime(save(external(tmp_path), tmp_path))


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("location", "absent.bin", "external data 'absent.bin' is missing"),
        ("location", "../weights.bin", "must be beside the model"),
        ("location", "/etc/hostname", "must be beside the model"),
        ("offset", "64", "ends early: 232 of 288 bytes"),
        ("offset", "-8", "external data has"),
        ("offset", "x", "is no number"),
        ("length", "12", "external data has 12 bytes, must have 288"),
    ],
)
def test_external_data_that_does_not_fit_is_refused(tmp_path, entry, value, said):
    model = external(tmp_path)
    for pair in model.graph.initializer[0].external_data:
        if pair.key == entry:
            pair.value = value
    assert said in refusal(save(model, tmp_path))


def test_a_missing_onnx_package_names_the_extra(tmp_path, monkeypatch):
    original = builtins.__import__

    def without_onnx(name, *args, **kwargs):
        if name.split(".")[0] == "onnx":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(ToolError, match=r"pip install 'edgeq\[onnx\]'"):
        read_onnx(SAMPLE)
