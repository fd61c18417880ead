"""The real models against TensorFlow Lite Micro: every output byte and every tensor between."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import tflm_run, tflm_trace

import edgeq


def as_int8(inputs: np.ndarray) -> np.ndarray:
    if inputs.dtype == np.int8:
        return inputs
    return (inputs.astype(np.int16) - 128).astype(np.int8)


@pytest.mark.parametrize("name", ["kws", "ic", "vww"])
def test_every_output_byte_on_the_real_data(name, model_path, data_path) -> None:
    path = model_path(name)
    inputs = as_int8(np.load(data_path(f"{name}_dev"))["inputs"])
    (ours,) = edgeq.Interpreter(edgeq.read_model(path)).run(inputs)
    np.testing.assert_array_equal(ours, tflm_run(path.read_bytes(), inputs))


@pytest.mark.parametrize("name", ["kws", "ic", "vww", "ad"])
def test_every_output_byte_on_200_random_inputs(name, model_path) -> None:
    path = model_path(name)
    graph = edgeq.read_model(path)
    shape = graph.input_tensors()[0].shape
    inputs = np.random.default_rng(7).integers(-128, 128, (200, *shape[1:])).astype(np.int8)
    (ours,) = edgeq.Interpreter(graph).run(inputs)
    np.testing.assert_array_equal(ours, tflm_run(path.read_bytes(), inputs))


def test_every_input_of_hello_world(model_path) -> None:
    path = model_path("hello_world")
    inputs = np.arange(-128, 128, dtype=np.int8).reshape(256, 1)
    (ours,) = edgeq.Interpreter(edgeq.read_model(path)).run(inputs)
    np.testing.assert_array_equal(ours, tflm_run(path.read_bytes(), inputs))


@pytest.mark.parametrize("name", ["kws", "ic", "vww", "ad", "hello_world"])
def test_every_tensor_in_between_on_one_input(name, model_path) -> None:
    path = model_path(name)
    graph = edgeq.read_model(path)
    tensor = graph.input_tensors()[0]
    x = np.random.default_rng(11).integers(-128, 128, tensor.shape).astype(np.int8)
    ours = edgeq.Interpreter(graph).trace(x)
    theirs = tflm_trace(path.read_bytes(), x, _tensor_count(path))
    compared = 0
    for node in graph.nodes:
        index = _index_in_file(path, node.name)
        np.testing.assert_array_equal(
            ours[node.name].ravel(), theirs[index].ravel(), err_msg=node.name
        )
        compared += 1
    assert compared == len(graph.nodes)


def _subgraph(path):
    import tflite

    return tflite.Model.GetRootAs(path.read_bytes(), 0).Subgraphs(0)


def _tensor_count(path) -> int:
    return _subgraph(path).TensorsLength()


def _index_in_file(path, name: str) -> int:
    from edgeq.importers.tflite import tensor_names

    return tensor_names(_subgraph(path)).index(name)


def test_the_arena_is_hardly_larger_than_the_lower_bound(model_path) -> None:
    for name in ("kws", "ic", "vww", "ad", "hello_world"):
        plan = edgeq.Interpreter(edgeq.read_model(model_path(name))).plan
        assert plan.arena_nbytes <= 1.03 * plan.lower_bound_nbytes, name
