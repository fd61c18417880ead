"""One emulated core with its memories: loads the firmware, runs it, counts what it executes.

A stop for an interrupt or for the host happens between two basic blocks. Registers read inside
a block see the time at the end of that block, so the time between two passes of the same
instruction is exact.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from unicorn import UC_ARCH_ARM, UC_MODE_THUMB, Uc, UcError
from unicorn import arm_const as arm
from unicorn import unicorn_const as const
from unicorn.unicorn_py3.unicorn import uclib

from edgeq.board import Board
from edgeq.emulator import native
from edgeq.emulator.image import Image
from edgeq.emulator.peripherals import Peripheral
from edgeq.emulator.uarts import UartModel
from edgeq.emulator.watch import Watch
from edgeq.errors import EmulatorError

# The Cortex-M0+ has the M0's instructions. UC_MODE_MCLASS would make every core an M33.
_MODELS = {
    "cortex-m0": arm.UC_CPU_ARM_CORTEX_M0,
    "cortex-m0plus": arm.UC_CPU_ARM_CORTEX_M0,
    "cortex-m3": arm.UC_CPU_ARM_CORTEX_M3,
    "cortex-m4": arm.UC_CPU_ARM_CORTEX_M4,
    "cortex-m7": arm.UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": arm.UC_CPU_ARM_CORTEX_M33,
}
_RULES = {
    "cortex-m0": native.RULES_V6M,
    "cortex-m0plus": native.RULES_V6M,
    "cortex-m3": native.RULES_V7M,
}
_PAGE_NBYTES = 1024
_NEVER = 0xFFFFFFFE  # an address at which nothing runs
_INVALID = (
    const.UC_HOOK_MEM_READ_UNMAPPED
    | const.UC_HOOK_MEM_WRITE_UNMAPPED
    | const.UC_HOOK_MEM_FETCH_UNMAPPED
    | const.UC_HOOK_MEM_READ_PROT
    | const.UC_HOOK_MEM_WRITE_PROT
    | const.UC_HOOK_MEM_FETCH_PROT
)


class Machine:
    """A core, its memories, and the compiled hooks that count blocks.

    `interrupt` and `bad_access` (what, address) say what the last `run` stopped at.
    """

    def __init__(self, image: Image, board: Board, watch: Watch | None = None) -> None:
        if board.core not in _MODELS:
            raise EmulatorError(
                f"{board.name}: the virtual board has no {board.core}, it must be one of "
                f"{', '.join(_MODELS)}; use --emulator qemu"
            )
        self._image = image
        self._board = board
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB, _MODELS[board.core])
        self.interrupt: int | None = None
        self.bad_access: tuple[int, int] | None = None
        self._failure: Exception | None = None
        self._map_memories()
        if watch is not None:
            self.record["watch"] = watch.attach(self._memory.nbytes // 2)
        self._load()
        self._add_hooks()

    def _map_memories(self) -> None:
        memories = self._board.memories
        if len(memories) > native.MAX_REGIONS:
            raise EmulatorError(
                f"{self._board.name}: has {len(memories)} memories, the virtual board takes "
                f"{native.MAX_REGIONS}"
            )
        total = sum(memory.nbytes for memory in memories)
        # One array for all, so that a block is found in the counters by one index.
        spare = np.zeros(total + _PAGE_NBYTES * 4, np.uint8)
        start = -spare.ctypes.data % 4096
        self._memory = spare[start : start + total]
        self._counts = np.zeros(total // 2, np.int64)
        self._lengths = np.zeros(total // 2, np.int32)
        self.record = np.zeros(1, native.MACHINE)
        record = self.record
        record["code"] = self._memory.ctypes.data
        record["counts"] = self._counts.ctypes.data
        record["lengths"] = self._lengths.ctypes.data
        record["regions"] = len(memories)
        record["bad_offset"] = record["bad_instruction"] = -1
        record["core_rules"] = _RULES.get(self._board.core, native.RULES_NONE)
        offset = 0
        for i, memory in enumerate(memories):
            if memory.origin % _PAGE_NBYTES or memory.nbytes % _PAGE_NBYTES:
                raise EmulatorError(
                    f"{self._board.name}: memory '{memory.name}' must start and end at a "
                    f"multiple of {_PAGE_NBYTES} for the virtual board"
                )
            record["region_start"][0, i] = memory.origin
            record["region_end"][0, i] = memory.origin + memory.nbytes
            record["region_index"][0, i] = offset // 2
            permissions = const.UC_PROT_READ | const.UC_PROT_EXEC
            if memory.kind == "ram":
                permissions |= const.UC_PROT_WRITE
            address = self._memory.ctypes.data + offset
            self.uc.mem_map_ptr(memory.origin, memory.nbytes, permissions, address)
            offset += memory.nbytes
        self._instructions = record["instructions"]
        self._deadline = record["deadline"]

    def _load(self) -> None:
        for address, data in self._image.segments:
            try:
                self.uc.mem_write(address, data)
            except UcError as error:
                raise EmulatorError(
                    f"{self._image.path}: {len(data)} bytes at 0x{address:08x} are outside the "
                    f"memories of {self._board.name}; it must be built for this board"
                ) from error

    def _add_hooks(self) -> None:
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self.uc._uch,
            ctypes.byref(handle),
            const.UC_HOOK_BLOCK,
            ctypes.cast(native.on_block.address, ctypes.c_void_p),
            ctypes.c_void_p(self.record.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != const.UC_ERR_OK:
            raise UcError(status)
        self.uc.hook_add(const.UC_HOOK_INTR, self._on_interrupt)
        self.uc.hook_add(_INVALID, self._on_bad_access)

    def _on_interrupt(self, uc: Uc, number: int, _data: Any) -> None:
        self.interrupt = number
        uc.emu_stop()

    def _on_bad_access(
        self, _uc: Uc, access: int, address: int, _nbytes: int, _value: int, _data: Any
    ) -> bool:
        self.bad_access = (access, address)
        return False

    def add_uart(self, base: int, model: UartModel, nbytes: int) -> None:
        """Map the board's UART; its registers answer without Python in between."""
        on_read = native.uart_reader(model.read)
        on_write = native.uart_writer(model.write)
        data = ctypes.c_void_p(self.record.ctypes.data)
        status = uclib.uc_mmio_map(
            self.uc._uch,
            base,
            nbytes,
            ctypes.cast(on_read.address, ctypes.c_void_p),
            data,
            ctypes.cast(on_write.address, ctypes.c_void_p),
            data,
        )
        if status != const.UC_ERR_OK:
            raise UcError(status)

    def add_peripheral(self, peripheral: Peripheral) -> None:
        """Map a peripheral that is modelled in Python."""
        self.add_registers(
            peripheral.base, peripheral.nbytes, peripheral.read, peripheral.write
        )

    def add_registers(
        self,
        base: int,
        nbytes: int,
        read: Callable[[int, int], int],
        write: Callable[[int, int, int], None],
    ) -> None:
        """Map registers: read(offset, nbytes) -> value, write(offset, nbytes, value)."""

        # An exception must not pass through Unicorn: `run` raises it.
        def on_read(uc: Uc, offset: int, size: int, _data: Any) -> int:
            try:
                return read(offset, size)
            except Exception as error:
                self._failure = error
                uc.emu_stop()
                return 0

        def on_write(uc: Uc, offset: int, size: int, value: int, _data: Any) -> None:
            try:
                write(offset, size, value)
            except Exception as error:
                self._failure = error
                uc.emu_stop()

        self.uc.mmio_map(base, nbytes, on_read, None, on_write, None)

    @property
    def instructions(self) -> int:
        """Executed so far; may be read while the core runs."""
        return int(self._instructions[0])

    def block_counts(self) -> dict[int, tuple[int, int]]:
        """Address of each executed basic block -> (its instructions, its executions)."""
        found: dict[int, tuple[int, int]] = {}
        for memory, index in zip(
            self._board.memories, self.record["region_index"][0], strict=False
        ):
            first = int(index)
            counts = self._counts[first : first + memory.nbytes // 2]
            for i in np.flatnonzero(counts):
                length = int(self._lengths[first + i]) & 0xFFFF
                found[memory.origin + 2 * int(i)] = (length, int(counts[i]))
        return found

    def read_memory(self, address: int, nbytes: int) -> bytes:
        """Bytes of one of the board's memories; also after `close`.

        Raises:
            EmulatorError: they are not within one memory.
        """
        for memory, index in zip(
            self._board.memories, self.record["region_index"][0], strict=False
        ):
            start = address - memory.origin
            if start >= 0 and start + nbytes <= memory.nbytes:
                first = 2 * int(index) + start
                return self._memory[first : first + nbytes].tobytes()
        raise EmulatorError(
            f"{self._board.name}: {nbytes} bytes at 0x{address:08x} are not in one memory"
        )

    def set_deadline(self, instructions: int) -> None:
        """Stop at the first block at or after so many instructions; at any time."""
        self._deadline[0] = instructions

    def reset(self, vectors: int) -> None:
        """Registers as after reset, stack pointer and PC from the vector table at `vectors`."""
        sp, pc = struct.unpack("<2I", self.uc.mem_read(vectors, 8))
        if not pc & 1:
            raise EmulatorError(
                f"{self._image.path}: the reset vector at 0x{vectors + 4:08x} is 0x{pc:08x}, "
                f"must be a Thumb address; is the image linked for {self._board.name}?"
            )
        self.start_at(sp, pc)

    def start_at(self, sp: int, pc: int, lr: int = 0xFFFFFFFF) -> None:
        """Registers as after reset but for these."""
        for register in range(arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R12 + 1):
            self.uc.reg_write(register, 0)
        for register in (arm.UC_ARM_REG_PRIMASK, arm.UC_ARM_REG_CONTROL):
            self.uc.reg_write(register, 0)
        self.uc.reg_write(arm.UC_ARM_REG_XPSR, 1 << 24)
        self.uc.reg_write(arm.UC_ARM_REG_SP, sp & ~3)
        self.uc.reg_write(arm.UC_ARM_REG_LR, lr)
        self.uc.reg_write(arm.UC_ARM_REG_PC, pc | 1)
        self.record["registers"] = 0

    @property
    def pc(self) -> int:
        """Address of the instruction that is next."""
        return int(self.uc.reg_read(arm.UC_ARM_REG_PC)) & ~1

    def close(self) -> None:
        """Free the core, which takes hundreds of megabytes of address space; counts stay.

        Uc is part of reference cycles, so without this it would live until a collection.
        """
        finalizer = getattr(self.uc, "_Uc__finalizer", None)
        del self.uc
        if finalizer is not None:
            finalizer()

    def run(self) -> UcError | None:
        """Run until the deadline or an event; what Unicorn says of the stop, None if nothing.

        Raises:
            NotModelledError: a register of a peripheral is not modelled.
        """
        self.interrupt = None
        self.bad_access = None
        thumb = self.uc.reg_read(arm.UC_ARM_REG_XPSR) >> 24 & 1
        stopped = None
        try:
            self.uc.emu_start(self.pc | thumb, _NEVER)
        except UcError as error:
            stopped = error
        if self._failure is not None:
            raise self._failure
        return stopped
