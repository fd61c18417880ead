"""Interval analysis: which values each element of each activation can take.

An operator of RISING never falls when an input rises (its multiplier is not negative), so the
ends of its inputs give the ends of its output. A filter is summed by the sign of each weight.
Any other operator is taken to reach everything. Padding is seen element by element: the border
of an image has ranges of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from edgeq.arith import INT8_MAX, INT8_MIN, Rounding
from edgeq.graph import Array, Graph, Node, Tensor
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.logistic import QuantizedLogistic
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.mean import QuantizedMean
from edgeq.ops.op import FLOAT32, UINT8, IntegerOp
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.product import per_channel
from edgeq.ops.quantize import QuantizeFloat, Requantize
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape
from edgeq.passes.products import PRODUCTS, ProductOp

ELEMENTWISE = (
    QuantizedAdd,
    QuantizedRelu,
    QuantizedLogistic,
    QuantizeFloat,
    Requantize,
    Dequantize,
)
RISING = (
    *ELEMENTWISE,
    QuantizedAveragePool2D,
    QuantizedConcatenation,
    QuantizedMaxPool2D,
    QuantizedMean,
    QuantizedPad,
    QuantizedReshape,
)
_MULTIPLIERS = ("multiplier", "input1_multiplier", "input2_multiplier", "output_multiplier")


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """Bounds of a tensor: low <= value <= high, element by element, both included."""

    low: Array  # of the tensor's shape and type
    high: Array  # as low

    @property
    def is_constant(self) -> bool:
        """Whether every element has only one value."""
        return bool(np.array_equal(self.low, self.high))

    def of_channels(self) -> tuple[Array, Array]:
        """(C,) lowest and (C,) highest value of each index of the last axis."""
        channels = self.low.shape[-1]
        low, high = self.low.reshape(-1, channels), self.high.reshape(-1, channels)
        return low.min(0), high.max(0)

    def constant_channels(self) -> tuple[Array, Array]:
        """(C,) whether a channel has one value, everywhere and always; (C,) that value."""
        low, high = self.of_channels()
        return low == high, low


def value_ranges(graph: Graph) -> Mapping[str, Range]:
    """The range of every tensor of an integer graph whose inputs may take any value.

    No accumulator may overflow (prove_accumulators).
    """
    ranges = {tensor.name: _anything(tensor) for tensor in graph.input_tensors()}
    for tensor in graph.tensors.values():
        if tensor.data is not None:
            ranges[tensor.name] = Range(tensor.data, tensor.data)
    for node in graph.nodes:
        inputs = [ranges[name] for name in node.inputs]
        ranges[node.name] = _range_of(node, inputs, graph.tensors[node.name])
    return ranges


def accumulator_range(op: ProductOp, x: Range, weights: Array, bias: Array) -> Range:
    """The range, int64, of the accumulators in the output's shape."""
    # In float64, which holds every partial sum: all are below 2**31 (prove_accumulators).
    low, high = (end.astype(np.float64) - op.input_zero_point for end in (x.low, x.high))
    rising = np.maximum(weights, 0).astype(np.float64)
    falling = np.minimum(weights, 0).astype(np.float64)
    least = _products(op, low, rising) + _products(op, high, falling) + bias
    most = _products(op, high, rising) + _products(op, low, falling) + bias
    return Range(least.astype(np.int64), most.astype(np.int64))


def elementwise(op: IntegerOp, *arrays: Array) -> Array:
    """The output of an element-wise operator; each combination of values is computed once."""
    same = np.broadcast_arrays(*arrays)
    rows = np.stack([x.ravel() for x in same])
    columns, inverse = np.unique(rows, axis=1, return_inverse=True)
    (y,) = op.reference(*(row[np.newaxis] for row in columns))
    found: Array = y.ravel()[inverse.ravel()].reshape(same[0].shape)
    return found


def _anything(tensor: Tensor) -> Range:
    low, high = (0, 255) if tensor.dtype == UINT8 else (INT8_MIN, INT8_MAX)
    ends = (-np.inf, np.inf) if tensor.dtype == FLOAT32 else (low, high)
    return Range(*(np.full(tensor.shape, end, tensor.dtype) for end in ends))


def _range_of(node: Node, inputs: list[Range], output: Tensor) -> Range:
    op = cast(IntegerOp, node.op)
    if any(np.min(getattr(op, name, 0)) < 0 for name in _MULTIPLIERS):
        return _anything(output)
    if isinstance(op, PRODUCTS):
        acc = accumulator_range(op, inputs[0], inputs[1].low, inputs[2].low)
        return Range(_requantized(op, acc.low), _requantized(op, acc.high))
    if not isinstance(op, RISING):
        return _anything(output)
    return Range(_run(op, [r.low for r in inputs]), _run(op, [r.high for r in inputs]))


def _run(op: IntegerOp, arrays: list[Array]) -> Array:
    """The operator's output, of what is too slow in plain Python by numpy."""
    if isinstance(op, ELEMENTWISE):
        return elementwise(op, *arrays)
    if isinstance(op, QuantizedMaxPool2D):
        highest = op.window.patches(arrays[0], INT8_MIN).max((3, 4))
        return _clamped(highest, op.activation_min, op.activation_max)
    if isinstance(op, QuantizedAveragePool2D):
        total = op.window.patches(arrays[0].astype(np.int64), 0).sum((3, 4))
        count = op.window.patches(np.ones_like(arrays[0], np.int64), 0).sum((3, 4))
        magnitude = (2 * np.abs(total) + count) // (2 * count)
        return _clamped(np.sign(total) * magnitude, op.activation_min, op.activation_max)
    return op.reference(*arrays)[0]


def _products(op: ProductOp, x: Array, weights: Array) -> Array:
    """Sums of x * weights, where padding is 0."""
    if isinstance(op, QuantizedConv2D):
        patches = op.window.patches(x, 0.0)
        rows = patches.reshape(*patches.shape[:3], -1)
        return np.asarray(rows @ weights.reshape(weights.shape[0], -1).T)
    if isinstance(op, QuantizedDepthwiseConv2D):
        repeated = np.repeat(x, weights.shape[2] // x.shape[3], axis=3)
        return np.asarray((op.window.patches(repeated, 0.0) * weights).sum((3, 4)))
    return np.asarray(x @ weights.T)


def _requantized(op: ProductOp, acc: Array) -> Array:
    channels = acc.shape[-1]
    multiplier = per_channel(op.multiplier, channels).astype(np.int64)
    shift = np.where(multiplier == 0, 0, per_channel(op.shift, channels))
    y = requantize_array(acc, multiplier, shift, op.rounding) + op.output_zero_point
    return _clamped(y, op.activation_min, op.activation_max)


def requantize_array(
    acc: Array, multiplier: Array, shift: Array, rounding: Rounding = "tflm"
) -> Array:
    """arith.requantize_by of int64 accumulators and multipliers."""
    shift = shift.astype(np.int64)  # in the int32 of an operator's fields, 1 << 31 would wrap
    if rounding != "tflm":
        right = -shift if rounding == "shift" else 31 - shift
        rounded: Array = (acc * multiplier + ((1 << right) >> 1)) >> right
        return rounded
    high = ((acc << np.maximum(shift, 0)) * multiplier + (1 << 30)) >> 31
    right = np.maximum(-shift, 0)
    magnitude = (np.abs(high) + ((1 << right) >> 1)) >> right
    y: Array = np.where(high >= 0, magnitude, -magnitude)
    return y


def _clamped(y: Array, low: int, high: int) -> Array:
    clipped: Array = np.clip(y, low, high).astype(np.int8)
    return clipped
