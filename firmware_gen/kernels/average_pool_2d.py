"""AVERAGE_POOL_2D in C. Twin of edgeq/ops/average_pool_2d.py."""

from __future__ import annotations

from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from firmware_gen.kernels.kernel import (
    Kernel,
    Layer,
    LayerCode,
    image_of,
    no_scratch,
    parameters_of,
    window_of,
)


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
        calls=((layer.read(0), layer.write()),),
    )


KERNEL = Kernel("average_pool_2d.h", emit, no_scratch)
