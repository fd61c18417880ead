"""Files that are damaged, foreign or unsupported end in one clear error, not a traceback."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import samples, small_network
from tflite_builder import TfliteBuilder, schema

import edgeq
from edgeq.errors import EdgeqError, ImportFailure
from edgeq.model_file import save_graph

ORDINARY = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tiny_tflite(**changes) -> bytes:
    """x (1, 4) -> FULLY_CONNECTED -> y (1, 3); `changes` replace what a test wants wrong."""
    b = TfliteBuilder()
    x = b.tensor(
        "x", (1, 4), changes.get("input_dtype", np.int8), scale=changes.get("scale", 0.1)
    )
    w = b.constant("w", np.ones((3, changes.get("features", 4)), np.int8), scale=0.01)
    y = b.tensor("y", (1, 3), changes.get("output_dtype", np.int8), scale=0.2)
    b.operator(
        changes.get("operator", "FULLY_CONNECTED"),
        [x, w, -1],
        [y],
        changes.get("options", schema.FullyConnectedOptionsT()),
        version=4,
    )
    return b.finish([x], [y])


def read(content: bytes, tmp_path, suffix: str = ".tflite"):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    return edgeq.read_model(path)


def test_the_tiny_file_is_fine_as_it_is(tmp_path) -> None:
    assert len(read(tiny_tflite(), tmp_path).nodes) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 0.0}, "scale is 0.0, must be a finite number > 0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"scale": -1.0}, "scale is -1.0"),
        ({"features": 5}, "filter wants 5"),
        ({"input_dtype": np.int16}, "int16"),
        ({"operator": "HARD_SWISH", "options": None}, "HARD_SWISH 'y'"),
    ],
)
def test_what_is_wrong_is_named(changes, message, tmp_path) -> None:
    with pytest.raises(EdgeqError, match=re.escape(message)):
        read(tiny_tflite(**changes), tmp_path)


def test_everything_unsupported_is_listed_at_once(tmp_path) -> None:
    b = TfliteBuilder()
    x = b.tensor("x", (1, 4), scale=0.1)
    y = b.tensor("first", (1, 4), scale=0.1)
    z = b.tensor("second", (1, 4), scale=0.1)
    b.operator("TANH", [x], [y])
    b.operator("HARD_SWISH", [y], [z])
    with pytest.raises(ImportFailure, match=r"TANH 'first'; HARD_SWISH 'second'"):
        read(b.finish([x], [z]), tmp_path)


def test_a_reshape_without_options_behind_shape_arithmetic_is_accepted(tmp_path) -> None:
    """As Keras writes Flatten for an open batch: SHAPE, STRIDED_SLICE, PACK, RESHAPE."""
    b = TfliteBuilder()
    x = b.tensor("x", (1, 2, 2, 3), scale=0.1)
    b.tensors[x].shapeSignature = [-1, 2, 2, 3]
    shape = b.tensor("shape", (4,), np.int32)
    batch = b.tensor("batch", (), np.int32)
    target = b.tensor("target", (2,), np.int32)
    y = b.tensor("y", (1, 12), scale=0.1)
    b.operator("SHAPE", [x], [shape], schema.ShapeOptionsT())
    b.operator("STRIDED_SLICE", [shape], [batch], schema.StridedSliceOptionsT())
    b.operator("PACK", [batch], [target], schema.PackOptionsT())
    b.operator("RESHAPE", [x, target], [y])
    graph = read(b.finish([x], [y]), tmp_path)
    assert [node.op.name for node in graph.nodes] == ["reshape"]


def test_weights_in_float16_become_float(tmp_path) -> None:
    b = TfliteBuilder()
    x = b.tensor("x", (1, 4), np.float32)
    half = b.constant("half", np.full((3, 4), 0.5, np.float16))
    w = b.tensor("w", (3, 4), np.float32)
    y = b.tensor("y", (1, 3), np.float32)
    b.operator("DEQUANTIZE", [half], [w])
    b.operator("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
    graph = read(b.finish([x], [y]), tmp_path)
    assert graph.tensors["w"].data.dtype == np.float32


def test_a_hybrid_file_is_a_float_graph(model_path) -> None:
    graph = edgeq.read_model(model_path("kws_float"))
    assert not graph.is_quantized


@ORDINARY
@given(st.integers(0, 2**32))
def test_a_damaged_tflite_gives_a_clear_error_or_a_valid_graph(tmp_path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(tiny_tflite())
    for position in rng.integers(0, len(content), rng.integers(1, 6)):
        content[position] = int(rng.integers(0, 256))
    with contextlib.suppress(EdgeqError):  # anything else fails the test
        read(bytes(content[: int(rng.integers(4, len(content) + 1))]), tmp_path).verify()


@pytest.mark.parametrize("suffix", [".tflite", ".edgeq"])
@ORDINARY
@given(content=st.binary(max_size=300))
def test_random_bytes_give_a_clear_error(tmp_path, suffix: str, content: bytes) -> None:
    for prefix in (b"", b"\x1c\x00\x00\x00TFL3", b"PK\x03\x04"):
        with pytest.raises(EdgeqError, match="model"):
            read(prefix + content, tmp_path, suffix)


def test_a_real_file_cut_off_anywhere_gives_a_clear_error(model_path, tmp_path) -> None:
    content = model_path("kws").read_bytes()
    for size in np.random.default_rng(0).integers(0, len(content), 40):
        with pytest.raises(EdgeqError):
            read(content[: int(size)], tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("none.tflite", "no such file"), ("x.txt", "must be .tflite")]
)
def test_a_wrong_path_says_so(tmp_path, name: str, message: str) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ImportFailure, match=message):
        edgeq.read_model(tmp_path / name)


def test_a_saved_graph_reads_back_the_same(tmp_path) -> None:
    graph = small_network()
    quantized = edgeq.quantize(graph, samples(graph, 8))
    for original in (graph, quantized):
        save_graph(original, tmp_path / "a.edgeq")
        save_graph(original, tmp_path / "b.edgeq")
        assert (tmp_path / "a.edgeq").read_bytes() == (tmp_path / "b.edgeq").read_bytes()
        loaded = edgeq.read_model(tmp_path / "a.edgeq")
        assert [n.op for n in loaded.nodes] == [n.op for n in original.nodes]
        assert loaded.inputs == original.inputs
        for name, tensor in original.tensors.items():
            again = loaded.tensors[name]
            assert (again.shape, again.dtype, again.quant) == (
                tensor.shape,
                tensor.dtype,
                tensor.quant,
            )
            if tensor.data is not None:
                np.testing.assert_array_equal(again.data, tensor.data)


def test_a_saved_graph_of_another_version_is_refused(tmp_path) -> None:
    from edgeq import model_file

    path = tmp_path / "a.edgeq"
    model_file.VERSION = 99
    try:
        save_graph(small_network(), path)
    finally:
        model_file.VERSION = 1
    with pytest.raises(ImportFailure, match="format version is 99, this edgeq reads 1"):
        edgeq.read_model(path)
