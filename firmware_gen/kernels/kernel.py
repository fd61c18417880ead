"""What the generator of a layer is given and what it gives: constants, parameters, calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeq.arith import Rounding
from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.ops.op import IntegerOp
from firmware_gen.c_text import Value
from firmware_gen.cores import Target

PORTABLE_NAME = "portable"

# C objects that belong to a layer: their names are <layer>_<role>.
ROLES = (
    "filter",
    "bias",
    "multiplier",
    "shift",
    "table",
    "thresholds",
    "output",
    "scratch",
    *(
        f"{part}{role}"
        for part in ("expand", "depthwise", "conv", "conv_first", "conv_last", "add")
        for role in ("", "_filter", "_bias", "_multiplier", "_shift", "_table")
    ),
)


@dataclass(frozen=True, slots=True)
class Constant:
    """An array in flash; its C name is <layer>_<role>."""

    role: str
    ctype: str
    values: Array
    note: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """One node as a generator sees it: tensors, and C expressions of where they are."""

    name: str  # a C identifier
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    input_at: tuple[str, ...]  # offsets in the arena or names of constants
    output_at: tuple[str, ...]
    scratch_at: str

    def shapes(self) -> tuple[Shape, ...]:
        """Shapes of the inputs, constants included."""
        return tuple(t.shape for t in self.inputs)

    def filter_and_bias(self) -> tuple[Array, Array]:
        """The constants of a product: inputs 1 and 2."""
        weights, bias = self.inputs[1].data, self.inputs[2].data
        assert weights is not None
        assert bias is not None
        return weights, bias

    def own(self, role: str) -> str:
        """C name of a constant that the layer emits."""
        return f"{self.name}_{role}"

    def read(self, index: int, ctype: str = "int8_t") -> str:
        """C expression of a pointer to input `index`."""
        tensor = self.inputs[index]
        if tensor.data is not None:
            name = self.input_at[index]
            return (
                name if C_TYPES.get(tensor.dtype.name) == ctype else f"(const {ctype} *){name}"
            )
        return f"{AT[ctype]}({self.input_at[index]})"

    def write(self, index: int = 0, ctype: str = "int8_t") -> str:
        """C expression of a pointer to output `index`."""
        return f"{AT[ctype]}({self.output_at[index]})"

    def scratch(self, ctype: str = "int32_t") -> str:
        """C expression of a pointer to the scratch."""
        return f"{AT[ctype]}({self.scratch_at})"


# C types of the constants that a layer reads as they are.
C_TYPES = MappingProxyType({"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t"})

# The macros of model.c that take an offset in the arena to a typed pointer.
AT = MappingProxyType(
    {
        "int8_t": "INT8_AT",
        "uint8_t": "UINT8_AT",
        "int32_t": "INT32_AT",
        "uint32_t": "UINT32_AT",
        "edgeq_float_bits": "FLOAT_BITS_AT",
        "edgeq_float_word": "FLOAT_WORD_AT",
    }
)


@dataclass(frozen=True, slots=True)
class LayerCode:
    """What a layer is in C."""

    constants: tuple[Constant, ...] = ()
    function: str = ""  # and `struct <function>`, its parameters; "" if there is no code
    parameters: Mapping[str, Value] = field(default_factory=dict)
    calls: tuple[tuple[str, ...], ...] = ()  # the arguments of each, after the parameters
    defines: tuple[str, ...] = ()  # macros that the kernel's headers must find defined
    parts: Mapping[str, LayerCode] = field(default_factory=dict)  # by Part.role
    constants_of: str | None = None  # the role of the part whose constants it reads

    def functions(self) -> tuple[LayerCode, ...]:
        """Those of its parts, and itself."""
        return (*(f for part in self.parts.values() for f in part.functions()), self)

    def constant_nbytes(self) -> int:
        """Bytes of all constants in flash."""
        return sum(c.values.nbytes for part in self.functions() for c in part.constants)


def no_scratch(op: IntegerOp, *shapes: Shape) -> int:
    """The kernel needs no scratch."""
    return 0


@dataclass(frozen=True, slots=True)
class Variant:
    """A kernel for some layers on some cores: the same bytes as the portable one, sooner."""

    name: str
    header: str
    why_not: Callable[[Any, Layer, Target], str | None]  # None: it can serve the layer
    emit: Callable[[Any, Layer], LayerCode]
    scratch_nbytes: Callable[..., int] = no_scratch  # (op, *shapes)
    is_shared: bool = True  # one copy serves many layers about as well as one for each
    code_nbytes: int = 0  # about; more than a small kernel's, for which work must be done
    is_exact: bool = False  # its output lies exactly over a dying input, or apart from it
    roundings: frozenset[Rounding] = frozenset({"tflm"})  # of operators that requantize
    # (op, layer) -> bytes of flash that it takes less than the next variant, whose constants it
    # unpacks into scratch in each run; None: it unpacks nothing.
    saved_nbytes: Callable[[Any, Layer], int] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """An operator within a layer, with a kernel of its own: the function <layer>_<role>."""

    role: str
    op: IntegerOp
    layer: Layer  # as the kernel of `op` sees it: from `x` to `out`
    calls: int  # in a run
    constants_of: str | None = None  # the part before it that has the same, if kernels agree


def no_parts(op: IntegerOp, layer: Layer) -> tuple[Part, ...]:
    """The kernel does the whole layer."""
    return ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """How an integer operator becomes C: its header and its generator.

    The variants are tried in order; the portable kernel serves what none of them can. Kernels
    are chosen for the parts too; they run one at a time, and have their scratch in one place,
    behind the layer's own.
    """

    header: str | None  # None: the operator needs no code
    emit: Callable[[Any, Layer], LayerCode]
    scratch_nbytes: Callable[..., int]  # (op, *shapes); what the C kernel needs
    variants: tuple[Variant, ...] = ()
    is_shared: bool | None = True  # as Variant's; None: never, what it calls is its layer's
    parts: Callable[[Any, Layer], tuple[Part, ...]] = no_parts
    name: str = PORTABLE_NAME


def parameters_of(op: IntegerOp, *names: str) -> dict[str, Value]:
    """These integer fields of an operator, in the order of its dataclass."""
    return {name: int(getattr(op, name)) for name in names}


def all_parameters(op: Any) -> dict[str, Value]:
    """Every field of an operator of which all fields but the rounding are integers."""
    return parameters_of(op, *(f.name for f in fields(op) if f.name != "rounding"))


def window_of(op: Any) -> dict[str, Value]:
    """The window of an operator as a struct edgeq_window."""
    return {name: int(getattr(op.window, name)) for name in (f.name for f in fields(op.window))}


def image_of(tensor: Tensor) -> dict[str, Value]:
    """The extents of an NHWC tensor as a struct edgeq_image."""
    _, height, width, channels = tensor.shape
    return {"height": height, "width": width, "channels": channels}


def why_not_one_row(op: Any, layer: Layer) -> str | None:
    """Why FULLY_CONNECTED is not a row by a filter with one multiplier; None: it is."""
    rows = math.prod(layer.inputs[0].shape[:-1])
    if rows != 1:
        return f"{rows} rows, the kernel wants 1"
    if len(op.multiplier) > 1:
        return "each channel has its multiplier, the kernel wants one for all"
    return None


def spatial_parameters(op: Any, layer: Layer) -> dict[str, Value]:
    """What kernels over windows of an image share: window, zero points, clamp, extents."""
    return {
        "window": window_of(op),
        **parameters_of(
            op, "input_zero_point", "output_zero_point", "activation_min", "activation_max"
        ),
        "input": image_of(layer.inputs[0]),
        "output": image_of(layer.outputs[0]),
    }


BIAS_NOTE = "the bias, less the input's zero point times the sum of the channel's filter"


def folded_bias(op: Any, bias: Array, rows: Array) -> Array:
    """Bias - z1 * sum(filter) of each channel; rows: (O, taps), the filter by channel.

    sum((q1 - z1) * q2) = sum(q1 * q2) - z1 * sum(q2): the kernels add only the first. That
    no partial sum leaves int32 is proven by passes/prove_accumulators.py.
    """
    wide = rows.astype(np.int64)
    folded = bias.astype(np.int64) - op.input_zero_point * wide.sum(1)
    result: Array = folded.astype(np.int32)
    return result


def multiplier_constants(op: Any) -> tuple[Constant, ...]:
    """The multipliers and shifts of a product, one each per channel or one for all.

    Raises:
        GraphError: a shift is beyond what an int32 can be shifted by.
    """
    for shift in op.shift:
        if not -31 <= shift <= 31:
            raise GraphError(f"{op.name}: shift is {shift}, must be within -31 .. 31")
    return (
        Constant("multiplier", "int32_t", np.array(op.multiplier, np.int32)),
        Constant("shift", "int8_t", np.array(op.shift, np.int8)),
    )


def product_parameters(op: Any, layer: Layer) -> dict[str, Value]:
    """What convolutions and FULLY_CONNECTED share, in the order of their dataclasses."""
    return {
        **parameters_of(
            op, "input_zero_point", "output_zero_point", "activation_min", "activation_max"
        ),
        "multiplier": layer.own("multiplier"),
        "shift": layer.own("shift"),
        "multiplier_step": int(len(op.multiplier) > 1),
    }
