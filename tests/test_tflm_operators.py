"""Every operator against TensorFlow Lite Micro, one at a time, on files made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from oracle import tflm_run
from tflite_builder import TfliteBuilder, schema

import edgeq

Activation = schema.ActivationFunctionType
Padding = schema.Padding


def check(model: bytes, tmp_path: Path, *inputs: np.ndarray) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    (ours,) = edgeq.Interpreter(edgeq.read_model(path), threads=1).run(*inputs)
    theirs = tflm_run(model, *inputs)
    assert ours.dtype == theirs.dtype
    different = np.flatnonzero(ours != theirs)
    assert different.size == 0, (
        f"{different.size} of {ours.size} differ, first at {different[0]}: "
        f"{ours.flat[different[0]]} here, {theirs.flat[different[0]]} in the oracle"
    )


def random_int8(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-128, 128, shape).astype(np.int8)


def all_int8() -> np.ndarray:
    return np.arange(-128, 128, dtype=np.int8).reshape(1, 256)


def quant(rng: np.random.Generator, low: float = 1e-3, high: float = 0.5) -> dict[str, float]:
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return {"scale": scale, "zero_point": int(rng.choice([-128, 127, 0, -5, 90]))}


@pytest.mark.parametrize("seed", range(24))
def test_conv_2d(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    channels, out_channels = int(rng.choice([1, 3, 5, 8])), int(rng.choice([1, 4, 7]))
    filter_h, filter_w = (int(v) for v in rng.integers(1, 4, 2))
    options = schema.Conv2DOptionsT()
    options.padding = int(rng.choice([Padding.SAME, Padding.VALID]))
    options.strideH, options.strideW = (int(v) for v in rng.integers(1, 5, 2))
    options.dilationHFactor, options.dilationWFactor = 1, 1
    if seed % 3 == 0:
        options.strideH = options.strideW = 1
        options.dilationHFactor, options.dilationWFactor = (
            int(v) for v in rng.integers(1, 4, 2)
        )
    options.fusedActivationFunction = int(rng.choice([0, 1, 2, 3]))
    b = TfliteBuilder()
    shape = (1, int(rng.integers(8, 12)), int(rng.integers(8, 12)), channels)
    source = quant(rng)
    x = b.tensor("x", shape, **source)
    scales = rng.uniform(0.001, 0.05, out_channels if seed % 2 else 1)
    weights = rng.integers(-127, 128, (out_channels, filter_h, filter_w, channels)).astype(
        np.int8
    )
    w = b.constant("w", weights, scale=scales, axis=0)
    bias = rng.integers(-3000, 3000, out_channels).astype(np.int32)
    inputs = [x, w, b.constant("b", bias, scale=source["scale"] * scales, axis=0)]
    extent = []
    for size, taps, stride, dilation in (
        (shape[1], filter_h, options.strideH, options.dilationHFactor),
        (shape[2], filter_w, options.strideW, options.dilationWFactor),
    ):
        reach = (taps - 1) * dilation + 1
        same = options.padding == Padding.SAME
        extent.append(-(-size // stride) if same else (size - reach) // stride + 1)
    y = b.tensor("y", (1, *extent, out_channels), **quant(rng, 0.01, 1.0))
    b.operator("CONV_2D", inputs, [y], options, version=3)
    check(b.finish([x], [y]), tmp_path, random_int8(rng, 4, *shape[1:]))


@pytest.mark.parametrize("seed", range(24))
def test_depthwise_conv_2d(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 100)
    channels, depth_multiplier = int(rng.choice([1, 3, 8])), int(rng.choice([1, 1, 2]))
    out_channels = channels * depth_multiplier
    filter_h, filter_w = (int(v) for v in rng.integers(1, 4, 2))
    options = schema.DepthwiseConv2DOptionsT()
    options.padding = int(rng.choice([Padding.SAME, Padding.VALID]))
    options.strideH, options.strideW = (int(v) for v in rng.integers(1, 4, 2))
    options.depthMultiplier = depth_multiplier
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = int(rng.choice([0, 1, 3]))
    b = TfliteBuilder()
    shape = (1, int(rng.integers(5, 10)), int(rng.integers(5, 10)), channels)
    source = quant(rng)
    x = b.tensor("x", shape, **source)
    scales = rng.uniform(0.001, 0.05, out_channels)
    weights = rng.integers(-127, 128, (1, filter_h, filter_w, out_channels)).astype(np.int8)
    w = b.constant("w", weights, scale=scales, axis=3)
    bias = rng.integers(-3000, 3000, out_channels).astype(np.int32)
    bias_index = b.constant("b", bias, scale=source["scale"] * scales, axis=0)
    same = options.padding == Padding.SAME
    extent = [
        -(-size // stride) if same else (size - taps) // stride + 1
        for size, taps, stride in (
            (shape[1], filter_h, options.strideH),
            (shape[2], filter_w, options.strideW),
        )
    ]
    y = b.tensor("y", (1, *extent, out_channels), **quant(rng, 0.01, 1.0))
    b.operator("DEPTHWISE_CONV_2D", [x, w, bias_index], [y], options, version=3)
    check(b.finish([x], [y]), tmp_path, random_int8(rng, 4, *shape[1:]))


@pytest.mark.parametrize("seed", range(16))
def test_fully_connected(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 200)
    features, outputs = int(rng.integers(1, 40)), int(rng.integers(1, 12))
    b = TfliteBuilder()
    source = quant(rng)
    x = b.tensor("x", (1, features), **source)
    scale = float(rng.uniform(0.001, 0.02))
    weights = rng.integers(-127, 128, (outputs, features)).astype(np.int8)
    inputs = [x, b.constant("w", weights, scale=scale)]
    if seed % 4:
        bias = rng.integers(-9000, 9000, outputs).astype(np.int32)
        inputs.append(b.constant("b", bias, scale=source["scale"] * scale))
    else:
        inputs.append(-1)
    y = b.tensor("y", (1, outputs), **quant(rng, 0.01, 1.0))
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = int(rng.choice([0, 1, 3]))
    b.operator("FULLY_CONNECTED", inputs, [y], options, version=4)
    check(b.finish([x], [y]), tmp_path, random_int8(rng, 40, features))


def add_model(seed: int, shape1: tuple[int, ...], shape2: tuple[int, ...]) -> bytes:
    rng = np.random.default_rng(seed + 300)
    b = TfliteBuilder()
    x1 = b.tensor("x1", shape1, **quant(rng, 0.01, 0.3))
    x2 = b.tensor("x2", shape2, **quant(rng, 0.01, 0.3))
    y = b.tensor("y", np.broadcast_shapes(shape1, shape2), **quant(rng, 0.02, 0.5))
    options = schema.AddOptionsT()
    options.fusedActivationFunction = seed % 2
    b.operator("ADD", [x1, x2], [y], options, version=2)
    return b.finish([x1, x2], [y])


@pytest.mark.parametrize("seed", range(4))
def test_add_of_every_pair_of_values(seed: int, tmp_path: Path) -> None:
    first, second = (v.reshape(1, -1) for v in np.meshgrid(all_int8(), all_int8()))
    check(add_model(seed, first.shape, second.shape), tmp_path, first, second)


@pytest.mark.parametrize("shape2", [(1, 1, 1, 5), (1, 4, 1, 1), (1, 1, 3, 5)])
def test_add_with_broadcasting(shape2: tuple[int, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    model = add_model(9, (1, 4, 3, 5), shape2)
    check(model, tmp_path, random_int8(rng, 3, 4, 3, 5), random_int8(rng, 3, *shape2[1:]))


@pytest.mark.parametrize("operator", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("seed", range(8))
def test_pooling(operator: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 400)
    b = TfliteBuilder()
    shape = (1, int(rng.integers(5, 9)), int(rng.integers(5, 9)), int(rng.choice([1, 5])))
    same_quant = quant(rng)
    x = b.tensor("x", shape, **same_quant)
    options = schema.Pool2DOptionsT()
    options.padding = seed % 2
    options.strideH, options.strideW = (int(v) for v in rng.integers(1, 4, 2))
    options.filterHeight, options.filterWidth = (int(v) for v in rng.integers(1, 5, 2))
    options.fusedActivationFunction = int(rng.choice([0, 1, 3]))
    same = options.padding == Padding.SAME
    extent = [
        -(-size // stride) if same else (size - taps) // stride + 1
        for size, taps, stride in (
            (shape[1], options.filterHeight, options.strideH),
            (shape[2], options.filterWidth, options.strideW),
        )
    ]
    y = b.tensor("y", (1, *extent, shape[3]), **same_quant)
    b.operator(operator, [x], [y], options, version=2)
    check(b.finish([x], [y]), tmp_path, random_int8(rng, 8, *shape[1:]))


@pytest.mark.parametrize("keep_dims", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_mean(seed: int, keep_dims: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 500)
    b = TfliteBuilder()
    shape = (1, int(rng.integers(1, 9)), int(rng.integers(1, 9)), 3)
    source = quant(rng)
    x = b.tensor("x", shape, **source)
    axes = b.constant("axes", np.array([1, 2] if seed % 2 else [2, 1], np.int32))
    target = source if seed == 0 else quant(rng)
    y = b.tensor("y", (1, 1, 1, 3) if keep_dims else (1, 3), **target)
    options = schema.ReducerOptionsT()
    options.keepDims = keep_dims
    b.operator("MEAN", [x, axes], [y], options, version=2)
    check(b.finish([x], [y]), tmp_path, random_int8(rng, 60, *shape[1:]))


@pytest.mark.parametrize("seed", range(12))
def test_logistic_of_every_value(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 600)
    b = TfliteBuilder()
    x = b.tensor("x", (1, 256), **quant(rng, 1e-4, 4.0))
    y = b.tensor("y", (1, 256), scale=1 / 256, zero_point=-128)
    b.operator("LOGISTIC", [x], [y])
    check(b.finish([x], [y]), tmp_path, all_int8())


@pytest.mark.parametrize("seed", range(12))
def test_softmax(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 700)
    classes = int(rng.choice([1, 2, 3, 12, 100]))
    b = TfliteBuilder()
    x = b.tensor("x", (1, classes), **quant(rng, 1e-3, 2.0))
    y = b.tensor("y", (1, classes), scale=1 / 256, zero_point=-128)
    options = schema.SoftmaxOptionsT()
    options.beta = float(rng.choice([1.0, 1.0, 0.5, 3.0]))
    b.operator("SOFTMAX", [x], [y], options, version=2)
    rows = random_int8(rng, 300, classes)
    rows[:100] = rng.integers(-3, 4, (100, classes))  # near ties of all classes
    check(b.finish([x], [y]), tmp_path, rows)


def test_softmax_of_every_pair_of_values(tmp_path: Path) -> None:
    first, second = (v.reshape(-1) for v in np.meshgrid(all_int8(), all_int8()))
    b = TfliteBuilder()
    x = b.tensor("x", (1, 65536, 2), scale=0.07, zero_point=3)
    y = b.tensor("y", (1, 65536, 2), scale=1 / 256, zero_point=-128)
    b.operator("SOFTMAX", [x], [y], schema.SoftmaxOptionsT(), version=2)
    options = b.operators[0].builtinOptions
    options.beta = 1.0
    check(b.finish([x], [y]), tmp_path, np.stack([first, second], -1)[np.newaxis])


@pytest.mark.parametrize("operator", ["RELU", "RELU6"])
@pytest.mark.parametrize("seed", range(6))
def test_relu_of_every_value(operator: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 800)
    b = TfliteBuilder()
    source = quant(rng, 0.01, 0.5) if operator == "RELU" else {"scale": 0.05, "zero_point": -5}
    x = b.tensor("x", (1, 256), **source)
    # TFLM's RELU6 does not rescale: its input and output have one scale.
    target = quant(rng, 0.01, 0.5) if operator == "RELU" else source
    y = b.tensor("y", (1, 256), **target)
    b.operator(operator, [x], [y])
    check(b.finish([x], [y]), tmp_path, all_int8())


@pytest.mark.parametrize(
    ("source", "target"), [("int8", "int8"), ("uint8", "int8"), ("int8", "uint8")]
)
@pytest.mark.parametrize("seed", range(4))
def test_quantize_of_every_8_bit_value(
    source: str, target: str, seed: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed + 900)
    b = TfliteBuilder()

    def with_type(kind: str) -> dict[str, object]:
        q = quant(rng, 0.01, 0.5)
        return {
            "dtype": np.dtype(kind),
            "scale": q["scale"],
            "zero_point": q["zero_point"] + (128 if kind == "uint8" else 0),
        }

    x = b.tensor("x", (1, 256), **with_type(source))
    y = b.tensor("y", (1, 256), **with_type(target))
    b.operator("QUANTIZE", [x], [y], schema.QuantizeOptionsT(), version=2)
    values = np.arange(256, dtype=np.uint8).view(source).reshape(1, 256)
    check(b.finish([x], [y]), tmp_path, values)


@pytest.mark.parametrize("seed", range(6))
def test_quantize_of_floats_at_and_beside_every_tie(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 1000)
    q = quant(rng, 1e-4, 2.0)
    ties = ((np.arange(-260, 260) + 0.5) * np.float32(q["scale"])).astype(np.float32)
    beside = [np.nextafter(ties, np.float32(s)).astype(np.float32) for s in (-np.inf, np.inf)]
    extremes = np.array([0.0, -0.0, 1e-45, -1e-45, 1e30, -1e30], np.float32)
    values = np.concatenate(
        [ties, *beside, extremes, rng.normal(0, 10, 500).astype(np.float32)]
    )
    values = np.clip(values, -1e6 * q["scale"], 1e6 * q["scale"]).astype(np.float32)
    b = TfliteBuilder()
    x = b.tensor("x", (1, values.size), np.float32)
    y = b.tensor("y", (1, values.size), **q)
    b.operator("QUANTIZE", [x], [y], schema.QuantizeOptionsT())
    check(b.finish([x], [y]), tmp_path, values.reshape(1, -1))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("seed", range(4))
def test_dequantize_of_every_value(kind: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed + 1100)
    q = quant(rng)
    if kind == "uint8":
        q["zero_point"] += 128
    b = TfliteBuilder()
    x = b.tensor("x", (1, 256), np.dtype(kind), **q)
    y = b.tensor("y", (1, 256), np.float32)
    b.operator("DEQUANTIZE", [x], [y], schema.DequantizeOptionsT(), version=2)
    values = np.arange(256, dtype=np.uint8).view(kind).reshape(1, 256)
    check(b.finish([x], [y]), tmp_path, values)


def test_pad_and_concatenation(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    q = {"scale": 0.1, "zero_point": -7}
    b = TfliteBuilder()
    x = b.tensor("x", (1, 3, 4, 2), **q)
    pads = b.constant("pads", np.array([[0, 0], [1, 2], [0, 3], [0, 1]], np.int32))
    padded = b.tensor("padded", (1, 6, 7, 3), **q)
    b.operator("PAD", [x, pads], [padded], schema.PadOptionsT(), version=2)
    other = b.tensor("other", (1, 6, 7, 2), **q)
    y = b.tensor("y", (1, 6, 7, 5), **q)
    options = schema.ConcatenationOptionsT()
    options.axis = -1
    b.operator("CONCATENATION", [padded, other], [y], options, version=2)
    inputs = random_int8(rng, 5, 3, 4, 2), random_int8(rng, 5, 6, 7, 2)
    check(b.finish([x, other], [y]), tmp_path, *inputs)


def test_the_check_sees_a_single_changed_multiplier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is only worth something if it fails when the arithmetic is off."""
    from edgeq.ops import weights

    exact: Callable[[float], tuple[int, int]] = weights.quantize_multiplier
    monkeypatch.setattr(
        weights, "quantize_multiplier", lambda real: (exact(real)[0] + 2**22, exact(real)[1])
    )
    with pytest.raises(AssertionError, match="differ"):
        test_conv_2d(2, tmp_path)
