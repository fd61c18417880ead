"""ADD in C; an input may be a constant. Twin of edgeq/ops/add.py."""

from __future__ import annotations

from edgeq.ops.add import QuantizedAdd, broadcast_strides, padded_shape
from firmware_gen.kernels.kernel import Kernel, Layer, LayerCode, all_parameters, no_scratch


def emit(op: QuantizedAdd, layer: Layer) -> LayerCode:
    """Extents and strides of four axes; if both inputs have the output's shape, of one."""
    shapes, output = layer.shapes(), layer.outputs[0].shape
    if all(shape == output for shape in shapes):
        flat = (layer.outputs[0].nbytes,)
        shapes, output = (flat, flat), flat
    return LayerCode(
        function="edgeq_add",
        parameters={
            **all_parameters(op),
            "output_shape": padded_shape(output),
            "input1_strides": broadcast_strides(shapes[0], output),
            "input2_strides": broadcast_strides(shapes[1], output),
        },
        calls=((layer.read(0), layer.read(1), layer.write()),),
    )


KERNEL = Kernel("add.h", emit, no_scratch)
