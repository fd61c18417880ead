"""Calibration: the range of every activation of a float graph over representative samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.errors import DataError, GraphError
from edgeq.float_run import run_float
from edgeq.graph import Array, Graph, Tensor

BATCH = 16  # samples run at once: bounds the memory of the patches of a convolution

# Called with (samples done, samples in all).
CalibrationProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest and largest value of a tensor over all samples."""

    low: float
    high: float


def calibrate(
    graph: Graph,
    samples: Array | Sequence[Array],
    *,
    progress: CalibrationProgress | None = None,
) -> dict[str, Range]:
    """Min and max of every activation over `samples`.

    `samples`: an array with the samples on the first axis, or one such array per graph input.

    Raises:
        DataError: no sample, a shape that does not fit, NaN or infinite values.
        GraphError: the graph is not float.
    """
    if graph.is_quantized:
        raise GraphError(f"{graph.name}: is quantized already, calibration wants a float graph")
    batches = check_samples(graph, samples)
    count = next(iter(batches.values())).shape[0]
    ranges: dict[str, Range] = {}
    for first, chunk in _chunks(batches, count):
        for name, values in run_float(graph, chunk).items():
            low, high = float(values.min()), float(values.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise DataError(
                    f"'{name}' becomes NaN or infinite on samples {first} to "
                    f"{min(first + BATCH, count) - 1}"
                )
            seen = ranges.get(name)
            if seen is not None:
                low, high = min(low, seen.low), max(high, seen.high)
            ranges[name] = Range(low, high)
        if progress is not None:
            progress(min(first + BATCH, count), count)
    return ranges


def check_samples(graph: Graph, samples: Array | Sequence[Array]) -> dict[str, Array]:
    """Samples by input name, as float32 with the samples on the first axis.

    Raises:
        DataError: number, shape, type or values do not fit the graph's inputs.
    """
    tensors = graph.input_tensors()
    arrays = list(samples) if isinstance(samples, list | tuple) else [np.asarray(samples)]
    if len(tensors) == 1 and len(arrays) != 1:
        arrays = [np.stack([np.asarray(a) for a in arrays])] if arrays else []
    if len(arrays) != len(tensors):
        raise DataError(
            f"{graph.name}: got samples for {len(arrays)} inputs, wants {len(tensors)}"
        )
    batches = {t.name: _check(np.asarray(a), t) for a, t in zip(arrays, tensors, strict=True)}
    if len({b.shape[0] for b in batches.values()}) != 1:
        raise DataError("the inputs have different numbers of samples")
    return batches


def _check(x: Array, tensor: Tensor) -> Array:
    if x.dtype.kind not in "fiu":
        raise DataError(f"samples for '{tensor.name}' are {x.dtype}, must be numbers")
    if x.shape == tensor.shape[1:] and x.ndim:
        x = x[np.newaxis]
    if x.shape[1:] != tensor.shape[1:] or x.ndim != len(tensor.shape):
        wanted = ", ".join(["samples", *(str(e) for e in tensor.shape[1:])])
        raise DataError(f"samples for '{tensor.name}' have shape {x.shape}, must be ({wanted})")
    if x.shape[0] == 0:
        raise DataError(f"no samples for '{tensor.name}', must be at least one")
    bad = ~np.isfinite(x.reshape(x.shape[0], -1)).all(1)
    if bad.any():
        raise DataError(
            f"samples for '{tensor.name}': {int(bad.sum())} of {x.shape[0]} hold NaN or "
            f"infinite values, the first is sample {int(np.flatnonzero(bad)[0])}"
        )
    return x.astype(np.float32)


def _chunks(batches: Mapping[str, Array], count: int) -> Iterator[tuple[int, dict[str, Array]]]:
    for first in range(0, count, BATCH):
        yield first, {name: x[first : first + BATCH] for name, x in batches.items()}
