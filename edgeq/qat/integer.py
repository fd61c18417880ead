"""The integer operators in PyTorch: whole numbers held in float64, exact below 2**53.

Independent of the Numba kernels but for the rounding of accumulators, which is
passes/value_ranges.requantize_array, and for what an operator itself tabulates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeq.arith import doubling_high_mul, rounding_shift_right
from edgeq.fixed_point import SOFTMAX_SUM_INTEGER_BITS
from edgeq.graph import Array
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.logistic import QuantizedLogistic
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.mean import QuantizedMean
from edgeq.ops.op import IntegerOp
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.quantize import Requantize
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.softmax import QuantizedSoftmax, reciprocal_of_sum
from edgeq.passes.value_ranges import requantize_array
from edgeq.qat.real import (
    convolve,
    convolve_depthwise,
    maximum,
    spread,
    window_count,
    window_sum,
)


def _requantized(op: Any, acc: Tensor, multiplier: Any, shift: Any) -> Tensor:
    """Accumulators (..., O) rescaled, before the zero point."""
    y = requantize_array(
        acc.numpy().astype(np.int64),
        np.asarray(multiplier, np.int64),
        np.asarray(shift, np.int64),
        op.rounding,
    )
    return torch.from_numpy(y.astype(np.float64))


def _clamped(op: Any, y: Tensor) -> Tensor:
    return y.clamp(op.activation_min, op.activation_max)


def _product(op: Any, acc: Tensor, bias: Tensor) -> Tensor:
    y = _requantized(op, acc + bias, op.multiplier, op.shift)
    return _clamped(op, y + op.output_zero_point)


def _conv_2d(op: QuantizedConv2D, x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    return _product(op, convolve(x - op.input_zero_point, weights, op.window), bias)


def _depthwise(
    op: QuantizedDepthwiseConv2D, x: Tensor, weights: Tensor, bias: Tensor
) -> Tensor:
    return _product(op, convolve_depthwise(x - op.input_zero_point, weights, op.window), bias)


def _fully_connected(
    op: QuantizedFullyConnected, x: Tensor, weights: Tensor, bias: Tensor
) -> Tensor:
    return _product(op, (x - op.input_zero_point) @ weights.T, bias)


def _lookup(table: Array, x: Tensor) -> Tensor:
    """table[x + 128], table (256,)."""
    return torch.from_numpy(table.astype(np.float64))[(x + 128).long()]


def _values(op: Any, x: Tensor) -> Tensor:
    """An operator that says itself what each of 256 inputs becomes."""
    return _lookup(np.array([op.value(q) for q in range(-128, 128)]), x)


def _add(op: QuantizedAdd, a: Tensor, b: Tensor) -> Tensor:
    parts = [
        _lookup(np.array([op.rescaled(q, number) for q in range(-128, 128)]), x)
        for number, x in ((1, a), (2, b))
    ]
    y = _requantized(op, parts[0] + parts[1], op.output_multiplier, op.output_shift)
    return _clamped(op, y + op.output_zero_point)


def _average(op: QuantizedAveragePool2D, x: Tensor) -> Tensor:
    """Ties away from zero."""
    total, count = window_sum(x, op.window), window_count(x, op.window)
    magnitude = torch.floor((2 * total.abs() + count) / (2 * count))
    return _clamped(op, torch.where(total < 0, -magnitude, magnitude))


def _mean(op: QuantizedMean, x: Tensor) -> Tensor:
    acc = (x - op.input_zero_point).sum((1, 2), keepdim=op.keep_dims)
    y = _requantized(op, acc, op.multiplier, op.shift)
    return (y + op.output_zero_point).clamp(-128, 127)


def _pad(op: QuantizedPad, x: Tensor) -> Tensor:
    sides = [side for pair in reversed(op.pads[1:]) for side in pair]
    return torch.nn.functional.pad(x, sides, value=op.fill)


def _concatenation(op: QuantizedConcatenation, *xs: Tensor) -> Tensor:
    samples = max(x.shape[0] for x in xs)
    return torch.cat([spread(x, samples) for x in xs], op.axis)


@lru_cache(maxsize=4096)
def _reciprocal(total: int) -> tuple[int, int]:
    return reciprocal_of_sum(total)


def _softmax(op: QuantizedSoftmax, x: Tensor) -> Tensor:
    rows = x.reshape(-1, x.shape[-1]).long()
    table = torch.tensor(op.exp_table, dtype=torch.int64)
    exps = table[rows - rows.max(1, keepdim=True).values + 255].tolist()
    out = []
    for row in exps:
        reciprocal, over = _reciprocal(
            sum(rounding_shift_right(e, SOFTMAX_SUM_INTEGER_BITS) for e in row)
        )
        shift = min(over + 31 - 8, 31)
        y = [rounding_shift_right(doubling_high_mul(reciprocal, e), shift) - 128 for e in row]
        out.append([min(max(v, -128), 127) for v in y])
    return torch.tensor(out, dtype=torch.float64).reshape(x.shape)


INTEGER: MappingProxyType[type[IntegerOp], Callable[..., Tensor]] = MappingProxyType(
    {
        QuantizedConv2D: _conv_2d,
        QuantizedDepthwiseConv2D: _depthwise,
        QuantizedFullyConnected: _fully_connected,
        QuantizedAdd: _add,
        QuantizedAveragePool2D: _average,
        QuantizedMaxPool2D: lambda op, x: _clamped(op, maximum(x, op.window)),
        QuantizedMean: _mean,
        QuantizedPad: _pad,
        QuantizedConcatenation: _concatenation,
        QuantizedReshape: lambda op, x: x.reshape(x.shape[0], *op.shape[1:]),
        QuantizedSoftmax: _softmax,
        QuantizedLogistic: lambda op, x: _lookup(np.array(op.table), x),
        QuantizedRelu: _values,
        Requantize: _values,
    }
)
"""What computes an integer operator: (op, operands...) -> output, float64."""
