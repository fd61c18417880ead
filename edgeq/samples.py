"""Streams of samples: whatever holds them, read BATCH at a time and checked on the way.

A stream can be read again as often as what it is made of: an array, a file or a function that
returns a generator always, a generator once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from edgeq.errors import DataError
from edgeq.graph import Array, Graph, Tensor

BATCH = 16  # samples run at once: bounds the memory of the patches of a convolution

# An array with the samples on the first axis, or one such array per graph input, or anything
# that gives samples or batches of them (a tuple of arrays where a graph has several inputs), or
# a function that returns such a thing anew.
Samples: TypeAlias = (
    "Array | Sequence[Array] | Iterable[Array | tuple[Array, ...]] "
    "| Callable[[], Iterable[Array | tuple[Array, ...]]]"
)


class SampleStream:
    """The samples of one graph's inputs, as float32, in batches by input name."""

    def __init__(self, graph: Graph, source: Samples, *, limit: int | None = None) -> None:
        self._graph_name = graph.name
        self._tensors = graph.input_tensors()
        self._limit = limit
        self._make = self._opener(source)
        self._read = 0
        self._is_once = isinstance(source, Iterator)
        self._kept: _Spread | None = None
        self.keep = 0  # samples that a pass keeps for `spread`, so that it need not read again
        self.count: int | None = None  # samples in all; None until known
        if isinstance(source, np.ndarray | Sequence):
            first = next(iter(self._make()), None)
            self.count = 0 if first is None else self._batch(first)[0].shape[0]
        elif callable(length := getattr(source, "__len__", None)):
            self.count = int(length())
        if self.count is not None and limit is not None:
            self.count = min(self.count, limit)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """Batches of at most BATCH samples.

        Raises:
            DataError: number, shape, type or values do not fit the graph's inputs; no sample
                at all; a generator is read again.
        """
        if self._is_once and self._read:
            raise DataError(
                f"{self._graph_name}: these samples can be read only once and are needed "
                "again; give an array, a file, or a function that returns the generator"
            )
        self._read += 1
        self._kept = None
        kept = _Spread(self.keep)
        done = 0
        for batch in _regrouped(self._batch(item, at=n) for n, item in self._items()):
            if self._limit is not None:
                batch = [x[: self._limit - done] for x in batch]
            named = {t.name: x for t, x in zip(self._tensors, batch, strict=True)}
            kept.add(named)
            yield named
            done += batch[0].shape[0]
            if done == self._limit:
                break
        if not done:
            raise DataError(f"no samples for '{self._tensors[0].name}', must be at least one")
        self.count = done
        self._kept = kept

    def spread(self, most: int) -> dict[str, Array]:
        """At most `most` samples, evenly spaced, all at once.

        Those of the last pass if `keep` asked for as many; else the stream is read once more.
        """
        if self._kept is None or self.keep != most:
            self.keep = most
            for _ in self:
                pass
        assert self._kept is not None
        return self._kept.samples()

    def _opener(self, source: Samples) -> Callable[[], Iterable[Array | tuple[Array, ...]]]:
        if not isinstance(source, Iterable):
            return source
        if isinstance(source, np.ndarray):
            return lambda: [source]
        if isinstance(source, Sequence):
            arrays = [np.asarray(a) for a in source]
            if len(self._tensors) == 1 and len(arrays) != 1:
                return lambda: [np.stack(arrays)] if arrays else []
            return lambda: [tuple(arrays)]
        return lambda: source

    def _items(self) -> Iterator[tuple[int, Array | tuple[Array, ...]]]:
        yield from enumerate(self._make())

    def _batch(self, item: Array | tuple[Array, ...], at: int = 0) -> list[Array]:
        arrays = list(item) if isinstance(item, tuple | list) else [item]
        if len(arrays) != len(self._tensors):
            raise DataError(
                f"{self._graph_name}: got samples for {len(arrays)} inputs, "
                f"wants {len(self._tensors)}"
            )
        batch = [
            _checked(np.asarray(x), t, at) for x, t in zip(arrays, self._tensors, strict=True)
        ]
        if len({x.shape[0] for x in batch}) != 1:
            raise DataError("the inputs have different numbers of samples")
        return batch


def check_samples(graph: Graph, samples: Array | Sequence[Array]) -> dict[str, Array]:
    """Samples by input name, as float32 with the samples on the first axis.

    Raises:
        DataError: number, shape, type or values do not fit the graph's inputs.
    """
    parts = list(SampleStream(graph, samples))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Spread:
    """Every stride-th sample of a stream of unknown length, the stride doubled when full."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._stride, self._index = 1, 0
        self._items: list[dict[str, Array]] = []

    def add(self, batch: dict[str, Array]) -> None:
        """Take in a batch; what is kept is copied, so that the batch can go."""
        for i in range(next(iter(batch.values())).shape[0] if self._most else 0):
            if self._index % self._stride == 0:
                if len(self._items) == self._most:
                    self._items = self._items[::2]
                    self._stride *= 2
                if self._index % self._stride == 0:
                    self._items.append({n: x[i : i + 1].copy() for n, x in batch.items()})
            self._index += 1

    def samples(self) -> dict[str, Array]:
        """What is kept, by input name."""
        return {n: np.concatenate([item[n] for item in self._items]) for n in self._items[0]}


def _checked(x: Array, tensor: Tensor, at: int) -> Array:
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
        where = f" of part {at}" if at else ""
        raise DataError(
            f"samples for '{tensor.name}': {int(bad.sum())} of {x.shape[0]}{where} hold NaN or "
            f"infinite values, the first is sample {int(np.flatnonzero(bad)[0])}"
        )
    return x.astype(np.float32, copy=False)


def _regrouped(items: Iterable[list[Array]]) -> Iterator[list[Array]]:
    """The same samples, BATCH at a time, the last time what is left."""
    waiting: list[list[Array]] = []
    count = 0
    for item in items:
        waiting.append(item)
        count += item[0].shape[0]
        if count < BATCH:
            continue
        joined = [
            np.concatenate(xs) if len(xs) > 1 else xs[0] for xs in zip(*waiting, strict=True)
        ]
        whole = count - count % BATCH
        for first in range(0, whole, BATCH):
            yield [x[first : first + BATCH] for x in joined]
        waiting = [[x[whole:] for x in joined]] if count > whole else []
        count -= whole
    if count:
        yield [np.concatenate(xs) for xs in zip(*waiting, strict=True)]
