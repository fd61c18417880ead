"""PAD: border added to any axis but the batch, filled with what stands for 0.0.

Twin: firmware_gen/kernels/pad.h and pad.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.add import padded_shape
from edgeq.ops.op import FloatOp, IntegerOp, OutputRule, one_input, quant_of, require_same_quant
from edgeq.ops.overlap import rows_overlap

Pads = tuple[tuple[int, int], ...]  # (before, after) of each axis


def _output_shape(pads: Pads, *shapes: Shape) -> tuple[Shape, ...]:
    shape = one_input("pad", shapes)
    if len(shape) > 4 or len(pads) != len(shape):
        raise GraphError(f"pad: {len(pads)} pairs of padding for shape {shape}, at most 4 axes")
    if pads[0] != (0, 0) or any(p < 0 for pair in pads for p in pair):
        raise GraphError(f"pad: padding is {pads}, must be >= 0 and (0, 0) on the batch")
    return (tuple(e + before + after for e, (before, after) in zip(shape, pads, strict=True)),)


@dataclass(frozen=True, slots=True)
class Pad(FloatOp):
    """Zero padding of a float tensor."""

    name = "pad"
    output_rule: ClassVar[OutputRule] = "same"
    pads: Pads

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Each extent grows by its padding."""
        return _output_shape(self.pads, *shapes)

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """Zeros around x."""
        return (np.pad(arrays[0], self.pads),)

    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """Input and output have one scale; the fill is the zero point."""
        require_same_quant("pad", inputs[0], outputs[0])
        return QuantizedPad(self.pads, quant_of(outputs[0])[1])


@dataclass(frozen=True, slots=True)
class QuantizedPad(IntegerOp):
    """The input's bytes inside a border of zero points."""

    name = "pad"
    pads: Pads
    fill: int

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Each extent grows by its padding."""
        return _output_shape(self.pads, *shapes)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """By rows of height, the borders among them."""
        x = padded_shape(shapes[0])
        output = padded_shape(self.infer_shapes(*shapes)[0])
        before = ((0, 0),) * (4 - len(self.pads)) + self.pads
        row_nbytes = x[2] * x[3]
        inside = [y - before[1][0] for y in range(output[1])]
        firsts = [y * row_nbytes if 0 <= y < x[1] else None for y in inside]
        return rows_overlap(output[2] * output[3], firsts)

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Fill, then place the input."""
        (shape,) = self.infer_shapes(arrays[0].shape)
        out = np.full(shape, self.fill, np.int8)
        inside = tuple(
            slice(before, before + e)
            for (before, _), e in zip(self.pads, arrays[0].shape, strict=True)
        )
        out[inside] = arrays[0]
        return (out,)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Four axes, the missing ones of extent 1."""
        before = (0,) * (4 - len(self.pads)) + tuple(pair[0] for pair in self.pads)
        return partial(
            pad_kernel,
            inputs[0].reshape(padded_shape(inputs[0].shape)),
            np.array(before, np.int64),
            self.fill,
            outputs[0].reshape(padded_shape(outputs[0].shape)),
        )


@kernel
def pad_kernel(x: Array, before: Array, fill: int, out: Array) -> None:
    """QuantizedPad on four axes, the first of extent 1; one output row after the other."""
    top, left, low = before[1], before[2], before[3]
    for h in range(out.shape[1]):
        for w in range(out.shape[2]):
            for c in range(out.shape[3]):
                out[0, h, w, c] = fill
        if top <= h < top + x.shape[1]:
            for w in range(x.shape[2]):
                for c in range(x.shape[3]):
                    out[0, h, w + left, c + low] = x[0, h - top, w, c]
