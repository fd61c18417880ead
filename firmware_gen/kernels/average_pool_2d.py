"""AVERAGE_POOL_2D in C. Twin of edgeq/ops/average_pool_2d.py."""

from __future__ import annotations

from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import (
    Kernel,
    Layer,
    LayerCode,
    Variant,
    image_of,
    no_scratch,
    parameters_of,
    window_of,
)
from firmware_gen.kernels.pixel_sum import why_not_words


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


def why_not_whole(op: QuantizedAveragePool2D, layer: Layer, target: Target) -> str | None:
    """Several outputs, a window that leaves out pixels, or the image's extents."""
    _, height, width, _ = layer.inputs[0].shape
    window = op.window
    is_one = (
        layer.outputs[0].shape[1:3] == (1, 1) and window.dilation_h == window.dilation_w == 1
    )
    reaches = (window.filter_h - window.pad_top, window.filter_w - window.pad_left)
    if not is_one or reaches[0] < height or reaches[1] < width:
        return "an output is not the average of the whole image"
    return why_not_words(layer)


def emit_whole(op: QuantizedAveragePool2D, layer: Layer) -> LayerCode:
    """The image as pixels."""
    _, height, width, channels = layer.inputs[0].shape
    return LayerCode(
        function="edgeq_average_pool_2d_whole",
        parameters={
            "pixels": height * width,
            "channels": channels,
            **parameters_of(op, "activation_min", "activation_max"),
        },
        calls=((layer.read(0), layer.write()),),
    )


WHOLE = Variant("whole", "average_pool_2d_whole.h", why_not_whole, emit_whole)
KERNEL = Kernel("average_pool_2d.h", emit, no_scratch, (WHOLE,))
