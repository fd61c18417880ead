"""What the three operators with a filter share: checks of filter, bias and multipliers."""

from __future__ import annotations

import numpy as np

from edgeq.errors import GraphError
from edgeq.graph import Array, Shape, Tensor
from edgeq.ops.op import INT8, INT32


def check_product(
    op: str,
    shapes: tuple[Shape, ...],
    channel_axis: int,
    multiplier: tuple[int, ...],
    shift: tuple[int, ...],
) -> None:
    """Check that there are input, filter and bias, and multipliers for the filter's channels.

    Raises:
        GraphError: there are not.
    """
    if len(shapes) != 3:
        raise GraphError(f"{op}: {len(shapes)} inputs, must be input, filter and bias")
    channels = shapes[1][channel_axis] if shapes[1] else 0
    if len(multiplier) not in (1, channels) or len(shift) != len(multiplier):
        raise GraphError(
            f"{op}: {len(multiplier)} multipliers, {len(shift)} shifts for {channels} channels"
        )


def verify_weights(inputs: tuple[Tensor, ...]) -> None:
    """Check that filter and bias are constants of int8 and int32.

    Raises:
        GraphError: they are not.
    """
    for tensor, dtype in zip(inputs[1:], (INT8, INT32), strict=True):
        if tensor.data is None or tensor.dtype != dtype:
            kind = "an activation" if tensor.data is None else str(tensor.dtype)
            raise GraphError(f"{tensor.name} is {kind}, must be a constant of {dtype}")


def per_channel(values: tuple[int, ...], channels: int) -> Array:
    """(O,) int32 from one value per channel or one for all."""
    return np.broadcast_to(np.array(values, np.int32), (channels,)).copy()
