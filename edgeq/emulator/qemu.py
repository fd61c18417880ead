"""QEMU as emulator: qemu-system-arm of the board's machine, behind the same interface.

QEMU is started without display and monitor, with the board's UART on a pty or a TCP port. On a
pty QEMU notices only once a second that the host has opened it, and drops what is sent before.
A guard process ends QEMU when this process ends without closing it.
"""

from __future__ import annotations

import atexit
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from edgeq.board import Board, board_names, load_board
from edgeq.emulator.base import Emulator
from edgeq.emulator.image import read_image
from edgeq.errors import EmulatorError, ToolError

PROGRAM = "qemu-system-arm"
INSTALL = "apt install qemu-system-arm"
_START_S = 10.0

# Base addresses of a machine's UARTs in the order of QEMU's -serial options, from its sources
# (hw/arm/): mps2.c, mps2-tz.c, microbit.c with nrf51_soc.c, stm32f405_soc.c, stellaris.c.
_SERIALS = {
    "mps2-an385": (0x40004000, 0x40005000, 0x40006000, 0x40007000, 0x40009000),
    "mps2-an386": (0x40004000, 0x40005000, 0x40006000, 0x40007000, 0x40009000),
    "mps2-an500": (0x40004000, 0x40005000, 0x40006000, 0x40007000, 0x40009000),
    "mps2-an505": (0x40200000, 0x40201000, 0x40202000, 0x40203000, 0x40204000),
    "mps3-an547": (0x49303000, 0x49304000, 0x49305000, 0x49306000, 0x49307000),
    "microbit": (0x40002000,),
    "netduinoplus2": (0x40011000, 0x40004400, 0x40004800, 0x40004C00, 0x40005000, 0x40011400),
    "lm3s6965evb": (0x4000C000, 0x4000D000, 0x4000E000),
}
_SECURE_BIT = 1 << 28  # the IoT kits' alias of a peripheral for secure software


class QemuBoard(Emulator):
    """A board on QEMU, running from construction to `close`.

    `counting`: QEMU's clock goes on by one nanosecond an executed instruction, so that a timer
    of the firmware counts instructions (QEMU's manual, "TCG Instruction Counting": -icount).
    """

    def __init__(
        self, elf_path: Path, board: Board, *, tcp: bool = False, counting: bool = False
    ) -> None:
        self.error: EmulatorError | None = None
        self._board = board
        self._closed = False
        self._lines: list[str] = []
        read_image(elf_path)  # a clear error instead of QEMU's
        machine = _machine_of(board)
        program = shutil.which(PROGRAM)
        if program is None:
            raise ToolError(f"{PROGRAM} is not on PATH; install it: {INSTALL}")
        if tcp or sys.platform == "win32":
            serial, inherited, port = _listen()
        else:
            serial, inherited, port = "pty", (), None
        command = [program, "-M", machine, "-display", "none", "-monitor", "none"]
        command += ["-icount", "shift=0"] if counting else []
        command += ["-kernel", str(elf_path), *_serial_options(board, machine, serial)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[s.fileno() for s in inherited],
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            text=True,
            errors="replace",
        )
        for listener in inherited:
            listener.close()
        self._guard = _start_guard(self._process.pid)
        atexit.register(self.close)
        self._redirected = threading.Event()
        self._pty: str | None = None
        self._ended = threading.Event()  # Ctrl-C may interrupt a wait for it, not Thread.join
        threading.Thread(target=self._read_output, daemon=True).start()
        self.port = port if port is not None else self._wait_for_pty()

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = re.search(r"char device redirected to (\S+)", line)
            if found:
                self._pty = found.group(1)
                self._redirected.set()
            else:
                self._lines.append(line.strip())
                del self._lines[:-20]
        status = self._process.wait()
        _end_guard(self._guard)
        if not self._closed:
            words = "; ".join(line for line in self._lines if line)
            self.error = EmulatorError(
                f"{self._board.name}: QEMU ended with status {status}: {words or 'no message'}"
            )
        self._redirected.set()
        self._ended.set()

    def _wait_for_pty(self) -> str:
        self._redirected.wait(_START_S)
        if self._pty is None:
            if self.error is None:
                self.error = EmulatorError(
                    f"{self._board.name}: QEMU opened no pty in {_START_S:g} s"
                )
            error = self.error
            self.close()
            raise error
        return self._pty

    @property
    def returncode(self) -> int | None:
        """None while QEMU runs; 0 after `close`; else QEMU's own status, and see `error`."""
        status = self._process.poll()
        return 0 if status is not None and self._closed else status

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until QEMU has ended; False if time is up before."""
        return self._ended.wait(timeout_s)

    def close(self) -> None:
        """End QEMU."""
        if self._process.poll() is None:
            self._closed = True
            self._process.kill()
        self._ended.wait()
        atexit.unregister(self.close)


def _machine_of(board: Board) -> str:
    if board.qemu_machine is not None:
        return board.qemu_machine
    have = [name for name in board_names() if load_board(name).qemu_machine is not None]
    raise EmulatorError(
        f"{board.name}: QEMU has no such machine; boards that it has: {', '.join(have)}"
    )


def _serial_options(board: Board, machine: str, serial: str) -> list[str]:
    """-serial once for each UART up to the board's; those before it lead nowhere."""
    bases = _SERIALS.get(machine, (board.uart.base,))
    base = board.uart.base
    if base not in bases:
        base &= ~_SECURE_BIT
    if base not in bases:
        raise EmulatorError(
            f"{board.name}: QEMU's {machine} has no UART at 0x{board.uart.base:08x}, it has "
            f"{', '.join(f'0x{b:08x}' for b in bases)}"
        )
    if serial == "pty":
        chosen = ["-serial", "pty"]
    else:
        chosen = ["-chardev", serial, "-serial", "chardev:port"]
    return ["-serial", "null"] * bases.index(base) + chosen


def _listen() -> tuple[str, tuple[socket.socket, ...], str]:
    """A chardev on a TCP port that is free: QEMU is handed the listening socket."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)
    number = listener.getsockname()[1]
    port = f"socket://127.0.0.1:{number}"
    common = "server=on,wait=off,nodelay=on"
    if sys.platform == "win32":  # no descriptor can be handed over
        listener.close()
        return f"socket,id=port,host=127.0.0.1,port={number},{common}", (), port
    return f"socket,id=port,fd={listener.fileno()},{common}", (listener,), port


def _start_guard(pid: int) -> subprocess.Popen[bytes] | None:
    """A shell that waits for the end of this process, whatever ends it, and then ends `pid`."""
    if sys.platform == "win32":
        return None
    return subprocess.Popen(
        ["/bin/sh", "-c", f"read -r _ || kill -9 {pid}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _end_guard(guard: subprocess.Popen[bytes] | None) -> None:
    if guard is None or guard.stdin is None:
        return
    with contextlib.suppress(OSError):
        guard.stdin.write(b"\n")
        guard.stdin.close()
    guard.wait()
