"""Base classes of operators: what a float operator and an integer operator must answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np

from edgeq.arith import INT32_MAX, Rounding, product_peak
from edgeq.errors import GraphError
from edgeq.graph import Array, QuantParams, Shape, Tensor
from edgeq.ops.weights import quantize_tensor, range_params

FLOAT32 = np.dtype(np.float32)
INT8 = np.dtype(np.int8)
UINT8 = np.dtype(np.uint8)
INT32 = np.dtype(np.int32)

# How an output gets its scale: from its calibrated range, as the first input, or fixed.
OutputRule = Literal["range", "same", "fixed"]


class FloatOp(ABC):
    """An operator on float32 tensors, before quantization."""

    __slots__ = ()
    name: ClassVar[str]
    is_float: ClassVar[bool] = True
    output_rule: ClassVar[OutputRule] = "range"
    fixed_output: ClassVar[QuantParams | None] = None  # of output_rule "fixed"

    @abstractmethod
    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Shapes of the outputs for these input shapes.

        Raises:
            GraphError: the shapes do not fit; the text says what is and what must be.
        """

    @abstractmethod
    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """Outputs for these inputs; activations may have more samples on the first axis."""

    @abstractmethod
    def lower(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> IntegerOp:
        """The integer operator for quantized tensors; also how an int8 file is imported.

        Raises:
            GraphError: the quantization of a tensor does not fit this operator.
        """

    def quantize_constants(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Inputs with float constants made integer; here each by its own range, per tensor."""
        return tuple(
            t
            if t.data is None or t.quant is not None
            else quantize_tensor(t, range_params(t.data.min(), t.data.max()))
            for t in inputs
        )

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Every tensor of a float operator is float32."""
        for tensor in (*inputs, *outputs):
            if tensor.dtype != FLOAT32:
                raise GraphError(f"{tensor.name} is {tensor.dtype}, must be float32")


class IntegerOp(ABC):
    """An operator on integers: complete, with every number that the kernel needs."""

    __slots__ = ()
    name: ClassVar[str]
    is_float: ClassVar[bool] = False
    is_alias: ClassVar[bool] = False  # the output is the input's bytes, unchanged
    input_dtypes: ClassVar[tuple[np.dtype[Any], ...]] = (INT8,)  # allowed of activations
    output_dtypes: ClassVar[tuple[np.dtype[Any], ...]] = (INT8,)

    @abstractmethod
    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Shapes of the outputs; as FloatOp.infer_shapes."""

    @abstractmethod
    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Outputs in plain Python integers: slow, and the meaning of the operator."""

    @abstractmethod
    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """The Numba kernel bound to these arrays; a call reads `inputs` and writes `outputs`.

        `scratch` has scratch_nbytes bytes of uint8, aligned to 4, of undefined content.
        """

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """The operator with its requantization in another profile; `inputs` has constants.

        Itself if it does not requantize. What does has a field `rounding`.

        Raises:
            GraphError: it is in the profile `shift`, whose multipliers have lost bits.
        """
        return self

    def macs(self, *shapes: Shape) -> int:
        """Multiplications of an activation by a weight in one run."""
        return 0

    def scratch_nbytes(self, *shapes: Shape) -> int:
        """Bytes of the arena that the kernels need while this operator runs."""
        return 0

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """The least in_offset - out_offset at which the output may lie over a dying input.

        For the input at `position`; at that distance or more the kernels overwrite no byte
        that they still read. 0: both may start at the same byte. None: they must
        be disjoint, as must be any input that lives on.
        """
        return None

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Activations are of the allowed types and have a scale unless they are float."""
        for tensors, allowed in ((inputs, self.input_dtypes), (outputs, self.output_dtypes)):
            for tensor in tensors:
                if tensor.data is not None:
                    continue
                if tensor.dtype not in allowed:
                    names = " or ".join(str(dtype) for dtype in allowed)
                    raise GraphError(f"{tensor.name} is {tensor.dtype}, must be {names}")
                if tensor.dtype != FLOAT32 and tensor.quant is None:
                    raise GraphError(f"{tensor.name} has no scale")


def is_rounded(op: Any, rounding: Rounding) -> bool:
    """Whether an operator is in a profile already; False: its multipliers can be converted.

    Raises:
        GraphError: they cannot.
    """
    if op.rounding != rounding and op.rounding == "shift":
        raise GraphError(
            f"{op.name}: has the short multipliers of the rounding 'shift', of which no other "
            "can be made; convert the model that it came from"
        )
    return bool(op.rounding == rounding)


def require_product(op: str, peak: int, multiplier: int, shift: int) -> None:
    """Check that requantize_shift of abs(acc) <= peak stays within int32.

    Raises:
        GraphError: it may not, or the multiplier or the shift is none of `shift`.
    """
    if multiplier < 0 or not -31 <= shift <= 0:
        raise GraphError(
            f"{op}: multiplier is {multiplier}, shift {shift}; in the rounding 'shift' they "
            "must be >= 0 and from -31 to 0"
        )
    total = product_peak(peak, multiplier, shift)
    if total > INT32_MAX:
        raise GraphError(f"{op}: a product could reach {total}, must fit in int32")


def quant_of(tensor: Tensor) -> tuple[float, int]:
    """Scale and zero point of a tensor quantized as a whole.

    Raises:
        GraphError: it is not quantized, or per channel.
    """
    if tensor.quant is None:
        raise GraphError(f"{tensor.name} has no scale")
    if tensor.quant.axis is not None:
        raise GraphError(f"{tensor.name} is quantized per channel, must be per tensor")
    return tensor.quant.scale[0], tensor.quant.zero_point


def require_same_quant(op: str, a: Tensor, b: Tensor) -> None:
    """Check that two tensors have one scale and one zero point.

    Raises:
        GraphError: they differ.
    """
    if a.quant != b.quant:
        raise GraphError(
            f"{op}: {a.name} has {_text(a.quant)}, {b.name} has {_text(b.quant)}, must be equal"
        )


def _text(quant: QuantParams | None) -> str:
    if quant is None:
        return "no scale"
    return f"scale {quant.scale[0]:.6g} zero point {quant.zero_point}"


def one_input(op: str, shapes: tuple[Shape, ...]) -> Shape:
    """The only input's shape.

    Raises:
        GraphError: there is not exactly one.
    """
    if len(shapes) != 1:
        raise GraphError(f"{op}: {len(shapes)} inputs, must be 1")
    return shapes[0]


def image_shape(op: str, shape: Shape) -> Shape:
    """A shape that is NHWC.

    Raises:
        GraphError: it has not four extents.
    """
    if len(shape) != 4:
        raise GraphError(f"{op}: input shape is {shape}, must be (1, height, width, channels)")
    return shape
