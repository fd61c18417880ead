"""CONV_DEPTHWISE: a 1x1 CONV_2D and the DEPTHWISE_CONV_2D that reads it, row by row.

No file has it: passes/fuse_rows.py makes it where the tensor in between is what needs the most
memory. Of that tensor only those rows exist at a time, in scratch, that some rows of the output
need; each row is computed once. Twin: firmware_gen/kernels/conv_depthwise.h and its generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeq.arith import Rounding
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import run_each
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.op import INT8, IntegerOp
from edgeq.ops.overlap import rows_overlap
from edgeq.ops.product import verify_weights
from edgeq.ops.rows import check_both, check_rows
from edgeq.ops.window import Window


@dataclass(frozen=True, slots=True)
class QuantizedConvDepthwise(IntegerOp):
    """depthwise(conv(x)): input, filter and bias of the one, filter and bias of the other."""

    name = "conv_depthwise"
    conv: QuantizedConv2D
    depthwise: QuantizedDepthwiseConv2D
    rows_at_once: int = 1  # of the output; its rows are a multiple

    def __post_init__(self) -> None:
        """Refuse what cannot run by rows.

        Raises:
            GraphError: the convolution is not one pixel to one pixel, or the depthwise filter
                is dilated in height, or the two round differently, or no rows are made.
        """
        check_both(self.name, self.rows_at_once, self.conv.rounding, self.depthwise.rounding)
        if self.conv.window != Window(1, 1):
            raise GraphError("conv_depthwise: the convolution must be 1x1, without stride")
        if self.depthwise.window.dilation_h != 1:
            raise GraphError("conv_depthwise: dilation_h must be 1, rows follow each other")

    @property
    def rounding(self) -> Rounding:
        """Of both."""
        return self.conv.rounding

    def expanded_shape(self, *shapes: Shape) -> Shape:
        """Of the tensor in between: (1, H, W, E)."""
        return self.conv.infer_shapes(*shapes[:3])[0]

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, I), (E, 1, 1, I), (E,), (h, w, E * m), (E * m,) -> (1, oh, ow, E * m).

        The rows of the three images are multiples of ROW_ALIGNMENT bytes.
        """
        if len(shapes) != 5:
            raise GraphError(f"conv_depthwise: {len(shapes)} inputs, must be 5")
        expanded = self.expanded_shape(*shapes)
        (output,) = self.depthwise.infer_shapes(expanded, *shapes[3:])
        check_rows(self.name, (shapes[0], expanded, output), output, self.rows_at_once)
        return (output,)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8 input, filters and output, int32 biases; filters and biases constant."""
        IntegerOp.verify_types(self, inputs, outputs)
        verify_weights(inputs[:3])
        verify_weights((inputs[0], *inputs[3:]))

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """Both, each by the accumulators of its own filter."""
        conv = self.conv.rounded(rounding, inputs[:3])
        depthwise = self.depthwise.rounded(rounding, (inputs[0], *inputs[3:]))
        assert isinstance(conv, QuantizedConv2D)
        assert isinstance(depthwise, QuantizedDepthwiseConv2D)
        return QuantizedConvDepthwise(conv, depthwise)

    def macs(self, *shapes: Shape) -> int:
        """Those of both; rows that no output row needs count, though none computes them."""
        expanded = self.expanded_shape(*shapes)
        return self.conv.macs(*shapes[:3]) + self.depthwise.macs(expanded, *shapes[3:])

    @property
    def rows(self) -> int:
        """Rows of the tensor in between that exist at a time."""
        window = self.depthwise.window
        return (self.rows_at_once - 1) * window.stride_h + window.filter_h

    def rows_nbytes(self, *shapes: Shape) -> int:
        """Bytes of these rows."""
        _, _, width, channels = self.expanded_shape(*shapes)
        return self.rows * width * channels

    def copied_nbytes(self, *shapes: Shape) -> int:
        """Bytes that take about as long as a copy: each time but the first, filter_h rows."""
        (output,) = self.infer_shapes(*shapes)
        _, _, width, channels = self.expanded_shape(*shapes)
        again = output[1] // self.rows_at_once - 1
        return again * self.depthwise.window.filter_h * width * channels

    def scratch_nbytes(self, *shapes: Shape) -> int:
        """The rows, and what the portable kernel of the depthwise filter wants."""
        expanded = self.expanded_shape(*shapes)
        return self.rows_nbytes(*shapes) + self.depthwise.scratch_nbytes(expanded, *shapes[3:])

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """By what is made at once: it needs of the input only rows that scratch does not hold.

        All that it needs is in scratch before any of it is written, so that it may lie over
        that: what counts is what is needed later.
        """
        _, height, width, channels = shapes[0]
        (output,) = self.infer_shapes(*shapes)
        window = self.depthwise.window
        firsts: list[int | None] = []
        made = 0  # rows above it have been read
        for y in range(0, output[1], self.rows_at_once):
            top = y * window.stride_h - window.pad_top
            first, end = max(top, made), min(top + self.rows, height)
            firsts.append(first * width * channels if first < end else None)
            made = max(made, end)
        nbytes = self.rows_at_once * output[2] * output[3]
        return rows_overlap(nbytes, [*firsts[1:], None])

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """One after the other."""
        (expanded,) = self.conv.reference(*arrays[:3])
        return self.depthwise.reference(expanded, *arrays[3:])

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """One after the other, through a buffer of the host's own."""
        expanded = np.empty(self.expanded_shape(*(x.shape for x in inputs)), INT8)
        return partial(
            run_each,
            (
                self.conv.bind(inputs[:3], (expanded,), scratch[:0]),
                self.depthwise.bind((expanded, *inputs[3:]), outputs, scratch),
            ),
        )
