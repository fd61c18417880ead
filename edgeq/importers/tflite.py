"""Read a .tflite file: int8 to an integer graph, float (and hybrid) to a float graph.

The file is not trusted: offsets and lengths that leave it, and shapes that do not fit the data,
end in one ImportFailure. "SAME" padding becomes explicit here. One reader an operator, in
tflite_ops.py.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from edgeq.errors import GraphError, ImportFailure
from edgeq.graph import Array, Graph, Node, QuantParams, Shape, Tensor
from edgeq.importers import tflite_ops
from edgeq.importers.tflite_ops import Context, Operands

_DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype(np.float32),
    tflite.TensorType.FLOAT16: np.dtype(np.float16),
    tflite.TensorType.INT32: np.dtype(np.int32),
    tflite.TensorType.UINT8: np.dtype(np.uint8),
    tflite.TensorType.INT64: np.dtype(np.int64),
    tflite.TensorType.BOOL: np.dtype(np.bool_),
    tflite.TensorType.INT16: np.dtype(np.int16),
    tflite.TensorType.INT8: np.dtype(np.int8),
    tflite.TensorType.FLOAT64: np.dtype(np.float64),
}
_TYPE_NAMES = {v: k for k, v in vars(tflite.TensorType).items() if isinstance(v, int)}
_OPERATOR_NAMES = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_DAMAGE = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
    AttributeError,
    RecursionError,
)


def read_tflite(path: Path) -> Graph:
    """The graph of a .tflite file.

    Raises:
        ImportFailure: the file cannot be read, is damaged, or holds something not supported;
            the text lists all of it.
    """
    try:
        buffer = path.read_bytes()
    except OSError as error:
        raise ImportFailure(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(buffer) < 8 or buffer[4:8] != b"TFL3":
        raise ImportFailure(
            f"{path}: is no .tflite file (bytes 4 to 8 are {buffer[4:8]!r}, must be b'TFL3')"
        )
    try:
        return _File(path, buffer).graph()
    except _DAMAGE as error:
        raise ImportFailure(
            f"{path}: is damaged or cut off ({len(buffer)} bytes): "
            f"{type(error).__name__}: {error}"
        ) from error


class _File:
    """One .tflite file: its only subgraph, its tensors by index."""

    def __init__(self, path: Path, buffer: bytes) -> None:
        self.path = path
        self.size = len(buffer)
        self.raw = buffer
        self.model = tflite.Model.GetRootAs(buffer, 0)
        if self._bounded(self.model.SubgraphsLength()) != 1:
            raise ImportFailure(
                f"{path}: has {self.model.SubgraphsLength()} subgraphs, must have one"
            )
        self.subgraph = self.model.Subgraphs(0)
        self.problems: list[str] = []

    def _bounded(self, length: int) -> int:
        if not 0 <= length <= self.size:
            raise ValueError(f"a vector of {length} entries")
        return length

    def graph(self) -> Graph:
        self._bounded(self.subgraph.TensorsLength())
        names = tensor_names(self.subgraph)
        tensors = [self._tensor(i, names[i]) for i in range(len(names))]
        inputs = [tensors[i].name for i in self._indices(self.subgraph.InputsAsNumpy())]
        outputs = [tensors[i].name for i in self._indices(self.subgraph.OutputsAsNumpy())]
        context = Context({t.name: t for t in tensors})
        nodes: list[Node] = []
        for index in range(self._bounded(self.subgraph.OperatorsLength())):
            nodes.extend(self._operator(index, tensors, context))
        kinds = {node.op.is_float for node in nodes}
        if len(kinds) > 1:
            float_node = next(n for n in nodes if n.op.is_float)
            self.problems.append(
                f"mixes float and int8 operators ('{float_node.name}' is float); "
                "convert the whole network to int8, or none of it"
            )
        if self.problems:
            raise ImportFailure(f"{self.path}: not supported: " + "; ".join(self.problems))
        try:
            return Graph.build(self.path.stem, context.tensors.values(), nodes, inputs, outputs)
        except GraphError as error:
            raise ImportFailure(f"{self.path}: {error}") from error

    def _indices(self, array: Any) -> list[int]:
        return [int(i) for i in array] if not isinstance(array, int) else []

    def _tensor(self, index: int, name: str) -> Tensor:
        raw = self.subgraph.Tensors(index)
        dtype = _DTYPES.get(raw.Type())
        if dtype is None:
            kind = _TYPE_NAMES.get(raw.Type(), str(raw.Type()))
            self.problems.append(f"tensor '{name}' is {kind}")
            dtype = np.dtype(np.int8)
        shape = self._shape(raw)
        data = self._data(raw, name, shape, dtype)
        try:
            quant = self._quant(raw)
        except GraphError as error:
            self.problems.append(f"tensor '{name}': {error}")
            quant = None
        return Tensor(name, shape, dtype, quant, data)

    def _shape(self, raw: Any) -> Shape:
        self._bounded(raw.ShapeLength())
        shape = [int(e) for e in raw.ShapeAsNumpy()] if raw.ShapeLength() else []
        if shape and shape[0] == -1:
            shape[0] = 1  # the batch, which the signature leaves open
        return tuple(shape)

    def _data(self, raw: Any, name: str, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
        buffer_index = raw.Buffer()
        if not 0 <= buffer_index < self._bounded(self.model.BuffersLength()):
            raise ValueError(f"tensor '{name}' names buffer {buffer_index}")
        buffer = self.model.Buffers(buffer_index)
        nbytes = self._bounded(buffer.DataLength() or self._outside(buffer))
        if nbytes == 0 or raw.IsVariable():
            if raw.IsVariable():
                self.problems.append(f"tensor '{name}' is a variable (state between runs)")
            return None
        if nbytes != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"tensor '{name}' has {nbytes} bytes for {dtype}{shape}")
        stored = self.raw[buffer.Offset() : buffer.Offset() + nbytes]
        if buffer.DataLength():
            stored = buffer.DataAsNumpy().tobytes()
        data: Array = np.frombuffer(stored, dtype).reshape(shape)
        if dtype.kind == "f" and not np.isfinite(data).all():
            self.problems.append(f"tensor '{name}' holds NaN or infinite values")
        return data

    def _outside(self, buffer: Any) -> int:
        """Bytes of a buffer that lies after the flatbuffer in the file (offset 0, 1: none)."""
        if buffer.Offset() <= 1:
            return 0
        if buffer.Offset() + buffer.Size() > self.size:
            raise ValueError(f"a buffer of {buffer.Size()} bytes at {buffer.Offset()}")
        return int(buffer.Size())

    def _quant(self, raw: Any) -> QuantParams | None:
        quant = raw.Quantization()
        if quant is None or quant.ScaleLength() == 0:
            return None
        self._bounded(quant.ScaleLength())
        scales = tuple(float(s) for s in quant.ScaleAsNumpy())
        zero_points = (
            [int(z) for z in quant.ZeroPointAsNumpy()] if quant.ZeroPointLength() else [0]
        )
        if len(scales) == 1:
            return QuantParams(scales, zero_points[0])
        if any(zero_points):
            raise GraphError("per-channel zero points are not all 0")
        return QuantParams(scales, axis=int(quant.QuantizedDimension()))

    def _operator(self, index: int, tensors: list[Tensor], context: Context) -> list[Node]:
        raw = self.subgraph.Operators(index)
        code = self.model.OperatorCodes(raw.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _OPERATOR_NAMES.get(number, f"operator code {number}")
        if name == "CUSTOM":
            name = f"custom operator {(code.CustomCode() or b'?').decode('utf-8', 'replace')}"
        inputs = [tensors[i] if i >= 0 else None for i in self._indices(raw.InputsAsNumpy())]
        outputs = [tensors[i] for i in self._indices(raw.OutputsAsNumpy())]
        where = f"{name} '{outputs[0].name if outputs else index}'"
        reader = tflite_ops.READERS.get(name)
        if reader is None:
            self.problems.append(where)
            return []
        # An operand may have been replaced by an earlier reader (a dequantized constant).
        inputs = [context.tensors[t.name] if t is not None else None for t in inputs]
        try:
            return reader(Operands(inputs, outputs, raw.BuiltinOptions()), context)
        except GraphError as error:
            self.problems.append(f"{where}: {error}")
            return []


def tensor_names(subgraph: Any) -> list[str]:
    """The names that read_tflite gives to the tensors of a subgraph, by index: unique.

    A fused layer's name in the file lists all its parts; the first tells enough.
    """
    names: list[str] = []
    seen: set[str] = set()
    for index in range(subgraph.TensorsLength()):
        raw = subgraph.Tensors(index).Name()
        name = (raw or b"").decode("utf-8", "replace").split(";")[0] or f"tensor_{index}"
        if name in seen:
            name = f"{name}_{index}"
        seen.add(name)
        names.append(name)
    return names
