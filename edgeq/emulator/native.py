"""The compiled callbacks of the virtual board: counting instructions, and the UART's data path.

Unicorn calls them once a basic block and once a UART register access, without Python in
between. They share one record, MACHINE, with the Python side. Positions in the rings count
bytes since the start and never wrap; the index is the position modulo RING_NBYTES.

A stop is asked for by `deadline`: the block at which `instructions` has reached it is neither
counted nor executed, and is the first to run when emulation goes on. Stopping inside a block
would execute and count the rest of it twice.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import llvmlite.binding
import numpy as np

from edgeq.emulator.native_watch import pointer as _pointer
from edgeq.emulator.native_watch import watch_block
from edgeq.jit import callback, carray, from_dtype, kernel, types

RING_NBYTES = 1 << 16
MAX_REGIONS = 8
# A firmware that reads an empty receiver this often, with less than this many instructions
# between two reads, waits for input.
IDLE_POLLS = 8
IDLE_GAP = 2000
# Sent bytes wait at most this many instructions for more to join them.
SEND_DELAY = 20_000

MACHINE = np.dtype(
    [
        ("instructions", "i8"),  # executed so far
        ("deadline", "i8"),  # stop at the first block at or after this many instructions
        ("idle", "i8"),  # 1: stopped because the firmware waits for input
        ("bad_offset", "i8"),  # UART register that is not modelled, -1: none
        ("core_rules", "i8"),  # RULES_...: instructions that the core lacks and Unicorn runs
        ("bad_instruction", "i8"),  # address of such an instruction, -1: none
        ("polls", "i8"),
        ("polled_at", "i8"),
        ("rx_put", "i8"),
        ("rx_taken", "i8"),
        ("tx_put", "i8"),
        ("tx_taken", "i8"),
        ("counts", "u8"),  # address of an int64 array: executions of the block that starts here
        (
            "lengths",
            "u8",
        ),  # address of an int32 array: nbytes << 16 | instructions of that block
        ("watch", "u8"),  # address of a WATCH record, 0: none
        ("code", "u8"),  # address of the halfwords of all regions, one after the other
        ("regions", "i8"),
        ("region_start", "i8", (MAX_REGIONS,)),
        ("region_end", "i8", (MAX_REGIONS,)),
        ("region_index", "i8", (MAX_REGIONS,)),  # of its first halfword in the three arrays
        ("registers", "u4", (1024,)),  # of the UART, by word offset
        ("rx", "u1", (RING_NBYTES,)),
        ("tx", "u1", (RING_NBYTES,)),
    ],
    align=True,
)
_MACHINE_POINTER = types.CPointer(from_dtype(MACHINE))

RULES_NONE = 0  # ARMv7E-M and ARMv8-M with DSP extension
RULES_V6M = 1  # no CBZ, CBNZ, IT (DDI0419E, section A5.2)
RULES_V7M = 2  # no DSP extension (DDI0403E, section A5.3)


def _load_symbol() -> None:
    from unicorn.unicorn_py3.unicorn import uclib

    address = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value
    llvmlite.binding.add_symbol("uc_emu_stop", address)


_load_symbol()
_uc_emu_stop = types.ExternalFunction("uc_emu_stop", types.int32(types.voidptr))


@kernel
def is_wide(halfword: Any) -> Any:
    """Whether a Thumb instruction has a second halfword (DDI0403E, section A5.1)."""
    return halfword >= 0xE800


@kernel
def lacks(rules: Any, first: Any, second: Any) -> Any:
    """Whether the core lacks an instruction that Unicorn executes on it all the same."""
    if rules == RULES_V6M:
        return (first & 0xF500) == 0xB100 or ((first & 0xFF00) == 0xBF00 and (first & 0xF) != 0)
    if rules == RULES_V7M:
        row = first & 0xFFF0
        column = (second >> 4) & 0xF
        if row == 0xFB00:  # MLA, MLS, MUL, not DSP
            return False
        if 0xFB10 <= row <= 0xFB70:  # SMLAxy, SMLAD, SMLAWy, SMLSD, SMMLA, SMMLS, USAD8
            return True
        if row == 0xFBC0:  # SMLALxy, SMLALD beside SMLAL
            return column >= 8
        if row == 0xFBD0:  # SMLSLD
            return True
        return row == 0xFBE0 and column == 6  # UMAAL beside UMLAL
    return False


@kernel
def _decode(m: Any, address: Any, index: Any, nbytes: Any) -> Any:
    """Instructions of a block; notes the first one that the core lacks."""
    code = carray(_pointer(m.code), 1 << 40, np.uint16)
    count = 0
    k = index
    end = index + (nbytes >> 1)
    while k < end:
        first = np.int64(code[k])
        wide = is_wide(first)
        second = np.int64(code[k + 1]) if wide else np.int64(0)
        if m.bad_instruction < 0 and lacks(m.core_rules, first, second):
            m.bad_instruction = address + 2 * (k - index)
        count += 1
        k += 2 if wide else 1
    return count


@callback(types.voidptr, types.uint64, types.uint32, _MACHINE_POINTER)
def on_block(uc: Any, address: Any, nbytes: Any, machine: Any) -> None:
    """UC_HOOK_BLOCK: count a block before it runs, or stop at it."""
    m = carray(machine, 1)[0]
    if m.instructions >= m.deadline:
        _uc_emu_stop(uc)
        return
    start = np.int64(address)
    size = np.int64(nbytes)
    r = 0
    while r < m.regions and not (m.region_start[r] <= start < m.region_end[r]):
        r += 1
    if r == m.regions:
        return
    index = m.region_index[r] + ((start - m.region_start[r]) >> 1)
    lengths = carray(_pointer(m.lengths), 1 << 40, np.int32)
    known = np.int64(lengths[index])
    if known >> 16 != size:
        known = size << 16 | _decode(m, start, index, size)
        lengths[index] = known
        if m.bad_instruction >= 0:
            m.deadline = 0
            _uc_emu_stop(uc)
            return
    carray(_pointer(m.counts), 1 << 40, np.int64)[index] += 1
    m.instructions += known & 0xFFFF
    if m.watch:
        watch_block(uc, m.watch, index, start, size, known & 0xFFFF)


@kernel
def rx_ready(m: Any) -> bool:
    """Whether a received byte waits; a receiver found empty again and again is idle."""
    if m.rx_taken != m.rx_put:
        return True
    near = m.instructions - m.polled_at < IDLE_GAP
    m.polled_at = m.instructions
    m.polls = m.polls + 1 if near else 1
    if m.polls >= IDLE_POLLS:
        m.idle = 1
        m.deadline = 0
    return False


@kernel
def rx_take(m: Any) -> Any:
    """The next received byte, 0 if there is none."""
    if m.rx_taken == m.rx_put:
        return 0
    value = np.int64(m.rx[m.rx_taken & (RING_NBYTES - 1)])
    m.rx_taken += 1
    m.polls = 0
    return value


@kernel
def tx_ready(m: Any) -> bool:
    """Whether the transmitter has room; if not, the host is given the time to take bytes."""
    if m.tx_put - m.tx_taken < RING_NBYTES:
        return True
    m.deadline = 0
    return False


@kernel
def tx_put(m: Any, value: int) -> None:
    """Send a byte; lost, as on the wire, if there is no room."""
    m.polls = 0
    if m.tx_put - m.tx_taken < RING_NBYTES:
        m.tx[m.tx_put & (RING_NBYTES - 1)] = value & 0xFF
        m.tx_put += 1
        m.deadline = min(m.deadline, m.instructions + SEND_DELAY)


@kernel
def not_modelled(m: Any, offset: int) -> None:
    """Note an access to a UART register that the model does not have."""
    if m.bad_offset < 0:
        m.bad_offset = offset


uart_function = kernel


@cache
def uart_reader(read: Any) -> Any:
    """The MMIO callback made of a UART's compiled `read(m, offset) -> value`."""

    def on_read(uc: Any, offset: Any, nbytes: Any, machine: Any) -> Any:
        m = carray(machine, 1)[0]
        value = read(m, np.int64(offset))
        if m.bad_offset >= 0:
            _uc_emu_stop(uc)
        return np.uint64(value)

    types_in = (types.voidptr, types.uint64, types.uint32, _MACHINE_POINTER)
    return callback(*types_in, result=types.uint64)(on_read)


@cache
def uart_writer(write: Any) -> Any:
    """The MMIO callback made of a UART's compiled `write(m, offset, value)`."""

    def on_write(uc: Any, offset: Any, nbytes: Any, value: Any, machine: Any) -> None:
        m = carray(machine, 1)[0]
        write(m, np.int64(offset), np.int64(value))
        if m.bad_offset >= 0:
            _uc_emu_stop(uc)

    types_in = (types.voidptr, types.uint64, types.uint32, types.uint64, _MACHINE_POINTER)
    return callback(*types_in)(on_write)
