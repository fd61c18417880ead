"""Which layers may sum pixels a word of channels at a time. Twin: edgeq_pixel_sum.h."""

from __future__ import annotations

from firmware_gen.kernels.kernel import Layer

MAX_PIXELS = 257  # 257 * 255 is the largest 16-bit number


def why_not_words(layer: Layer) -> str | None:
    """The image's extents, or a constant image, which is not aligned."""
    _, height, width, channels = layer.inputs[0].shape
    if layer.inputs[0].data is not None:
        return "the input is a constant"
    if channels % 4:
        return f"{channels} channels are no multiple of 4"
    if height * width > MAX_PIXELS:
        return f"{height * width} pixels are more than {MAX_PIXELS}"
    return None
