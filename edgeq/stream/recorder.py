"""Recorder: results written as CSV and as JSON lines, each row on disk before the next.

Columns: run_id (the sample's number in a stream), host_time (UTC, ISO 8601), ticks, seconds on
the device (ticks / ticks_hz), top_class, and the outputs. With formats, an output is one column
an element, in reals  scale * (quantized - zero_point)  where a scale is known, else as stored;
without, all bytes are one column in hexadecimal and top_class is empty.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from edgeq.errors import DataError
from edgeq.stream.result import Result

_FIXED = ("run_id", "host_time", "ticks", "seconds", "top_class")


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """How one output tensor lies in a result's bytes; elements are little endian."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # numpy's name, such as "int8"
    scale: float | None = None  # None: elements are recorded as they are stored
    zero_point: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def decode_outputs(output: bytes, formats: Sequence[OutputFormat]) -> list[np.ndarray]:
    """The output tensors in a result's bytes: float64 reals where a scale is known.

    Raises:
        DataError: the bytes are not as many as the formats take.
    """
    nbytes = sum(tensor.nbytes for tensor in formats)
    if len(output) != nbytes:
        raise DataError(f"result: has {len(output)} bytes, its formats take {nbytes}")
    tensors = []
    start = 0
    for tensor in formats:
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        stored = np.frombuffer(output, dtype, math.prod(tensor.shape), start)
        stored = stored.reshape(tensor.shape)
        if tensor.scale is not None:
            stored = tensor.scale * (stored.astype(np.float64) - tensor.zero_point)
        tensors.append(stored)
        start += tensor.nbytes
    return tensors


class Recorder:
    """Writes each result as a row of `csv_path` and a line of `jsonl_path`, where given."""

    def __init__(
        self,
        *,
        ticks_hz: int,
        csv_path: Path | None = None,
        jsonl_path: Path | None = None,
        formats: Sequence[OutputFormat] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Create the files; what they held is lost.

        Raises:
            DataError: a file cannot be written.
        """
        self._ticks_hz = ticks_hz
        self._formats = tuple(formats)
        self._now = now
        with ExitStack() as files:
            self._csv = _created(files, csv_path)
            self._jsonl = _created(files, jsonl_path)
            self._files = files.pop_all()
        if self._csv is not None:
            self._write_csv((*_FIXED, *_columns(self._formats)))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def write(self, result: Result) -> dict[str, Any]:
        """Record one result; gives the row as the JSON line has it.

        Raises:
            DataError: the result's bytes are not as many as the formats take.
        """
        row: dict[str, Any] = {
            "run_id": result.run_id,
            "host_time": self._now().isoformat(timespec="microseconds"),
            "ticks": result.ticks,
            "seconds": result.ticks / self._ticks_hz,
            "top_class": None,
        }
        if self._formats:
            tensors = decode_outputs(result.output, self._formats)
            row["top_class"] = int(np.argmax(tensors[0]))
            row["outputs"] = {
                tensor.name: values.tolist()
                for tensor, values in zip(self._formats, tensors, strict=True)
            }
            elements = [value for values in tensors for value in values.ravel().tolist()]
        else:
            row["output_hex"] = result.output.hex()
            elements = [row["output_hex"]]
        if self._csv is not None:
            self._write_csv((*(row[name] for name in _FIXED), *elements))
        if self._jsonl is not None:
            self._jsonl.write(json.dumps(row, allow_nan=False) + "\n")
            self._jsonl.flush()
        return row

    def _write_csv(self, row: Sequence[object]) -> None:
        assert self._csv is not None
        csv.writer(self._csv, lineterminator="\n").writerow(row)
        self._csv.flush()


def _created(files: ExitStack, path: Path | None) -> TextIO | None:
    if path is None:
        return None
    try:
        return files.enter_context(path.open("w", encoding="utf-8", newline=""))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def _columns(formats: Sequence[OutputFormat]) -> list[str]:
    if not formats:
        return ["output_hex"]
    return [f"{t.name}[{i}]" for t in formats for i in range(math.prod(t.shape))]
