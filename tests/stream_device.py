"""The device's C code on the host behind a pty, and a line that alters what it carries."""

from __future__ import annotations

import os
import pty
import random
import select
import shutil
import socket
import subprocess
import sys
import threading
import tty
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUNTIME = ROOT / "firmware_gen" / "runtime"
DEVICE = Path(__file__).parent / "device"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SAMPLES = 7
DIGEST = bytes.fromhex("ed6e00030405060708090a0b0c0d0e0f")


def host_compiler(*, is_library: bool = False) -> list[str]:
    """gcc with sanitizers, or zig's clang with the one that it has."""
    path = shutil.which("gcc")
    if path is None:
        return [sys.executable, "-m", "ziglang", "cc", "-fsanitize=undefined"]
    # The address sanitizer must be the first library of a process, which Python's is not.
    address = [] if is_library else ["-fsanitize=address"]
    return [path, "-fsanitize=undefined", "-fno-sanitize-recover=all", *address]


def build_device(folder: Path, *defines: str, app: str = "flash") -> Path:
    """The device as a program that talks on standard input and output."""
    name = "-".join(["device", app, *defines])
    program = folder / "".join(c if c.isalnum() else "_" for c in name)
    if not program.exists():
        sources = [
            *(RUNTIME / f"edgeq_{part}.c" for part in ("framing", "serial", f"app_{app}")),
            RUNTIME / "main.c",
            *(DEVICE / f"{part}.c" for part in ("model", "samples", "platform_host")),
        ]
        command = [*host_compiler(), "-O1", "-g", *WARNINGS, *(f"-D{d}" for d in defines)]
        if any(define.startswith("EDGEQ_MODEL_LAYER_COUNT") for define in defines):
            command += ["-include", str(DEVICE / "cycles_host.h")]
        command += ["-D_DEFAULT_SOURCE", f"-I{RUNTIME}", f"-I{DEVICE}", *map(str, sources)]
        subprocess.run([*command, "-o", str(program)], check=True)
    return program


def expected_output(inputs: bytes) -> bytes:
    """Twin of device/model.c."""
    total = 0
    for byte in inputs:
        total = (total * 31 + byte) & 0xFFFFFFFF
    mixed = bytes(byte ^ (i * 7 & 0xFF) for i, byte in enumerate(reversed(inputs)))
    return mixed + total.to_bytes(4, "little")[:3]


def sample_inputs(index: int, nbytes: int = 32) -> bytes:
    """Twin of device/samples.c."""
    starts = [[0], [1], [2, 0, 255], [3], [4, 4], [5], [6, 0, 0, 9]]
    return bytes(starts[index % SAMPLES]).ljust(nbytes, b"\0")


class Device:
    """A running device behind the pty that `port` links to."""

    def __init__(self, program: Path, port: Path) -> None:
        master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self._port = port
        port.symlink_to(os.ttyname(self._slave))
        with os.fdopen(master, "r+b", buffering=0) as line:
            self._process = subprocess.Popen([program], stdin=line, stdout=line)

    def unplug(self) -> None:
        """Take the port away while it is open."""
        self._port.unlink()
        self._process.kill()
        self._process.wait()
        os.close(self._slave)

    def close(self) -> None:
        """End the program by closing its line; it must have found nothing wrong."""
        self._port.unlink()
        os.close(self._slave)
        assert self._process.wait(timeout=10) == 0


class TcpDevice:
    """Devices behind a TCP port: one that starts anew for each connection."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._is_last = False  # whether the next connection only ends the thread
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def disconnect(self) -> None:
        self._processes[-1].kill()

    def close(self) -> None:
        self._is_last = True
        with socket.create_connection(self._listener.getsockname()):
            self._thread.join()
        self._listener.close()
        for process in self._processes:
            process.wait(timeout=10)

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._is_last:
                    return
                self._processes.append(
                    subprocess.Popen([self._program], stdin=connection, stdout=connection)
                )


class NoisyLine:
    """A pty, `port`, whose bytes a thread carries to and from a device, altering some.

    Of `rate` of the bytes each way a bit is flipped, the byte is dropped, or one is inserted.
    """

    def __init__(self, program: Path, port: Path, *, rate: float = 0.0, seed: int = 0) -> None:
        self._host, self._slave = pty.openpty()
        tty.setraw(self._slave)
        port.symlink_to(os.ttyname(self._slave))
        self._random = random.Random(seed)
        self._rate = rate
        self.altered = 0
        self._ended = threading.Event()
        self._start(program)
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _start(self, program: Path) -> None:
        self._device, other_end = socket.socketpair()
        # As much as a pty holds, not the thousands of results that a socket holds.
        other_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with other_end:
            self._process = subprocess.Popen([program], stdin=other_end, stdout=other_end)

    def restart(self, program: Path) -> None:
        """Replace the device; the host's port stays open all the while."""
        self._ended.set()
        self._thread.join()
        self._process.kill()
        self._process.wait()
        self._device.close()
        self._ended.clear()
        self._start(program)
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._device.close()
        os.close(self._slave)
        os.close(self._host)
        assert self._process.wait(timeout=10) == 0

    def _carry(self) -> None:
        while not self._ended.is_set():
            ready, _, _ = select.select([self._host, self._device], [], [], 0.05)
            if self._host in ready:
                self._device.sendall(self._alter(os.read(self._host, 4096)))
            if self._device in ready:
                data = self._alter(self._device.recv(4096))
                while data and not self._ended.is_set():
                    if select.select([], [self._host], [], 0.05)[1]:
                        data = data[os.write(self._host, data[:512]) :]

    def _alter(self, data: bytes) -> bytes:
        if self._rate == 0.0:
            return data
        altered = bytearray()
        for byte in data:
            if self._random.random() >= self._rate:
                altered.append(byte)
                continue
            self.altered += 1
            kind = self._random.choice(("flip", "drop", "insert"))
            if kind == "flip":
                altered.append(byte ^ 1 << self._random.randrange(8))
            elif kind == "insert":
                altered += bytes([byte, self._random.randrange(256)])
        return bytes(altered)
