"""CONV_2D in C: the zero point folded into the bias. Twin of edgeq/ops/conv_2d.py."""

from __future__ import annotations

from edgeq.ops.conv_2d import QuantizedConv2D
from firmware_gen.kernels.kernel import (
    BIAS_NOTE,
    Constant,
    Kernel,
    Layer,
    LayerCode,
    folded_bias,
    image_of,
    multiplier_constants,
    no_scratch,
    product_parameters,
    window_of,
)


def emit(op: QuantizedConv2D, layer: Layer) -> LayerCode:
    """Filter OHWI as it is."""
    weights, bias = layer.inputs[1].data, layer.inputs[2].data
    assert weights is not None
    assert bias is not None
    rows = weights.reshape(weights.shape[0], -1)
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", weights, f"OHWI {weights.shape}"),
            Constant("bias", "int32_t", folded_bias(op, bias, rows), BIAS_NOTE),
            *multiplier_constants(op),
        ),
        function="edgeq_conv_2d",
        parameters={
            "window": window_of(op),
            **product_parameters(op, layer),
            "input": image_of(layer.inputs[0]),
            "output": image_of(layer.outputs[0]),
        },
        calls=((layer.read(0), layer.own("filter"), layer.own("bias"), layer.write()),),
    )


KERNEL = Kernel("conv_2d.h", emit, no_scratch)
