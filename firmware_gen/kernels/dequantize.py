"""DEQUANTIZE in C: a table of 256 float32 bit patterns. Twin of edgeq/ops/dequantize.py."""

from __future__ import annotations

import math

import numpy as np

from edgeq.ops.dequantize import Dequantize
from firmware_gen.kernels.kernel import Constant, Kernel, Layer, LayerCode, no_scratch


def emit(op: Dequantize, layer: Layer) -> LayerCode:
    """The table by the input's byte: for int8, 0 .. 127 come before -128 .. -1."""
    table = op.table().view(np.uint32)
    if not op.input_is_unsigned:
        table = np.roll(table, 128)
    note = "float32 bits of the values, by the input's byte"
    return LayerCode(
        constants=(Constant("table", "uint32_t", table, note),),
        function="edgeq_dequantize",
        parameters={
            "table": layer.own("table"),
            "count": math.prod(layer.inputs[0].shape),
        },
        calls=((layer.read(0, "uint8_t"), layer.write(ctype="edgeq_float_word")),),
    )


KERNEL = Kernel("dequantize.h", emit, no_scratch)
