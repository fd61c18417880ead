"""Write an integer graph as ONNX QDQ: float operators, QuantizeLinear, DequantizeLinear.

Images are NCHW there, filters OIHW; inputs and outputs are float32. A runtime that computes in
float gives nearly the same values; read back, the file gives the same integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq.errors import ExportFailure, ToolError
from edgeq.graph import Array, Graph, QuantParams, Shape, Tensor
from edgeq.ops.op import FLOAT32, IntegerOp

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def onnx_bytes(graph: Graph) -> bytes:
    """An .onnx file of the graph in QDQ form.

    Raises:
        ExportFailure: a layer cannot be said in ONNX; names it.
        ToolError: the onnx package is missing.
    """
    if graph.rounding != "tflm":
        raise ExportFailure(
            f"{graph.name}: is rounded as '{graph.rounding}', which ONNX cannot say: read back "
            "it would be rounded as 'tflm'; quantize it with --rounding tflm, or write .edgeq"
        )
    try:
        import onnx
    except ImportError:
        raise ToolError(
            f"{graph.name}: writing ONNX needs the onnx package: pip install 'edgeq[onnx]'"
        ) from None
    from edgeq.exporters.onnx_ops import WRITERS

    missing = [n for n in graph.nodes if n.op.__class__ not in WRITERS]
    if missing:
        listed = ", ".join(f"{n.op.name} '{n.name}'" for n in missing)
        raise ExportFailure(f"{graph.name}: ONNX has no operator for {listed}")
    writer = QdqWriter(graph)
    for tensor in graph.input_tensors():
        writer.quantize(tensor, tensor.name)
    for node in graph.nodes:
        assert isinstance(node.op, IntegerOp)
        result = WRITERS[type(node.op)](writer, node, node.op)
        writer.quantize(graph.tensors[node.outputs[0]], result)
    outputs = [writer.output(t) for t in graph.output_tensors()]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            writer.nodes,
            graph.name,
            [_value(t) for t in graph.input_tensors()],
            outputs,
            writer.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgeq",
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def onnx_shape(shape: Shape) -> Shape:
    """The shape of an activation in ONNX: NHWC as NCHW, others as they are."""
    return tuple(shape[a] for a in TO_NCHW) if len(shape) == 4 else shape


def _value(tensor: Tensor, name: str = "") -> onnx.ValueInfoProto:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(
        name or tensor.name, TensorProto.FLOAT, onnx_shape(tensor.shape)
    )


class QdqWriter:
    """Nodes and constants so far; an activation is read under the name that `read` gives."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.read_as: dict[str, str] = {}  # tensor -> its dequantized value in ONNX

    def constant(self, name: str, data: Array) -> str:
        """Add a constant; its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name

    def add(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        from onnx import helper

        self.nodes.append(
            helper.make_node(kind, list(inputs), [output], name=output, **attributes)
        )
        return output

    def scales(self, name: str, quant: QuantParams, zero_point: Array) -> list[str]:
        """Scale and zero point as constants."""
        scale = np.array(quant.scale if quant.axis is not None else quant.scale[0], np.float32)
        return [
            self.constant(f"{name}/scale", scale),
            self.constant(f"{name}/zero_point", zero_point),
        ]

    def quantize(self, tensor: Tensor, value: str) -> None:
        """Round the float `value` of a tensor to its integers, and make it readable."""
        if tensor.dtype == FLOAT32:
            self.read_as[tensor.name] = value
            return
        if tensor.quant is None:
            raise ExportFailure(f"{tensor.name}: has no scale")
        zero_point = np.array(tensor.quant.zero_point, tensor.dtype)
        parameters = self.scales(tensor.name, tensor.quant, zero_point)
        integers = self.add("QuantizeLinear", (value, *parameters), f"{tensor.name}/quantized")
        self.read_as[tensor.name] = self.add(
            "DequantizeLinear", (integers, *parameters), f"{tensor.name}/dequantized"
        )

    def read(self, name: str) -> str:
        """The ONNX name under which an activation, or an int8 constant, is read."""
        tensor = self.graph.tensors[name]
        if tensor.data is not None and name not in self.read_as:
            data = tensor.data.transpose(TO_NCHW) if tensor.data.ndim == 4 else tensor.data
            self.read_as[name] = self.dequantized(name, data, tensor.quant, 0)
        return self.read_as[name]

    def dequantized(self, name: str, data: Array, quant: QuantParams | None, axis: int) -> str:
        """An integer constant as reals, its scales along `axis` if it has several."""
        if quant is None:
            raise ExportFailure(f"{name}: has no scale")
        count = len(quant.scale)
        shape = () if quant.axis is None else (count,)
        zero_point = np.full(shape, quant.zero_point, data.dtype)
        inputs = (self.constant(name, data), *self.scales(name, quant, zero_point))
        along = {} if quant.axis is None else {"axis": axis}
        return self.add("DequantizeLinear", inputs, f"{name}/dequantized", **along)

    def transposed(self, value: str, order: tuple[int, ...], name: str) -> str:
        """The value with its axes in another order."""
        return self.add("Transpose", (value,), name, perm=list(order))

    def output(self, tensor: Tensor) -> onnx.ValueInfoProto:
        """The graph output of a tensor: its dequantized value, under the tensor's name."""
        name = tensor.name if tensor.name not in self.graph.inputs else f"{tensor.name}/output"
        self.add("Identity", (self.read(tensor.name),), name)
        return _value(tensor, name)
