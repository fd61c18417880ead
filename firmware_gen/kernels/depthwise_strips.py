"""Channels of a 3 x 3 depthwise filter for the DSP kernel that lays out eight lines at a time.

Twin of depthwise_conv_2d_strips.h; the numbers are those of depthwise_plane.py.
"""

from __future__ import annotations

from dataclasses import replace

from edgeq.graph import Shape
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from firmware_gen.cores import Target
from firmware_gen.kernels import depthwise_plane
from firmware_gen.kernels.depthwise_plane import (
    GROUP,
    PREFERRED_SHIFT,
    TABLE_NBYTES,
    blocks_of,
    length_of,
)
from firmware_gen.kernels.kernel import Layer, LayerCode, Variant

LINES = 8  # EDGEQ_STRIPS_LINES
# Blocks are two pixels of each line. With more of them, what a line costs beside its outputs
# matters less than the memory, and least for images of few lines.
MOST_BLOCKS_OF_FEW = 13
FEW_LINES = 6
MOST_BLOCKS = 26


def why_not(op: QuantizedDepthwiseConv2D, layer: Layer, target: Target) -> str | None:
    """As the kernel with a ring of lines; and longer lines are left to that."""
    reason = depthwise_plane.why_not(op, layer, target)
    if reason is not None:
        return reason
    blocks = blocks_of(op, *layer.shapes())
    if blocks > MOST_BLOCKS:
        return f"lines of {2 * blocks} pixels with their padding, more than {2 * MOST_BLOCKS}"
    _, height, width, _ = layer.inputs[0].shape
    if blocks > MOST_BLOCKS_OF_FEW and (lines := min(height, width)) <= FEW_LINES:
        return f"no more than {FEW_LINES} lines ({lines}) of {2 * blocks} pixels with padding"
    if length_of(op, *layer.shapes()) < 2:
        return "a line of the output is one pixel"
    if depthwise_plane.shift_of(op, layer) != PREFERRED_SHIFT:
        return "the outputs' shift is not the one that the code has"
    return None


def scratch_nbytes(op: QuantizedDepthwiseConv2D, *shapes: Shape) -> int:
    """The table of a group's channels, then a block for every two pixels of a line."""
    return TABLE_NBYTES + 4 * LINES * GROUP * blocks_of(op, *shapes)


def emit(op: QuantizedDepthwiseConv2D, layer: Layer) -> LayerCode:
    """The same words."""
    code = depthwise_plane.emit(op, layer)
    parameters = {"image": code.parameters["image"]}
    return replace(code, function="edgeq_depthwise_conv_2d_strips", parameters=parameters)


STRIPS = Variant(
    "dsp_3x3_strips",
    "depthwise_conv_2d_strips.h",
    why_not,
    emit,
    scratch_nbytes,
    is_exact=True,
    roundings=frozenset({"tflm", "single", "shift"}),
)
