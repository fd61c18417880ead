"""LOGISTIC in C: a table of 256 bytes in flash. Twin of edgeq/ops/logistic.py."""

from __future__ import annotations

import math

import numpy as np

from edgeq.ops.logistic import QuantizedLogistic
from firmware_gen.kernels.kernel import Constant, Kernel, Layer, LayerCode, no_scratch


def emit(op: QuantizedLogistic, layer: Layer) -> LayerCode:
    """The table as it is."""
    table = np.array(op.table, np.int8)
    return LayerCode(
        constants=(Constant("table", "int8_t", table, "outputs for inputs -128 .. 127"),),
        function="edgeq_logistic",
        parameters={
            "table": layer.own("table"),
            "count": math.prod(layer.inputs[0].shape),
        },
        calls=((layer.read(0), layer.write()),),
    )


KERNEL = Kernel("logistic.h", emit, no_scratch)
