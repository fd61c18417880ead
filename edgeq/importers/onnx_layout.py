"""Where the elements of an ONNX tensor lie in memory: how NCHW becomes NHWC without a copy.

An ONNX tensor is cut into atoms, numbered in the order in which they lie in memory. An image of
ONNX axes (1, C, H, W) that is stored as (1, H, W, C) has the atoms 0 = H, 1 = W, 2 = C and the
axes ((), (2,), (0,), (1,)). Transpose permutes the axes and Reshape regroups the atoms, and
neither moves an element: Flatten of that image has the axes ((), (2, 0, 1)), and the matrix
product after it takes its weights in the order of memory instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeq.graph import Array, Shape

Order = tuple[int, ...]  # the ONNX axes in the order of memory, outermost first


@dataclass(frozen=True, slots=True)
class Layout:
    """The ONNX axes of a tensor as atoms of its memory."""

    axes: tuple[tuple[int, ...], ...]  # atoms of each ONNX axis, outermost first
    extents: tuple[int, ...]  # of the atoms, in the order of memory; each > 1

    @staticmethod
    def of(shape: Shape, order: Order) -> Layout:
        """The layout of an ONNX shape whose axes lie in memory in this order."""
        axes: list[tuple[int, ...]] = [()] * len(shape)
        extents: list[int] = []
        for axis in order:
            if shape[axis] != 1:
                axes[axis] = (len(extents),)
                extents.append(shape[axis])
        return Layout(tuple(axes), tuple(extents))

    @property
    def shape(self) -> Shape:
        """The shape that ONNX gives the tensor."""
        return tuple(math.prod(self.extents[atom] for atom in axis) for axis in self.axes)

    def transposed(self, order: Order) -> Layout:
        """The layout after an ONNX Transpose with this permutation."""
        return Layout(tuple(self.axes[axis] for axis in order), self.extents)

    def reshaped(self, shape: Shape) -> Layout | None:
        """The layout after an ONNX Reshape to `shape`; None if an atom cannot be cut to fit."""
        left = self._runs()[::-1]
        axes: list[list[tuple[int, int]]] = []
        extents: dict[tuple[int, int], int] = {}
        for extent in shape:
            axes.append([])
            while extent > 1:
                (first, part), available = left.pop()
                taken = min(extent, available)
                if extent % taken or available % taken:
                    return None
                if available > taken:
                    left.append(((first, part + 1), available // taken))
                axes[-1].append((first, part))
                extents[first, part] = taken
                extent //= taken
        atoms = {key: atom for atom, key in enumerate(sorted(extents))}
        return Layout(
            tuple(tuple(atoms[key] for key in axis) for axis in axes),
            tuple(extents[key] for key in sorted(extents)),
        )

    def _runs(self) -> list[tuple[tuple[int, int], int]]:
        """((first atom, 0), extent) of the atoms that lie side by side, in ONNX order."""
        runs: list[tuple[tuple[int, int], int]] = []
        previous = None
        for atom in (atom for axis in self.axes for atom in axis):
            if runs and atom - 1 == previous:
                runs[-1] = (runs[-1][0], runs[-1][1] * self.extents[atom])
            else:
                runs.append(((atom, 0), self.extents[atom]))
            previous = atom
        return runs

    def has_order(self, order: Order) -> bool:
        """Whether the axes lie in memory in this order."""
        atoms = tuple(atom for axis in order for atom in self.axes[axis])
        return atoms == tuple(range(len(self.extents)))

    def last_axis_index(self, order: Order) -> Array | None:
        """ONNX index along the last axis of `order` at each place of memory, or None.

        The axes before it must lie in memory in order; the atoms of the last one in any.
        """
        if not order:
            return None
        leading = tuple(atom for axis in order[:-1] for atom in self.axes[axis])
        if leading != tuple(range(len(leading))):
            return None
        atoms = self.axes[order[-1]]
        extents = [self.extents[atom] for atom in atoms]
        index = np.arange(math.prod(extents)).reshape(extents)
        return index.transpose(np.argsort(atoms)).ravel() if atoms else index.ravel()


def channels_last(rank: int) -> Order:
    """NCHW to NHWC, for any rank."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def orders(rank: int) -> tuple[Order, ...]:
    """The orders that operators are tried in: channels last, then ONNX's own."""
    return tuple(dict.fromkeys((channels_last(rank), tuple(range(rank)))))


def axis_last(rank: int, axis: int) -> Order:
    """The ONNX order with one axis moved to the end."""
    return (*(a for a in range(rank) if a != axis), axis)
