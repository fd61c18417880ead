"""Every board of boards/: its firmware by both compilers, and a run where QEMU knows it."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial
from toolchains import COMPILERS, need_compiler, need_program

from edgeq.board import Board, board_names, load_board
from edgeq.emulator import start
from firmware_gen.cores import core_of
from firmware_gen.image import load_segments, read_symbols
from firmware_gen.project import build_project, write_project
from firmware_gen.toolchain import BuildResult, CompilerName

ECHO = Path(__file__).parent / "echo" / "main.c"
# The virtual board knows no Cortex-M55.
VIRTUAL_BOARDS = [name for name in board_names() if load_board(name).core != "cortex-m55"]
QEMU_BOARDS = [name for name in board_names() if load_board(name).qemu_machine]
# By whether the core says why; where no address is known there is none.
FAULT = {
    False: rb"fault: pc 20000000 lr [0-9a-f]{8}\0",
    True: rb"fault: pc 20000000 lr [0-9a-f]{8} cfsr [0-9a-f]{8} hfsr [0-9a-f]{8}\0",
}
# A precise bus fault with its address, forced to a HardFault: Arm DDI0403E, CFSR and HFSR.
WITH_ADDRESS = (
    rb"fault: pc [0-9a-f]{8} lr [0-9a-f]{8} cfsr 00008200 hfsr 40000000 address fffffff0\0"
)
ONE_A_CORE = ("microbit", "mps2_an385", "mps2_an386", "mps2_an500", "mps2_an505", "mps3_an547")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory):
    """Builds the echo firmware of a board once."""
    results: dict[tuple[str, str], BuildResult] = {}

    def build(name: str, compiler: CompilerName) -> BuildResult:
        need_compiler(compiler)
        if (name, compiler) not in results:
            folder = tmp_path_factory.mktemp(f"{name}-{compiler}")
            shutil.copy(ECHO, folder / "main.c")
            board = load_board(name)
            write_project(board, folder, ["main.c"])
            results[name, compiler] = build_project(
                board, folder, ["main.c"], compiler=compiler
            )
        return results[name, compiler]

    return build


class Line:
    """The serial line of a running QEMU."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.received = b""
        self.arrived = threading.Condition()
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        assert self.process.stdout is not None
        while chunk := self.process.stdout.read(1):
            with self.arrived:
                self.received += chunk
                self.arrived.notify_all()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read_until(self, end: bytes, timeout_s: float = 30.0) -> bytes:
        with self.arrived:
            if not self.arrived.wait_for(lambda: end in self.received, timeout_s):
                pytest.fail(f"no {end!r} came, only {self.received!r}")
            text, self.received = self.received.split(end, 1)
        return text + end

    def report_of(self, command: bytes) -> bytes:
        """What comes between two zeros, with the second."""
        self.send(command)
        assert self.read_until(b"\0") == b"\0"
        return self.read_until(b"\0")

    def ticks(self) -> int:
        self.send(b"T")
        return int(self.read_until(b"\n"), 16)


@contextmanager
def running(elf: Path, board: Board) -> Iterator[Line]:
    qemu = need_program("qemu-system-arm", "qemu-system-arm")
    assert board.qemu_machine is not None
    command = [qemu, "-M", board.qemu_machine, "-display", "none", "-monitor", "none"]
    process = subprocess.Popen(
        [*command, "-serial", "stdio", "-kernel", str(elf)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Line(process)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", board_names())
def test_the_uart_reaches_its_baud_rate_within_a_percent(name: str) -> None:
    uart = load_board(name).uart
    divider = round(uart.clock_hz / uart.baud)
    assert divider >= 16
    assert abs(uart.clock_hz / divider / uart.baud - 1) < 0.01


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", board_names())
def test_firmware_of_every_board_builds_and_starts_with_its_vectors(
    built, name: str, compiler: CompilerName
) -> None:
    board = load_board(name)
    elf = built(name, compiler).elf
    symbols = {symbol.name: symbol for symbol in read_symbols(elf)}
    vectors = symbols["edgeq_vectors"].address
    assert vectors - board.flash.origin == (256 if "edgeq_boot2" in symbols else 0)
    image = elf.with_suffix(".bin").read_bytes()
    at = vectors - board.flash.origin
    stack = int.from_bytes(image[at : at + 4], "little")
    reset = int.from_bytes(image[at + 4 : at + 8], "little")
    assert stack == symbols["edgeq_stack_top"].address
    assert stack % 8 == 0
    assert board.ram.origin < stack <= board.ram.origin + board.ram.nbytes
    assert reset == symbols["Reset_Handler"].address | 1
    number = 15 if board.ticks.kind == "systick" else 16 + board.ticks.settings["irq"]
    ticks = int.from_bytes(image[at + 4 * number :][:4], "little")
    handler = "SysTick_Handler" if number == 15 else "edgeq_irq_handler"
    assert ticks == symbols[handler].address | 1
    for address, data in load_segments(elf):
        assert board.flash.origin <= address
        assert address + len(data) <= board.flash.origin + board.flash.nbytes


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["microbit", "mps2_an386"])
def test_a_tick_counter_that_is_not_used_leaves_no_handler(
    name: str, compiler: CompilerName, tmp_path: Path
) -> None:
    need_compiler(compiler)
    board = load_board(name)
    # Data, but no constants before it; link.ld wants whole words all the same.
    (tmp_path / "main.c").write_text(
        "static volatile int data = 3;\nint main(void) { return data; }\n"
    )
    write_project(board, tmp_path, ["main.c"])
    elf = build_project(board, tmp_path, ["main.c"], compiler=compiler).elf
    symbols = {symbol.name: symbol.address for symbol in read_symbols(elf)}
    assert not symbols.keys() & {"SysTick_Handler", "edgeq_irq_handler", "edgeq_check_stack"}
    image = elf.with_suffix(".bin").read_bytes()
    (unexpected,) = struct.unpack_from("<I", image, 4 * 2)  # NMI
    (ticks,) = struct.unpack_from("<I", image, 4 * (15 if name != "microbit" else 16 + 8))
    assert ticks == unexpected == symbols["NMI_Handler"] | 1


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", QEMU_BOARDS)
def test_firmware_talks_counts_and_reports_a_fault_in_qemu(
    built, name: str, compiler: CompilerName
) -> None:
    board = load_board(name)
    with running(built(name, compiler).elf, board) as line:
        assert line.read_until(b"\n") == f"edgeq echo {name} !!!\n".encode()
        for byte in (b for b in range(256) if b not in b"ABFLMPRST"):
            line.send(bytes([byte]))
            assert line.read_until(bytes([byte])) == bytes([byte])
        line.send(b"M")
        assert line.read_until(b"\n") == b"right\n"
        before = line.ticks()
        deadline = time.monotonic() + 30
        # Beyond 24 bits the interrupt counts: time never runs backwards there.
        while before < 0x2100000:
            after = line.ticks()
            assert after > before
            before = after
            assert time.monotonic() < deadline, f"the counter is still at {before:#x}"
        assert re.fullmatch(FAULT[core_of(board).has_fault_status], line.report_of(b"F"))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", VIRTUAL_BOARDS)
def test_firmware_talks_and_counts_on_the_virtual_board(
    built, name: str, compiler: CompilerName
) -> None:
    board = load_board(name)
    with start(built(name, compiler).elf, board, "virtual") as emulator:
        with serial.serial_for_url(emulator.port, timeout=30) as port:
            # The first banner may be sent before the port is open; this byte is not lost.
            port.write(b"~")
            port.read_until(b"~")
            port.write(b"B")
            assert port.read_until(b"\n") == f"edgeq echo {name} !!!\n".encode()
            port.write(b"M")
            assert port.read_until(b"\n") == b"right\n"
            ticks = []
            for _ in range(5):
                port.write(b"T")
                ticks.append(int(port.read_until(b"\n"), 16))
            assert ticks == sorted(set(ticks))
        emulator.check()


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("name", "report"),
    [("mps2_an386", b"stack overflow\0"), ("mps2_an505", b"cfsr 00100000")],
)
def test_a_stack_overflow_is_reported(
    built, name: str, report: bytes, compiler: CompilerName
) -> None:
    with running(built(name, compiler).elf, load_board(name)) as line:
        line.read_until(b"\n")
        assert report in line.report_of(b"S")


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("name", "command", "report"),
    [
        ("mps2_an386", b"A", WITH_ADDRESS),
        ("mps2_an505", b"A", WITH_ADDRESS),
        ("microbit", b"L", rb"fault: stack overflow\0"),
        ("mps2_an386", b"L", rb"fault: stack overflow\0"),
        *((name, b"P", rb"unexpected exception\0") for name in ONE_A_CORE),
        *((name, b"R", rb"main returned\0") for name in ONE_A_CORE),
    ],
)
def test_each_way_to_stop_is_told_in_words(
    built, name: str, command: bytes, report: bytes, compiler: CompilerName
) -> None:
    with running(built(name, compiler).elf, load_board(name)) as line:
        line.read_until(b"\n")
        assert re.fullmatch(report, line.report_of(command))
