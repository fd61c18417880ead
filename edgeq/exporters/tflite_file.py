"""The bytes of a .tflite file: tensors, operators and options as flatbuffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import flatbuffers
import numpy as np
import tflite

from edgeq.graph import Array, Tensor

SCHEMA_VERSION = 3
ALIGNMENT = 16  # bytes, of a constant's data: what the schema asks for

_TYPES = MappingProxyType(
    {
        "float32": tflite.TensorType.FLOAT32,
        "int8": tflite.TensorType.INT8,
        "uint8": tflite.TensorType.UINT8,
        "int32": tflite.TensorType.INT32,
    }
)


@dataclass(frozen=True, slots=True)
class FileOperator:
    """One operator as the file has it; operands by name."""

    code: str  # of tflite.BuiltinOperator
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    table: str = ""  # of the options; "": none
    options: Mapping[str, Any] = field(default_factory=dict)


def file_bytes(
    name: str,
    tensors: Sequence[Tensor],
    operators: Sequence[FileOperator],
    inputs: Iterable[str],
    outputs: Iterable[str],
) -> bytes:
    """A .tflite file of one subgraph."""
    return _File(name, tensors, operators).bytes(inputs, outputs)


class _File:
    def __init__(
        self, name: str, tensors: Sequence[Tensor], operators: Sequence[FileOperator]
    ) -> None:
        self.builder = flatbuffers.Builder(1 << 16)
        self.name = name
        self.tensors = tensors
        self.operators = operators
        self.index = {tensor.name: i for i, tensor in enumerate(tensors)}
        self.codes = sorted({(o.code, o.version) for o in operators})

    def bytes(self, inputs: Iterable[str], outputs: Iterable[str]) -> bytes:
        b = self.builder
        with_data = [t.data for t in self.tensors if t.data is not None]
        buffers = self._tables([self._buffer(data) for data in (None, *with_data)])
        codes = self._tables([self._code(*code) for code in self.codes])
        subgraph = self._subgraph(list(inputs), list(outputs))
        subgraphs = self._tables([subgraph])
        description = b.CreateString("edgeq")
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, SCHEMA_VERSION)
        tflite.ModelAddOperatorCodes(b, codes)
        tflite.ModelAddSubgraphs(b, subgraphs)
        tflite.ModelAddDescription(b, description)
        tflite.ModelAddBuffers(b, buffers)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())

    def _tables(self, offsets: Sequence[int]) -> int:
        b = self.builder
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    def _vector(self, values: Iterable[Any], dtype: type[np.generic]) -> int:
        return int(self.builder.CreateNumpyVector(np.asarray(list(values), dtype)))

    def _buffer(self, data: Array | None) -> int:
        b = self.builder
        at = None
        if data is not None:
            raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            b.StartVector(1, raw.size, ALIGNMENT)
            b.head -= raw.size
            b.Bytes[b.head : b.head + raw.size] = raw.tobytes()
            at = b.EndVector()
        tflite.BufferStart(b)
        if at is not None:
            tflite.BufferAddData(b, at)
        return int(tflite.BufferEnd(b))

    def _code(self, name: str, version: int) -> int:
        b, number = self.builder, getattr(tflite.BuiltinOperator, name)
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(number, 127))
        tflite.OperatorCodeAddBuiltinCode(b, number)
        tflite.OperatorCodeAddVersion(b, version)
        return int(tflite.OperatorCodeEnd(b))

    def _subgraph(self, inputs: list[str], outputs: list[str]) -> int:
        b = self.builder
        places: dict[str, int] = {}
        for tensor in self.tensors:
            if tensor.data is not None:
                places[tensor.name] = len(places) + 1  # buffer 0 is the empty one
        tensors = self._tables([self._tensor(t, places.get(t.name, 0)) for t in self.tensors])
        operators = self._tables([self._operator(o) for o in self.operators])
        into, out_of = (
            self._vector((self.index[name] for name in names), np.int32)
            for names in (inputs, outputs)
        )
        name = b.CreateString(self.name)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, tensors)
        tflite.SubGraphAddInputs(b, into)
        tflite.SubGraphAddOutputs(b, out_of)
        tflite.SubGraphAddOperators(b, operators)
        tflite.SubGraphAddName(b, name)
        return int(tflite.SubGraphEnd(b))

    def _tensor(self, tensor: Tensor, buffer: int) -> int:
        b = self.builder
        shape = self._vector(tensor.shape, np.int32)
        name = b.CreateString(tensor.name)
        quant = self._quant(tensor)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, shape)
        tflite.TensorAddType(b, _TYPES[tensor.dtype.name])
        tflite.TensorAddBuffer(b, buffer)
        tflite.TensorAddName(b, name)
        if quant is not None:
            tflite.TensorAddQuantization(b, quant)
        return int(tflite.TensorEnd(b))

    def _quant(self, tensor: Tensor) -> int | None:
        if tensor.quant is None:
            return None
        b, count = self.builder, len(tensor.quant.scale)
        scale = self._vector(tensor.quant.scale, np.float32)
        zero_point = self._vector([tensor.quant.zero_point] * count, np.int64)
        tflite.QuantizationParametersStart(b)
        tflite.QuantizationParametersAddScale(b, scale)
        tflite.QuantizationParametersAddZeroPoint(b, zero_point)
        if tensor.quant.axis is not None:
            tflite.QuantizationParametersAddQuantizedDimension(b, tensor.quant.axis)
        return int(tflite.QuantizationParametersEnd(b))

    def _operator(self, operator: FileOperator) -> int:
        b = self.builder
        inputs, outputs = (
            self._vector((self.index[name] for name in names), np.int32)
            for names in (operator.inputs, operator.outputs)
        )
        options = self._options(operator) if operator.table else None
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, self.codes.index((operator.code, operator.version)))
        tflite.OperatorAddInputs(b, inputs)
        tflite.OperatorAddOutputs(b, outputs)
        if options is not None:
            tflite.OperatorAddBuiltinOptionsType(
                b, getattr(tflite.BuiltinOptions, operator.table)
            )
            tflite.OperatorAddBuiltinOptions(b, options)
        return int(tflite.OperatorEnd(b))

    def _options(self, operator: FileOperator) -> int:
        b, table = self.builder, operator.table

        def function(part: str) -> Callable[..., int]:
            found: Callable[..., int] = getattr(tflite, f"{table}{part}")
            return found

        function("Start")(b)
        for name, value in operator.options.items():
            function(f"Add{name}")(b, value)
        return int(function("End")(b))
