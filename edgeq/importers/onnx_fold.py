"""Constant folding, in numpy: the arithmetic on shapes that exporters write, and Constant.

Meanings: the ONNX operator specification, opsets 13 on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from edgeq.graph import Array, Shape
from edgeq.importers.onnx_node import Activation, OnnxNode, Refused

MAX_ELEMENTS = 2**26  # of any tensor: far beyond a microcontroller, well within a host

# TensorProto.DataType of the types that shapes and weights are cast between.
_DTYPES: Mapping[int, type[np.generic]] = MappingProxyType(
    {
        1: np.float32,
        2: np.uint8,
        3: np.int8,
        6: np.int32,
        7: np.int64,
        9: np.bool_,
        11: np.float64,
    }
)


def fold(node: OnnxNode) -> Array | None:
    """The node's output if it is known at import, else None."""
    if node.op_type == "Shape" and node.inputs and node.inputs[0] is not None:
        return _shape(node)
    if node.op_type == "CastLike" and len(node.inputs) == 2:
        x, like = node.inputs
        if isinstance(x, np.ndarray):
            return x.astype(like.dtype if isinstance(like, np.ndarray) else np.float32)
    folder = FOLDERS.get(node.op_type)
    if folder is None or any(isinstance(value, Activation) for value in node.inputs):
        return None
    try:
        with np.errstate(all="ignore"):
            return np.asarray(folder(node))
    except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise Refused(f"its constants do not fit together: {error}") from None


def resolve_shape(source: Shape, target: tuple[int, ...], allow_zero: bool) -> Shape:
    """The shape that Reshape gives: 0 copies an extent, one -1 takes what is left."""
    shape = [
        source[i] if extent == 0 and not allow_zero and i < len(source) else extent
        for i, extent in enumerate(target)
    ]
    count = math.prod(source)
    if shape.count(-1) == 1:
        known = math.prod(extent for extent in shape if extent != -1)
        if known > 0 and count % known == 0:
            shape[shape.index(-1)] = count // known
    if any(extent < 0 for extent in shape) or math.prod(shape) != count:
        raise Refused(f"shape {source} cannot become {target}")
    return tuple(shape)


def unsqueezed(shape: Shape, node: OnnxNode) -> Shape:
    """The shape with extents of 1 put in at `axes` of the result."""
    count = len(node.integer_list("axes") or ()) or len(node.integers(1, "axes"))
    axes = node.axes(len(shape) + count) or ()
    left = iter(shape)
    return tuple(1 if axis in axes else next(left) for axis in range(len(shape) + count))


def squeezed(shape: Shape, node: OnnxNode) -> Shape:
    """The shape without the extents of 1 at `axes`, or without any."""
    axes = node.axes(len(shape))
    if axes is None:
        axes = tuple(axis for axis, extent in enumerate(shape) if extent == 1)
    if any(shape[axis] != 1 for axis in axes):
        raise Refused(f"squeezes axes {axes} of shape {shape}, must have extent 1")
    return tuple(extent for axis, extent in enumerate(shape) if axis not in axes)


def permutation(rank: int, node: OnnxNode) -> tuple[int, ...]:
    """Transpose's `perm`; all axes turned round if it is absent."""
    perm = node.integer_list("perm") or tuple(range(rank))[::-1]
    if sorted(perm) != list(range(rank)):
        raise Refused(f"perm is {perm}, must name each of {rank} axes once")
    return perm


def flattened(shape: Shape, node: OnnxNode) -> Shape:
    """Flatten's two extents."""
    axis = node.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise Refused(f"axis is {axis}, the tensor has {len(shape)} axes")
    axis = axis + len(shape) if axis < 0 else axis
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def _shape(node: OnnxNode) -> Array:
    value = node.inputs[0]
    assert value is not None
    start, end = node.integer("start", 0), node.integer("end", len(value.shape))
    return np.array(value.shape[start:end], np.int64)


def _constant(node: OnnxNode) -> Array:
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in node.attributes:
            return np.array(node.attributes[name], dtype)
    value = node.attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise Refused("holds no dense tensor of numbers")
    return value


def _cast(node: OnnxNode) -> Array:
    code = node.integer("to", 0)
    if code not in _DTYPES:
        raise Refused(f"casts a constant to ONNX type {code}, which is not read")
    return node.constant(0, "input").astype(_DTYPES[code])


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    return np.asarray(np.trunc(a / b).astype(a.dtype))  # ONNX truncates, numpy floors


def _constant_of_shape(node: OnnxNode) -> Array:
    shape = node.integers(0, "shape")
    _require_small(shape)
    fill = node.attributes.get("value", np.zeros(1, np.float32))
    return np.full(shape, np.asarray(fill).ravel()[0], np.asarray(fill).dtype)


def _expand(node: OnnxNode) -> Array:
    x = node.constant(0, "input")
    shape = np.broadcast_shapes(x.shape, node.integers(1, "shape"))
    _require_small(shape)
    return np.broadcast_to(x, shape)


def _range(node: OnnxNode) -> Array:
    start, limit, delta = (node.constant(i, "input").ravel()[0] for i in range(3))
    _require_small((int(abs((limit - start) / delta)),))
    return np.arange(start, limit, delta, dtype=start.dtype)


def _slice(node: OnnxNode) -> Array:
    x = node.constant(0, "input")
    starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
    given = node.optional(3, "axes")
    axes = range(len(starts)) if given is None else given.ravel().tolist()
    steps = (
        [1] * len(starts) if node.optional(4, "steps") is None else node.integers(4, "steps")
    )
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        lowest = step < 0 and end < -x.shape[axis]
        cut[axis] = slice(start, None if lowest else end, step)
    return x[tuple(cut)]


def _concat(node: OnnxNode) -> Array:
    parts = [node.constant(i, "input") for i in range(len(node.inputs))]
    return np.concatenate(parts, node.integer("axis", 0))


def _require_small(shape: Shape) -> None:
    if math.prod(shape) > MAX_ELEMENTS:
        raise Refused(f"makes a constant of shape {shape}, more than {MAX_ELEMENTS} elements")


def _unary(function: Callable[[Array], Array]) -> Callable[[OnnxNode], Array]:
    return lambda node: function(node.constant(0, "input"))


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[OnnxNode], Array]:
    def run(node: OnnxNode) -> Array:
        if len(node.inputs) != 2:
            raise Refused(f"{len(node.inputs)} inputs, must be 2")
        a, b = node.constant(0, "input 0"), node.constant(1, "input 1")
        _require_small(np.broadcast_shapes(a.shape, b.shape))
        return function(a, b)

    return run


def _reshaped(
    target: Callable[[Shape, OnnxNode], Shape],
) -> Callable[[OnnxNode], Array]:
    def run(node: OnnxNode) -> Array:
        x = node.constant(0, "input")
        return x.reshape(target(x.shape, node))

    return run


def reshape_target(shape: Shape, node: OnnxNode) -> Shape:
    """Reshape's result for this input shape."""
    return resolve_shape(shape, node.integers(1, "shape"), node.flag("allowzero"))


FOLDERS: Mapping[str, Callable[[OnnxNode], Array]] = MappingProxyType(
    {
        "Constant": _constant,
        "ConstantOfShape": _constant_of_shape,
        "Identity": _unary(lambda x: x),
        "Cast": _cast,
        "Add": _binary(np.add),
        "Sub": _binary(np.subtract),
        "Mul": _binary(np.multiply),
        "Div": _binary(_divide),
        "Max": _binary(np.maximum),
        "Min": _binary(np.minimum),
        "Abs": _unary(np.abs),
        "Sign": _unary(np.sign),
        "Neg": _unary(np.negative),
        "Sqrt": _unary(np.sqrt),
        "Floor": _unary(np.floor),
        "Equal": _binary(np.equal),
        "Where": lambda n: np.where(
            n.constant(0, "condition"), n.constant(1, "input 1"), n.constant(2, "input 2")
        ),
        "Gather": lambda n: np.take(
            n.constant(0, "input"), n.constant(1, "indices"), axis=n.integer("axis", 0)
        ),
        "Concat": _concat,
        "Slice": _slice,
        "Expand": _expand,
        "Range": _range,
        "Reshape": _reshaped(reshape_target),
        "Flatten": _reshaped(flattened),
        "Squeeze": _reshaped(squeezed),
        "Unsqueeze": _reshaped(unsqueezed),
        "Transpose": lambda n: n.constant(0, "input").transpose(
            permutation(n.constant(0, "input").ndim, n)
        ),
    }
)
