"""CONV_DEPTHWISE in C: any kernel of CONV_2D and any of DEPTHWISE_CONV_2D, some rows at a time.

Twin of edgeq/ops/conv_depthwise.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeq.graph import Shape, Tensor
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.op import INT8
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, Part

EXPAND, DEPTHWISE = "expand", "depthwise"


@dataclass(frozen=True, slots=True)
class RowLayer(Layer):
    """A layer that is given rows as `x` and writes rows as `out`."""

    def read(self, index: int, ctype: str = "int8_t") -> str:
        """The parameter of the function, or a constant."""
        return "x" if index == 0 else Layer.read(self, index, ctype)

    def write(self, index: int = 0, ctype: str = "int8_t") -> str:
        """The parameter of the function."""
        return "out"


def parts(op: QuantizedConvDepthwise, layer: Layer) -> tuple[Part, ...]:
    """The CONV_2D of one row to one, and the DEPTHWISE_CONV_2D of `rows` to rows_at_once."""
    _, height, width, channels = layer.inputs[0].shape
    _, _, _, expanded = op.expanded_shape(*layer.shapes())
    _, out_h, out_w, outputs = layer.outputs[0].shape
    window = op.depthwise.window
    of_rows = replace(window, pad_top=0, pad_bottom=0)
    if op.rows_at_once == 1:  # the vertical stride does not matter; kernels like one for both
        of_rows = replace(of_rows, stride_h=window.stride_w)
    return (
        Part(
            EXPAND,
            op.conv,
            _row_layer(layer, EXPAND, 1, (1, 1, width, channels), (1, 1, width, expanded)),
            calls=height,
        ),
        Part(
            DEPTHWISE,
            replace(op.depthwise, window=of_rows),
            _row_layer(
                layer,
                DEPTHWISE,
                3,
                (1, op.rows, width, expanded),
                (1, op.rows_at_once, out_w, outputs),
            ),
            calls=out_h // op.rows_at_once,
        ),
    )


def _row_layer(layer: Layer, role: str, weights: int, x: Shape, out: Shape) -> RowLayer:
    """A part of the layer, its filter being the layer's input number `weights`."""
    constants = slice(weights, weights + 2)
    return RowLayer(
        name=layer.own(role),
        inputs=(Tensor("x", x, INT8), *layer.inputs[constants]),
        outputs=(Tensor("out", out, INT8),),
        input_at=("x", *layer.input_at[constants]),
        output_at=("out",),
        scratch_at=layer.scratch_at,
    )


def emit(op: QuantizedConvDepthwise, layer: Layer) -> LayerCode:
    """How the rows follow each other."""
    _, height, width, channels = layer.inputs[0].shape
    _, out_h, out_w, outputs = layer.outputs[0].shape
    window = op.depthwise.window
    return LayerCode(
        function="edgeq_conv_depthwise",
        parameters={
            "expand": layer.own(EXPAND),
            "depthwise": layer.own(DEPTHWISE),
            "rows": op.rows,
            "step": op.rows_at_once * window.stride_h,
            "pad_top": window.pad_top,
            "fill": op.depthwise.input_zero_point,
            "height": height,
            "count": out_h // op.rows_at_once,
            "x_row_nbytes": width * channels,
            "row_nbytes": op.rows_nbytes(*layer.shapes()) // op.rows,
            "output_nbytes": op.rows_at_once * out_w * outputs,
        },
        calls=((layer.read(0), layer.scratch("int8_t"), layer.write()),),
    )


def scratch_nbytes(op: QuantizedConvDepthwise, *shapes: Shape) -> int:
    """The rows in between that exist at a time."""
    return op.rows_nbytes(*shapes)


KERNEL = Kernel(
    "conv_depthwise.h", emit, scratch_nbytes, is_shared=None, parts=parts, name="by_rows"
)
