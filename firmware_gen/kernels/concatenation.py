"""CONCATENATION in C: one call for each input. Twin of edgeq/ops/concatenation.py."""

from __future__ import annotations

import math

from edgeq.ops.concatenation import QuantizedConcatenation
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, no_scratch


def emit(op: QuantizedConcatenation, layer: Layer) -> LayerCode:
    """Bytes of each input's blocks, and where they start in the output's."""
    calls: list[tuple[str, ...]] = []
    start = 0
    for index, shape in enumerate(layer.shapes()):
        nbytes = math.prod(shape[op.axis :])
        calls.append((layer.read(index), str(nbytes), str(start), layer.write()))
        start += nbytes
    return LayerCode(
        function="edgeq_concatenation",
        parameters={
            "axis": op.axis,
            "blocks": math.prod(layer.outputs[0].shape[: op.axis]),
            "block_nbytes": start,
        },
        calls=tuple(calls),
    )


KERNEL = Kernel("concatenation.h", emit, no_scratch)
