"""CONV_ADD in C: any kernel of CONV_2D and any of ADD, some rows at a time.

The first rows and the last may have padding above and below; these are parts of their own, with
the constants of the first part. Twin of edgeq/ops/conv_add.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from edgeq.graph import Shape, Tensor
from edgeq.ops.conv_add import ConvRows, QuantizedConvAdd
from edgeq.ops.op import INT8
from firmware_gen.kernels.conv_depthwise import RowLayer
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, Part

CONV, FIRST, LAST, ADD = "conv", "conv_first", "conv_last", "add"


@dataclass(frozen=True, slots=True)
class AddLayer(RowLayer):
    """Adds the rows in scratch to those at `x`."""

    rows_at: str = ""  # where the rows in scratch are

    def read(self, index: int, ctype: str = "int8_t") -> str:
        """The rows in scratch, or the parameter of the function."""
        return f"INT8_AT({self.rows_at})" if index == 0 else "x"


def runs(op: QuantizedConvAdd, layer: Layer) -> list[tuple[str, list[ConvRows]]]:
    """The steps, in order, by the part that makes them."""
    return [(role, list(steps)) for role, steps in groupby(op.steps(*layer.shapes()), _role)]


def _role(step: ConvRows) -> str:
    if step.pad_top:
        return FIRST
    return LAST if step.pad_bottom else CONV


def parts(op: QuantizedConvAdd, layer: Layer) -> tuple[Part, ...]:
    """CONV_2D of each kind of rows, and ADD."""
    _, _, width, channels = layer.inputs[0].shape
    _, _, out_w, outputs = layer.outputs[0].shape
    made = (1, op.rows_at_once, out_w, outputs)
    found: list[Part] = []
    for role, steps in runs(op, layer):
        step = steps[0]
        window = replace(op.conv.window, pad_top=step.pad_top, pad_bottom=step.pad_bottom)
        if op.rows_at_once == 1:  # the vertical stride does not matter; kernels like 1 by 1
            window = replace(window, stride_h=window.stride_w)
        found.append(
            Part(
                role,
                replace(op.conv, window=window),
                _conv_layer(layer, role, (1, step.height, width, channels), made),
                calls=len(steps),
                constants_of=found[0].role if found else None,
            )
        )
    count = len(op.steps(*layer.shapes()))
    return (*found, Part(ADD, op.add, _add_layer(layer, made), calls=count))


def _conv_layer(layer: Layer, role: str, x: Shape, out: Shape) -> RowLayer:
    return RowLayer(
        name=layer.own(role),
        inputs=(Tensor("x", x, INT8), *layer.inputs[1:3]),
        outputs=(Tensor("out", out, INT8),),
        input_at=("x", *layer.input_at[1:3]),
        output_at=("out",),
        scratch_at=layer.scratch_at,
    )


def _add_layer(layer: Layer, shape: Shape) -> AddLayer:
    return AddLayer(
        name=layer.own(ADD),
        inputs=(Tensor("rows", shape, INT8), Tensor("x", shape, INT8)),
        outputs=(Tensor("out", shape, INT8),),
        input_at=("rows", "x"),
        output_at=("out",),
        scratch_at=layer.scratch_at,
        rows_at=layer.scratch_at,
    )


def emit(op: QuantizedConvAdd, layer: Layer) -> LayerCode:
    """How the rows follow each other."""
    _, _, width, channels = layer.inputs[0].shape
    steps = op.steps(*layer.shapes())
    roles = [role for role, _ in runs(op, layer)]
    x_nbytes = op.rows_at_once * op.conv.window.stride_h * width * channels
    return LayerCode(
        function="edgeq_conv_add",
        parameters={
            "first": layer.own(roles[0]),
            "conv": layer.own(CONV if CONV in roles else roles[-1]),
            "last": layer.own(roles[-1]),
            "add": layer.own(ADD),
            "count": len(steps),
            "first_x_nbytes": x_nbytes - op.conv.window.pad_top * width * channels,
            "x_nbytes": x_nbytes,
            "output_nbytes": op.scratch_nbytes(*layer.shapes()),
        },
        calls=((layer.read(0), layer.scratch("int8_t"), layer.read(3), layer.write()),),
    )


def scratch_nbytes(op: QuantizedConvAdd, *shapes: Shape) -> int:
    """The rows of the convolution that exist at a time."""
    return op.scratch_nbytes(*shapes)


KERNEL = Kernel("conv_add.h", emit, scratch_nbytes, is_shared=None, parts=parts, name="by_rows")
