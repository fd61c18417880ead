"""DEPTHWISE_CONV_2D in C: a list of the taps of a pixel in scratch.

Twin of edgeq/ops/depthwise_conv_2d.py.
"""

from __future__ import annotations

from edgeq.graph import Shape
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from firmware_gen.kernels import depthwise_3x3, depthwise_mve, depthwise_plane
from firmware_gen.kernels.depthwise_block import BLOCK
from firmware_gen.kernels.depthwise_strips import STRIPS
from firmware_gen.kernels.kernel import (
    BIAS_NOTE,
    Constant,
    Kernel,
    Layer,
    LayerCode,
    Variant,
    folded_bias,
    image_of,
    multiplier_constants,
    product_parameters,
    window_of,
)


def scratch_nbytes(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """Two offsets for each tap."""
    return 8 * op.window.filter_h * op.window.filter_w


def emit(op: QuantizedDepthwiseConv2D, layer: Layer) -> LayerCode:
    """Filter HWC as it is."""
    weights, bias = layer.filter_and_bias()
    rows = weights.reshape(-1, weights.shape[2]).T
    return LayerCode(
        constants=(
            Constant("filter", "int8_t", weights, f"HWC {weights.shape}"),
            Constant("bias", "int32_t", folded_bias(op, bias, rows), BIAS_NOTE),
            *multiplier_constants(op),
        ),
        function="edgeq_depthwise_conv_2d",
        parameters={
            "window": window_of(op),
            **product_parameters(op, layer),
            "depth_multiplier": weights.shape[2] // layer.inputs[0].shape[3],
            "input": image_of(layer.inputs[0]),
            "output": image_of(layer.outputs[0]),
        },
        calls=(
            (
                layer.read(0),
                layer.own("filter"),
                layer.own("bias"),
                f"(struct edgeq_depthwise_tap *){layer.scratch()}",
                layer.write(),
            ),
        ),
    )


HELIUM = Variant(
    "mve_3x3",
    "depthwise_conv_2d_mve.h",
    depthwise_mve.why_not,
    depthwise_mve.emit,
    depthwise_mve.scratch_nbytes,
)
PLANE = Variant(
    "dsp_3x3_plane",
    "depthwise_conv_2d_plane.h",
    depthwise_plane.why_not,
    depthwise_plane.emit,
    depthwise_plane.scratch_nbytes,
    is_exact=True,
    roundings=frozenset({"tflm", "single", "shift"}),
)
THREE_BY_THREE = Variant(
    "dsp_3x3",
    "depthwise_conv_2d_3x3.h",
    depthwise_3x3.why_not,
    depthwise_3x3.emit,
    depthwise_3x3.scratch_nbytes,
)
KERNEL = Kernel(
    "depthwise_conv_2d.h", emit, scratch_nbytes, (HELIUM, STRIPS, PLANE, THREE_BY_THREE, BLOCK)
)
