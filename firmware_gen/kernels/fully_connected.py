"""FULLY_CONNECTED in C: the zero point folded into the bias.

Twin of edgeq/ops/fully_connected.py.
"""

from __future__ import annotations

import math

from edgeq.ops.fully_connected import QuantizedFullyConnected
from firmware_gen.kernels.kernel import (
    BIAS_NOTE,
    Constant,
    Kernel,
    Layer,
    LayerCode,
    folded_bias,
    multiplier_constants,
    no_scratch,
    product_parameters,
)


def emit(op: QuantizedFullyConnected, layer: Layer) -> LayerCode:
    """Filter OI as it is."""
    weights, bias = layer.inputs[1].data, layer.inputs[2].data
    assert weights is not None
    assert bias is not None
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", weights, f"OI {weights.shape}"),
            Constant("bias", "int32_t", folded_bias(op, bias, weights), BIAS_NOTE),
            *multiplier_constants(op),
        ),
        function="edgeq_fully_connected",
        parameters={
            **product_parameters(op, layer),
            "rows": math.prod(layer.inputs[0].shape[:-1]),
            "input_channels": weights.shape[1],
            "output_channels": weights.shape[0],
        },
        calls=((layer.read(0), layer.own("filter"), layer.own("bias"), layer.write()),),
    )


KERNEL = Kernel("fully_connected.h", emit, no_scratch)
