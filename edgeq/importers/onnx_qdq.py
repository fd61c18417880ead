"""Quantized ONNX in QDQ form: the scales of QuantizeLinear and DequantizeLinear are noted.

The float operators between them are read as any others; what is noted of a tensor pins its
integers, and importers/pinned.py makes the integer graph of it. Meanings: the ONNX operator
specification, QuantizeLinear. uint8 is int8 with a zero point that is 128 less.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgeq.errors import GraphError
from edgeq.graph import Array, QuantParams
from edgeq.importers.onnx_graph import GraphBuilder
from edgeq.importers.onnx_node import Activation, OnnxNode, Refused, Value
from edgeq.ops.activation import NO_MAX, NO_MIN
from edgeq.ops.relu import Relu

FILTERED = frozenset({"Conv", "Gemm", "MatMul"})
_PASSING = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})


@dataclass(frozen=True, slots=True)
class Dequantized:
    """An integer constant of the file."""

    q: Array  # in the file's layout, less the zero point
    scale: Array  # () or (O,), float32


@dataclass(frozen=True, slots=True)
class FilterPin:
    """What the file says of a layer's filter and bias."""

    scale: tuple[float, ...]  # of the filter: one, or one an output channel
    bias: Array | None  # (O,) int32 as stored; None: none, or in float
    bias_scale: tuple[float, ...] = ()


@dataclass(slots=True)
class Pins:
    """Scales by tensor of the graph, and of filters by the filter's name there."""

    activations: dict[str, QuantParams] = field(default_factory=dict)
    filters: dict[str, FilterPin] = field(default_factory=dict)
    constants: dict[str, Dequantized] = field(default_factory=dict)  # by ONNX name

    def read(self, node: OnnxNode, builder: GraphBuilder) -> Value:
        """QuantizeLinear or DequantizeLinear."""
        scale, zero_point = _scale(node), node.optional(2, "the zero point")
        value = node.inputs[0]
        if not isinstance(value, Activation):
            return self._constant(node, scale, zero_point)
        quant = _params(scale, zero_point)
        pinned = self.activations.get(value.tensor)
        tensor = value.tensor
        if node.op_type == "DequantizeLinear":
            if pinned is None:
                raise Refused(
                    "reads integers that no QuantizeLinear made; export the float model and "
                    "quantize it here"
                )
            if pinned != quant:
                raise Refused(f"reads integers of {pinned}, says {quant}")
        elif pinned is not None and pinned != quant:
            tensor = builder.emit(Relu(NO_MIN, NO_MAX), (tensor,), node.name)
        self.activations.setdefault(tensor, quant)
        return Activation(tensor, value.layout, is_exclusive=False)

    def _constant(self, node: OnnxNode, scale: Array, zero_point: Array | None) -> Array:
        data = node.constant(0, "the input")
        axis = _aligned(node, data, scale)
        zero = np.zeros((), np.int64) if zero_point is None else zero_point.astype(np.int64)
        zero = zero.reshape(axis) if zero.ndim else zero
        if node.op_type == "QuantizeLinear":
            dtype = np.dtype(np.uint8) if zero_point is None else zero_point.dtype
            limits = np.iinfo(dtype)
            q = np.rint(data / scale.reshape(axis)) + zero
            return np.asarray(np.clip(q, limits.min, limits.max).astype(dtype))
        if data.dtype.kind not in "iu":
            raise Refused(f"its input is {data.dtype}, must be integers")
        q = data.astype(np.int64) - zero
        self.constants[node.outputs[0]] = Dequantized(q, scale)
        return (q * scale.reshape(axis).astype(np.float64)).astype(np.float32)

    def note(
        self, op_type: str, inputs: tuple[str, ...], output: str, builder: GraphBuilder
    ) -> None:
        """After a node is read: keep what is known of its constants.

        Raises:
            Refused: the operator has an integer constant that is no filter or bias.
        """
        known = [self.constants.get(name) for name in inputs]
        if not any(known):
            return
        if op_type in _PASSING and known[0] is not None:
            self.constants[output] = known[0]
        elif op_type in FILTERED and len(known) > 1 and known[0] is None:
            if (weights := known[1]) is None:
                raise Refused("its bias is quantized, its filter is not")
            bias = known[2] if len(known) > 2 else None
            _check_filter(weights)
            name = builder.nodes[-1].inputs[1]
            self.filters[name] = FilterPin(
                tuple(float(s) for s in weights.scale.ravel()),
                None if bias is None else bias.q.ravel(),
                () if bias is None else tuple(float(s) for s in bias.scale.ravel()),
            )
        elif op_type not in ("QuantizeLinear", "DequantizeLinear"):
            raise Refused(
                "has a quantized constant; only filters and biases of Conv, Gemm and MatMul may"
            )


def _check_filter(weights: Dequantized) -> None:
    if weights.q.min() < -128 or weights.q.max() > 127:
        raise Refused(
            f"its filter reaches from {weights.q.min()} to {weights.q.max()} about its zero "
            "point, must fit int8; quantize the weights symmetric (weight_type=QInt8)"
        )


def _scale(node: OnnxNode) -> Array:
    scale = node.weights(1, "the scale")
    if scale.ndim > 1 or not (scale > 0).all():
        raise Refused(f"scale is {scale.tolist()}, must be positive, one or one a channel")
    return scale.reshape(()) if scale.size == 1 else scale


def _aligned(node: OnnxNode, data: Array, scale: Array) -> tuple[int, ...]:
    """The shape in which scales of an axis meet the constant."""
    if scale.ndim == 0:
        return ()
    axis = node.axis(node.integer("axis", 1), data.ndim)
    if data.shape[axis] != scale.size:
        raise Refused(f"{scale.size} scales for axis {axis} of {data.shape}")
    return tuple(scale.size if a == axis else 1 for a in range(data.ndim))


def _params(scale: Array, zero_point: Array | None) -> QuantParams:
    """The scale and the int8 zero point of an activation."""
    if scale.ndim or (zero_point is not None and zero_point.size != 1):
        raise Refused("quantizes an activation per channel, must be per tensor")
    dtype = np.dtype(np.uint8) if zero_point is None else zero_point.dtype
    if dtype not in (np.int8, np.uint8):
        raise Refused(f"quantizes an activation to {dtype}, must be int8 or uint8")
    value = 0 if zero_point is None else int(zero_point.item())
    try:
        return QuantParams((float(scale),), value - (128 if dtype == np.uint8 else 0))
    except GraphError as error:
        raise Refused(str(error)) from None
