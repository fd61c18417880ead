"""MEAN in C. Twin of edgeq/ops/mean.py."""

from __future__ import annotations

from edgeq.graph import Shape
from edgeq.ops.mean import QuantizedMean
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, parameters_of


def scratch_nbytes(op: QuantizedMean, *shapes: Shape) -> int:
    """One int32 sum per channel."""
    return 4 * shapes[0][3]


def emit(op: QuantizedMean, layer: Layer) -> LayerCode:
    """keep_dims changes the shape only."""
    _, height, width, channels = layer.inputs[0].shape
    return LayerCode(
        function="edgeq_mean",
        parameters={
            **parameters_of(op, "input_zero_point", "output_zero_point", "multiplier", "shift"),
            "pixels": height * width,
            "channels": channels,
        },
        calls=((layer.read(0), layer.scratch(), layer.write()),),
    )


KERNEL = Kernel("mean.h", emit, scratch_nbytes)
