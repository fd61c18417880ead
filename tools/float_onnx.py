"""A float graph of edgeq as ONNX, for quantizers that read nothing else (bench_quantizer.py).

Images are NCHW inside; the input stays NHWC and is transposed first.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeq.errors import GraphError
from edgeq.graph import Array, Graph, Node
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.reshape import Reshape
from edgeq.ops.window import Window

OPSET = 21  # the first with 4-bit integers in QDQ


class OnnxWriter:
    """Writes one graph; `names` maps tensors to ONNX values, images as NCHW."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.names: dict[str, str] = {}
        self.count = 0

    def model(self) -> onnx.ModelProto:
        source, target = self.graph.input_tensors()[0], self.graph.output_tensors()[0]
        image = len(source.shape) == 4
        self.names[source.name] = (
            self.emit("Transpose", ["input"], perm=[0, 3, 1, 2]) if image else "input"
        )
        for node in self.graph.nodes:
            self.names[node.name] = self.write(node)
        self.nodes[-1].output[0] = "output"
        value = helper.make_tensor_value_info
        body = helper.make_graph(
            self.nodes,
            "network",
            [value("input", onnx.TensorProto.FLOAT, ["N", *source.shape[1:]])],
            [value("output", onnx.TensorProto.FLOAT, ["N", *target.shape[1:]])],
            self.constants,
        )
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 10
        onnx.checker.check_model(model)
        return model

    def emit(self, op: str, inputs: list[str], **attributes: object) -> str:
        self.count += 1
        name = f"{op}_{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, data: Array) -> str:
        self.count += 1
        name = f"constant_{self.count}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name

    def data(self, node: Node, position: int) -> Array:
        value = self.graph.tensors[node.inputs[position]].data
        assert value is not None
        return value

    def write(self, node: Node) -> str:
        op, source = node.op, self.names[node.inputs[0]]
        bias = [self.constant(self.data(node, 2))] if len(node.inputs) > 2 else []
        if isinstance(op, Conv2D):
            weights = self.constant(self.data(node, 1).transpose(0, 3, 1, 2))
            y = self.emit("Conv", [source, weights, *bias], **_window(op.window))
        elif isinstance(op, DepthwiseConv2D):
            taps = self.data(node, 1).transpose(2, 0, 1)[:, np.newaxis]
            groups = self.graph.tensors[node.inputs[0]].shape[3]
            inputs = [source, self.constant(taps), *bias]
            y = self.emit("Conv", inputs, group=groups, **_window(op.window))
        elif isinstance(op, FullyConnected):
            weights = self.constant(self.data(node, 1))
            y = self.emit("Gemm", [source, weights, *bias], transB=1)
        elif isinstance(op, Add):
            y = self.emit("Add", [self.names[name] for name in node.inputs])
        elif isinstance(op, AveragePool2D | MaxPool2D):
            kind = "AveragePool" if isinstance(op, AveragePool2D) else "MaxPool"
            y = self.emit(kind, [source], **_window(op.window))
        elif isinstance(op, Mean):
            y = self.emit("GlobalAveragePool", [source])
            y = self.emit("Flatten", [y])
        elif isinstance(op, Reshape):
            if len(self.graph.tensors[node.inputs[0]].shape) == 4:
                source = self.emit("Transpose", [source], perm=[0, 2, 3, 1])
            return self.emit("Flatten", [source])
        else:
            raise GraphError(f"{node.name}: {op.name} has no ONNX form here")
        low = getattr(op, "activation_min", NO_MIN)
        high = getattr(op, "activation_max", NO_MAX)
        if low == 0.0 and high == NO_MAX:
            return self.emit("Relu", [y])
        if (low, high) != (NO_MIN, NO_MAX):
            bounds = [self.constant(np.float32(low)), self.constant(np.float32(high))]
            return self.emit("Clip", [y, *bounds])
        return y


def _window(window: Window) -> dict[str, object]:
    attributes: dict[str, object] = {
        "kernel_shape": [window.filter_h, window.filter_w],
        "strides": [window.stride_h, window.stride_w],
        "pads": [window.pad_top, window.pad_left, window.pad_bottom, window.pad_right],
    }
    if (window.dilation_h, window.dilation_w) != (1, 1):
        attributes["dilations"] = [window.dilation_h, window.dilation_w]
    return attributes
