"""Save and load a graph as a .edgeq file: a zip of one JSON header and the constants as .npy.

The header has a format version; a reader refuses a version it does not know. Operators are
written by class name and fields, and only classes of the operator table are read back.
"""

from __future__ import annotations

import dataclasses
import io
import json
import typing
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import GraphError, ImportFailure
from edgeq.files import write_whole
from edgeq.graph import Array, Graph, Node, Op, QuantParams, Tensor
from edgeq.ops import OPERATORS, IntegerOp, Window

FORMAT = "edgeq"
VERSION = 1
ROUNDING = "rounding"  # the field of operators that requantize
_HEADER = "graph.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry: equal graphs give equal files
_DAMAGE = (
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    EOFError,
    OSError,
    AttributeError,
    RuntimeError,  # of zipfile: encrypted, or a compression it does not know
)


def save_graph(graph: Graph, path: Path) -> None:
    """Write the graph to `path`.

    Raises:
        ImportFailure: the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "tensors": [_tensor_record(t, i) for i, t in enumerate(graph.tensors.values())],
        "nodes": [
            {"op": op_record(n.op), "inputs": n.inputs, "outputs": n.outputs}
            for n in graph.nodes
        ],
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        _write(archive, _HEADER, json.dumps(header, indent=1).encode())
        for index, tensor in enumerate(graph.tensors.values()):
            if tensor.data is not None:
                stream = io.BytesIO()
                np.save(stream, tensor.data, allow_pickle=False)
                _write(archive, f"{index}.npy", stream.getvalue())
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        raise ImportFailure(f"{path}: cannot be written: {error.strerror or error}") from error


def load_graph(path: Path) -> Graph:
    """The graph of a .edgeq file.

    Raises:
        ImportFailure: the file cannot be read, is damaged, of another version, or its graph is
            not valid.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(_HEADER))
            if header["format"] != FORMAT:
                raise ValueError(f"format is {header['format']!r}")
            if header["version"] != VERSION:
                raise ImportFailure(
                    f"{path}: format version is {header['version']}, this edgeq reads {VERSION}"
                )
            tensors = [_tensor(r, archive) for r in header["tensors"]]
        nodes = [
            Node(_op(r["op"]), tuple(r["inputs"]), tuple(r["outputs"])) for r in header["nodes"]
        ]
        return Graph.build(header["name"], tensors, nodes, header["inputs"], header["outputs"])
    except GraphError as error:
        raise ImportFailure(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise ImportFailure(
            f"{path}: is no .edgeq file, or damaged: {type(error).__name__}: {error}"
        ) from error


def op_record(op: Op) -> dict[str, Any]:
    """An operator as plain values: its class name, then its fields in order.

    A rounding that is `tflm` is left out: files and digests are those of before there was
    another.
    """
    fields = dataclasses.fields(op)  # type: ignore[arg-type]
    record: dict[str, Any] = {"class": type(op).__name__}
    for field in fields:
        value = getattr(op, field.name)
        if field.name == ROUNDING and value == field.default:
            continue
        if isinstance(value, Window):
            value = dataclasses.asdict(value)
        record[field.name] = op_record(value) if isinstance(value, IntegerOp) else value
    return record


def _classes() -> Mapping[str, type[Any]]:
    table: dict[str, type[Any]] = {}
    for operator in OPERATORS:
        for kind in (operator.float_class, *operator.integer_classes):
            if kind is not None:
                table[kind.__name__] = kind
    return table


def _op(record: dict[str, Any]) -> Op:
    kind = _classes()[record["class"]]
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    given = set(record) - {"class"}
    if given | (names & {ROUNDING}) != names:
        raise ValueError(f"fields of {kind.__name__} are {sorted(record)}")
    op: Op = kind(**{name: _field(record[name], hints[name]) for name in given})
    return op


def _field(value: Any, hint: Any) -> Any:
    if hint is Window:
        return Window(**value)
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            raise ValueError(f"{value!r} is none of {', '.join(typing.get_args(hint))}")
        return value
    if isinstance(hint, type) and issubclass(hint, IntegerOp):  # an operator made of others
        part = _op(value)
        if not isinstance(part, hint):
            raise ValueError(f"{type(part).__name__} is no {hint.__name__}")
        return part
    if hint in (int, float, bool):
        wanted = (int, float) if hint is float else hint
        if not isinstance(value, wanted):
            raise ValueError(f"{value!r} is no {hint.__name__}")
        return value
    if isinstance(value, list):
        return tuple(_field(v, None) for v in value)
    return value


def _tensor_record(tensor: Tensor, index: int) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": tensor.shape,
        "dtype": tensor.dtype.name,
        "quant": None if tensor.quant is None else dataclasses.asdict(tensor.quant),
        "data": None if tensor.data is None else f"{index}.npy",
    }


def _tensor(record: dict[str, Any], archive: zipfile.ZipFile) -> Tensor:
    quant = None
    if record["quant"] is not None:
        raw = record["quant"]
        quant = QuantParams(
            tuple(float(s) for s in raw["scale"]), raw["zero_point"], raw["axis"]
        )
    data: Array | None = None
    if record["data"] is not None:
        data = np.load(io.BytesIO(archive.read(record["data"])), allow_pickle=False)
    shape = tuple(int(e) for e in record["shape"])
    return Tensor(record["name"], shape, np.dtype(record["dtype"]), quant, data)


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)
