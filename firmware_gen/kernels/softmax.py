"""SOFTMAX in C: exponentials from a table of 1 KB in flash. Twin of edgeq/ops/softmax.py."""

from __future__ import annotations

import math

import numpy as np

from edgeq.ops.softmax import QuantizedSoftmax
from firmware_gen.kernels.kernel import Constant, Kernel, Layer, LayerCode, no_scratch


def emit(op: QuantizedSoftmax, layer: Layer) -> LayerCode:
    """The table as it is."""
    shape = layer.inputs[0].shape
    note = "exp(-255 .. 0 steps of the input's scale), Q0.31"
    return LayerCode(
        constants=(Constant("table", "int32_t", np.array(op.exp_table, np.int32), note),),
        function="edgeq_softmax",
        parameters={
            "exp_table": layer.own("table"),
            "rows": math.prod(shape[:-1]),
            "classes": shape[-1],
        },
        calls=((layer.read(0), layer.write()),),
    )


KERNEL = Kernel("softmax.h", emit, no_scratch)
