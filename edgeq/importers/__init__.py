"""Importers: a model file -> Graph, one file a format."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import ImportFailure
from edgeq.graph import Graph
from edgeq.importers.onnx import read_onnx
from edgeq.importers.tflite import read_tflite
from edgeq.model_file import load_graph
from edgeq.passes.prove_accumulators import prove_accumulators


def read_model(path: str | Path) -> Graph:
    """The graph of a .tflite, .onnx or .edgeq file: float, or quantized and proven.

    Raises:
        ImportFailure: the file cannot be read, or holds something not supported.
        GraphError: an accumulator of the quantized network could overflow int32.
    """
    path = Path(path)
    if not path.is_file():
        raise ImportFailure(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".tflite":
        return prove_accumulators(read_tflite(path))
    if suffix == ".onnx":
        return read_onnx(path)
    if suffix == ".edgeq":
        return prove_accumulators(load_graph(path))
    raise ImportFailure(f"{path}: is '{suffix}', must be .tflite, .onnx or .edgeq")
