"""Builds small .tflite files, to feed one operator at a time to the oracle and to edgeq."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np

schema = importlib.import_module("tflite_micro.python.tflite_micro.runtime").schema_fb

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
}


@dataclass
class TfliteBuilder:
    """Tensors and operators in order; `finish` gives the bytes of the file."""

    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)
    codes: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.buffers.append(schema.BufferT())

    def tensor(self, name, shape, dtype=np.int8, scale=None, zero_point=0, axis=0, data=None):
        tensor = schema.TensorT()
        tensor.name = name
        tensor.shape = list(shape)
        tensor.type = TYPES[np.dtype(dtype)]
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.buffers.append(buffer)
            tensor.buffer = len(self.buffers) - 1
        if scale is not None:
            scales = [scale] if np.isscalar(scale) else list(scale)
            quant = schema.QuantizationParametersT()
            quant.scale = np.array(scales, np.float32)
            quant.zeroPoint = np.array([zero_point] * len(scales), np.int64)
            quant.quantizedDimension = axis
            tensor.quantization = quant
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name, data, **quant):
        return self.tensor(name, data.shape, data.dtype, data=data, **quant)

    def operator(self, name, inputs, outputs, options=None, version=1):
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.codes) - 1
        operator.inputs = inputs
        operator.outputs = outputs
        if options is not None:
            operator.builtinOptions = options
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self.operators.append(operator)

    def signature(self, key, inputs, outputs):
        """Names of inputs and outputs for interpreters that want them."""

        def names(indices):
            maps = []
            for index in indices:
                entry = schema.TensorMapT()
                entry.name, entry.tensorIndex = self.tensors[index].name, index
                maps.append(entry)
            return maps

        signature = schema.SignatureDefT()
        signature.signatureKey = key
        signature.inputs, signature.outputs = names(inputs), names(outputs)
        return signature

    def finish(self, inputs, outputs, signature="") -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = inputs, outputs
        model = schema.ModelT()
        model.version = 3
        model.subgraphs = [graph]
        model.buffers = self.buffers
        model.operatorCodes = self.codes
        if signature:
            model.signatureDefs = [self.signature(signature, inputs, outputs)]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
