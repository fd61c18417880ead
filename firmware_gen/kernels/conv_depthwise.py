"""CONV_DEPTHWISE in C: any kernel of CONV_2D, a row at a time, then a row of the depthwise one.

Twin of edgeq/ops/conv_depthwise.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgeq.graph import Shape, Tensor
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.op import INT8, IntegerOp
from firmware_gen.c_text import Value
from firmware_gen.cores import Target
from firmware_gen.kernels import depthwise_3x3, depthwise_conv_2d
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, Variant

EXPAND = "expand"


@dataclass(frozen=True, slots=True)
class RowLayer(Layer):
    """A layer that is given a row as `x` and writes one as `out`."""

    def read(self, index: int, ctype: str = "int8_t") -> str:
        """The parameter of the function, or a constant."""
        return "x" if index == 0 else Layer.read(self, index, ctype)

    def write(self, index: int = 0, ctype: str = "int8_t") -> str:
        """The parameter of the function."""
        return "out"


def expanding(op: QuantizedConvDepthwise, layer: Layer) -> tuple[IntegerOp, Layer]:
    """The CONV_2D of one row, the function <layer>_expand."""
    _, _, width, channels = layer.inputs[0].shape
    return op.conv, RowLayer(
        name=layer.own(EXPAND),
        inputs=(_image("x", (1, 1, width, channels)), *layer.inputs[1:3]),
        outputs=(_image("out", (1, 1, width, layer.inputs[1].shape[0])),),
        input_at=("x", *layer.input_at[1:3]),
        output_at=("out",),
        scratch_at=layer.scratch_at,
    )


def _image(name: str, shape: Shape) -> Tensor:
    return Tensor(name, shape, INT8)


def _ring(op: QuantizedConvDepthwise, layer: Layer) -> dict[str, Value]:
    """The parameters of struct edgeq_ring."""
    _, height, width, channels = layer.inputs[0].shape
    rows = op.depthwise.window.filter_h
    return {
        "rows": rows,
        "row_nbytes": op.ring_nbytes(*layer.shapes()) // rows,
        "x_row_nbytes": width * channels,
        "height": height,
        "fill": op.depthwise.input_zero_point,
    }


def _depthwise_layer(op: QuantizedConvDepthwise, layer: Layer) -> Layer:
    """The DEPTHWISE_CONV_2D as if its input were whole."""
    expanded = _image("expanded", op.expanded_shape(*layer.shapes()))
    inputs, at = (expanded, *layer.inputs[3:]), ("", *layer.input_at[3:])
    return replace(layer, inputs=inputs, input_at=at)


def _buffers(op: QuantizedConvDepthwise, layer: Layer) -> tuple[Layer, Layer]:
    """Layers of which the scratch is the ring, and what is behind it."""
    behind = f"{layer.scratch_at} + {op.ring_nbytes(*layer.shapes())}"
    return layer, replace(layer, scratch_at=behind)


def emit(op: QuantizedConvDepthwise, layer: Layer) -> LayerCode:
    """The depthwise filter's rows twice, but for the last."""
    filter_h = op.depthwise.window.filter_h
    expanded, output = op.expanded_shape(*layer.shapes()), layer.outputs[0]
    row = replace(op.depthwise.window, stride_h=1, pad_top=0, pad_bottom=0)
    whole = _depthwise_layer(op, layer)
    one = replace(
        whole,
        inputs=(_image("ring", (1, filter_h, *expanded[2:])), *whole.inputs[1:]),
        outputs=(_image("row", (1, 1, *output.shape[2:])),),
    )
    code = depthwise_conv_2d.emit(replace(op.depthwise, window=row), one)
    weights = layer.inputs[3].data
    assert weights is not None
    twice = np.concatenate([weights, weights[:-1]])
    note = f"HWC {weights.shape}, the rows but the last once more behind"
    ring, taps = _buffers(op, layer)
    return LayerCode(
        constants=tuple(
            replace(c, values=twice, note=note) if c.role == "filter" else c
            for c in code.constants
        ),
        function="edgeq_conv_depthwise",
        parameters={
            "ring": _ring(op, layer),
            "pad_top": op.depthwise.window.pad_top,
            "stride_h": op.depthwise.window.stride_h,
            "output_height": output.shape[1],
            "filter_row_nbytes": weights[0].size,
            "output_row_nbytes": output.shape[2] * output.shape[3],
            "depthwise": code.parameters,
        },
        calls=(
            (
                layer.read(0),
                layer.own(EXPAND),
                layer.own("filter"),
                layer.own("bias"),
                ring.scratch("int8_t"),
                f"(struct edgeq_depthwise_tap *){taps.scratch()}",
                layer.write(),
            ),
        ),
    )


def scratch_nbytes(op: QuantizedConvDepthwise, *shapes: Shape) -> int:
    """The ring, and the taps of the portable depthwise kernel."""
    behind = depthwise_conv_2d.scratch_nbytes(
        op.depthwise, op.expanded_shape(*shapes), *shapes[3:]
    )
    return op.ring_nbytes(*shapes) + behind


def why_not_3x3(op: QuantizedConvDepthwise, layer: Layer, target: Target) -> str | None:
    """The reasons of the depthwise kernel."""
    return depthwise_3x3.why_not(op.depthwise, _depthwise_layer(op, layer), target)


def emit_3x3(op: QuantizedConvDepthwise, layer: Layer) -> LayerCode:
    """The constants of the depthwise kernel."""
    code = depthwise_3x3.emit(op.depthwise, _depthwise_layer(op, layer))
    ring, block = _buffers(op, layer)
    return LayerCode(
        constants=code.constants,
        function="edgeq_conv_depthwise_3x3",
        parameters={"ring": _ring(op, layer), "depthwise": code.parameters},
        calls=(
            (
                layer.read(0),
                layer.own(EXPAND),
                f"(const struct edgeq_depthwise_channel *){layer.own('filter')}",
                ring.scratch("int8_t"),
                block.scratch("uint32_t"),
                layer.write(),
            ),
        ),
    )


def scratch_nbytes_3x3(op: QuantizedConvDepthwise, *shapes: Shape) -> int:
    """The ring, and the blocks of the depthwise kernel."""
    behind = depthwise_3x3.scratch_nbytes(op.depthwise, op.expanded_shape(*shapes), *shapes[3:])
    return op.ring_nbytes(*shapes) + behind


KERNEL = Kernel(
    "conv_depthwise.h",
    emit,
    scratch_nbytes,
    (Variant("dsp_3x3", "conv_depthwise_3x3.h", why_not_3x3, emit_3x3, scratch_nbytes_3x3),),
    expanding=expanding,
)
