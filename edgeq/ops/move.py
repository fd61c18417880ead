"""MOVE: a tensor's bytes at another place of the arena, which may overlap the old one.

No file has it: passes/insert_moves.py adds it where a copy saves memory.
Twin: firmware_gen/kernels/move.h and move.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edgeq.graph import Array, Shape
from edgeq.jit import kernel
from edgeq.ops.op import IntegerOp, one_input


@dataclass(frozen=True, slots=True)
class Move(IntegerOp):
    """The input's bytes."""

    name = "move"

    def infer_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """Any shape -> the same."""
        return (one_input("move", shapes),)

    def overlap_nbytes(self, position: int, *shapes: Shape) -> int | None:
        """Anywhere: the copy runs from the end that is safe."""
        return -math.prod(shapes[0])

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """A copy."""
        return (arrays[0].copy(),)

    def bind(
        self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], scratch: Array
    ) -> Callable[[], None]:
        """Upwards or downwards, by the addresses."""
        x, out = inputs[0].reshape(-1), outputs[0].reshape(-1)
        return partial(move_kernel, x, out.ctypes.data > x.ctypes.data, out)


@kernel
def move_kernel(x: Array, is_upward: bool, out: Array) -> None:
    """Move on flat arrays of int8; from the last byte if out lies above x."""
    if is_upward:
        for i in range(x.shape[0] - 1, -1, -1):
            out[i] = x[i]
    else:
        for i in range(x.shape[0]):
            out[i] = x[i]
