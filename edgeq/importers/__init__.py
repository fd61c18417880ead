"""Importers: a model file -> Graph, one file a format, loaded when such a file is read."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import ImportFailure
from edgeq.graph import Graph


def read_model(path: str | Path) -> Graph:
    """The graph of a .tflite, .onnx or .edgeq file: float, or quantized and proven.

    Raises:
        ImportFailure: the file cannot be read, or holds something not supported.
        GraphError: an accumulator of the quantized network could overflow int32.
    """
    from edgeq.passes.prove_accumulators import prove_accumulators

    path = Path(path)
    if not path.is_file():
        raise ImportFailure(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".tflite":
        from edgeq.importers.tflite import read_tflite

        return prove_accumulators(read_tflite(path))
    if suffix == ".onnx":
        from edgeq.importers.onnx import read_onnx

        return read_onnx(path)
    if suffix == ".edgeq":
        from edgeq.model_file import load_graph

        return prove_accumulators(load_graph(path))
    raise ImportFailure(f"{path}: is '{suffix}', must be .tflite, .onnx or .edgeq")
