"""The compiled half of watch.py: counts of blocks by row while one function runs.

Called by native.on_block once a block, after it has been counted there and before it runs.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding
import numpy as np
from unicorn import arm_const as arm

from edgeq.jit import carray, from_dtype, intrinsic, kernel, types

MAX_BLOCKS = 1 << 14  # different basic blocks

WATCH = np.dtype(
    [
        ("on", "i8"),  # 0: count no more
        ("entry", "i8"),  # address of the function
        ("start", "i8"),  # its code: where it calls from
        ("end", "i8"),
        ("rows", "i8"),  # 1, or 1 + the calls that it makes
        ("runs", "i8"),  # finished
        ("runs_wanted", "i8"),
        ("inside", "i8"),
        ("return_to", "i8"),
        ("return_sp", "i8"),
        ("row", "i8"),  # 0: the function itself; k: its k-th call
        ("calls", "i8"),  # made so far in this run
        ("most_calls", "i8"),  # in one run
        ("exceptions", "i8"),  # active, set by the board: theirs is counted apart
        ("exception_instructions", "i8"),
        ("previous", "i8"),  # slot of the block before, -1: none
        ("previous_end", "i8"),
        ("blocks", "i8"),  # known
        ("register", "i8"),  # where uc_reg_read writes
        ("register_at", "u8"),  # its address
        ("ids", "u8"),  # address of an int32 array: by halfword, 1 + number of the block
        ("block_start", "u8"),  # of int64 arrays by number of the block
        ("block_nbytes", "u8"),
        ("executed", "u8"),  # of int64 arrays by slot = row * MAX_BLOCKS + number
        ("left", "u8"),  # how often the next block was not the one behind it
        ("depth", "u8"),  # most bytes of stack below the function's at the block's start
    ],
    align=True,
)


def _load_symbol() -> None:
    from unicorn.unicorn_py3.unicorn import uclib

    address = ctypes.cast(uclib.uc_reg_read, ctypes.c_void_p).value
    llvmlite.binding.add_symbol("uc_reg_read", address)


_load_symbol()
_uc_reg_read = types.ExternalFunction(
    "uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr)
)
_WATCH_POINTER = types.CPointer(from_dtype(WATCH))


def _typed_pointer(typing_context: Any, address: Any) -> Any:
    """An address held in an integer, as a pointer for carray."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.uint64), generate


def _typed_watch(typing_context: Any, address: Any) -> Any:
    """An address held in an integer, as a pointer to a WATCH record."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(_WATCH_POINTER))

    return _WATCH_POINTER(types.uint64), generate


pointer: Any = intrinsic(_typed_pointer)
_watch_at: Any = intrinsic(_typed_watch)
_SP = arm.UC_ARM_REG_SP
_LR = arm.UC_ARM_REG_LR


@kernel
def _register(uc: Any, w: Any, number: Any) -> Any:
    w.register = 0
    _uc_reg_read(uc, number, pointer(w.register_at))
    return w.register & 0xFFFFFFFF


@kernel
def _number(w: Any, index: Any, start: Any, nbytes: Any) -> Any:
    """The block's number, a new one if it is not known with this length; -1: too many."""
    ids = carray(pointer(w.ids), 1 << 40, np.int32)
    known = np.int64(ids[index]) - 1
    sizes = carray(pointer(w.block_nbytes), MAX_BLOCKS, np.int64)
    if known >= 0 and sizes[known] == nbytes:
        return known
    if w.blocks >= MAX_BLOCKS:
        return np.int64(-1)
    number = w.blocks
    w.blocks = number + 1
    ids[index] = number + 1
    sizes[number] = nbytes
    carray(pointer(w.block_start), MAX_BLOCKS, np.int64)[number] = start
    return number


@kernel
def watch_block(uc: Any, address: Any, index: Any, start: Any, nbytes: Any, count: Any) -> None:
    """Count a block of `count` instructions in the WATCH record at `address`.

    The function's run ends at the block to which it returns, with the stack it was called on.
    """
    w = carray(_watch_at(address), 1)[0]
    if w.on == 0:
        return
    if w.exceptions > 0:
        if w.inside:
            w.exception_instructions += count
        return
    if w.previous >= 0:
        if start != w.previous_end:
            carray(pointer(w.left), 1 << 40, np.int64)[w.previous] += 1
        w.previous = -1
    if w.inside == 0:
        if start != w.entry:
            return
        w.inside = 1
        w.return_to = _register(uc, w, _LR) & ~1
        w.return_sp = _register(uc, w, _SP)
        w.row = w.calls = 0
    sp = _register(uc, w, _SP)
    if start == w.return_to and sp == w.return_sp:
        w.inside = 0
        w.runs += 1
        w.most_calls = max(w.most_calls, w.calls)
        w.on = 1 if w.runs < w.runs_wanted else 0
        return
    if w.rows > 1:
        if w.start <= start < w.end:
            w.row = 0
        elif w.row == 0:
            w.calls += 1
            w.row = min(w.calls, w.rows - 1)
    number = _number(w, index, start, nbytes)
    if number < 0:
        w.on = 0
        return
    slot = w.row * MAX_BLOCKS + number
    carray(pointer(w.executed), 1 << 40, np.int64)[slot] += 1
    depth = carray(pointer(w.depth), 1 << 40, np.int64)
    if w.return_sp - sp > depth[slot]:
        depth[slot] = w.return_sp - sp
    w.previous = slot
    w.previous_end = start + nbytes
