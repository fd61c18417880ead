"""AVERAGE_POOL_2D in C. Twin of edgeq/ops/average_pool_2d.py."""

from __future__ import annotations

from edgeq.graph import Shape
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from firmware_gen.kernels.kernel import (
    Kernel,
    Layer,
    LayerCode,
    image_of,
    parameters_of,
    window_of,
)


def scratch_nbytes(op: QuantizedAveragePool2D, *shapes: Shape) -> int:
    """One int32 sum per channel."""
    return 4 * shapes[0][3]


def emit(op: QuantizedAveragePool2D, layer: Layer) -> LayerCode:
    """The window and the extents."""
    return LayerCode(
        function="edgeq_average_pool_2d",
        parameters={
            "window": window_of(op),
            **parameters_of(op, "activation_min", "activation_max"),
            "input": image_of(layer.inputs[0]),
            "output": image_of(layer.outputs[0]),
        },
        calls=((layer.read(0), layer.scratch(), layer.write()),),
    )


KERNEL = Kernel("average_pool_2d.h", emit, scratch_nbytes)
