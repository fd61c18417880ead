"""MEAN in C. Twin of edgeq/ops/mean.py."""

from __future__ import annotations

from edgeq.arith import ROUNDINGS
from edgeq.graph import Shape
from edgeq.ops.mean import QuantizedMean
from firmware_gen.c_text import Value
from firmware_gen.cores import Target
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, Variant, parameters_of
from firmware_gen.kernels.pixel_sum import why_not_words


def scratch_nbytes(op: QuantizedMean, *shapes: Shape) -> int:
    """One int32 sum per channel."""
    return 4 * shapes[0][3]


def emit(op: QuantizedMean, layer: Layer) -> LayerCode:
    """keep_dims changes the shape only."""
    return LayerCode(
        function="edgeq_mean",
        parameters=_parameters(op, layer),
        calls=((layer.read(0), layer.scratch(), layer.write()),),
    )


def why_not(op: QuantizedMean, layer: Layer, target: Target) -> str | None:
    """The image's extents."""
    return why_not_words(layer)


def emit_words(op: QuantizedMean, layer: Layer) -> LayerCode:
    """Without scratch."""
    return LayerCode(
        function="edgeq_mean_words",
        parameters=_parameters(op, layer),
        calls=((layer.read(0), layer.write()),),
    )


def _parameters(op: QuantizedMean, layer: Layer) -> dict[str, Value]:
    _, height, width, channels = layer.inputs[0].shape
    return {
        **parameters_of(op, "input_zero_point", "output_zero_point", "multiplier", "shift"),
        "pixels": height * width,
        "channels": channels,
    }


WORDS = Variant("words", "mean_words.h", why_not, emit_words, roundings=frozenset(ROUNDINGS))
KERNEL = Kernel("mean.h", emit, scratch_nbytes, (WORDS,))
