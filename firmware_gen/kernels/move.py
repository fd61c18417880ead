"""MOVE in C: whole words. Twin of edgeq/ops/move.py."""

from __future__ import annotations

from edgeq.ops.move import Move
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, no_scratch


def emit(op: Move, layer: Layer) -> LayerCode:
    """The number of words and of bytes after them, and the direction."""
    words, rest = divmod(layer.inputs[0].nbytes, 4)
    return LayerCode(
        function="edgeq_move",
        parameters={
            "words": words,
            "bytes": rest,
            "is_upward": f"{layer.output_at[0]} > {layer.input_at[0]}",
        },
        calls=((layer.read(0), layer.write()),),
    )


KERNEL = Kernel("move.h", emit, no_scratch)
