"""ONNX: a float .onnx file, as torch.onnx.export writes it, becomes a float Graph.

A quantized one in QDQ form (onnx_qdq) becomes the integer Graph that it means.

ONNX images are NCHW, the Graph's are NHWC: an input of ONNX shape (N, C, H, W) is a graph input
of shape (1, H, W, C), and so is an output; constants and weights are transposed here, once, and
no operator remains that moves data (onnx_layout). A dynamic batch becomes 1. Input tensors keep
their ONNX names; the other tensors are named after the layers.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.errors import GraphError, ImportFailure
from edgeq.graph import Graph, Shape
from edgeq.importers.onnx_file import decode_attributes, decode_tensor, load_model, opset_of
from edgeq.importers.onnx_fold import FOLDERS, fold
from edgeq.importers.onnx_graph import GraphBuilder
from edgeq.importers.onnx_layout import Layout, channels_last
from edgeq.importers.onnx_node import Activation, OnnxNode, Refused, Value
from edgeq.importers.onnx_ops import READERS
from edgeq.importers.onnx_qdq import Pins
from edgeq.importers.pinned import integer_graph

if TYPE_CHECKING:
    import onnx

FLOAT = 1  # TensorProto.FLOAT
TO_NCHW, NHWC = (0, 3, 1, 2), channels_last(4)
WEIGHTED = frozenset({"Conv", "Gemm", "MatMul", "BatchNormalization"})
QDQ = ("QuantizeLinear", "DequantizeLinear")


def read_onnx(path: Path) -> Graph:
    """The graph of an .onnx file, integer if it is in QDQ form; images NHWC.

    Raises:
        ImportFailure: the file is damaged, or holds what is not supported, all in one text.
        ToolError: the onnx package is missing.
    """
    model = load_model(path)
    reader = _Reader(model, path)
    reader.read_initializers()
    reader.read_inputs()
    for proto in model.graph.node:
        reader.read_node(proto)
    outputs = reader.read_outputs()
    if reader.problems:
        problems = re.sub(r"[\x00-\x1f\x7f]+", " ", "; ".join(reader.problems))
        raise ImportFailure(f"{path}: {problems}")
    try:
        graph = Graph.build(
            path.stem,
            reader.builder.tensors.values(),
            reader.builder.live_nodes(outputs),
            reader.inputs,
            outputs,
        )
        return integer_graph(graph, reader.pins) if reader.is_quantized else graph
    except GraphError as error:
        raise ImportFailure(f"{path}: {error}") from None


class _Reader:
    """One file being read: the values known so far and the problems met so far."""

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        self.proto = model.graph
        self.folder = path.parent
        self.opset = opset_of(model, path)
        self.builder = GraphBuilder()
        self.pins = Pins()
        self.values: dict[str, Value] = {}
        self.unknown: set[str] = set()  # outputs of nodes that could not be read
        self.problems: list[str] = []
        self.inputs: list[str] = []
        self.uses = Counter(name for node in self.proto.node for name in node.input)
        self.uses.update(output.name for output in self.proto.output)
        self.shapes = {v.name: v for v in (*self.proto.value_info, *self.proto.output)}

    @property
    def is_quantized(self) -> bool:
        """Whether the file quantizes anything."""
        return any(node.op_type in QDQ for node in self.proto.node)

    def read_initializers(self) -> None:
        """Constants of the file."""
        if self.proto.sparse_initializer:
            self.problems.append("sparse initializers are not supported")
        for tensor in self.proto.initializer:
            try:
                self._define(tensor.name, decode_tensor(tensor, self.folder))
            except Refused as problem:
                self._refuse(f"initializer '{tensor.name}'", problem, [tensor.name])

    def read_inputs(self) -> None:
        """Graph inputs; a constant that the file lists among them is none."""
        for info in self.proto.input:
            if info.name in self.values or info.name in self.unknown:
                continue
            try:
                shape = _input_shape(info)
                order = tuple(range(len(shape)))
                if len(shape) == 4 and not self._is_nhwc(info.name):
                    order = NHWC
                tensor = self.builder.add(info.name, tuple(shape[axis] for axis in order))
                self.inputs.append(tensor)
                self._define(info.name, Activation(tensor, Layout.of(shape, order)))
            except Refused as problem:
                self._refuse(f"input '{info.name}'", problem, [info.name])

    def _is_nhwc(self, name: str) -> bool:
        """Whether the file turns this input to NCHW itself before anything reads it."""
        readers = [node for node in self.proto.node if name in node.input]
        return bool(readers) and all(
            node.op_type == "Transpose"
            and [list(a.ints) for a in node.attribute if a.name == "perm"] == [list(TO_NCHW)]
            for node in readers
        )

    def read_node(self, proto: onnx.NodeProto) -> None:
        """Define the node's outputs, or note why not."""
        where = f"{proto.name or (proto.output[0] if proto.output else '?')} ({proto.op_type})"
        try:
            unsupported = _unsupported(proto)
            if unsupported:
                raise Refused(unsupported)
            if any(name in self.unknown for name in proto.input):
                self._forget(proto.output)
                return
            node = self._node(proto)
            value: Value | None = fold(node)
            if node.op_type in QDQ:
                value = self.pins.read(node, self.builder)
            elif value is None:
                if node.op_type not in READERS:
                    raise Refused("works on an activation, is supported on constants only")
                value = READERS[node.op_type](node, self.builder)
            extra = [name for name in proto.output[1:] if self.uses[name]]
            if extra:
                raise Refused(f"its output '{extra[0]}' is used, only the first is supported")
            inputs = tuple(proto.input)
            self.pins.note(proto.op_type, inputs, proto.output[0], self.builder)
            self._define(proto.output[0], value)
        except Refused as problem:
            self._refuse(where, problem, proto.output)

    def _node(self, proto: onnx.NodeProto) -> OnnxNode:
        if not proto.output or not proto.output[0]:
            raise Refused("has no output")
        for name in proto.input:
            if name and name not in self.values:
                raise Refused(
                    f"reads '{name}', which no earlier node writes: an initializer is missing, "
                    f"or the nodes are not in order"
                )
        return OnnxNode(
            op_type=proto.op_type,
            name=self.builder.unique(layer_name(proto)),
            attributes=decode_attributes(proto, self.folder),
            inputs=tuple(self.values[name] if name else None for name in proto.input),
            is_only_reader=tuple(self.uses[name] == 1 for name in proto.input),
            outputs=tuple(proto.output),
            opset=self.opset,
        )

    def read_outputs(self) -> list[str]:
        """Graph outputs, in ONNX's order of elements, or NHWC."""
        outputs: list[str] = []
        for info in self.proto.output:
            try:
                if info.name in self.unknown:
                    continue
                outputs.append(self._output(info.name))
            except Refused as problem:
                self.problems.append(f"output '{info.name}': {problem}")
        if not self.proto.output:
            self.problems.append("the graph has no output")
        if not self.proto.input:
            self.problems.append("the graph has no input")
        return outputs

    def _output(self, name: str) -> str:
        value = self.values.get(name)
        if value is None:
            raise Refused("is written by no node")
        if not isinstance(value, Activation):
            raise Refused("does not depend on an input")
        rank = len(value.shape)
        for order in (NHWC, tuple(range(rank))) if rank == 4 else (tuple(range(rank)),):
            if value.layout.has_order(order):
                return self.builder.ordered_view(value, order)
        raise Refused(
            f"ONNX shape {value.shape} is flattened or transposed from an image; end the model "
            f"before that"
        )

    def _define(self, name: str, value: Value) -> None:
        if name in self.values or name in self.unknown:
            raise Refused(f"writes '{name}', which has a value already")
        self.values[name] = value

    def _refuse(self, where: str, problem: Refused, outputs: list[str]) -> None:
        self.problems.append(f"{where}: {problem}")
        self._forget(outputs)

    def _forget(self, outputs: list[str]) -> None:
        """Outputs of an unread node, of the shape that the file tells: the rest is read too."""
        for name in outputs:
            if not name or name in self.values:
                continue
            try:
                shape = _input_shape(self.shapes[name])
                order = (
                    channels_last(len(shape)) if len(shape) == 4 else tuple(range(len(shape)))
                )
                tensor = self.builder.add(name, tuple(shape[axis] for axis in order))
                self.values[name] = Activation(tensor, Layout.of(shape, order), False)
            except (KeyError, Refused):
                self.unknown.add(name)


def _unsupported(proto: onnx.NodeProto) -> str | None:
    """Why no node of this type can be read, None if some can."""
    if proto.op_type.startswith(("QLinear", "ConvInteger", "MatMulI", "DynamicQuantize")):
        return (
            "integer operators are not read; quantize in QDQ form (onnxruntime: "
            "quant_format=QuantFormat.QDQ), or export the float model and quantize it here"
        )
    if proto.domain not in ("", "ai.onnx"):
        return f"operators of domain {proto.domain} are not supported"
    if proto.op_type in (*READERS, *FOLDERS, *QDQ, "Shape"):
        return None
    return "operator not supported"


def _input_shape(info: onnx.ValueInfoProto) -> Shape:
    """The shape of a float input, batch 1."""
    if not info.type.HasField("tensor_type"):
        raise Refused("is no tensor")
    tensor_type = info.type.tensor_type
    if tensor_type.elem_type != FLOAT:
        raise Refused(f"has ONNX element type {tensor_type.elem_type}, must be float32")
    if not tensor_type.HasField("shape") or not tensor_type.shape.dim:
        raise Refused("has no shape, must have a batch axis and fixed extents")
    shape = []
    for axis, dim in enumerate(tensor_type.shape.dim):
        extent = int(dim.dim_value) if dim.HasField("dim_value") else -1
        if axis == 0 and extent <= 1:
            extent = 1
        if axis == 0 and extent != 1:
            raise Refused(
                f"has a batch of {extent}, must be 1 or dynamic; export it with batch 1"
            )
        if extent < 1:
            raise Refused(
                f"axis {axis} has extent '{dim.dim_param or extent}', must be fixed; export "
                f"the model with a fixed size"
            )
        shape.append(extent)
    return tuple(shape)


def layer_name(proto: onnx.NodeProto) -> str:
    """A readable name: the module's path, with the operator if that has no weights.

    torch writes the path into the node's name ("/features/features.0/Conv") or, in its newer
    exporter, into the metadata "pkg.torch.onnx.name_scopes", where a BatchNormalization
    replaces the convolution it is folded into; the filter keeps its name ("conv1.weight").
    """
    if proto.op_type in ("Conv", "Gemm") and len(proto.input) > 1:
        module, dot, last = str(proto.input[1]).rpartition(".")
        if dot and last == "weight" and not module.startswith("onnx::"):
            return module
    scopes = next(
        (p.value for p in proto.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), ""
    )
    parts = proto.name.strip("/").split("/")[:-1] if proto.name.startswith("/") else None
    if scopes:
        try:
            parts = [str(scope) for scope in ast.literal_eval(scopes)][1:-1]
        except (ValueError, SyntaxError, TypeError):
            parts = None
    if parts is None:
        return proto.name or proto.output[0]
    path: list[str] = []
    for part in parts:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    operator = proto.op_type.lower()
    if not path or (proto.op_type not in WEIGHTED and path[-1] != operator):
        path.append(operator)
    return "/".join(path)
