"""SOFTMAX in C: exponentials from a table in flash. Twin of edgeq/ops/softmax.py."""

from __future__ import annotations

import math

import numpy as np

from edgeq.graph import Array
from edgeq.ops.softmax import QuantizedSoftmax
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import (
    Constant,
    Kernel,
    Layer,
    LayerCode,
    Variant,
    no_scratch,
)

# An exponential below is 0 in the sum, where 12 bits are rounded off, and in a result, where 23
# bits and more are rounded off a product that is no larger: the sum is 2**19 at least, that of
# the maximum itself, so the shift of a result is 12 - 12 + 31 - 8 at least.
LEAST_EXP = 1 << 11


def emit(op: QuantizedSoftmax, layer: Layer) -> LayerCode:
    """The table from its first exponential that counts."""
    shape = layer.inputs[0].shape
    table = [e for e in op.exp_table if e >= LEAST_EXP]
    note = f"exp({1 - len(table)} .. 0 steps of the input's scale), Q0.31"
    return LayerCode(
        constants=(Constant("table", "int32_t", np.array(table, np.int32), note),),
        function="edgeq_softmax",
        parameters={
            "exp_table": layer.own("table"),
            "entries": len(table),
            "rows": math.prod(shape[:-1]),
            "classes": shape[-1],
        },
        calls=((layer.read(0), layer.write()),),
    )


def pair_results(op: QuantizedSoftmax) -> Array:
    """What SOFTMAX gives for two values, larger first, by their difference: (256, 2)."""
    rows = np.array([(127, 127 - d) for d in range(256)], np.int16)
    (out,) = op.reference(rows)
    return out


def why_not_pair(op: QuantizedSoftmax, layer: Layer, target: Target) -> str | None:
    """The number of classes, or two results of which one does not follow from the other."""
    classes = layer.inputs[0].shape[-1]
    if classes != 2:
        return f"there are {classes} classes, not 2"
    results = pair_results(op).astype(np.int16)
    if (results[:, 0] != np.minimum(-results[:, 1], 127)).any():
        return "the larger result is not minus the smaller"
    return None


def emit_pair(op: QuantizedSoftmax, layer: Layer) -> LayerCode:
    """A table of the smaller result, which is -128 behind its end."""
    results = pair_results(op)[:, 1]
    table = results[: int(np.count_nonzero(results > -128)) + 1]
    note = "the smaller of two results, by their difference"
    return LayerCode(
        constants=(Constant("table", "int8_t", table, note),),
        function="edgeq_softmax_pair",
        parameters={
            "table": layer.own("table"),
            "entries": len(table),
            "rows": math.prod(layer.inputs[0].shape[:-1]),
        },
        calls=((layer.read(0), layer.write()),),
    )


PAIR = Variant("pair", "softmax_pair.h", why_not_pair, emit_pair)
KERNEL = Kernel("softmax.h", emit, no_scratch, (PAIR,))
