"""FULLY_CONNECTED: filter OI over the last axis; leading axes are kept.

Twin: firmware_gen/kernels/fully_connected.h and fully_connected.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgeq.arith import Rounding, clamp, requantize_by
from edgeq.arith_jit import code_of
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.activation import NO_MAX, NO_MIN, clamp_float
from edgeq.ops.op import FloatOp, IntegerOp
from edgeq.ops.overlap import rows_overlap
from edgeq.ops.product import (
    check_product,
    lower_product,
    per_channel,
    rounded_product,
    verify_weights,
)
from edgeq.ops.product_jit import dot_row, folded_bias, requantize_row
from edgeq.ops.weights import filter_channels, quantize_filter_tensors


def _output_shape(*shapes: Shape) -> tuple[Shape, ...]:
    x, weights, *bias = shapes
    if len(weights) != 2:
        raise GraphError(f"filter shape is {weights}, must be (O, I)")
    if x[-1] != weights[1]:
        raise GraphError(f"input has {x[-1]} features, filter wants {weights[1]}")
    filter_channels("fully_connected", weights[0], bias[0] if bias else None)
    return ((*x[:-1], weights[0]),)


@dataclass(frozen=True, slots=True)
class FullyConnected(FloatOp):
    """Matrix product of float tensors: input, filter, bias (optional)."""

    name = "fully_connected"
    activation_min: float = NO_MIN
    activation_max: float = NO_MAX

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(..., I), (O, I)[, (O,)] -> (..., O)."""
        return _output_shape(*shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """X @ filter.T + bias."""
        x, weights, *bias = arrays
        y = x @ weights.T
        if bias:
            y = y + bias[0]
        return (clamp_float(y, self.activation_min, self.activation_max),)

    def quantize_constants(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Filter symmetric per output channel, bias int32."""
        return quantize_filter_tensors(inputs, axis=0)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """M = s_input * s_filter / s_output; product in float32 if the filter has one scale.

        TFLM: micro/kernels/fully_connected_common.cc, CalculateOpDataFullyConnected.
        """
        quant = inputs[1].quant
        one_scale = quant is not None and len(quant.scale) == 1
        fused = self.activation_min, self.activation_max
        return QuantizedFullyConnected(
            *lower_product(inputs, outputs[0], fused, float32_product=one_scale)
        )


@dataclass(frozen=True, slots=True)
class QuantizedFullyConnected(IntegerOp):
    """q3 = z3 + M * (bias + sum((q1 - z1) * q2)), clamped."""

    name = "fully_connected"
    input_zero_point: int
    output_zero_point: int
    activation_min: int
    activation_max: int
    multiplier: tuple[int, ...]  # (O,), or (1,) if one serves all channels
    shift: tuple[int, ...]  # as multiplier
    rounding: Rounding = "tflm"

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(..., I), (O, I), (O,) -> (..., O)."""
        check_product("fully_connected", shapes, 0, self.multiplier, self.shift)
        return _output_shape(*shapes)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8 input, filter and output, int32 bias; filter and bias constant."""
        IntegerOp.verify_types(self, inputs, outputs)
        verify_weights(inputs)

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """In `shift`, M0 has the bits that the accumulators of the filter leave."""
        weights = inputs[1].data
        assert weights is not None  # verify_weights
        rows = weights
        return replace(self, **rounded_product(self, rounding, rows, inputs[2]))

    def macs(self, *shapes: Shape) -> int:
        """One per filter entry and row of the input."""
        return int(np.prod(shapes[0][:-1])) * int(np.prod(shapes[1]))

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Row by row; one row is disjoint from its input."""
        x, weights = shapes[:2]
        rows = math.prod(x[:-1])
        return rows_overlap(weights[0], range(0, rows * weights[1], weights[1]))

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Row by row."""
        x, weights, bias = arrays
        rows = x.reshape(-1, x.shape[-1]).tolist()
        out = np.empty((len(rows), weights.shape[0]), np.int8)
        for r, row in enumerate(rows):
            for o, taps in enumerate(weights.tolist()):
                acc = int(bias[o])
                for q1, q2 in zip(row, taps, strict=True):
                    acc += (q1 - self.input_zero_point) * q2
                m = o if len(self.multiplier) > 1 else 0
                y = requantize_by(self.rounding, acc, self.multiplier[m], self.shift[m])
                y += self.output_zero_point
                out[r, o] = clamp(y, self.activation_min, self.activation_max)
        return (out.reshape(*x.shape[:-1], weights.shape[0]),)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """The rows as they are; the zero point is folded into the bias."""
        x, weights, bias = inputs
        channels, depth = weights.shape
        return partial(
            fully_connected_kernel,
            x.reshape(-1, depth),
            np.ascontiguousarray(weights),
            folded_bias(bias, weights, self.input_zero_point),
            code_of(self.rounding),
            self.output_zero_point,
            self.activation_min,
            self.activation_max,
            per_channel(self.multiplier, channels),
            per_channel(self.shift, channels),
            np.empty(channels, np.int32),
            outputs[0].reshape(-1, channels),
        )


@kernel
def fully_connected_kernel(
    x: Array,  # (R, I) int8
    weights: Array,  # (O, I) int8
    bias: Array,  # (O,) int32, folded_bias
    rounding: int,
    output_zero_point: int,
    activation_min: int,
    activation_max: int,
    multiplier: Array,  # (O,) int32
    shift: Array,  # (O,) int32
    acc: Array,  # (O,) int32, private
    out: Array,  # (R, O) int8
) -> None:
    """QuantizedFullyConnected on the rows of x."""
    for r in range(x.shape[0]):
        dot_row(x[r], weights, bias, acc)
        requantize_row(
            rounding,
            acc,
            multiplier,
            shift,
            output_zero_point,
            activation_min,
            activation_max,
            out[r],
        )
