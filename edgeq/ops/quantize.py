"""QUANTIZE: float32 -> int8, or 8-bit integers from one scale to another.

Twin: firmware_gen/kernels/quantize.h and quantize.py. Rule: TFLM reference/quantize.h and
requantize.h. Float input needs no floating point on the device: the map is monotonic, so it is
given by the 255 smallest floats that reach each output value (`thresholds`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from edgeq.arith import (
    INT8_MAX,
    INT8_MIN,
    Rounding,
    clamp,
    quantize_multiplier,
    requantize_by,
    short_multipliers,
)
from edgeq.errors import GraphError
from edgeq.graph import Array, QuantParams, Shape, Tensor
from edgeq.jit import kernel
from edgeq.ops.lookup import lookup_kernel
from edgeq.ops.op import (
    FLOAT32,
    INT8,
    UINT8,
    IntegerOp,
    is_rounded,
    one_input,
    quant_of,
    require_product,
)
from edgeq.ops.weights import quantize_array


@dataclass(frozen=True, slots=True)
class QuantizeFloat(IntegerOp):
    """q = round(x / scale) + zero_point, clamped to int8; NaN gives the smallest value."""

    name = "quantize"
    input_dtypes: ClassVar[tuple[np.dtype[np.generic], ...]] = (FLOAT32,)
    scale: float
    zero_point: int

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return (one_input("quantize", shapes),)

    def thresholds(self) -> Array:
        """(255,) int32 keys, ascending: output -128 + (number of keys <= key of x).

        The key of a float32 is its bit pattern as an int32 that orders like the float.
        """
        quant = QuantParams((self.scale,), self.zero_point)
        lowest = np.full(255, float_key(np.float32(-np.inf)), np.int64)
        highest = np.full(255, float_key(np.float32(np.inf)) + 1, np.int64)
        wanted = np.arange(INT8_MIN + 1, INT8_MAX + 1)
        for _ in range(33):  # bisection over all keys: the smallest whose value is >= wanted
            middle = (lowest + highest) // 2
            reached = quantize_array(key_float(middle), quant) >= wanted
            highest = np.where(reached, middle, highest)
            lowest = np.where(reached, lowest, np.minimum(middle + 1, highest))
        return highest.astype(np.int32)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Element by element, four bytes read for each that is written."""
        return 0

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Division in float32, as TFLM has it."""
        x = arrays[0]
        y = quantize_array(
            np.where(np.isnan(x), -np.inf, x), QuantParams((self.scale,), self.zero_point)
        )
        return (y,)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Bisection in the thresholds, as the firmware does it."""
        return partial(
            quantize_float_kernel,
            inputs[0].reshape(-1).view(np.int32),
            self.thresholds(),
            outputs[0].reshape(-1),
        )


@dataclass(frozen=True, slots=True)
class Requantize(IntegerOp):
    """q3 = z3 + M * (q1 - z1) with M = s1 / s3, clamped; int8 and uint8 either way."""

    name = "quantize"
    input_dtypes: ClassVar[tuple[np.dtype[np.generic], ...]] = (INT8, UINT8)
    output_dtypes: ClassVar[tuple[np.dtype[np.generic], ...]] = (INT8, UINT8)
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int
    input_is_unsigned: bool
    output_is_unsigned: bool
    rounding: Rounding = "tflm"

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return (one_input("quantize", shapes),)

    def verify_types(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """8-bit; a difference shifted left by `shift` fits in int32."""
        IntegerOp.verify_types(self, inputs, outputs)
        for tensor, unsigned in (
            (inputs[0], self.input_is_unsigned),
            (outputs[0], self.output_is_unsigned),
        ):
            if (tensor.dtype == UINT8) != unsigned:
                raise GraphError(f"{tensor.name} is {tensor.dtype}, the operator wants another")
        if self.shift > 22:
            raise GraphError(f"quantize: scales differ by 2**{self.shift}, at most 2**22")
        if self.rounding == "shift":
            require_product("quantize", 255, self.multiplier, self.shift)

    def rounded(self, rounding: Rounding, inputs: tuple[Tensor, ...]) -> IntegerOp:
        """In `shift`, M0 has the bits that a difference of two bytes leaves."""
        if is_rounded(self, rounding):
            return self
        if rounding != "shift":
            return replace(self, rounding=rounding)
        (short,), shift = short_multipliers([(self.multiplier, self.shift - 31, 255)])
        return replace(self, rounding=rounding, multiplier=short, shift=shift)

    def value(self, q: int) -> int:
        """The output for one input value."""
        x = q - self.input_zero_point
        y = requantize_by(self.rounding, x, self.multiplier, self.shift)
        low = 0 if self.output_is_unsigned else -128
        return clamp(y + self.output_zero_point, low, low + 255)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Element by element."""
        return 0

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """Element by element."""
        x = arrays[0]
        dtype = np.uint8 if self.output_is_unsigned else np.int8
        return (np.array([self.value(q) for q in x.ravel().tolist()], dtype).reshape(x.shape),)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """A table of the 256 values."""
        low = 0 if self.input_is_unsigned else -128
        dtype = np.uint8 if self.output_is_unsigned else np.int8
        table = np.array([self.value(q) for q in range(low, low + 256)], dtype)
        return partial(lookup_kernel, inputs[0].reshape(-1), low, table, outputs[0].reshape(-1))


def lower_quantize(source: Tensor, output: Tensor) -> IntegerOp:
    """The operator that takes `source` to the scale of `output`.

    Raises:
        GraphError: the types are not supported, or a scale is missing.
    """
    scale, zero_point = quant_of(output)
    if source.dtype == FLOAT32 and output.dtype == INT8:
        return QuantizeFloat(scale, zero_point)
    if source.dtype not in (INT8, UINT8) or output.dtype not in (INT8, UINT8):
        raise GraphError(f"quantize from {source.dtype} to {output.dtype} is not supported")
    if source.dtype == UINT8 and output.dtype == UINT8:
        raise GraphError("quantize from uint8 to uint8 is not supported")
    s1, z1 = quant_of(source)
    multiplier, shift = quantize_multiplier(s1 / scale)
    return Requantize(
        z1, zero_point, multiplier, shift, source.dtype == UINT8, output.dtype == UINT8
    )


def float_key(x: np.float32) -> int:
    """The bit pattern of x as an int32 that orders like the float; -0.0 just below 0.0."""
    bits = int(np.float32(x).view(np.int32))
    return bits if bits >= 0 else bits ^ 0x7FFFFFFF


def key_float(keys: Array) -> Array:
    """The float32 values of keys; inverse of float_key."""
    bits = np.where(keys >= 0, keys, keys ^ 0x7FFFFFFF)
    return np.asarray(bits, np.int64).astype(np.int32).view(np.float32)


@kernel
def quantize_float_kernel(
    bits: Array,  # (n,) float32 viewed as int32
    thresholds: Array,  # (255,) int32
    out: Array,  # (n,) int8
) -> None:
    """QuantizeFloat: counts the thresholds at or below each key, by bisection."""
    for i in range(bits.shape[0]):
        b = np.int64(bits[i])
        key = b if b >= 0 else b ^ np.int64(0x7FFFFFFF)
        if (b & np.int64(0x7FFFFFFF)) > np.int64(0x7F800000):  # NaN
            key = np.int64(-(2**31))
        count = 0
        step = 128
        while step > 0:
            if count + step <= 255 and np.int64(thresholds[count + step - 1]) <= key:
                count += step
            step >>= 1
        out[i] = count - 128
