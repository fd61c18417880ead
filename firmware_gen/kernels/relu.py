"""RELU and RELU6 in C. Twin of edgeq/ops/relu.py."""

from __future__ import annotations

import math

from edgeq.ops.relu import QuantizedRelu
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, all_parameters, no_scratch


def emit(op: QuantizedRelu, layer: Layer) -> LayerCode:
    """The fields of the operator."""
    return LayerCode(
        function="edgeq_relu",
        parameters={
            **all_parameters(op),
            "count": math.prod(layer.inputs[0].shape),
        },
        calls=((layer.read(0), layer.write()),),
    )


KERNEL = Kernel("relu.h", emit, no_scratch)
