"""PAD in C. Twin of edgeq/ops/pad.py."""

from __future__ import annotations

from edgeq.ops.add import padded_shape
from edgeq.ops.pad import QuantizedPad
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, no_scratch


def emit(op: QuantizedPad, layer: Layer) -> LayerCode:
    """Four axes, the missing leading ones of extent 1."""
    return LayerCode(
        function="edgeq_pad",
        parameters={
            "pads": ((0, 0),) * (4 - len(op.pads)) + op.pads,
            "fill": op.fill,
            "input_shape": padded_shape(layer.inputs[0].shape),
        },
        calls=((layer.read(0), layer.write()),),
    )


KERNEL = Kernel("pad.h", emit, no_scratch)
