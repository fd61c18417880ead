"""The float operators in PyTorch, differentiable: NHWC activations, the graph's own layouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import AveragePool2D
from edgeq.ops.concatenation import Concatenation
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.max_pool_2d import MaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.op import FloatOp
from edgeq.ops.pad import Pad
from edgeq.ops.relu import Relu
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.window import Window


def padded(x: Tensor, window: Window, value: float) -> Tensor:
    """(N, H, W, C) -> (N, C, H', W') with the window's padding."""
    sides = (window.pad_left, window.pad_right, window.pad_top, window.pad_bottom)
    return functional.pad(x.permute(0, 3, 1, 2), sides, value=value)


def slide(x: Tensor, weights: Tensor, window: Window, groups: int) -> Tensor:
    """A convolution without bias: x (N, C, H, W) padded, weights OIHW -> NHWC."""
    y = functional.conv2d(
        x,
        weights,
        None,
        (window.stride_h, window.stride_w),
        0,
        (window.dilation_h, window.dilation_w),
        groups,
    )
    return y.permute(0, 2, 3, 1)


def convolve(x: Tensor, weights: Tensor, window: Window) -> Tensor:
    """CONV_2D without bias, OHWI."""
    return slide(padded(x, window, 0.0), weights.permute(0, 3, 1, 2), window, 1)


def convolve_depthwise(x: Tensor, weights: Tensor, window: Window) -> Tensor:
    """DEPTHWISE_CONV_2D without bias, HWC."""
    filters = weights.permute(2, 0, 1).unsqueeze(1)
    return slide(padded(x, window, 0.0), filters, window, x.shape[3])


def maximum(x: Tensor, window: Window) -> Tensor:
    """The largest value in each window; padding is none."""
    y = functional.max_pool2d(
        padded(x, window, -math.inf),
        (window.filter_h, window.filter_w),
        (window.stride_h, window.stride_w),
        0,
        (window.dilation_h, window.dilation_w),
    )
    return y.permute(0, 2, 3, 1)


def window_sum(x: Tensor, window: Window) -> Tensor:
    """The sum over each window; padding counts as 0."""
    ones = torch.ones((window.filter_h, window.filter_w, x.shape[3]), dtype=x.dtype)
    return convolve_depthwise(x, ones, window)


def window_count(x: Tensor, window: Window) -> Tensor:
    """The taps of each window that lie in the image."""
    return window_sum(torch.ones((1, *x.shape[1:3], 1), dtype=x.dtype), window)


def spread(x: Tensor, samples: int) -> Tensor:
    """A constant (1, ...) repeated for each sample."""
    return x.expand(samples, *x.shape[1:])


def _clamped(y: Tensor, op: Any) -> Tensor:
    return y.clamp(op.activation_min, op.activation_max)


def _product(y: Tensor, op: Any, bias: tuple[Tensor, ...]) -> Tensor:
    return _clamped(y + bias[0] if bias else y, op)


def _concatenate(op: Any, *xs: Tensor) -> Tensor:
    samples = max(x.shape[0] for x in xs)
    return torch.cat([spread(x, samples) for x in xs], op.axis)


def _padded_axes(op: Any, x: Tensor, value: float = 0.0) -> Tensor:
    sides = [side for pair in reversed(op.pads[1:]) for side in pair]
    return functional.pad(x, sides, value=value)


REAL: MappingProxyType[type[FloatOp], Callable[..., Tensor]] = MappingProxyType(
    {
        Conv2D: lambda op, x, w, *b: _product(convolve(x, w, op.window), op, b),
        DepthwiseConv2D: lambda op, x, w, *b: _product(
            convolve_depthwise(x, w, op.window), op, b
        ),
        FullyConnected: lambda op, x, w, *b: _product(x @ w.T, op, b),
        Add: lambda op, a, b: _clamped(a + b, op),
        AveragePool2D: lambda op, x: _clamped(
            window_sum(x, op.window) / window_count(x, op.window), op
        ),
        MaxPool2D: lambda op, x: _clamped(maximum(x, op.window), op),
        Mean: lambda op, x: x.mean((1, 2), keepdim=op.keep_dims),
        Pad: _padded_axes,
        Concatenation: _concatenate,
        Reshape: lambda op, x: x.reshape(x.shape[0], *op.shape[1:]),
        Softmax: lambda op, x: torch.softmax(x * op.beta, -1),
        Logistic: lambda op, x: torch.sigmoid(x),
        Relu: lambda op, x: _clamped(x, op),
    }
)
"""What computes a float operator: (op, operands...) -> output."""
