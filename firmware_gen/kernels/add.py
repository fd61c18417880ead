"""ADD in C; an input may be a constant. Twin of edgeq/ops/add.py."""

from __future__ import annotations

from edgeq.ops.add import QuantizedAdd, broadcast_strides, padded_shape
from firmware_gen.cores import Target
from firmware_gen.kernels.add_affine import AFFINE
from firmware_gen.kernels.kernel import (
    Kernel,
    Layer,
    LayerCode,
    Variant,
    all_parameters,
    no_scratch,
    parameters_of,
)

MAX_RIGHT = 22  # beyond, the zero point times 2**shift does not fit beside the sum


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


def why_not_flat(op: QuantizedAdd, layer: Layer, target: Target) -> str | None:
    """The core, broadcasting, or shifts that the derivation leaves out."""
    if not target.has_mul64:
        return "the core has no 64-bit product"
    if any(shape != layer.outputs[0].shape for shape in layer.shapes()):
        return "an input is repeated along an axis"
    inputs = (
        (op.input1_multiplier, op.input1_shift),
        (op.input2_multiplier, op.input2_shift),
    )
    if any((m != 0 and m < 1 << 30) or not -31 < s <= 0 for m, s in inputs):
        return "an input is not rescaled by a multiplier and a shift to the right"
    if not 1 <= -op.output_shift <= MAX_RIGHT:
        return f"the sum is not shifted to the right by 1 .. {MAX_RIGHT}"
    return None


def emit_flat(op: QuantizedAdd, layer: Layer) -> LayerCode:
    """One loop over the bytes."""
    return LayerCode(
        function="edgeq_add_flat",
        parameters={
            "input1": {
                "zero_point": op.input1_zero_point,
                "multiplier": op.input1_multiplier,
                "right": -op.input1_shift,
            },
            "input2": {
                "zero_point": op.input2_zero_point,
                "multiplier": op.input2_multiplier,
                "right": -op.input2_shift,
            },
            "multiplier": op.output_multiplier,
            "right": -op.output_shift,
            **parameters_of(op, "output_zero_point", "activation_min", "activation_max"),
            "nbytes": layer.outputs[0].nbytes,
        },
        calls=((layer.read(0), layer.read(1), layer.write()),),
    )


FLAT = Variant("flat", "add_flat.h", why_not_flat, emit_flat)
KERNEL = Kernel("add.h", emit, no_scratch, (AFFINE, FLAT))
