"""CONV_ADD: a CONV_2D and the ADD that alone reads it, some rows at a time.

No file has it: passes/fuse_rows.py makes it where memory is short. Some rows of the convolution
are made in scratch and added to those of ADD's other operand, whose place the output may take:
the convolution's output never exists whole. Twin: firmware_gen/kernels/conv_add.h and its
generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgeq.arith import Rounding
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.jit import run_each
from edgeq.ops.add import QuantizedAdd
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.op import INT8, IntegerOp
from edgeq.ops.overlap import rows_overlap
from edgeq.ops.product import verify_weights
from edgeq.ops.rows import check_both, check_rows


def swapped(op: QuantizedAdd) -> QuantizedAdd:
    """The same sum, of the second input and the first."""
    return replace(
        op,
        input1_zero_point=op.input2_zero_point,
        input1_multiplier=op.input2_multiplier,
        input1_shift=op.input2_shift,
        input2_zero_point=op.input1_zero_point,
        input2_multiplier=op.input1_multiplier,
        input2_shift=op.input1_shift,
    )


@dataclass(frozen=True, slots=True)
class ConvRows:
    """Rows of the output that are made at once, and the rows of the input that they need."""

    first: int  # of the input
    height: int  # of the input's rows
    pad_top: int  # rows of padding above them
    pad_bottom: int


@dataclass(frozen=True, slots=True)
class QuantizedConvAdd(IntegerOp):
    """add(conv(x), y): input, filter and bias of the convolution, then y."""

    name = "conv_add"
    conv: QuantizedConv2D
    add: QuantizedAdd  # its first input is the convolution's output
    rows_at_once: int = 1  # of the output; its rows are a multiple

    def __post_init__(self) -> None:
        """Refuse what cannot run by rows.

        Raises:
            GraphError: the two round differently, or no rows are made.
        """
        check_both(self.name, self.rows_at_once, self.conv.rounding, self.add.rounding)

    @property
    def rounding(self) -> Rounding:
        """Of both."""
        return self.conv.rounding

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """(1, H, W, I), (O, h, w, I), (O,), (1, oh, ow, O) -> (1, oh, ow, O).

        Rows of input and output are multiples of ROW_ALIGNMENT bytes.
        """
        if len(shapes) != 4:
            raise GraphError(f"conv_add: {len(shapes)} inputs, must be 4")
        (output,) = self.conv.infer_shapes(*shapes[:3])
        if shapes[3] != output:
            raise GraphError(f"conv_add: {output} is added to {shapes[3]}, must be the same")
        check_rows(self.name, (shapes[0], output), output, self.rows_at_once)
        self.steps(*shapes)
        return (output,)

    def steps(self, *shapes: Shape) -> tuple[ConvRows, ...]:
        """What is made at once, in order.

        Raises:
            GraphError: padding is not above the first and below the last only, or one of them
                is all padding.
        """
        height = shapes[0][1]
        (output,) = self.conv.infer_shapes(*shapes[:3])
        window = self.conv.window
        found = []
        for y in range(0, output[1], self.rows_at_once):
            top = y * window.stride_h - window.pad_top
            end = top + (self.rows_at_once - 1) * window.stride_h + window.reach_h
            first, last = max(top, 0), min(end, height)
            found.append(ConvRows(first, last - first, first - top, end - last))
        if (
            any(step.pad_top for step in found[1:])
            or any(step.pad_bottom for step in found[:-1])
            or any(step.height < 1 for step in found)
        ):
            raise GraphError(
                f"conv_add: {window.pad_top} rows of padding above and {window.pad_bottom} "
                f"below reach beyond the first {self.rows_at_once} rows of the output and the "
                "last; more must be made at once"
            )
        return tuple(found)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """int8 input, filter, summand and output, int32 bias; filter and bias constant."""
        IntegerOp.verify_types(self, inputs, outputs)
        verify_weights(inputs[:3])
        self.add.verify_types((inputs[3], inputs[3]), outputs)
        if inputs[3].data is not None:
            raise GraphError(f"{inputs[3].name} is constant, must be an activation")

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """Both."""
        conv = self.conv.rounded(rounding, inputs[:3])
        add = self.add.rounded(rounding, (inputs[3], inputs[3]))
        assert isinstance(conv, QuantizedConv2D)
        assert isinstance(add, QuantizedAdd)
        return QuantizedConvAdd(conv, add, self.rows_at_once)

    def macs(self, *shapes: Shape) -> int:
        """Those of the convolution."""
        return self.conv.macs(*shapes[:3])

    def scratch_nbytes(self, *shapes: Shape) -> int:
        """The rows that are made at once."""
        (output,) = self.infer_shapes(*shapes)
        return self.rows_at_once * output[2] * output[3]

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Over the summand as ADD; over the convolution's input by what is made at once.

        All that it needs has been read before any of it is written: what counts is what is
        needed later.
        """
        if position == 3:
            return 0
        if position != 0:
            return None
        _, _, width, channels = shapes[0]
        firsts = [step.first * width * channels for step in self.steps(*shapes)]
        return rows_overlap(self.scratch_nbytes(*shapes), [*firsts[1:], None])

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """One after the other."""
        (made,) = self.conv.reference(*arrays[:3])
        return self.add.reference(made, arrays[3])

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """One after the other, through a buffer of the host's own."""
        made = np.empty(outputs[0].shape, INT8)
        return partial(
            run_each,
            (
                self.conv.bind(inputs[:3], (made,), scratch[:0]),
                self.add.bind((made, inputs[3]), outputs, scratch[:0]),
            ),
        )
