"""Post-training quantization: float graph + ranges -> integer graph.

Each operator says how its output gets a scale (FloatOp.output_rule), how its constants become
integers (quantize_constants) and which integer operator it is then (lower). This module walks
the graph, and puts a QUANTIZE where a concatenation's input has another scale than its output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeq.arith import Rounding
from edgeq.calibrate import CalibrationProgress, Range, calibrate
from edgeq.errors import GraphError, QuantizeError
from edgeq.graph import Array, Graph, Node, QuantParams, Tensor
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.op import FloatOp
from edgeq.ops.quantize import lower_quantize
from edgeq.ops.weights import quantize_tensor, range_params
from edgeq.passes import run_passes
from edgeq.passes.prove_accumulators import prove_accumulators
from edgeq.passes.round_as import round_as

INT8 = np.dtype(np.int8)


def quantize(
    graph: Graph,
    samples: Array | Sequence[Array],
    *,
    rounding: Rounding = "tflm",
    progress: CalibrationProgress | None = None,
) -> Graph:
    """An integer graph of the float `graph`, calibrated by min/max over `samples`.

    Filters: int8, symmetric, per output channel; activations: int8, asymmetric; bias: int32.
    Inputs and outputs of the result are int8; `samples` as in calibrate.calibrate; `rounding`
    is the profile of requantization (docs/numerics.md).

    Raises:
        DataError: the samples do not fit the graph's inputs, or hold NaN.
        QuantizeError: the graph cannot be quantized; names the layer.
    """
    prepared = run_passes(graph)
    ranges = calibrate(prepared, samples, progress=progress)
    return quantize_with_ranges(prepared, ranges, rounding)


def quantize_with_ranges(
    graph: Graph, ranges: Mapping[str, Range], rounding: Rounding = "tflm"
) -> Graph:
    """An integer graph of the float `graph` for these ranges of its activations.

    Raises:
        QuantizeError: a range is missing, or a layer cannot be quantized.
    """
    try:
        return round_as(prove_accumulators(_Lowering(graph, ranges).run()), rounding)
    except GraphError as error:
        raise QuantizeError(f"{graph.name}: cannot be quantized: {error}") from error


class _Lowering:
    def __init__(self, graph: Graph, ranges: Mapping[str, Range]) -> None:
        self.graph = graph
        self.ranges = ranges
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.shared = self._scales_of_concatenations()

    def run(self) -> Graph:
        for tensor in self.graph.input_tensors():
            self._put_activation(tensor, self._scale(tensor.name))
        for node in self.graph.nodes:
            self._node(node)
        return Graph.build(
            self.graph.name,
            self.tensors.values(),
            self.nodes,
            self.graph.inputs,
            self.graph.outputs,
        )

    def _scale(self, name: str) -> QuantParams:
        if name in self.shared:
            return self.shared[name]
        if name not in self.ranges:
            raise GraphError(f"'{name}' has no calibrated range")
        return range_params(self.ranges[name].low, self.ranges[name].high)

    def _put_activation(self, tensor: Tensor, quant: QuantParams) -> Tensor:
        self.tensors[tensor.name] = replace(tensor, dtype=INT8, quant=quant)
        return self.tensors[tensor.name]

    def _scales_of_concatenations(self) -> dict[str, QuantParams]:
        """Scales that inputs of concatenations take over, where nothing else fixes theirs."""
        shared: dict[str, QuantParams] = {}
        for node in reversed(self.graph.nodes):
            if not isinstance(node.op, Concatenation) or node.outputs[0] not in self.ranges:
                continue
            output = node.outputs[0]
            bounds = self.ranges[output]
            quant = shared.get(output) or range_params(bounds.low, bounds.high)
            for name in node.inputs:
                producer = self.graph.producer(name)
                free = (
                    producer is not None and getattr(producer.op, "output_rule", "") == "range"
                )
                if free and len(self.graph.consumers(name)) == 1:
                    shared[name] = quant
        return shared

    def _node(self, node: Node) -> None:
        op = node.op
        if not isinstance(op, FloatOp):
            raise GraphError(f"{node.name}: is an integer operator already")
        inputs = tuple(self._operand(name) for name in node.inputs)
        output = self._put_activation(
            self.graph.tensors[node.outputs[0]], self._output_scale(node, op, inputs)
        )
        try:
            if isinstance(op, Concatenation):
                inputs = tuple(self._to_scale_of(output, t) for t in inputs)
            inputs = op.quantize_constants(inputs)
            lowered = op.lower(inputs, (output,))
        except GraphError as error:
            raise GraphError(f"{node.name}: {error}") from error
        names = tuple(self._put_constant(node, t) for t in inputs)
        self.nodes.append(Node(lowered, names, node.outputs))

    def _operand(self, name: str) -> Tensor:
        constant = self.graph.tensors[name]
        return constant if constant.data is not None else self.tensors[name]

    def _output_scale(self, node: Node, op: FloatOp, inputs: tuple[Tensor, ...]) -> QuantParams:
        if op.output_rule == "fixed":
            assert op.fixed_output is not None
            return op.fixed_output
        if op.output_rule == "same":
            assert inputs[0].quant is not None
            return inputs[0].quant
        return self._scale(node.outputs[0])

    def _put_constant(self, node: Node, tensor: Tensor) -> str:
        """Add a constant; under another name if one of that name differs (shared weights)."""
        if tensor.data is None:
            return tensor.name
        other = self.tensors.get(tensor.name)
        if other is not None and other.quant != tensor.quant:
            tensor = replace(tensor, name=f"{node.name}/{tensor.name}")
        self.tensors[tensor.name] = tensor
        return tensor.name

    def _to_scale_of(self, output: Tensor, tensor: Tensor) -> Tensor:
        """`tensor` in the scale of `output`: itself, requantized, or a constant made int8."""
        assert output.quant is not None
        if tensor.data is not None:
            return quantize_tensor(tensor, output.quant)
        if tensor.quant == output.quant:
            return tensor
        name = f"{tensor.name}/to/{output.name}"
        rescaled = self._put_activation(replace(tensor, name=name), output.quant)
        lowered = lower_quantize(tensor, rescaled)
        if not any(name in node.outputs for node in self.nodes):
            self.nodes.append(Node(lowered, (tensor.name,), (name,)))
        return rescaled
