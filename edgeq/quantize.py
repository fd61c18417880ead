"""Post-training quantization: float graph + ranges -> integer graph.

Each operator says how its output gets a scale (FloatOp.output_rule), how its constants become
integers (quantize_constants) and which integer operator it is then (lower). This module walks
the graph, and puts a QUANTIZE where a concatenation's input has another scale than its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeq.arith import Rounding
from edgeq.calibrate import CalibrationProgress, Range, calibrate
from edgeq.correction import (
    SAMPLES,
    after_calibration,
    before_calibration,
    parse_corrections,
)
from edgeq.errors import GraphError, QuantizeError
from edgeq.graph import Graph, Node, QuantParams, Tensor
from edgeq.grids import activation_grids
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.op import FloatOp
from edgeq.ops.quantize import lower_quantize
from edgeq.ops.weights import TINY_RANGE, quantize_tensor
from edgeq.passes import run_passes
from edgeq.passes.prove_accumulators import prove_accumulators
from edgeq.passes.round_as import round_as
from edgeq.passes.round_filters import round_filters
from edgeq.samples import Samples, SampleStream
from edgeq.scheme import MOST_BITS, Scheme

INT8 = np.dtype(np.int8)
DEFAULT_METHOD = "mse"
FEW = 4  # names listed in a note

Note = Callable[[str], None]  # takes a line for the user


def quantize(
    graph: Graph,
    samples: Samples | SampleStream,
    *,
    method: str | Iterable[str] = DEFAULT_METHOD,
    scheme: Scheme | None = None,
    correct: str | Iterable[str] | None = None,
    rounding: Rounding = "tflm",
    progress: CalibrationProgress | None = None,
    note: Note = lambda text: None,
) -> Graph:
    """An integer graph of the float `graph`, calibrated over `samples`.

    `method`: how ranges are chosen, as in calibrate.calibrate; `scheme`: the kinds of grids and
    the bits of filters; `correct`: what is done against the loss (correction.CORRECTIONS),
    None: default_corrections. `rounding` is the profile of requantization (docs/numerics.md).
    Inputs and outputs of the result are int8. `note` is told what was done and what deserves
    attention: a set of one sample, constant activations, filters of nothing but zeros.

    Raises:
        DataError: the samples do not fit the graph's inputs, or hold NaN.
        QuantizeError: the graph cannot be quantized; names the layer.
    """
    calibrated = calibrate_and_rewrite(
        graph,
        samples,
        method=method,
        scheme=scheme,
        correct=correct,
        progress=progress,
        note=note,
    )
    return calibrated.quantized(correct=correct, rounding=rounding, progress=progress)


def default_corrections(scheme: Scheme) -> str:
    """What is done against the loss where nobody says."""
    return "bias-analytic" if scheme.weight_bits == MOST_BITS else "rounding,bias"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A float network that is ready for its grids: what several quantizations may share."""

    graph: Graph  # float, rewritten: the function that the integers stand for
    ranges: Mapping[str, Range]
    stream: SampleStream
    scheme: Scheme

    def quantized(
        self,
        *,
        scheme: Scheme | None = None,
        correct: str | Iterable[str] | None = None,
        rounding: Rounding = "tflm",
        progress: CalibrationProgress | None = None,
    ) -> Graph:
        """The integer graph, after those of `correct` that come after calibration.

        `scheme` may have other bits than the one calibrated for.

        Raises:
            QuantizeError: the graph cannot be quantized; names the layer.
        """
        scheme = scheme or self.scheme
        names = parse_corrections(default_corrections(scheme) if correct is None else correct)
        corrected = after_calibration(
            self.graph, self.ranges, self.stream, scheme, names, progress
        )
        return quantize_with_ranges(corrected, self.ranges, rounding, scheme=scheme)


def calibrate_and_rewrite(
    graph: Graph,
    samples: Samples | SampleStream,
    *,
    method: str | Iterable[str] = DEFAULT_METHOD,
    scheme: Scheme | None = None,
    correct: str | Iterable[str] | None = None,
    progress: CalibrationProgress | None = None,
    note: Note = lambda text: None,
) -> Calibrated:
    """The first half of `quantize`, with the same arguments and errors."""
    scheme = scheme or Scheme()
    names = parse_corrections(default_corrections(scheme) if correct is None else correct)
    prepared = run_passes(graph)
    check_constants(prepared, note)
    stream = samples if isinstance(samples, SampleStream) else SampleStream(prepared, samples)
    stream.keep = SAMPLES
    prepared = before_calibration(prepared, stream, scheme, names, note)
    ranges = calibrate(
        prepared, stream, method=method, symmetric=scheme.is_symmetric, progress=progress
    )
    check_calibration(ranges, stream, note)
    return Calibrated(prepared, ranges, stream, scheme)


def quantize_with_ranges(
    graph: Graph,
    ranges: Mapping[str, Range],
    rounding: Rounding = "tflm",
    *,
    scheme: Scheme | None = None,
) -> Graph:
    """An integer graph of the float `graph` for these ranges of its activations.

    Raises:
        QuantizeError: a range is missing, or a layer cannot be quantized.
    """
    scheme = scheme or Scheme()
    try:
        grids = activation_grids(graph, ranges, symmetric=scheme.is_symmetric)
        lowered = _Lowering(round_filters(graph, scheme), grids).run()
        return round_as(prove_accumulators(lowered), rounding)
    except GraphError as error:
        raise QuantizeError(f"{graph.name}: cannot be quantized: {error}") from error


def check_constants(graph: Graph, note: Note) -> None:
    """Refuse constants that are no numbers, and note filters of nothing but zeros.

    Raises:
        QuantizeError: names the constant that holds NaN or infinite values.
    """
    filters = []
    for node in graph.nodes:
        for position, tensor in enumerate(graph.tensors_of(node.inputs)):
            if tensor.data is None:
                continue
            if not np.isfinite(tensor.data).all():
                raise QuantizeError(
                    f"{node.name}: '{tensor.name}' holds NaN or infinite values; "
                    "the network must be trained or exported anew"
                )
            if position == 1 and len(tensor.shape) > 1:
                filters.append(tensor)
    zeros = [tensor.name for tensor in filters if not tensor.data.any()]  # type: ignore[union-attr]
    if zeros and len(zeros) == len(filters):
        note(f"{graph.name}: every filter is zero: the network cannot have been trained")
    elif zeros:
        note(f"{graph.name}: filters of nothing but zeros: {_listed(zeros)}")


def check_calibration(ranges: Mapping[str, Range], stream: SampleStream, note: Note) -> None:
    """Note a set of one sample, and activations that never change."""
    if stream.count == 1:
        note("calibrated on one sample: its ranges stand for no other; some 100 are usual")
    constant = [name for name, r in ranges.items() if r.high - r.low < TINY_RANGE]
    if constant:
        note(f"constant over all samples: {_listed(constant)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(f"'{name}'" for name in names[:FEW]) + more


class _Lowering:
    def __init__(self, graph: Graph, grids: Mapping[str, QuantParams]) -> None:
        self.graph = graph
        self.grids = grids
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []

    def run(self) -> Graph:
        for tensor in self.graph.input_tensors():
            self._put_activation(tensor, self.grids[tensor.name])
        for node in self.graph.nodes:
            self._node(node)
        return Graph.build(
            self.graph.name,
            self.tensors.values(),
            self.nodes,
            self.graph.inputs,
            self.graph.outputs,
        )

    def _put_activation(self, tensor: Tensor, quant: QuantParams) -> Tensor:
        self.tensors[tensor.name] = replace(tensor, dtype=INT8, quant=quant)
        return self.tensors[tensor.name]

    def _node(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, FloatOp)
        inputs = tuple(self._operand(name) for name in node.inputs)
        output = self._put_activation(
            self.graph.tensors[node.outputs[0]], self.grids[node.name]
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
