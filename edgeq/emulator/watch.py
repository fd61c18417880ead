"""A watch on one function of a firmware: which blocks run while it does, and for which call.

Rows split the counts: row 0 is the function itself, row k the k-th call that it makes, with all
that is called from there; a function shared by several calls is thus counted where it is
used. Twin of native_watch.py, which counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.emulator.image import Function
from edgeq.emulator.native_watch import MAX_BLOCKS, WATCH
from edgeq.errors import EmulatorError


@dataclass(frozen=True, slots=True)
class Block:
    """A basic block as one row ran it; figures are sums over all runs of the function."""

    row: int
    address: int
    nbytes: int
    executed: int
    left: int  # how often the next block was not the one behind it: the branch was taken
    depth_nbytes: int  # most stack below the function's own at the block's start


class Watch:
    """Counts `runs` runs of a function; `calls` > 0: one row for each of its calls."""

    def __init__(self, function: Function, *, calls: int = 0, runs: int = 1) -> None:
        self.function = function
        self._record = np.zeros(1, WATCH)
        rows = calls + 1
        self._arrays = {
            "block_start": np.zeros(MAX_BLOCKS, np.int64),
            "block_nbytes": np.zeros(MAX_BLOCKS, np.int64),
            "executed": np.zeros(rows * MAX_BLOCKS, np.int64),
            "left": np.zeros(rows * MAX_BLOCKS, np.int64),
            "depth": np.zeros(rows * MAX_BLOCKS, np.int64),
        }
        record = self._record
        record["on"] = 1
        record["entry"] = record["start"] = function.address
        record["end"] = function.address + function.nbytes
        record["rows"] = rows
        record["runs_wanted"] = runs
        record["previous"] = -1
        offset = WATCH.fields["register"][1] if WATCH.fields else 0
        record["register_at"] = record.ctypes.data + offset

    def attach(self, halfwords: int) -> int:
        """Make room for a board with so much memory; the address of the record."""
        self._arrays["ids"] = np.zeros(halfwords, np.int32)
        for name, array in self._arrays.items():
            self._record[name] = array.ctypes.data
        return int(self._record.ctypes.data)

    def set_exceptions(self, active: int) -> None:
        """So many exceptions are active now."""
        self._record["exceptions"] = active

    @property
    def runs(self) -> int:
        """Finished runs of the function."""
        return int(self._record["runs"][0])

    @property
    def calls(self) -> int:
        """The most calls that the function made in one run; 0 without rows for them."""
        return int(self._record["most_calls"][0])

    @property
    def exception_instructions(self) -> int:
        """Executed by exceptions that interrupted the function; in no block."""
        return int(self._record["exception_instructions"][0])

    @property
    def entry_sp(self) -> int:
        """The stack pointer at the start of the last run."""
        return int(self._record["return_sp"][0])

    @property
    def is_over(self) -> bool:
        """Whether the runs asked for are counted, or no more can be."""
        return not self._record["on"][0]

    def blocks(self) -> list[Block]:
        """What ran, by row and address.

        Raises:
            EmulatorError: the function has more basic blocks than can be counted.
        """
        if self._record["blocks"][0] >= MAX_BLOCKS:
            raise EmulatorError(
                f"{self.function.name}: runs more than {MAX_BLOCKS - 1} basic blocks; "
                "profile a smaller function"
            )
        starts, sizes = self._arrays["block_start"], self._arrays["block_nbytes"]
        found = []
        for slot in np.flatnonzero(self._arrays["executed"]).tolist():
            row, number = divmod(slot, MAX_BLOCKS)
            found.append(
                Block(
                    row,
                    int(starts[number]),
                    int(sizes[number]),
                    int(self._arrays["executed"][slot]),
                    int(self._arrays["left"][slot]),
                    int(self._arrays["depth"][slot]),
                )
            )
        return sorted(found, key=lambda b: (b.row, b.address, b.nbytes))
