"""The virtual board: a firmware's ELF on Unicorn, its UART behind a pty or a TCP port.

Time is counted in instructions: one executed instruction is one tick of the core clock. While
the firmware polls an empty receiver the run waits for the host, and time stands still; WFI
passes the time to the next timer interrupt at once. Not modelled: bus faults other than
accesses to nothing, unaligned LDM/LDRD/STRD (which cores refuse), lazy floating point state,
the process stack, wait states, caches, baud rate (bytes take no time).
"""

from __future__ import annotations

import atexit
import gc
import threading
from pathlib import Path

from unicorn import UcError
from unicorn import arm_const as arm
from unicorn import unicorn_const as const

from edgeq.board import Board
from edgeq.emulator import dwt, exceptions, native
from edgeq.emulator.base import Emulator
from edgeq.emulator.chips import Context
from edgeq.emulator.chips.table import chip_of
from edgeq.emulator.endpoint import CHUNK_NBYTES, open_endpoint
from edgeq.emulator.image import read_image
from edgeq.emulator.machine import Machine
from edgeq.emulator.peripherals import NotModelledError
from edgeq.emulator.system_control import BASE, NBYTES, SVC, SystemControl
from edgeq.emulator.uarts import KINDS
from edgeq.emulator.watch import Watch
from edgeq.errors import EmulatorError

_SLICE = 4_000_000  # instructions between two looks at the port while the firmware computes
_MASKED_SLICE = 64  # the same while an exception waits for its mask to be lifted
_WAIT_S = 0.02
_STUCK_SLEEPS = 1000
_BRANCH_TO_SELF = b"\xfe\xe7"
# QEMU's exception numbers, as Unicorn gives them to its interrupt hook
_EXCP_SVC, _EXCP_FETCH, _EXCP_DATA, _EXCP_BKPT, _EXCP_EXIT = 2, 3, 4, 7, 8
_FAULTS = {
    1: "undefined instruction",
    _EXCP_FETCH: "instruction fetch from where nothing is",
    _EXCP_DATA: "unaligned access",
    _EXCP_BKPT: "breakpoint instruction",
    17: "the floating point unit is absent or not enabled in CPACR",
    18: "no Thumb state: a branch to an even address",
    23: "stack pointer below its limit register",
}
_ACCESSES = {
    const.UC_MEM_READ_UNMAPPED: "read from 0x{0:08x}, where nothing is modelled",
    const.UC_MEM_WRITE_UNMAPPED: "write to 0x{0:08x}, where nothing is modelled",
    const.UC_MEM_FETCH_UNMAPPED: "instruction fetch from 0x{0:08x}, where nothing is",
    const.UC_MEM_READ_PROT: "read from 0x{0:08x}, which cannot be read",
    const.UC_MEM_WRITE_PROT: "write to 0x{0:08x}, which is flash",
    const.UC_MEM_FETCH_PROT: "instruction fetch from 0x{0:08x}, which holds no code",
}


class VirtualBoard(Emulator):
    """A board on Unicorn, running in a thread of its own from construction to `close`."""

    def __init__(
        self, elf_path: Path, board: Board, *, tcp: bool = False, watch: Watch | None = None
    ) -> None:
        self.error: EmulatorError | None = None
        self._board = board
        self._image = read_image(elf_path)
        gc.collect()  # boards closed before: they are reference cycles, of megabytes each
        self._watch = watch
        self._machine = Machine(self._image, board, watch)
        self._skipped = 0  # ticks slept through
        self._sleeps = (-1, 0)  # address of the last WFI, and how often it slept for nothing
        self._system = SystemControl(board.core, self._now, self._look_again)
        self._dwt = dwt.Dwt(self._now, lambda: self._system.is_traced)
        context = Context(board, self._now, self._look_again, self._system.pending.add)
        self._chip = chip_of(context)
        self._uart_used = False
        self._waiting = False
        self._map()
        self._reset()
        self._endpoint = open_endpoint(tcp=tcp)
        self.port = self._endpoint.port
        self._closing = False
        self._closed = False
        self._closing_lock = threading.Lock()
        # Not Thread.join: once Ctrl-C has interrupted it, CPython takes the thread for ended.
        self._ended = threading.Event()
        threading.Thread(target=self._run, name=f"{board.name}", daemon=True).start()
        atexit.register(self.close)

    def _map(self) -> None:
        uart = self._board.uart
        if uart.kind not in KINDS:
            raise EmulatorError(
                f"{self._board.name}: the virtual board has no UART of kind '{uart.kind}', it "
                f"must be one of {', '.join(KINDS)}; use --emulator qemu"
            )
        model = KINDS[uart.kind]
        nbytes = max(model.nbytes, self._chip.uart_nbytes)
        self._machine.add_uart(uart.base, model, nbytes)
        self._machine.add_registers(BASE, NBYTES, self._system.read, self._system.write)
        if not self._board.core.startswith("cortex-m0"):  # whose DWT has no counter
            self._machine.add_registers(dwt.BASE, dwt.NBYTES, self._dwt.read, self._dwt.write)
        for peripheral in self._chip.peripherals:
            self._machine.add_peripheral(peripheral)

    def _reset(self) -> None:
        origin = self._board.flash.origin
        self._system.vtor = origin
        self._dwt.reset()
        for peripheral in self._chip.peripherals:
            peripheral.reset()
        if self._chip.boot is None:
            self._machine.reset(origin)
        else:
            self._chip.boot(self._machine, origin)

    @property
    def instructions(self) -> int:
        """Instructions executed since the start; exact when the run has stopped, and while it
        goes on as of the last basic block. One skipped by an IT block counts.
        """
        return self._machine.instructions

    def block_counts(self) -> dict[int, tuple[int, int]]:
        """Address of each executed basic block -> (its instructions, its executions).

        Blocks may overlap: a branch into the middle of one begins another. The sum of the
        products is `instructions`.
        """
        return self._machine.block_counts()

    def read_memory(self, address: int, nbytes: int) -> bytes:
        """What the board's memory holds; consistent once the run has ended.

        Raises:
            EmulatorError: the bytes are not within one of the board's memories.
        """
        return self._machine.read_memory(address, nbytes)

    @property
    def is_waiting(self) -> bool:
        """Whether the firmware has polled an empty receiver, and waits for the host."""
        return self._waiting

    @property
    def returncode(self) -> int | None:
        """None while the board runs; 0 after `close`; 1 if it stopped, then see `error`."""
        if not self._ended.is_set():
            return None
        return 1 if self.error is not None else 0

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the run has ended; False if time is up before."""
        return self._ended.wait(timeout_s)

    def close(self) -> None:
        """End the run, also of a firmware that spins, and release the port."""
        self._closing = True
        self._machine.set_deadline(0)
        self._ended.wait()
        with self._closing_lock:
            if self._closed:
                return
            self._closed = True
        self._endpoint.close()
        self._machine.close()
        atexit.unregister(self.close)

    def _now(self) -> int:
        return self._machine.instructions + self._skipped

    def _look_again(self) -> None:
        """Something changed that may make an exception due: stop at the next block."""
        self._machine.set_deadline(0)

    def _run(self) -> None:
        try:
            self._run_to_the_end()
        finally:
            self._ended.set()

    def _run_to_the_end(self) -> None:
        try:
            while not self._closing:
                self._step()
        except EmulatorError as error:
            self.error = error
        except exceptions.LockupError as error:
            self.error = self._fault(str(error))
        except NotModelledError as error:
            self.error = self._fault(f"register {error} is not modelled on {self._board.name}")
        except Exception as error:
            self.error = self._fault(f"fault in the virtual board itself: {error!r}")
            self.error.__cause__ = error
        self._pump()

    def _fault(self, why: str) -> EmulatorError:
        place = self._image.describe(self._machine.pc)
        text = f"{self._board.name}: at PC {place}: {why}"
        if self._system.active:
            text += f" (in exception {self._system.active[-1]})"
        else:
            lr = int(self._machine.uc.reg_read(arm.UC_ARM_REG_LR)) & ~1
            if self._image.function_at(lr) is not None:
                text += f"; called from {self._image.describe(lr)}"
        return EmulatorError(text)

    def _step(self) -> None:
        """Take what is due, run to the next event, and see to what stopped the run."""
        machine = self._machine
        deadline = self._take_exceptions()
        machine.set_deadline(deadline)
        if self._closing:  # after the deadline: `close` sets them the other way round
            return
        failed = machine.run()
        record = machine.record
        if record["bad_offset"][0] >= 0:
            address = self._board.uart.base + int(record["bad_offset"][0])
            raise NotModelledError(address, f"UART {self._board.uart.kind}")
        if record["bad_instruction"][0] >= 0:
            address = int(record["bad_instruction"][0])
            raise EmulatorError(
                f"{self._board.name}: at PC {self._image.describe(address)}: an instruction "
                f"that {self._board.core} does not have; build for this core"
            )
        if not self._uart_used and (record["tx_put"][0] or record["idle"][0]):
            self._uart_used = True
            fault = self._chip.uart_fault()
            if fault is not None:
                raise self._fault(fault)
        if self._system.reset_wanted:
            self._restart()
        elif failed is not None or machine.interrupt is not None:
            self._event(failed)
        elif record["idle"][0]:
            self._idle()
        elif machine.instructions < int(record["deadline"][0]):
            self._sleep()
        else:
            self._pump()
            self._check_halted()

    def _take_exceptions(self) -> int:
        """Enter the exception that is due, if any; the instruction count to run to."""
        system, uc = self._system, self._machine.uc
        system.update()
        for timer in self._chip.timers:
            timer.update()
        if system.pending:
            masks = (arm.UC_ARM_REG_PRIMASK, arm.UC_ARM_REG_BASEPRI, arm.UC_ARM_REG_FAULTMASK)
            number = system.due(*(int(uc.reg_read(mask)) for mask in masks))
            if number is not None:
                exceptions.enter(uc, system, number)
                self._tell_watch()
        executed = self._machine.instructions
        limits = [executed + (_MASKED_SLICE if system.wakes() else _SLICE)]
        limits += [due - self._skipped for due in self._events()]
        return max(min(limits), executed + 1)

    def _tell_watch(self) -> None:
        if self._watch is not None:
            self._watch.set_exceptions(len(self._system.active))

    def _events(self) -> list[int]:
        sources = [self._system, *self._chip.timers]
        return [due for due in (s.next_event() for s in sources) if due is not None]

    def _event(self, failed: UcError | None) -> None:
        """An exception return, a supervisor call, or a fault."""
        machine, system = self._machine, self._system
        if machine.pc >= exceptions.EXC_RETURN_LEAST and system.active:
            exceptions.leave(machine.uc, system, machine.pc | 1)
            self._tell_watch()
        elif machine.interrupt == _EXCP_SVC:
            system.pending.add(SVC)
        elif machine.bad_access is not None:
            access, address = machine.bad_access
            raise self._fault(_ACCESSES.get(access, "access to 0x{0:08x}").format(address))
        elif machine.interrupt is not None:
            number = machine.interrupt
            raise self._fault(_FAULTS.get(number, f"exception {number} of the core"))
        elif machine.uc.reg_read(arm.UC_ARM_REG_XPSR) >> 24 & 1 == 0:
            raise self._fault(_FAULTS[18])
        else:
            illegal = failed is not None and failed.errno == const.UC_ERR_INSN_INVALID
            raise self._fault(_FAULTS[1] if illegal else str(failed))

    def _restart(self) -> None:
        self._pump()
        self._system.reset()
        self._reset()

    def _sleep(self) -> None:
        """WFI: give the host its turn, and pass the time until something wakes the core."""
        self._pump()
        system = self._system
        place, times = self._sleeps
        self._sleeps = (self._machine.pc, times + 1 if place == self._machine.pc else 0)
        events = self._events()
        if not system.wakes() and events:
            self._skipped += max(0, min(events) - self._now())
            return
        masked = bool(self._machine.uc.reg_read(arm.UC_ARM_REG_PRIMASK) & 1)
        if not system.wakes() or (masked and self._sleeps[1] >= _STUCK_SLEEPS):
            raise self._fault("halted: waits for an interrupt that cannot come")

    def _check_halted(self) -> None:
        machine = self._machine
        if machine.uc.mem_read(machine.pc, 2) != _BRANCH_TO_SELF:
            return
        masked = bool(machine.uc.reg_read(arm.UC_ARM_REG_PRIMASK) & 1)
        if masked or not (self._events() or self._system.wakes()):
            raise self._fault("halted: an endless loop that does nothing")

    def _idle(self) -> None:
        """The firmware polls an empty receiver: wait for the host to send."""
        record = self._machine.record
        record["idle"] = record["polls"] = 0
        self._pump()
        self._waiting = True
        if record["rx_put"][0] == record["rx_taken"][0] and not self._closing:
            unsent = bool(record["tx_put"][0] != record["tx_taken"][0])
            self._endpoint.wait(_WAIT_S, sending=unsent)
            self._pump()

    def _pump(self) -> None:
        """Move bytes between the UART's rings and the port."""
        record = self._machine.record
        size = native.RING_NBYTES
        put, taken = int(record["tx_put"][0]), int(record["tx_taken"][0])
        while taken < put:
            start = taken % size
            chunk = record["tx"][0, start : min(start + put - taken, size)].tobytes()
            sent = self._endpoint.send(chunk)
            taken += sent
            record["tx_taken"] = taken
            if sent < len(chunk):
                break
        if put - taken == size:
            self._endpoint.wait(_WAIT_S, sending=True)
        put, taken = int(record["rx_put"][0]), int(record["rx_taken"][0])
        while size - (put - taken) >= CHUNK_NBYTES:
            data = self._endpoint.receive()
            if not data:
                break
            for at in range(0, len(data), size):
                self._store(put + at, data[at : at + size])
            put += len(data)
            record["rx_put"] = put

    def _store(self, position: int, data: bytes) -> None:
        ring = self._machine.record["rx"][0]
        start = position % native.RING_NBYTES
        room = native.RING_NBYTES - start
        values = memoryview(data)
        ring[start : start + min(room, len(data))] = values[:room]
        if len(data) > room:
            ring[: len(data) - room] = values[room:]
