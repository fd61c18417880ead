"""One node of an ONNX file as its reader sees it: attributes decoded, inputs looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.importers.onnx_layout import Layout


class Refused(Exception):  # noqa: N818 - not an error of its own: the reader collects them
    """Why one node cannot be read; its text ends up in the file's one ImportFailure."""


@dataclass(frozen=True, slots=True)
class Activation:
    """An ONNX tensor that is known only when the network runs."""

    tensor: str  # of the edgeq graph
    layout: Layout
    is_exclusive: bool = True  # nothing but this ONNX tensor reads `tensor`

    @property
    def shape(self) -> Shape:
        """The shape that ONNX gives it."""
        return self.layout.shape


Value: TypeAlias = "Activation | Array"  # an array is a constant, in ONNX's layout


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """A node, its attributes as Python values, its inputs as values (None: left out)."""

    op_type: str
    name: str  # of the layer; unique, and free for a tensor
    attributes: Mapping[str, Any]
    inputs: tuple[Value | None, ...]
    is_only_reader: tuple[bool, ...]  # of each input: no other node or graph output reads it
    outputs: tuple[str, ...]  # ONNX names; "" for one that is left out
    opset: int

    def activation(self, index: int = 0) -> Activation:
        """The input that must be an activation."""
        value = self._input(index)
        if value is None:
            raise Refused(f"input {index} is missing")
        if not isinstance(value, Activation):
            raise Refused(f"input {index} is a constant, must be an activation")
        exclusive = value.is_exclusive and self.is_only_reader[index]
        return Activation(value.tensor, value.layout, exclusive)

    def optional(self, index: int, what: str) -> Array | None:
        """The constant input, or None if the node leaves it out."""
        value = self._input(index)
        if isinstance(value, Activation):
            raise Refused(f"{what} is an activation, must be a constant")
        return value

    def constant(self, index: int, what: str) -> Array:
        """The constant input."""
        value = self.optional(index, what)
        if value is None:
            raise Refused(f"{what} (input {index}) is missing")
        return value

    def weights(self, index: int, what: str) -> Array:
        """The constant input, finite float32."""
        return as_weights(self.constant(index, what), what)

    def optional_weights(self, index: int, what: str) -> Array | None:
        """As weights(), or None if the node leaves it out."""
        value = self.optional(index, what)
        return None if value is None else as_weights(value, what)

    def integers(self, index: int, what: str) -> tuple[int, ...]:
        """The constant input of at most one axis, integers."""
        return as_integers(self.constant(index, what), what)

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise Refused(f"attribute {name} is {value!r}, must be an integer")
        return value

    def flag(self, name: str, default: int = 0) -> bool:
        """An integer attribute that is 0 or 1."""
        value = self.integer(name, default)
        if value not in (0, 1):
            raise Refused(f"attribute {name} is {value}, must be 0 or 1")
        return bool(value)

    def integer_list(self, name: str) -> tuple[int, ...] | None:
        """A list-of-integers attribute, None if absent."""
        value = self.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(v, int) for v in value):
            raise Refused(f"attribute {name} is {value!r}, must be a list of integers")
        return tuple(value)

    def real(self, name: str, default: float) -> float:
        """A float attribute; the default stands for the float32 that ONNX has."""
        value = self.attributes.get(name, default)
        if not isinstance(value, float):
            raise Refused(f"attribute {name} is {value!r}, must be a float")
        return value

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise Refused(f"attribute {name} is {value!r}, must be a string")
        return value

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= axis < rank:
            raise Refused(f"axis is {axis}, the tensor has {rank} axes")
        return axis % rank

    def axes(self, rank: int, index: int = 1) -> tuple[int, ...] | None:
        """The attribute `axes` (ONNX before 13 or 18) or the input that took its place."""
        axes = self.integer_list("axes")
        if axes is None and self._input(index) is not None:
            axes = self.integers(index, "axes")
        if axes is None:
            return None
        counted = tuple(sorted(self.axis(a, rank) for a in axes))
        if len(set(counted)) != len(counted):
            raise Refused(f"axes {axes} name an axis twice")
        return counted

    def _input(self, index: int) -> Value | None:
        return self.inputs[index] if index < len(self.inputs) else None


def as_weights(value: Array, what: str) -> Array:
    """A constant that must be float32 and finite."""
    if value.dtype != np.float32:
        raise Refused(f"{what} is {value.dtype}, must be float32")
    if not np.isfinite(value).all():
        raise Refused(f"{what} holds NaN or infinity")
    return value


def as_integers(value: Array, what: str) -> tuple[int, ...]:
    """A constant that must be a scalar or a list of integers."""
    if value.dtype.kind not in "iu" or value.ndim > 1:
        raise Refused(f"{what} is {value.dtype}{value.shape}, must be a list of integers")
    return tuple(int(v) for v in value.ravel())
