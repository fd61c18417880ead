"""The network and the data of the demo: what the package ships is what it says."""

from __future__ import annotations

import numpy as np
from onnx_builder import run_onnxruntime

from edgeq.demo import demo_model_path, load_digits
from edgeq.float_run import run_float
from edgeq.importers.onnx import read_onnx
from edgeq.passes import run_passes


def test_the_data_is_split_in_two_without_overlap():
    train_x, train_y, test_x, test_y = load_digits()
    assert train_x.shape == (1437, 8, 8, 1)
    assert test_x.shape == (360, 8, 8, 1)
    assert train_x.dtype == test_x.dtype == np.float32
    assert (train_x.min(), train_x.max()) == (0.0, 1.0)
    assert set(train_y.tolist()) == set(test_y.tolist()) == set(range(10))
    train_images = {image.tobytes() for image in train_x}
    assert not any(image.tobytes() in train_images for image in test_x)


def test_the_imported_network_is_as_right_as_onnxruntime_has_it():
    _, _, x, labels = load_digits()
    graph = run_passes(read_onnx(demo_model_path()))
    scores = run_float(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    oracle = np.concatenate(
        [
            run_onnxruntime(
                demo_model_path(), {"image": image[np.newaxis].transpose(0, 3, 1, 2)}
            )[0]
            for image in x
        ]
    )
    np.testing.assert_allclose(scores, oracle, atol=1e-5)
    assert int((scores.argmax(1) == labels).sum()) == 358


def test_the_layers_are_named_as_they_were_in_training():
    graph = run_passes(read_onnx(demo_model_path()))
    layers = [node.name for node in graph.nodes if len(node.inputs) > 1]
    assert layers == ["conv1", "depthwise2", "pointwise3", "conv4", "fc5"]
    assert graph.input_tensors()[0].shape == (1, 8, 8, 1)
