"""Networks that torch exported, by both exporters: onnxruntime is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_builder import assert_like_onnxruntime

from edgeq.importers.onnx import read_onnx
from edgeq.passes import run_passes

SAMPLES = sorted((Path(__file__).parent / "data" / "onnx").glob("*.onnx"))


def test_there_are_samples_of_both_exporters():
    assert len([p for p in SAMPLES if p.stem.endswith("_dynamo")]) == 6
    assert len([p for p in SAMPLES if p.stem.endswith("_torchscript")]) == 6


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_torch_export_gives_what_onnxruntime_gives(path):
    assert_like_onnxruntime(path)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_layers_are_named_after_the_modules_and_nothing_moves_data(exporter):
    path = next(p for p in SAMPLES if p.stem == f"mobilenetlike_{exporter}")
    graph = run_passes(read_onnx(path))
    assert [node.op.name for node in graph.nodes] == [
        "conv_2d",
        "conv_2d",
        "depthwise_conv_2d",
        "conv_2d",
        "add",
        "depthwise_conv_2d",
        "conv_2d",
        "mean",
        "fully_connected",
    ]
    names = [node.name for node in graph.nodes]
    assert names[-1] == "head.1"
    assert "block1.2" in names or "block1.3" in names


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_an_nchw_input_becomes_nhwc_and_a_dynamic_batch_one(exporter):
    path = next(p for p in SAMPLES if p.stem == f"inceptionlike_{exporter}")
    (source,) = read_onnx(path).input_tensors()
    assert source.shape == (1, 9, 11, 2)
    assert source.dtype == np.float32


def test_a_channel_shuffle_goes_into_the_weights_of_the_convolution():
    path = next(p for p in SAMPLES if p.stem == "channelshuffle_dynamo")
    graph = read_onnx(path)
    assert graph.nodes[0].op.name == "conv_2d"
    assert graph.nodes[0].inputs[0] in graph.inputs
