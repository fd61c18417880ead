"""Write an integer graph as an int8 .tflite file, and prove that it says the same.

The file is read again by our own importer, and each operator and constant must come back as it
was: scales, multipliers, clamps and windows then are what TFLite Micro computes from the file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from edgeq.errors import ExportFailure, ImportFailure
from edgeq.exporters.tflite_file import file_bytes
from edgeq.exporters.tflite_ops import WRITERS, Writer
from edgeq.graph import Graph
from edgeq.importers.tflite import read_tflite
from edgeq.ops.op import IntegerOp


def tflite_bytes(graph: Graph) -> bytes:
    """A .tflite file that gives the graph's bytes in TFLite Micro.

    Raises:
        ExportFailure: a layer cannot be said in the format; names it and why.
    """
    writer = Writer(dict(graph.tensors))
    missing = [n for n in graph.nodes if type(n.op) not in WRITERS]
    if missing:
        listed = ", ".join(f"{n.op.name} '{n.name}'" for n in missing)
        raise ExportFailure(f"{graph.name}: .tflite has no operator for {listed}")
    for node in graph.nodes:
        assert isinstance(node.op, IntegerOp)
        WRITERS[type(node.op)](writer, node, node.op)
    used = {name for o in writer.operators for name in (*o.inputs, *o.outputs)}
    used |= {*graph.inputs, *graph.outputs}
    tensors = [t for t in writer.tensors.values() if t.name in used]
    data = file_bytes(graph.name, tensors, writer.operators, graph.inputs, graph.outputs)
    _compare(graph, writer, data)
    return data


def _compare(graph: Graph, writer: Writer, data: bytes) -> None:
    """Read the file back and compare it with what was written.

    Raises:
        ExportFailure: names the first operator or constant that differs.
    """
    with tempfile.TemporaryDirectory(prefix="edgeq-export-") as folder:
        path = Path(folder) / f"{Path(graph.name).name or 'model'}.tflite"
        path.write_bytes(data)
        try:
            found = read_tflite(path)
        except ImportFailure as error:
            raise ExportFailure(f"{graph.name}: the file is not read back: {error}") from error
    if [t.quant for t in found.input_tensors()] != [t.quant for t in graph.input_tensors()]:
        raise ExportFailure(f"{graph.name}: the inputs' scales are read back as others")
    if len(found.nodes) != len(writer.expected):
        raise ExportFailure(
            f"{graph.name}: {len(found.nodes)} operators are read back of "
            f"{len(writer.expected)}"
        )
    for node, wanted, operator in zip(
        found.nodes, writer.expected, writer.operators, strict=True
    ):
        if node.op != wanted:
            raise ExportFailure(
                f"{graph.name}: {operator.code} '{node.name}' is read back as {node.op}, must "
                f"be {wanted}; its scales do not give its multipliers"
            )
        for name, tensor in zip(operator.inputs, found.tensors_of(node.inputs), strict=False):
            data_of = writer.tensors[name].data
            if tensor.data is not None and (
                data_of is None or not np.array_equal(tensor.data.ravel(), data_of.ravel())
            ):
                raise ExportFailure(f"{graph.name}: constant '{name}' is read back as another")
