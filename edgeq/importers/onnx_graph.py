"""The edgeq graph while an ONNX file is read: tensors and nodes so far, and how to add more."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np

from edgeq.errors import GraphError
from edgeq.graph import Array, Node, Shape, Tensor
from edgeq.importers.onnx_fold import MAX_ELEMENTS
from edgeq.importers.onnx_layout import Order, axis_last, orders
from edgeq.importers.onnx_node import Activation, Refused
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.op import FloatOp
from edgeq.ops.reshape import Reshape
from edgeq.ops.window import Window

FLOAT32 = np.dtype(np.float32)
POINT = Window(1, 1)


class GraphBuilder:
    """Tensors and nodes in the order in which the file's nodes were read."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []

    def unique(self, wanted: str) -> str:
        """A printable name that no tensor has yet."""
        stem = re.sub(r"[^\w./:+-]", "_", wanted) or "tensor"
        name, count = stem, 0
        while name in self.tensors:
            count += 1
            name = f"{stem}_{count}"
        return name

    def add(self, name: str, shape: Shape, data: Array | None = None) -> str:
        """A new float tensor."""
        if math.prod(shape) > MAX_ELEMENTS:
            raise Refused(f"{name} has shape {shape}, more than {MAX_ELEMENTS} elements")
        name = self.unique(name)
        if data is not None:
            data = np.ascontiguousarray(data, FLOAT32)
        self.tensors[name] = Tensor(name, shape, FLOAT32, data=data)
        return name

    def constant(self, name: str, data: Array) -> str:
        """A new float constant."""
        return self.add(name, data.shape, data)

    def emit(self, op: FloatOp, inputs: tuple[str, ...], name: str) -> str:
        """A new node; the name of its output.

        Raises:
            Refused: the shapes do not fit the operator.
        """
        try:
            (shape,) = op.infer_shapes(*(self.tensors[i].shape for i in inputs))
        except GraphError as error:
            raise Refused(str(error)) from None
        output = self.add(name, shape)
        self.nodes.append(Node(op, inputs, (output,)))
        return output

    def onnx_shape(self, tensor: str, order: Order) -> Shape:
        """The ONNX shape of a tensor that has the ONNX axes in this order."""
        shape = self.tensors[tensor].shape
        return tuple(shape[order.index(axis)] for axis in range(len(order)))

    def shaped(self, tensor: str, shape: Shape) -> str:
        """The tensor under this shape; a reshape of a reshape is one reshape of the first."""
        for node in reversed(self.nodes):
            if tensor in node.outputs and isinstance(node.op, Reshape):
                tensor = node.inputs[0]
        if self.tensors[tensor].shape == shape:
            return tensor
        if not shape or shape[0] != 1:
            raise Refused(f"shape is {shape}, the first extent (batch) must stay 1")
        return self.emit(Reshape(shape), (tensor,), f"{tensor}/reshape")

    def live_nodes(self, outputs: list[str]) -> list[Node]:
        """The nodes that the graph outputs depend on."""
        needed, kept = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        return kept[::-1]

    def view(self, value: Activation, order: Order) -> str:
        """The tensor with the ONNX axes in this order; only the last may be permuted inside.

        Raises:
            Refused: the elements lie otherwise in memory.
        """
        if value.layout.last_axis_index(order) is None:
            raise Refused(
                f"the input of ONNX shape {value.shape} is transposed or flattened such that "
                f"its elements would have to move; no operator here moves them"
            )
        return self.shaped(value.tensor, tuple(value.shape[axis] for axis in order))

    def ordered_view(self, value: Activation, order: Order) -> str:
        """As view(), with the last axis in ONNX's order too."""
        tensor = self.view(value, order)
        if not value.layout.has_order(order):
            raise Refused(
                f"the input of ONNX shape {value.shape} was flattened or shuffled across its "
                f"channels; only Conv, Gemm, MatMul and BatchNormalization may follow"
            )
        return tensor

    def common_order(self, values: tuple[Activation, ...]) -> Order:
        """The order of axes in which all these activations lie in memory."""
        for order in orders(len(values[0].shape)):
            if all(value.layout.has_order(order) for value in values):
                return order
        shapes = " and ".join(str(value.shape) for value in values)
        raise Refused(f"inputs of ONNX shape {shapes} lie in memory in different orders")

    def affine(
        self, value: Activation, axis: int, scale: Array, shift: Array, name: str
    ) -> Activation:
        """A factor and a term, float64, for each index along an ONNX axis: x * scale + shift.

        Goes into the weights of the operator before, if that is linear and nothing else reads
        it; else becomes a depthwise 1x1 convolution.
        """
        order = axis_last(len(value.shape), axis)
        index = value.layout.last_axis_index(order)
        if index is None:
            raise Refused(f"axis {axis} of ONNX shape {value.shape} is not innermost in memory")
        channels = value.shape[axis]
        scale = np.broadcast_to(np.asarray(scale, np.float64).ravel(), (channels,))[index]
        shift = np.broadcast_to(np.asarray(shift, np.float64).ravel(), (channels,))[index]
        if not (_fits_float32(scale) and _fits_float32(shift)):
            raise Refused("scales its input by a factor that is not a finite float32")
        producer = self._linear_producer(value, channels)
        if producer is not None:
            self._fold(producer, scale, shift)
            return value
        source = self.tensors[value.tensor].shape
        image = (1, math.prod(source) // channels, 1, channels)
        if len(source) == 4 and source[-1] == channels:
            image = (source[0], source[1], source[2], channels)
        inputs = (
            self.shaped(value.tensor, image),
            self.constant(f"{name}/filter", scale.reshape(1, 1, -1)),
            self.constant(f"{name}/bias", shift),
        )
        output = self.emit(DepthwiseConv2D(POINT), inputs, name)
        return Activation(self.shaped(output, source), value.layout)

    def _linear_producer(self, value: Activation, channels: int) -> int | None:
        """Position of the operator that affine() may rewrite."""
        if not value.is_exclusive:
            return None
        for position, node in enumerate(self.nodes):
            if value.tensor in node.outputs:
                linear = isinstance(node.op, Conv2D | DepthwiseConv2D | FullyConnected)
                fits = self.tensors[value.tensor].shape[-1] == channels
                return position if linear and fits else None
        return None

    def _fold(self, position: int, scale: Array, shift: Array) -> None:
        """W' = scale * W,  b' = scale * b + shift  of a layer with a filter."""
        node = self.nodes[position]
        _, filter_name, *rest = node.inputs
        weights = self.tensors[filter_name].data
        assert weights is not None
        axis = weights.ndim - 1 if isinstance(node.op, DepthwiseConv2D) else 0
        factors = scale.reshape([-1 if a == axis else 1 for a in range(weights.ndim)])
        self._replace_data(filter_name, weights * factors)
        if rest:
            bias = self.tensors[rest[0]].data
            assert bias is not None
            self._replace_data(rest[0], bias * scale + shift)
        elif shift.any():
            bias_name = self.constant(f"{node.name}/bias", shift)
            self.nodes[position] = replace(node, inputs=(*node.inputs, bias_name))

    def _replace_data(self, name: str, data: Array) -> None:
        if not _fits_float32(data):
            raise Refused(f"{name} leaves the range of float32 when it is folded in")
        self.tensors[name] = replace(self.tensors[name], data=data.astype(FLOAT32))


def _fits_float32(data: Array) -> bool:
    return bool((np.abs(data) <= np.finfo(np.float32).max).all())
