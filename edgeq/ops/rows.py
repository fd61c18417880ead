"""What two operators in one need that run some rows of the output at a time."""

from __future__ import annotations

from edgeq.arith import Rounding
from edgeq.errors import GraphError
from edgeq.graph import Shape

ROW_ALIGNMENT = 4  # bytes; of every row: kernels read words


def check_both(name: str, rows_at_once: int, first: Rounding, second: Rounding) -> None:
    """Refuse no rows, and two operators that round differently.

    Raises:
        GraphError: it is so.
    """
    if rows_at_once < 1:
        raise GraphError(f"{name}: rows_at_once is {rows_at_once}, must be 1 or more")
    if first != second:
        raise GraphError(
            f"{name}: the first operator rounds by '{first}', the second by '{second}', must "
            "be the same"
        )


def check_rows(name: str, images: tuple[Shape, ...], output: Shape, rows_at_once: int) -> None:
    """Refuse images (1, H, W, C) of which a row is not whole words, and an output that is not
    whole steps.

    Raises:
        GraphError: it is so.
    """
    for shape in images:
        if shape[2] * shape[3] % ROW_ALIGNMENT:
            raise GraphError(
                f"{name}: a row of {shape} has {shape[2] * shape[3]} bytes, must be a multiple "
                f"of {ROW_ALIGNMENT}"
            )
    if output[1] % rows_at_once:
        raise GraphError(
            f"{name}: the output has {output[1]} rows, must be a multiple of {rows_at_once}, "
            "which are made at once"
        )
