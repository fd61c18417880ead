"""One writer an operator of .tflite: an integer node -> operators of the file.

Each says besides which integer operators must come back when the file is read; the exporter
reads it and compares. What the format cannot say in one operator is said in several that give
the same bytes: padding of its own as PAD, a rescaling RELU6 as QUANTIZE and RELU6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import tflite

from edgeq.errors import ExportFailure, GraphError
from edgeq.exporters.tflite_file import FileOperator
from edgeq.exporters.tflite_window import file_padding
from edgeq.fixed_point import softmax_exp_table
from edgeq.graph import Node, QuantParams, Tensor
from edgeq.ops.activation import NO_MAX, NO_MIN, quantized_range
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.logistic import QuantizedLogistic
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.mean import QuantizedMean
from edgeq.ops.op import IntegerOp
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.quantize import QuantizeFloat, Requantize, lower_quantize
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.softmax import QuantizedSoftmax
from edgeq.ops.window import Window

_ACTIVATIONS = (
    ("NONE", NO_MIN, NO_MAX),
    ("RELU", 0.0, NO_MAX),
    ("RELU6", 0.0, 6.0),
    ("RELU_N1_TO_1", -1.0, 1.0),
)


@dataclass(slots=True)
class Writer:
    """What the writers of one graph add to: tensors, operators, and what must come back."""

    tensors: dict[str, Tensor]
    operators: list[FileOperator] = field(default_factory=list)
    expected: list[IntegerOp] = field(default_factory=list)

    def put(self, tensor: Tensor) -> str:
        """Add a tensor; its name."""
        self.tensors[tensor.name] = tensor
        return tensor.name

    def operands(self, node: Node) -> tuple[Tensor, ...]:
        """The node's inputs."""
        return tuple(self.tensors[name] for name in node.inputs)

    def output(self, node: Node) -> Tensor:
        """The node's only output."""
        return self.tensors[node.outputs[0]]

    def add(
        self,
        op: IntegerOp,
        code: str,
        version: int,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        table: str = "",
        **options: Any,
    ) -> None:
        """Add an operator, which must be read back as `op`."""
        self.operators.append(FileOperator(code, version, inputs, outputs, table, options))
        self.expected.append(op)


def _activation(output: Tensor, low: int, high: int) -> int:
    """The fused activation that clamps to [low, high].

    Raises:
        ExportFailure: there is none.
    """
    for name, real_min, real_max in _ACTIVATIONS:
        try:
            found = quantized_range(output, real_min, real_max)
        except GraphError:
            continue
        if found == (low, high):
            code: int = getattr(tflite.ActivationFunctionType, name)
            return code
    raise ExportFailure(
        f"{output.name}: clamps to [{low}, {high}], .tflite has only RELU, RELU6 and "
        "RELU_N1_TO_1; quantize the network with one of these"
    )


def _padded(writer: Writer, source: Tensor, window: Window, name: str) -> Tensor:
    """`source` with the window's padding as a PAD of its own."""
    assert source.quant is not None
    pads = (
        (0, 0),
        (window.pad_top, window.pad_bottom),
        (window.pad_left, window.pad_right),
        (0, 0),
    )
    op = QuantizedPad(pads, source.quant.zero_point)
    shape = op.infer_shapes(source.shape)[0]
    padded = replace(source, name=f"{name}/padded", shape=shape)
    writer.put(padded)
    _add_pad(writer, op, source.name, padded.name)
    return padded


def _add_pad(writer: Writer, op: QuantizedPad, source: str, output: str) -> None:
    pads = np.array(op.pads, np.int32)
    constant = writer.put(Tensor(f"{output}/pads", pads.shape, pads.dtype, None, pads))
    writer.add(op, "PAD", 2, (source, constant), (output,), "PadOptions")


def _bias(source: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """The bias with its scale, which the runtimes check."""
    assert source.quant is not None
    assert weights.quant is not None
    scales = tuple(
        float(np.float32(source.quant.scale[0]) * np.float32(s)) for s in weights.quant.scale
    )
    return replace(bias, quant=QuantParams(scales, axis=0 if len(scales) > 1 else None))


def _window_options(window: Window) -> dict[str, int]:
    return {
        "StrideW": window.stride_w,
        "StrideH": window.stride_h,
        "DilationWFactor": window.dilation_w,
        "DilationHFactor": window.dilation_h,
    }


def _image_product(
    writer: Writer, node: Node, op: QuantizedConv2D | QuantizedDepthwiseConv2D
) -> tuple[IntegerOp, Tensor, dict[str, int]]:
    """What both convolutions share: the operator to come back, its input, its options."""
    source, output = writer.operands(node)[0], writer.output(node)
    found = file_padding(op.window, source)
    if found is None:
        source = _padded(writer, source, op.window, node.name)
        found = file_padding(
            replace(op.window, pad_top=0, pad_bottom=0, pad_left=0, pad_right=0), source
        )
    assert found is not None
    code, window = found
    options = {
        "Padding": code,
        **_window_options(window),
        "FusedActivationFunction": _activation(output, op.activation_min, op.activation_max),
    }
    return replace(op, window=window), source, options


def write_conv_2d(writer: Writer, node: Node, op: QuantizedConv2D) -> None:
    """CONV_2D."""
    _, weights, bias = writer.operands(node)
    expected, source, options = _image_product(writer, node, op)
    names = (source.name, weights.name, writer.put(_bias(source, weights, bias)))
    writer.add(expected, "CONV_2D", 3, names, node.outputs, "Conv2DOptions", **options)


def write_depthwise_conv_2d(writer: Writer, node: Node, op: QuantizedDepthwiseConv2D) -> None:
    """DEPTHWISE_CONV_2D; the filter gets a leading 1."""
    _, weights, bias = writer.operands(node)
    assert weights.data is not None
    expected, source, options = _image_product(writer, node, op)
    quant = weights.quant
    if quant is not None and quant.axis is not None:
        quant = QuantParams(quant.scale, axis=quant.axis + 1)
    shape = (1, *weights.shape)
    raw = replace(weights, shape=shape, quant=quant, data=weights.data.reshape(shape))
    options["DepthMultiplier"] = weights.shape[2] // source.shape[3]
    names = (source.name, writer.put(raw), writer.put(_bias(source, weights, bias)))
    writer.add(
        expected,
        "DEPTHWISE_CONV_2D",
        3,
        names,
        node.outputs,
        "DepthwiseConv2DOptions",
        **options,
    )


def write_fully_connected(writer: Writer, node: Node, op: QuantizedFullyConnected) -> None:
    """FULLY_CONNECTED; version 12 has filters per channel."""
    source, weights, bias = writer.operands(node)
    output = writer.output(node)
    is_per_channel = weights.quant is not None and weights.quant.axis is not None
    writer.add(
        op,
        "FULLY_CONNECTED",
        12 if is_per_channel else 4,
        (source.name, weights.name, writer.put(_bias(source, weights, bias))),
        node.outputs,
        "FullyConnectedOptions",
        FusedActivationFunction=_activation(output, op.activation_min, op.activation_max),
        KeepNumDims=len(output.shape) > 2,
    )


def write_add(writer: Writer, node: Node, op: QuantizedAdd) -> None:
    """ADD."""
    activation = _activation(writer.output(node), op.activation_min, op.activation_max)
    writer.add(
        op,
        "ADD",
        2,
        node.inputs,
        node.outputs,
        "AddOptions",
        FusedActivationFunction=activation,
    )


def _write_pool(code: str) -> Callable[[Writer, Node, Any], None]:
    def write(writer: Writer, node: Node, op: Any) -> None:
        (source,) = writer.operands(node)
        found = file_padding(op.window, source)
        if found is None:
            raise ExportFailure(
                f"{node.name}: {op.name} pads {op.window}, .tflite pads a pooling only as "
                "SAME; pad as SAME does, or not at all"
            )
        padding, window = found
        output = writer.output(node)
        writer.add(
            replace(op, window=window),
            code,
            2,
            node.inputs,
            node.outputs,
            "Pool2DOptions",
            Padding=padding,
            StrideW=window.stride_w,
            StrideH=window.stride_h,
            FilterWidth=window.filter_w,
            FilterHeight=window.filter_h,
            FusedActivationFunction=_activation(output, op.activation_min, op.activation_max),
        )

    return write


def write_mean(writer: Writer, node: Node, op: QuantizedMean) -> None:
    """MEAN over axes 1 and 2."""
    axes = np.array([1, 2], np.int32)
    name = writer.put(Tensor(f"{node.name}/axes", axes.shape, axes.dtype, None, axes))
    inputs = (node.inputs[0], name)
    writer.add(op, "MEAN", 2, inputs, node.outputs, "ReducerOptions", KeepDims=op.keep_dims)


def write_pad(writer: Writer, node: Node, op: QuantizedPad) -> None:
    """PAD."""
    _add_pad(writer, op, node.inputs[0], node.outputs[0])


def write_concatenation(writer: Writer, node: Node, op: QuantizedConcatenation) -> None:
    """CONCATENATION."""
    writer.add(
        op,
        "CONCATENATION",
        2,
        node.inputs,
        node.outputs,
        "ConcatenationOptions",
        Axis=op.axis,
    )


def write_reshape(writer: Writer, node: Node, op: QuantizedReshape) -> None:
    """RESHAPE; the shape is an operand, as newer runtimes want it."""
    shape = np.array(writer.output(node).shape, np.int32)
    name = writer.put(Tensor(f"{node.name}/shape", shape.shape, shape.dtype, None, shape))
    writer.add(op, "RESHAPE", 1, (node.inputs[0], name), node.outputs)


def write_softmax(writer: Writer, node: Node, op: QuantizedSoftmax) -> None:
    """SOFTMAX, with the beta of which the table is."""
    (source,) = writer.operands(node)
    assert source.quant is not None
    beta = _beta(op, source.quant.scale[0])
    if beta is None:
        raise ExportFailure(f"{node.name}: the table of exponentials is that of no beta")
    writer.add(op, "SOFTMAX", 2, node.inputs, node.outputs, "SoftmaxOptions", Beta=beta)


def _beta(op: QuantizedSoftmax, scale: float) -> float | None:
    """A float32 beta with the operator's table; None: not found."""
    candidates = [1.0]
    for d, e in enumerate(reversed(op.exp_table)):
        if d and 2**20 < e < 2**31 - 2**20:
            found = -math.log(e / 2**31) / (d * scale)
            candidates += [float(f"{found:.{digits}g}") for digits in range(1, 8)]
    for beta in candidates:
        rounded = float(np.float32(beta))
        if softmax_exp_table(scale, rounded) == op.exp_table:
            return rounded
    return None


def write_logistic(writer: Writer, node: Node, op: QuantizedLogistic) -> None:
    """LOGISTIC."""
    writer.add(op, "LOGISTIC", 2, node.inputs, node.outputs)


def write_relu(writer: Writer, node: Node, op: QuantizedRelu) -> None:
    """RELU, RELU6 or RELU_N1_TO_1; the runtimes rescale only in RELU."""
    (source,), output = writer.operands(node), writer.output(node)
    code = _activation(output, op.activation_min, op.activation_max)
    names = {v: k for k, v in vars(tflite.ActivationFunctionType).items()}
    if names[code] == "NONE":  # the bounds lie outside int8
        writer.add(lower_quantize(source, output), "QUANTIZE", 2, node.inputs, node.outputs)
        return
    if source.quant == output.quant or names[code] == "RELU":
        writer.add(op, names[code], 2, node.inputs, node.outputs)
        return
    rescaled = replace(output, name=f"{node.name}/rescaled")
    into = (writer.put(rescaled),)
    writer.add(lower_quantize(source, rescaled), "QUANTIZE", 2, node.inputs, into)
    writer.add(_relu_of_same_scale(op), names[code], 2, into, node.outputs)


def _relu_of_same_scale(op: QuantizedRelu) -> QuantizedRelu:
    """The clamp alone: M = 1."""
    return replace(op, input_zero_point=op.output_zero_point, multiplier=1 << 30, shift=1)


def write_quantize(writer: Writer, node: Node, op: QuantizeFloat | Requantize) -> None:
    """QUANTIZE."""
    writer.add(op, "QUANTIZE", 2, node.inputs, node.outputs)


def write_dequantize(writer: Writer, node: Node, op: Dequantize) -> None:
    """DEQUANTIZE."""
    writer.add(op, "DEQUANTIZE", 2, node.inputs, node.outputs)


WRITERS: MappingProxyType[type[IntegerOp], Callable[[Writer, Node, Any], None]] = (
    MappingProxyType(
        {
            QuantizedConv2D: write_conv_2d,
            QuantizedDepthwiseConv2D: write_depthwise_conv_2d,
            QuantizedFullyConnected: write_fully_connected,
            QuantizedAdd: write_add,
            QuantizedAveragePool2D: _write_pool("AVERAGE_POOL_2D"),
            QuantizedMaxPool2D: _write_pool("MAX_POOL_2D"),
            QuantizedMean: write_mean,
            QuantizedPad: write_pad,
            QuantizedConcatenation: write_concatenation,
            QuantizedReshape: write_reshape,
            QuantizedSoftmax: write_softmax,
            QuantizedLogistic: write_logistic,
            QuantizedRelu: write_relu,
            QuantizeFloat: write_quantize,
            Requantize: write_quantize,
            Dequantize: write_dequantize,
        }
    )
)
