"""QUANTIZE in C: from float by thresholds on the bits, from 8 bits by a multiplier.

Twin of edgeq/ops/quantize.py.
"""

from __future__ import annotations

import math

from edgeq.ops.quantize import QuantizeFloat, Requantize
from firmware_gen.kernels.kernel import (
    Constant,
    Kernel,
    Layer,
    LayerCode,
    all_parameters,
    no_scratch,
)


def emit_float(op: QuantizeFloat, layer: Layer) -> LayerCode:
    """The thresholds in flash stand for scale and zero point."""
    note = "keys of the smallest floats that give -127 .. 127"
    return LayerCode(
        constants=(Constant("thresholds", "int32_t", op.thresholds(), note),),
        function="edgeq_quantize_float",
        parameters={
            "thresholds": layer.own("thresholds"),
            "count": math.prod(layer.inputs[0].shape),
        },
        calls=((layer.read(0, "edgeq_float_bits"), layer.write()),),
    )


def emit_integer(op: Requantize, layer: Layer) -> LayerCode:
    """The fields of the operator."""
    return LayerCode(
        function="edgeq_quantize_integer",
        parameters={
            **all_parameters(op),
            "count": math.prod(layer.inputs[0].shape),
        },
        calls=((layer.read(0, "uint8_t"), layer.write(ctype="uint8_t")),),
    )


KERNEL_FLOAT = Kernel("quantize.h", emit_float, no_scratch)
KERNEL_INTEGER = Kernel("quantize.h", emit_integer, no_scratch)
