"""One reader an operator of .tflite: options and operands -> nodes.

A reader makes the float operator; for int8 operands that operator lowers itself (its `lower`),
so the rule for a multiplier stands in one place for imported and for quantized networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tflite

from edgeq.errors import GraphError
from edgeq.graph import Node, QuantParams, Shape, Tensor
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.dequantize import lower_dequantize
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.op import FLOAT32, FloatOp
from edgeq.ops.pad import Pad
from edgeq.ops.quantize import lower_quantize
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.window import Window


@dataclass(slots=True)
class Context:
    """The tensors of the file by name; a reader may replace a constant or add a tensor."""

    tensors: dict[str, Tensor]

    def put(self, tensor: Tensor) -> Tensor:
        """Add or replace a tensor."""
        self.tensors[tensor.name] = tensor
        return tensor


@dataclass(frozen=True, slots=True)
class Operands:
    """Operands and options of one operator in the file."""

    inputs: list[Tensor | None]  # None: an optional input that is absent
    outputs: list[Tensor]
    raw_options: Any  # a flatbuffers table, or None

    def options(self, kind: type) -> Any:
        """The options as that table; all defaults if the file has none."""
        table = kind()
        if self.raw_options is None:
            raise GraphError("has no options")
        table.Init(self.raw_options.Bytes, self.raw_options.Pos)
        return table

    def input(self, index: int) -> Tensor:
        """An input that must be there.

        Raises:
            GraphError: it is absent.
        """
        if index >= len(self.inputs) or (tensor := self.inputs[index]) is None:
            raise GraphError(f"input {index} is absent")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        """An input that may be absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def output(self) -> Tensor:
        """The only output.

        Raises:
            GraphError: there is not exactly one.
        """
        if len(self.outputs) != 1:
            raise GraphError(f"has {len(self.outputs)} outputs, must have one")
        return self.outputs[0]


_ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: (NO_MIN, NO_MAX),
    tflite.ActivationFunctionType.RELU: (0.0, NO_MAX),
    tflite.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
    tflite.ActivationFunctionType.RELU6: (0.0, 6.0),
}


def _activation(code: int) -> tuple[float, float]:
    if code not in _ACTIVATIONS:
        raise GraphError(f"fused activation {code} is not supported")
    return _ACTIVATIONS[code]


def _node(op: FloatOp, inputs: list[Tensor], output: Tensor) -> list[Node]:
    """The float operator itself, or lowered to integers if its output is quantized."""
    names = tuple(t.name for t in inputs)
    if output.dtype == FLOAT32:
        return [Node(op, names, (output.name,))]
    return [Node(op.lower(tuple(inputs), (output,)), names, (output.name,))]


def _image(tensor: Tensor) -> Shape:
    if len(tensor.shape) != 4:
        raise GraphError(f"input shape is {tensor.shape}, must be (1, height, width, channels)")
    return tensor.shape


def _window(options: Any, image: Shape, filter_h: int, filter_w: int) -> Window:
    dilation = (1, 1)
    if hasattr(options, "DilationHFactor"):
        dilation = (options.DilationHFactor(), options.DilationWFactor())
    stride = (options.StrideH(), options.StrideW())
    plain = Window(filter_h, filter_w, *stride, *dilation)
    if options.Padding() == tflite.Padding.VALID:
        return plain
    if options.Padding() != tflite.Padding.SAME:
        raise GraphError(f"padding {options.Padding()} is not supported")
    pads = [
        _same_padding(extent, step, reach)
        for extent, step, reach in (
            (image[1], stride[0], plain.reach_h),
            (image[2], stride[1], plain.reach_w),
        )
    ]
    return Window(filter_h, filter_w, *stride, *dilation, *pads[0], *pads[1])


def _same_padding(extent: int, stride: int, reach: int) -> tuple[int, int]:
    """(before, after): TFLite's ComputePaddingWithOffset; the odd one goes after."""
    out = -(-extent // stride)
    total = max((out - 1) * stride + reach - extent, 0)
    return total // 2, total - total // 2


def _weights(tensor: Tensor, context: Context, output: Tensor) -> Tensor:
    """The filter as the operator wants it: a hybrid's int8 filter becomes float."""
    if tensor.data is None:
        raise GraphError(f"filter '{tensor.name}' is not a constant")
    if output.dtype != FLOAT32 or tensor.dtype == FLOAT32:
        return tensor
    return context.put(_as_float(tensor))


def _as_float(tensor: Tensor) -> Tensor:
    """A constant in reals.

    Raises:
        GraphError: it is an integer without a scale.
    """
    assert tensor.data is not None
    real = tensor.data.astype(np.float32)
    if tensor.dtype.kind != "f":
        if tensor.quant is None:
            raise GraphError(f"'{tensor.name}' is {tensor.dtype} without a scale")
        scale = np.array(tensor.quant.scale, np.float32)
        if tensor.quant.axis is not None:
            extents = [1] * len(tensor.shape)
            extents[tensor.quant.axis] = -1
            scale = scale.reshape(extents)
        real = (real - np.float32(tensor.quant.zero_point)) * scale
    return replace(tensor, dtype=FLOAT32, quant=None, data=real.astype(np.float32))


def _bias(operands: Operands, channels: int, context: Context) -> list[Tensor]:
    """The bias input; zeros for an int8 layer without one."""
    bias = operands.optional(2)
    if bias is not None:
        if bias.data is None:
            raise GraphError(f"bias '{bias.name}' is not a constant")
        return [bias]
    if operands.output.dtype == FLOAT32:
        return []
    name = f"{operands.output.name}/bias"
    return [
        context.put(
            Tensor(name, (channels,), np.dtype(np.int32), None, np.zeros(channels, np.int32))
        )
    ]


def read_conv_2d(operands: Operands, context: Context) -> list[Node]:
    """CONV_2D."""
    options = operands.options(tflite.Conv2DOptions)
    source, output = operands.input(0), operands.output
    weights = _weights(operands.input(1), context, output)
    if len(weights.shape) != 4:
        raise GraphError(f"filter shape is {weights.shape}, must have four extents")
    window = _window(options, _image(source), weights.shape[1], weights.shape[2])
    op = Conv2D(window, *_activation(options.FusedActivationFunction()))
    return _node(op, [source, weights, *_bias(operands, weights.shape[0], context)], output)


def read_depthwise_conv_2d(operands: Operands, context: Context) -> list[Node]:
    """DEPTHWISE_CONV_2D; the filter's leading 1 is dropped."""
    options = operands.options(tflite.DepthwiseConv2DOptions)
    source, output = operands.input(0), operands.output
    raw = _weights(operands.input(1), context, output)
    if len(raw.shape) != 4 or raw.shape[0] != 1 or raw.data is None:
        raise GraphError(f"filter shape is {raw.shape}, must be (1, height, width, channels)")
    quant = raw.quant
    if quant is not None and quant.axis is not None:
        quant = QuantParams(quant.scale, axis=quant.axis - 1)
    weights = context.put(replace(raw, shape=raw.shape[1:], quant=quant, data=raw.data[0]))
    window = _window(options, _image(source), weights.shape[0], weights.shape[1])
    op = DepthwiseConv2D(window, *_activation(options.FusedActivationFunction()))
    return _node(op, [source, weights, *_bias(operands, weights.shape[2], context)], output)


def read_fully_connected(operands: Operands, context: Context) -> list[Node]:
    """FULLY_CONNECTED; an image is flattened first, as TFLite does."""
    options = operands.options(tflite.FullyConnectedOptions)
    if options.WeightsFormat() != tflite.FullyConnectedOptionsWeightsFormat.DEFAULT:
        raise GraphError("shuffled weights are not supported")
    source, output = operands.input(0), operands.output
    weights = _weights(operands.input(1), context, output)
    if len(weights.shape) != 2:
        raise GraphError(f"filter shape is {weights.shape}, must be (outputs, inputs)")
    nodes: list[Node] = []
    if source.shape[-1] != weights.shape[1] and math.prod(source.shape) == weights.shape[1]:
        flat = replace(source, name=f"{output.name}/flatten", shape=(1, weights.shape[1]))
        nodes = _node(Reshape(flat.shape), [source], flat)
        source = context.put(flat)
    op = FullyConnected(*_activation(options.FusedActivationFunction()))
    bias = _bias(operands, weights.shape[0], context)
    return nodes + _node(op, [source, weights, *bias], output)


def read_add(operands: Operands, context: Context) -> list[Node]:
    """ADD."""
    options = operands.options(tflite.AddOptions)
    op = Add(*_activation(options.FusedActivationFunction()))
    return _node(op, [operands.input(0), operands.input(1)], operands.output)


def _read_pool(kind: type[AveragePool2D] | type[MaxPool2D], operands: Operands) -> list[Node]:
    options = operands.options(tflite.Pool2DOptions)
    source = operands.input(0)
    window = _window(options, _image(source), options.FilterHeight(), options.FilterWidth())
    op = kind(window, *_activation(options.FusedActivationFunction()))
    return _node(op, [source], operands.output)


def read_average_pool_2d(operands: Operands, context: Context) -> list[Node]:
    """AVERAGE_POOL_2D."""
    return _read_pool(AveragePool2D, operands)


def read_max_pool_2d(operands: Operands, context: Context) -> list[Node]:
    """MAX_POOL_2D."""
    return _read_pool(MaxPool2D, operands)


def read_mean(operands: Operands, context: Context) -> list[Node]:
    """MEAN, over height and width."""
    options = operands.options(tflite.ReducerOptions)
    source, axes = operands.input(0), operands.input(1)
    if axes.data is None:
        raise GraphError("axes are not constant")
    wanted = {int(a) % len(source.shape) for a in axes.data.reshape(-1)}
    if len(source.shape) != 4 or wanted != {1, 2}:
        raise GraphError(
            f"over axes {sorted(wanted)} of {source.shape}, must be height and width"
        )
    return _node(Mean(bool(options.KeepDims())), [source], operands.output)


def read_pad(operands: Operands, context: Context) -> list[Node]:
    """PAD."""
    source, paddings = operands.input(0), operands.input(1)
    if paddings.data is None or paddings.data.shape != (len(source.shape), 2):
        raise GraphError("paddings are not constant, or not two for each axis")
    pads = tuple((int(before), int(after)) for before, after in paddings.data)
    return _node(Pad(pads), [source], operands.output)


def read_concatenation(operands: Operands, context: Context) -> list[Node]:
    """CONCATENATION."""
    options = operands.options(tflite.ConcatenationOptions)
    if options.FusedActivationFunction() != tflite.ActivationFunctionType.NONE:
        raise GraphError("a fused activation is not supported")
    inputs = [operands.input(i) for i in range(len(operands.inputs))]
    axis = options.Axis() % len(operands.output.shape)
    return _node(Concatenation(axis), inputs, operands.output)


def read_reshape(operands: Operands, context: Context) -> list[Node]:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the output's shape stands in the file."""
    return _node(Reshape(operands.output.shape), [operands.input(0)], operands.output)


def read_softmax(operands: Operands, context: Context) -> list[Node]:
    """SOFTMAX."""
    options = operands.options(tflite.SoftmaxOptions)
    return _node(Softmax(float(options.Beta())), [operands.input(0)], operands.output)


def read_logistic(operands: Operands, context: Context) -> list[Node]:
    """LOGISTIC."""
    return _node(Logistic(), [operands.input(0)], operands.output)


def _read_relu(low: float, high: float) -> Callable[[Operands, Context], list[Node]]:
    def read(operands: Operands, context: Context) -> list[Node]:
        return _node(Relu(low, high), [operands.input(0)], operands.output)

    return read


def read_quantize(operands: Operands, context: Context) -> list[Node]:
    """QUANTIZE."""
    source, output = operands.input(0), operands.output
    return [Node(lower_quantize(source, output), (source.name,), (output.name,))]


def read_dequantize(operands: Operands, context: Context) -> list[Node]:
    """DEQUANTIZE; of a constant (weights stored in float16 or int8) it is done here."""
    source, output = operands.input(0), operands.output
    if source.data is not None:
        context.put(replace(_as_float(source), name=output.name))
        return []
    return [Node(lower_dequantize(source), (source.name,), (output.name,))]


def read_shape_arithmetic(operands: Operands, context: Context) -> list[Node]:
    """SHAPE, STRIDED_SLICE, PACK before a RESHAPE, as Keras writes them: all is in the file."""
    for tensor in operands.outputs:
        if tensor.dtype.kind != "i" or tensor.quant is not None:
            raise GraphError("on activations is not supported")
    return []


READERS: dict[str, Callable[[Operands, Context], list[Node]]] = {
    "CONV_2D": read_conv_2d,
    "DEPTHWISE_CONV_2D": read_depthwise_conv_2d,
    "FULLY_CONNECTED": read_fully_connected,
    "ADD": read_add,
    "AVERAGE_POOL_2D": read_average_pool_2d,
    "MAX_POOL_2D": read_max_pool_2d,
    "MEAN": read_mean,
    "PAD": read_pad,
    "CONCATENATION": read_concatenation,
    "RESHAPE": read_reshape,
    "SQUEEZE": read_reshape,
    "EXPAND_DIMS": read_reshape,
    "SOFTMAX": read_softmax,
    "LOGISTIC": read_logistic,
    "RELU": _read_relu(0.0, NO_MAX),
    "RELU6": _read_relu(0.0, 6.0),
    "RELU_N1_TO_1": _read_relu(-1.0, 1.0),
    "QUANTIZE": read_quantize,
    "DEQUANTIZE": read_dequantize,
    "SHAPE": read_shape_arithmetic,
    "STRIDED_SLICE": read_shape_arithmetic,
    "PACK": read_shape_arithmetic,
}
