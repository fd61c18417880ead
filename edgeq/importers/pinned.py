"""A float graph whose scales a file has fixed -> the integer graph that the file means.

As quantize.py, but nothing is chosen here: activations, filters and biases have the integers
of the file. Where an operator's result has another scale than the file wants (a pool or a
softmax keeps its own), a QUANTIZE follows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.errors import GraphError
from edgeq.graph import Array, Graph, Node, QuantParams, Tensor
from edgeq.importers.onnx_qdq import FilterPin, Pins
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.op import FloatOp
from edgeq.ops.quantize import lower_quantize
from edgeq.passes import run_passes

INT8 = np.dtype(np.int8)


def integer_graph(graph: Graph, pins: Pins) -> Graph:
    """The integer graph; `graph` as read from a file with these pins.

    Raises:
        GraphError: a scale is missing, or does not fit; names the layer.
    """
    pinned = [name for name in pins.activations if name in graph.tensors]
    # What the file rounds to integers stays a tensor of its own: passes keep graph outputs.
    kept = tuple(dict.fromkeys((*graph.outputs, *pinned)))
    held = Graph.build(graph.name, graph.tensors.values(), graph.nodes, graph.inputs, kept)
    passed = run_passes(held)
    now = dict(zip(kept, passed.outputs, strict=True))
    scales = {now[name]: pins.activations[name] for name in pinned}
    outputs = tuple(now[name] for name in graph.outputs)
    return _Lowering(passed, scales, pins.filters).run(outputs)


class _Lowering:
    def __init__(
        self, graph: Graph, scales: dict[str, QuantParams], filters: dict[str, FilterPin]
    ) -> None:
        self.graph = graph
        self.scales = scales
        self.filters = filters
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []

    def run(self, outputs: tuple[str, ...]) -> Graph:
        missing = [name for name in self.graph.inputs if name not in self.scales]
        missing += [
            node.outputs[0]
            for node in self.graph.nodes
            if isinstance(node.op, FloatOp)
            and node.op.output_rule == "range"
            and node.outputs[0] not in self.scales
        ]
        if missing:
            raise GraphError(
                f"{', '.join(missing)}: no QuantizeLinear follows; quantize the whole network, "
                "or export it in float and quantize it here"
            )
        for tensor in self.graph.input_tensors():
            self._activation(tensor, tensor.name, self.scales[tensor.name])
        for node in self.graph.nodes:
            try:
                self._node(node)
            except GraphError as error:
                raise GraphError(f"{node.name}: {error}") from error
        return Graph.build(
            self.graph.name, self.tensors.values(), self.nodes, self.graph.inputs, outputs
        )

    def _activation(self, like: Tensor, name: str, quant: QuantParams) -> Tensor:
        self.tensors[name] = replace(like, name=name, dtype=INT8, quant=quant)
        return self.tensors[name]

    def _node(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, FloatOp)
        like = self.graph.tensors[node.outputs[0]]
        inputs = tuple(self._operand(name) for name in node.inputs)
        wanted = self.scales.get(like.name)
        own = wanted
        if op.output_rule == "same":
            own = inputs[0].quant
        elif op.output_rule == "fixed":
            own = op.fixed_output
        assert own is not None
        wanted = wanted or own
        output = self._activation(like, like.name if own == wanted else f"{like.name}/own", own)
        if isinstance(op, Conv2D | DepthwiseConv2D | FullyConnected):
            inputs = self._with_integers(op, inputs)
        elif any(t.data is not None for t in inputs):
            raise GraphError(f"{op.name} has a constant operand without a scale")
        if isinstance(op, Concatenation):
            inputs = tuple(self._rescaled(t, f"{t.name}/to/{like.name}", own) for t in inputs)
        names = tuple(self._put(t) for t in inputs)
        self.nodes.append(Node(op.lower(inputs, (output,)), names, (output.name,)))
        if own != wanted:
            self._rescaled(output, like.name, wanted)

    def _operand(self, name: str) -> Tensor:
        constant = self.graph.tensors[name]
        return constant if constant.data is not None else self.tensors[name]

    def _put(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

    def _rescaled(self, tensor: Tensor, name: str, quant: QuantParams) -> Tensor:
        if tensor.quant == quant:
            return tensor
        rescaled = self._activation(tensor, name, quant)
        if not any(name in node.outputs for node in self.nodes):
            self.nodes.append(Node(lower_quantize(tensor, rescaled), (tensor.name,), (name,)))
        return rescaled

    def _with_integers(self, op: FloatOp, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(input, filter[, bias]) with the filter and the bias of the file."""
        source, weights, *rest = inputs
        pin = self.filters.get(weights.name)
        if pin is None or weights.data is None or source.quant is None:
            raise GraphError(
                f"{weights.name} is float; its DequantizeLinear must stand right before it"
            )
        axis = weights.data.ndim - 1 if isinstance(op, DepthwiseConv2D) else 0
        channels = weights.data.shape[axis]
        along = [-1 if a == axis else 1 for a in range(weights.data.ndim)]
        scale = np.array(pin.scale, np.float64)
        q = _integers(weights, scale.reshape(along) if len(scale) > 1 else scale)
        quant = QuantParams(pin.scale, axis=axis if len(scale) > 1 else None)
        unit = source.quant.scale[0] * scale
        bias = _bias(pin, rest[0] if rest else None, unit, channels)
        bias_scale = tuple(float(np.float32(u)) for u in unit)
        bias_quant = QuantParams(bias_scale, axis=0 if len(bias_scale) > 1 else None)
        name = rest[0].name if rest else f"{weights.name}/bias"
        return (
            source,
            replace(weights, dtype=INT8, quant=quant, data=q),
            Tensor(name, bias.shape, bias.dtype, bias_quant, bias),
        )


def _integers(weights: Tensor, scale: Array) -> Array:
    """The filter's integers.

    Raises:
        GraphError: it is no multiple of its scale: something was folded into it.
    """
    assert weights.data is not None
    exact = weights.data.astype(np.float64) / scale
    q = np.rint(exact)
    if np.abs(exact - q).max() > 1e-3 or np.abs(q).max() > 128:
        raise GraphError(
            f"{weights.name} is no longer a multiple of its scale: an operator after the layer "
            "was folded in; fold it before quantizing"
        )
    return q.astype(np.int8)


def _bias(pin: FilterPin, real: Tensor | None, unit: Array, channels: int) -> Array:
    """The bias in units of s_input * s_filter; as the file has it if it has integers."""
    if real is None or real.data is None:
        return np.zeros(channels, np.int32)
    if pin.bias is None:
        q = np.rint(real.data.astype(np.float64) / unit)
    else:
        given = np.array(pin.bias_scale, np.float64)
        if not np.allclose(given, unit, rtol=1e-5, atol=0):
            raise GraphError(
                f"{real.name} has scale {given.ravel()[0]:.6g}, must be the input's times the "
                f"filter's, {unit.ravel()[0]:.6g}"
            )
        q = pin.bias
    if np.abs(q).max(initial=0) >= 2**31:
        raise GraphError(f"{real.name} reaches {np.abs(q).max():.3g}, must fit int32")
    return np.broadcast_to(q, (channels,)).astype(np.int32)
