"""For tests that run firmware on the emulators: build the probe, start it, talk to it."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

import serial
from toolchains import need_compiler, need_program

from edgeq import emulator
from edgeq.board import load_board
from edgeq.emulator.base import Emulator
from firmware_gen.project import build_project, write_project
from firmware_gen.toolchain import CompilerName

PROBE = Path(__file__).parent / "emulator_c" / "probe.c"
ANSWER_S = 30.0


@cache
def _build_folder() -> Path:
    return Path(mkdtemp(prefix="edgeq-probe-"))


@cache
def build_probe(name: str, compiler: CompilerName) -> Path:
    """The probe's ELF for a board, built once a session."""
    board = load_board(name)
    folder = _build_folder() / f"{name}-{compiler}"
    folder.mkdir()
    shutil.copy(PROBE, folder / "main.c")
    write_project(board, folder, ["main.c"])
    return build_project(board, folder, ["main.c"], compiler=compiler).elf


def remove_builds() -> None:
    shutil.rmtree(_build_folder(), ignore_errors=True)
    build_probe.cache_clear()
    _build_folder.cache_clear()


class Client:
    """The host's end of the serial line to the probe."""

    def __init__(self, port: str) -> None:
        self.serial = serial.serial_for_url(port, baudrate=115200, timeout=ANSWER_S)

    def command(self, letter: bytes, *words: int) -> None:
        self.serial.write(letter + b"".join(struct.pack("<I", word) for word in words))

    def number(self, letter: bytes, *words: int) -> int:
        self.command(letter, *words)
        return int(self.line(), 16)

    def line(self) -> bytes:
        return self.serial.read_until(b"\n")

    def echo(self, data: bytes) -> bytes:
        self.command(b"E", len(data))
        self.serial.write(data)
        return self.serial.read(len(data))

    def stream(self, count: int) -> bytes:
        self.command(b"S", count)
        return self.serial.read(count)


@contextmanager
def running(
    name: str,
    kind: Literal["virtual", "qemu"] = "virtual",
    *,
    compiler: CompilerName = "gcc",
    tcp: bool = False,
) -> Iterator[tuple[Emulator, Client]]:
    """The probe on an emulated board, and a client on its port."""
    need_compiler(compiler)
    if kind == "qemu":
        need_program("qemu-system-arm", "qemu-system-arm")
    elf = build_probe(name, compiler)
    with emulator.start(elf, load_board(name), kind, tcp=tcp) as board:
        client = Client(board.port)
        try:
            settle(client, kind)
            yield board, client
        finally:
            client.serial.close()


def settle(client: Client, kind: str) -> None:
    """QEMU loses what comes before the firmware has enabled the UART: ask until it answers."""
    if kind != "qemu":
        return
    client.serial.timeout = 0.5
    for _ in range(40):
        client.command(b"S", 1)
        if client.serial.read(1):
            break
    while client.serial.read(64):
        pass
    client.serial.timeout = ANSWER_S
