"""One writer an operator of ONNX QDQ: an integer node -> float nodes that compute it.

A writer returns the name of the float result; the exporter quantizes it. A clamp in quantized
units becomes Relu, or Clip to the reals that its bounds stand for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeq.arith import INT8_MAX, INT8_MIN
from edgeq.errors import ExportFailure
from edgeq.exporters.onnx import TO_NCHW, TO_NHWC, QdqWriter
from edgeq.graph import Array, Node, QuantParams, Tensor
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
from edgeq.ops.quantize import QuantizeFloat, Requantize
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.softmax import QuantizedSoftmax
from edgeq.ops.window import Window


def _float_name(node: Node) -> str:
    return f"{node.name}/float"


def _clamped(writer: QdqWriter, node: Node, value: str, low: int, high: int) -> str:
    """The value clamped as the operator clamps."""
    if (low, high) == (INT8_MIN, INT8_MAX):
        return value
    output = writer.graph.tensors[node.outputs[0]]
    assert output.quant is not None
    scale, zero_point = output.quant.scale[0], output.quant.zero_point
    if (low, high) == (zero_point, INT8_MAX):
        return writer.add("Relu", (value,), f"{node.name}/relu")
    bounds = [
        writer.constant(f"{node.name}/{what}", np.array(scale * (q - zero_point), np.float32))
        for what, q in (("min", low), ("max", high))
    ]
    return writer.add("Clip", (value, *bounds), f"{node.name}/clip")


def _window(window: Window) -> dict[str, Any]:
    return {
        "kernel_shape": [window.filter_h, window.filter_w],
        "strides": [window.stride_h, window.stride_w],
        "pads": [window.pad_top, window.pad_left, window.pad_bottom, window.pad_right],
    }


def _constants(writer: QdqWriter, node: Node, weights: Array, axis: int) -> tuple[str, str]:
    """Filter and bias as reals; the bias in units of s_input * s_filter."""
    source, filter_tensor, bias = writer.graph.tensors_of(node.inputs)
    assert source.quant is not None
    assert filter_tensor.quant is not None
    assert bias.data is not None
    along = filter_tensor.quant.axis is not None
    scales = tuple(
        float(np.float32(source.quant.scale[0]) * np.float32(s))
        for s in filter_tensor.quant.scale
    )
    return (
        writer.dequantized(f"{node.name}/filter", weights, filter_tensor.quant, axis),
        writer.dequantized(
            f"{node.name}/bias", bias.data, QuantParams(scales, axis=0 if along else None), 0
        ),
    )


def _filter(writer: QdqWriter, node: Node) -> Array:
    data = writer.graph.tensors[node.inputs[1]].data
    assert data is not None
    return data


def write_conv_2d(writer: QdqWriter, node: Node, op: QuantizedConv2D) -> str:
    """Conv; OHWI -> OIHW."""
    weights = _filter(writer, node).transpose(0, 3, 1, 2)
    inputs = (writer.read(node.inputs[0]), *_constants(writer, node, weights, 0))
    dilations = [op.window.dilation_h, op.window.dilation_w]
    value = writer.add(
        "Conv", inputs, _float_name(node), dilations=dilations, **_window(op.window)
    )
    return _clamped(writer, node, value, op.activation_min, op.activation_max)


def write_depthwise_conv_2d(writer: QdqWriter, node: Node, op: QuantizedDepthwiseConv2D) -> str:
    """Conv in groups of one channel; HWC -> C1HW."""
    weights = _filter(writer, node).transpose(2, 0, 1)[:, np.newaxis]
    inputs = (writer.read(node.inputs[0]), *_constants(writer, node, weights, 0))
    value = writer.add(
        "Conv",
        inputs,
        _float_name(node),
        dilations=[op.window.dilation_h, op.window.dilation_w],
        group=writer.graph.tensors[node.inputs[0]].shape[3],
        **_window(op.window),
    )
    return _clamped(writer, node, value, op.activation_min, op.activation_max)


def write_fully_connected(writer: QdqWriter, node: Node, op: QuantizedFullyConnected) -> str:
    """Gemm."""
    source = writer.graph.tensors[node.inputs[0]]
    if len(source.shape) != 2:
        raise ExportFailure(
            f"{node.name}: fully_connected of shape {source.shape}, ONNX's Gemm takes a matrix"
        )
    inputs = (
        writer.read(node.inputs[0]),
        *_constants(writer, node, _filter(writer, node), 0),
    )
    value = writer.add("Gemm", inputs, _float_name(node), transB=1)
    return _clamped(writer, node, value, op.activation_min, op.activation_max)


def write_add(writer: QdqWriter, node: Node, op: QuantizedAdd) -> str:
    """Add."""
    ranks = {len(t.shape) for t in writer.graph.tensors_of((*node.inputs, *node.outputs))}
    if len(ranks) > 1:
        raise ExportFailure(f"{node.name}: add of tensors of {sorted(ranks)} axes")
    value = writer.add("Add", map(writer.read, node.inputs), _float_name(node))
    return _clamped(writer, node, value, op.activation_min, op.activation_max)


def write_average_pool_2d(writer: QdqWriter, node: Node, op: QuantizedAveragePool2D) -> str:
    """AveragePool; padding does not count."""
    inputs = (writer.read(node.inputs[0]),)
    value = writer.add(
        "AveragePool", inputs, _float_name(node), count_include_pad=0, **_window(op.window)
    )
    return _clamped(writer, node, value, op.activation_min, op.activation_max)


def write_max_pool_2d(writer: QdqWriter, node: Node, op: QuantizedMaxPool2D) -> str:
    """MaxPool."""
    inputs = (writer.read(node.inputs[0]),)
    value = writer.add("MaxPool", inputs, _float_name(node), **_window(op.window))
    return _clamped(writer, node, value, op.activation_min, op.activation_max)


def write_mean(writer: QdqWriter, node: Node, op: QuantizedMean) -> str:
    """GlobalAveragePool, flattened unless the extents of 1 are kept."""
    value = writer.add("GlobalAveragePool", (writer.read(node.inputs[0]),), _float_name(node))
    if op.keep_dims:
        return value
    return writer.add("Flatten", (value,), f"{node.name}/flat")


def write_pad(writer: QdqWriter, node: Node, op: QuantizedPad) -> str:
    """Pad with zeros."""
    order = TO_NCHW if len(op.pads) == 4 else tuple(range(len(op.pads)))
    pads = [op.pads[axis] for axis in order]
    flat = np.array([p[0] for p in pads] + [p[1] for p in pads], np.int64)
    constant = writer.constant(f"{node.name}/pads", flat)
    return writer.add("Pad", (writer.read(node.inputs[0]), constant), _float_name(node))


def write_concatenation(writer: QdqWriter, node: Node, op: QuantizedConcatenation) -> str:
    """Concat."""
    rank = len(writer.graph.tensors[node.outputs[0]].shape)
    axis = TO_NCHW.index(op.axis) if rank == 4 else op.axis
    return writer.add("Concat", map(writer.read, node.inputs), _float_name(node), axis=axis)


def write_reshape(writer: QdqWriter, node: Node, op: QuantizedReshape) -> str:
    """Reshape of the NHWC order: transposes around it where that differs from NCHW."""
    (source,) = writer.graph.tensors_of(node.inputs)
    output = writer.graph.tensors[node.outputs[0]]
    value = writer.read(source.name)
    if _moves(source):
        value = writer.transposed(value, TO_NHWC, f"{node.name}/nhwc")
    shape = output.shape if _moves(output) else _as_onnx(output)
    constant = writer.constant(f"{node.name}/shape", np.array(shape, np.int64))
    value = writer.add("Reshape", (value, constant), _float_name(node))
    if _moves(output):
        value = writer.transposed(value, TO_NCHW, f"{node.name}/nchw")
    return value


def _as_onnx(tensor: Tensor) -> tuple[int, ...]:
    shape = tensor.shape
    return tuple(shape[a] for a in TO_NCHW) if len(shape) == 4 else shape


def _moves(tensor: Tensor) -> bool:
    """Whether NHWC and NCHW differ in the order of elements."""
    if len(tensor.shape) != 4:
        return False
    _, height, width, channels = tensor.shape
    return height * width > 1 and channels > 1


def write_softmax(writer: QdqWriter, node: Node, op: QuantizedSoftmax) -> str:
    """Softmax over the channels."""
    (source,) = writer.graph.tensors_of(node.inputs)
    assert source.quant is not None
    axis = 1 if len(source.shape) == 4 else len(source.shape) - 1
    if op != _softmax_of(source.quant.scale[0]):
        raise ExportFailure(f"{node.name}: softmax has a beta, ONNX's Softmax has none")
    return writer.add("Softmax", (writer.read(source.name),), _float_name(node), axis=axis)


def _softmax_of(scale: float) -> QuantizedSoftmax:
    from edgeq.fixed_point import softmax_exp_table

    return QuantizedSoftmax(softmax_exp_table(scale, 1.0))


def write_logistic(writer: QdqWriter, node: Node, op: QuantizedLogistic) -> str:
    """Sigmoid."""
    return writer.add("Sigmoid", (writer.read(node.inputs[0]),), _float_name(node))


def write_relu(writer: QdqWriter, node: Node, op: QuantizedRelu) -> str:
    """Relu or Clip."""
    value = writer.add("Identity", (writer.read(node.inputs[0]),), _float_name(node))
    return _clamped(writer, node, value, op.activation_min, op.activation_max)


def write_identity(writer: QdqWriter, node: Node, op: IntegerOp) -> str:
    """The value; QuantizeLinear or DequantizeLinear around it do the work."""
    return writer.add("Identity", (writer.read(node.inputs[0]),), _float_name(node))


WRITERS: MappingProxyType[type[IntegerOp], Callable[[QdqWriter, Node, Any], str]] = (
    MappingProxyType(
        {
            QuantizedConv2D: write_conv_2d,
            QuantizedDepthwiseConv2D: write_depthwise_conv_2d,
            QuantizedFullyConnected: write_fully_connected,
            QuantizedAdd: write_add,
            QuantizedAveragePool2D: write_average_pool_2d,
            QuantizedMaxPool2D: write_max_pool_2d,
            QuantizedMean: write_mean,
            QuantizedPad: write_pad,
            QuantizedConcatenation: write_concatenation,
            QuantizedReshape: write_reshape,
            QuantizedSoftmax: write_softmax,
            QuantizedLogistic: write_logistic,
            QuantizedRelu: write_relu,
            QuantizeFloat: write_identity,
            Requantize: write_identity,
            Dequantize: write_identity,
        }
    )
)
