"""The table of C kernels, one entry an integer operator, and the headers that they need."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

from edgeq.errors import GraphError
from edgeq.ops import IntegerOp
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.conv_add import QuantizedConvAdd
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.logistic import QuantizedLogistic
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.mean import QuantizedMean
from edgeq.ops.move import Move
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.quantize import QuantizeFloat, Requantize
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.softmax import QuantizedSoftmax
from firmware_gen.kernels import (
    add,
    average_pool_2d,
    concatenation,
    conv_2d,
    conv_add,
    conv_depthwise,
    depthwise_conv_2d,
    dequantize,
    fully_connected,
    logistic,
    max_pool_2d,
    mean,
    move,
    pad,
    quantize,
    relu,
    reshape,
    softmax,
)
from firmware_gen.kernels.kernel import Kernel

KERNELS: MappingProxyType[type[IntegerOp], Kernel] = MappingProxyType(
    {
        QuantizedConv2D: conv_2d.KERNEL,
        QuantizedDepthwiseConv2D: depthwise_conv_2d.KERNEL,
        QuantizedFullyConnected: fully_connected.KERNEL,
        QuantizedAdd: add.KERNEL,
        QuantizedAveragePool2D: average_pool_2d.KERNEL,
        QuantizedMaxPool2D: max_pool_2d.KERNEL,
        QuantizedMean: mean.KERNEL,
        QuantizedPad: pad.KERNEL,
        QuantizedConcatenation: concatenation.KERNEL,
        QuantizedReshape: reshape.KERNEL,
        QuantizedSoftmax: softmax.KERNEL,
        QuantizedLogistic: logistic.KERNEL,
        QuantizedRelu: relu.KERNEL,
        QuantizeFloat: quantize.KERNEL_FLOAT,
        Requantize: quantize.KERNEL_INTEGER,
        Dequantize: dequantize.KERNEL,
        Move: move.KERNEL,
        QuantizedConvDepthwise: conv_depthwise.KERNEL,
        QuantizedConvAdd: conv_add.KERNEL,
    }
)

_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def kernels_folder() -> Path:
    """Where the C headers are."""
    return Path(__file__).parent


def kernel_of(op: object) -> Kernel:
    """The C kernel of an operator.

    Raises:
        GraphError: it has none, as a float operator.
    """
    for kind, kernel in KERNELS.items():
        if type(op) is kind:
            return kernel
    raise GraphError(
        f"{type(op).__name__} has no C kernel; firmware is made of a quantized graph "
        "(`edgeq quantize`)"
    )


def headers_with_includes(names: Iterable[str]) -> list[str]:
    """These headers and all that they include, sorted."""
    wanted, found = list(names), set[str]()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            text = (kernels_folder() / name).read_text(encoding="utf-8")
            wanted += _INCLUDE.findall(text)
    return sorted(found)


__all__ = ["KERNELS", "Kernel", "headers_with_includes", "kernel_of", "kernels_folder"]
