"""Exporters: a graph -> a file that other runtimes load, one file a format."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import ExportFailure
from edgeq.files import write_whole
from edgeq.graph import Graph


def write_model(graph: Graph, path: str | Path) -> None:
    """Write an integer graph as .tflite (int8), .onnx (QDQ) or .edgeq, by the suffix.

    Raises:
        ExportFailure: the format cannot hold the graph, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".edgeq":
        from edgeq.model_file import save_graph

        save_graph(graph, path)
        return
    if not graph.is_quantized:
        raise ExportFailure(f"{graph.name}: is a float graph, must be quantized to be exported")
    if suffix == ".tflite":
        from edgeq.exporters.tflite import tflite_bytes

        data = tflite_bytes(graph)
    elif suffix == ".onnx":
        from edgeq.exporters.onnx import onnx_bytes

        data = onnx_bytes(graph)
    else:
        raise ExportFailure(f"{path}: is '{suffix}', must be .tflite, .onnx or .edgeq")
    try:
        write_whole(path, data)
    except OSError as error:
        raise ExportFailure(f"{path}: cannot be written: {error.strerror or error}") from error
