"""Firmware on the virtual board and on QEMU: serial port, time, counts, how runs end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emulated import Client, build_probe, remove_builds, running
from toolchains import need_compiler, need_program

from edgeq import emulator
from edgeq.board import board_names, load_board
from edgeq.emulator import machine, qemu, virtual
from edgeq.emulator.image import read_image
from edgeq.errors import EmulatorError, ToolError

VIRTUAL = [name for name in board_names() if load_board(name).core != "cortex-m55"]
QEMU = [name for name in board_names() if load_board(name).qemu_machine]
BYTES = bytes(range(256)) * 3
ZIG = ["mps2_an386", "microbit", "mps2_an505"]


@pytest.fixture(scope="module", autouse=True)
def _builds_are_removed():
    yield
    remove_builds()


@pytest.mark.parametrize(
    ("name", "compiler"), [(n, "gcc") for n in VIRTUAL] + [(n, "zig") for n in ZIG]
)
def test_every_board_boots_echoes_and_keeps_time(name: str, compiler) -> None:
    with running(name, compiler=compiler) as (board, client):
        assert client.echo(BYTES) == BYTES
        ticks = [client.number(b"L", turns) for turns in (1, 2, 1000, 1_000_001)]
        assert [t - ticks[0] for t in ticks] == [0, 3, 3 * 999, 3 * 1_000_000]
        assert client.number(b"G", 40_000_000) == 1  # over two turns of the 24-bit counter
        board.check()
        assert board.returncode is None
    assert board.returncode == 0


@pytest.mark.parametrize("name", [n for n in VIRTUAL if load_board(n).ticks.kind == "systick"])
def test_the_systick_interrupt_comes_in_time_and_keeps_all_registers(name: str) -> None:
    turns = 100_000
    with running(name) as (_, client):
        answer = client.number(b"I", turns)
    interrupts, counted = answer >> 32, answer & 0xFFFFFFFF
    assert counted == turns
    # The handler's own instructions, at most 100 an interrupt, take part of each period.
    assert 3 * turns // 1000 <= interrupts <= 3 * turns // 900 + 1


@pytest.mark.parametrize("name", QEMU)
def test_qemu_and_the_virtual_board_send_the_same_bytes(name: str) -> None:
    def session(client: Client) -> bytes:
        sent = client.echo(BYTES) + client.stream(1000)
        client.command(b"B")
        return sent + client.line()

    with running(name, "qemu", tcp=name == "mps2_an386") as (_, client):
        qemu_bytes = session(client)
    assert qemu_bytes == BYTES + bytes(i * 7 % 256 for i in range(1000)) + b"reset\n"
    if name in VIRTUAL:
        with running(name) as (_, client):
            assert session(client) == qemu_bytes


@pytest.mark.parametrize("tcp", [False, True], ids=["pty", "tcp"])
@pytest.mark.parametrize("kind", ["virtual", "qemu"])
def test_the_port_can_be_closed_and_opened_again(kind, tcp: bool) -> None:
    with running("mps2_an386", kind, tcp=tcp) as (_, client):
        for _ in range(3):
            assert client.echo(BYTES) == BYTES
            client.serial.close()
            client.serial.open()


def test_a_long_stream_arrives_whole_and_a_slow_reader_loses_nothing() -> None:
    count = 1_000_000
    with running("mps2_an386") as (_, client):
        client.command(b"S", count)
        time.sleep(0.2)  # pty and ring are full by now, and the transmitter waits
        pattern = bytes(i * 7 % 256 for i in range(256))
        assert client.serial.read(count) == (pattern * (count // 256 + 1))[:count]


def test_what_is_sent_while_nobody_listens_is_lost_and_blocks_nothing() -> None:
    count = 300_000
    with running("mps2_an386") as (board, client):
        client.command(b"S", count)
        client.serial.close()
        before = board.instructions
        deadline = time.monotonic() + 20
        while board.instructions < before + 1_000_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        client.serial.open()
        client.command(b"E", 11)
        client.serial.write(b"still there")
        received = client.serial.read_until(b"still there")
        assert received.endswith(b"still there")
        assert len(received) < count


def test_blocks_and_instructions_of_a_loop_are_counted_exactly() -> None:
    turns = 12345
    with running("mps2_an386") as (board, client):
        client.number(b"L", turns)
    function = next(
        f
        for f in read_image(build_probe("mps2_an386", "gcc")).functions
        if f.name == "counted_loop"
    )
    blocks = board.block_counts()
    inside = [
        length * times
        for address, (length, times) in blocks.items()
        if function.address <= address < function.address + 14
    ]
    assert sum(inside) == 4 + 3 * turns
    assert sum(length * times for length, times in blocks.values()) == board.instructions


@pytest.mark.parametrize("compiler", ["gcc", "zig"])
def test_counts_equal_those_of_a_hook_on_each_instruction(monkeypatch, compiler) -> None:
    # On the M0, which has no IT blocks: Unicorn's own hook leaves out what they skip.
    counted = []

    class Counting(machine.Machine):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            self.uc.hook_add(machine.const.UC_HOOK_CODE, lambda *_: counted.append(1))

    monkeypatch.setattr(virtual, "Machine", Counting)
    monkeypatch.setattr(virtual, "_SLICE", 101)  # stop very often
    with running("raspberry_pi_pico", compiler=compiler) as (board, client):
        assert client.echo(BYTES) == BYTES
        assert client.number(b"I", 3000) & 0xFFFFFFFF == 3000
    assert board.instructions == len(counted) > 20_000


def test_a_run_is_repeated_to_the_instruction() -> None:
    def ticks() -> list[int]:
        with running("mps2_an386") as (_, client):
            return [client.number(b"L", n) for n in (10, 1_000_000)]

    assert ticks() == ticks()


def test_a_firmware_that_waits_for_input_executes_next_to_nothing() -> None:
    with running("mps2_an386") as (board, client):
        assert client.echo(b"x") == b"x"
        before = board.instructions
        time.sleep(0.5)
        assert board.instructions - before < 200_000


FAULTS = [
    ("mps2_an386", b"R", [0x70000000], r"\(read_word_at\+0x0\): read from 0x70000000, where"),
    (
        "mps2_an386",
        b"W",
        [0x00000200],
        r"\(write_word_at\+0x0\): write to 0x00000200, which is",
    ),
    ("mps2_an386", b"R", [0x40004040], r"\(read_word_at\+0x0\): register 0x40004040 \(UART c"),
    ("mps2_an386", b"R", [0xE000EFA0], r"\(read_word_at\+0x0\): register 0xe000efa0 \(system"),
    ("nucleo_f446re", b"R", [0x400238A0], r"register 0x400238a0 \(RCC\) is not modelled on n"),
    (
        "mps2_an386",
        b"U",
        [],
        r"\(run_undefined\+0x0\): undefined instruction; called from .*main",
    ),
    ("microbit", b"R", [0x20000001], r"\(read_word_at\+0x0\): unaligned access"),
    ("microbit", b"C", [], r"\(run_cbz\+0x0\): an instruction that cortex-m0 does not have"),
    (
        "mps2_an385",
        b"D",
        [],
        r"\(run_smuad\+0x0\): an instruction that cortex-m3 does not have",
    ),
    ("microbit", b"D", [], r"\(run_smuad\+0x0\): undefined instruction"),
    (
        "mps2_an386",
        b"H",
        [],
        r"\(stop_here\+0x\w+\): halted: an endless loop that does nothing",
    ),
]


@pytest.mark.parametrize(("name", "letter", "words", "message"), FAULTS)
def test_a_fault_ends_the_run_with_its_place_and_reason(name, letter, words, message) -> None:
    with running(name) as (board, client):
        client.command(letter, *words)
        assert board.wait(20)
        assert board.returncode == 1
        with pytest.raises(EmulatorError, match=rf"^{name}: at PC 0x\w{{8}} .*{message}"):
            board.check()


def test_the_m4_runs_what_smaller_cores_lack() -> None:
    with running("mps2_an386") as (_, client):
        for letter in (b"C", b"D"):
            client.command(letter)
            assert client.line() == b"ran\n"
        client.command(b"R", 0x20000001)  # unaligned
        assert client.line() == b"read\n"


def test_a_firmware_that_resets_its_core_starts_again() -> None:
    for name in ("mps2_an386", "raspberry_pi_pico"):
        with running(name) as (board, client):
            for _ in range(3):
                client.command(b"B")
                assert client.line() == b"reset\n"
                assert client.echo(b"again") == b"again"
            board.check()


def test_close_ends_a_firmware_that_spins() -> None:
    with running("mps2_an386") as (board, client):
        client.command(b"X")
        before = board.instructions
        while board.instructions < before + 10_000_000:
            time.sleep(0.01)
        assert not board.wait(0)
        board.close()
        assert board.returncode == 0
        board.close()


def test_several_boards_run_beside_each_other() -> None:
    with (
        running("mps2_an386") as (_, one),
        running("microbit") as (_, two),
        running("mps2_an386", tcp=True) as (_, three),
    ):
        for i in range(20):
            for client in (one, two, three):
                data = bytes([i]) * 100
                assert client.echo(data) == data


def test_what_cannot_be_started_says_why(tmp_path: Path, monkeypatch) -> None:
    need_compiler("gcc")
    m4, m55 = load_board("mps2_an386"), load_board("mps3_an547")
    elf = build_probe("mps3_an547", "gcc")
    with pytest.raises(EmulatorError, match=r"mps3_an547: .* no cortex-m55.*--emulator qemu"):
        emulator.start(elf, m55, "virtual")
    with pytest.raises(EmulatorError, match=r"outside the memories of microbit"):
        emulator.start(build_probe("nucleo_f446re", "gcc"), load_board("microbit"), "virtual")
    with pytest.raises(
        EmulatorError, match=r"nrf52840dk: QEMU has no such machine.*lm3s6965evb"
    ):
        emulator.start(elf, load_board("nrf52840dk"), "qemu")
    broken = tmp_path / "broken.elf"
    for content in (b"", b"\x7fELF", elf.read_bytes()[:200]):
        broken.write_bytes(content)
        with pytest.raises(EmulatorError, match=r"broken.elf: "):
            emulator.start(broken, m4, "virtual")
    with pytest.raises(EmulatorError, match=r"absent.elf: cannot read the firmware"):
        emulator.start(tmp_path / "absent.elf", m4, "virtual")
    monkeypatch.setattr(qemu.shutil, "which", lambda _: None)
    with pytest.raises(
        ToolError, match=r"not on PATH; install it: apt install qemu-system-arm"
    ):
        emulator.start(elf, m4, "qemu")


def test_the_rp2040_does_not_boot_without_a_second_stage(tmp_path: Path) -> None:
    need_compiler("gcc")
    elf = build_probe("raspberry_pi_pico", "gcc")
    image = read_image(elf)
    data = bytearray(elf.read_bytes())
    data[data.index(dict(image.segments)[0x10000000][:16])] ^= 1
    damaged = tmp_path / "damaged.elf"
    damaged.write_bytes(data)
    with pytest.raises(
        EmulatorError, match="second boot stage at 0x10000000 has the check sum"
    ):
        emulator.start(damaged, load_board("raspberry_pi_pico"), "virtual")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_qemu_ends_with_close_and_its_own_end_is_reported() -> None:
    with running("mps2_an386", "qemu") as (board, _):
        pid = board._process.pid
        assert _is_running(pid)
    assert not _is_running(pid)
    assert board.returncode == 0
    assert board.error is None
    with running("mps2_an386", "qemu") as (board, _):
        os.kill(board._process.pid, signal.SIGTERM)
        assert board.wait(20)
        with pytest.raises(EmulatorError, match="mps2_an386: QEMU ended with status"):
            board.check()


def test_qemu_ends_when_the_process_that_started_it_is_killed() -> None:
    need_compiler("gcc")
    need_program("qemu-system-arm", "qemu-system-arm")
    script = (
        "import sys, time; from pathlib import Path; from edgeq import emulator\n"
        "from edgeq.board import load_board\n"
        "board = emulator.start(Path(sys.argv[1]), load_board('mps2_an386'), 'qemu')\n"
        "print(board._process.pid, flush=True); time.sleep(60)\n"
    )
    elf = build_probe("mps2_an386", "gcc")
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(elf)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert _is_running(pid)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 20
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(pid)
