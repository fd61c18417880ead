"""RESHAPE has no C: the plan puts the output where the input is.

Twin of edgeq/ops/reshape.py.
"""

from __future__ import annotations

from edgeq.ops.reshape import QuantizedReshape
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, no_scratch


def emit(op: QuantizedReshape, layer: Layer) -> LayerCode:
    """Nothing."""
    return LayerCode()


KERNEL = Kernel(None, emit, no_scratch)
