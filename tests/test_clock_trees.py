"""What the clock and UART drivers of the real chips leave in the registers, decoded again.

The start-up code runs on an emulated core over plain registers, whose ready flags follow their
enable bits; each decoder below reads the clock tree the way the reference manual draws it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import unicorn
from toolchains import need_compiler

from edgeq.board import Board, load_board
from firmware_gen.image import load_segments, read_symbols
from firmware_gen.project import build_project, write_project
from firmware_gen.toolchain import Levels

ECHO = Path(__file__).parent / "echo" / "main.c"
PERIPHERALS = ((0x40000000, 0x20000000), (0xE0000000, 0x100000))
Registers = Mapping[int, int]
# Of each clock kind: (register, bits written, register, bits that then read as set).
READY = {
    "stm32f4": [
        (0x40023800, 1 << 16, 0x40023800, 1 << 17),
        (0x40023800, 1 << 24, 0x40023800, 1 << 25),
        (0x40007000, 1 << 16, 0x40007004, 1 << 16),
        (0x40007000, 1 << 17, 0x40007004, 1 << 17),
        (0x40023808, 2 << 0, 0x40023808, 2 << 2),
    ],
    "stm32l4": [
        (0x40021000, 1 << 8, 0x40021000, 1 << 10),
        (0x40021000, 1 << 24, 0x40021000, 1 << 25),
        (0x40021008, 3 << 0, 0x40021008, 3 << 2),
    ],
    "stm32g0": [
        (0x40021000, 1 << 8, 0x40021000, 1 << 10),
        (0x40021000, 1 << 24, 0x40021000, 1 << 25),
        (0x40021008, 2 << 0, 0x40021008, 2 << 3),
    ],
    "stm32h7": [
        (0x5802480C, 1 << 1, 0x58024804, 1 << 13),
        (0x58024818, 3 << 14, 0x58024818, 1 << 13),
        (0x58024400, 1 << 16, 0x58024400, 1 << 17),
        (0x58024400, 1 << 24, 0x58024400, 1 << 25),
        (0x58024410, 3 << 0, 0x58024410, 3 << 3),
    ],
    "rp2040": [
        (0x40024000, 0xFAB << 12, 0x40024004, 1 << 31),
        (0x40028008, 1, 0x40028000, 1 << 31),
    ],
    "nrf52": [(0x40000000, 1, 0x40000100, 1)],
    "lm3s6965": [(0x400FE034, 0x1B, 0x400FE050, 1 << 6)],  # at 2.75 V the PLL locks
}
# Where a flash interface has its wait states, and core clocks in one of its clocks.
LATENCY = {
    "stm32f4": (0x40023C00, 0xF, 1),
    "stm32l4": (0x40022000, 0xF, 1),
    "stm32g0": (0x40022000, 0x7, 1),
    "stm32h7": (0x52002000, 0xF, 2),
}
# Values after reset that the start-up code builds upon.
AFTER_RESET = {
    "stm32f4": {0x40023810: 0, 0x40007000: 0xC000},
    "stm32l4": {0x40007080: 0x100, 0x40021000: 0x61, 0x48001800: 0xFFFFFFFF},
    "stm32g0": {0x40021000: 0x500, 0x40022000: 0x40600},
    "stm32h7": {
        0x5802480C: 6,
        0x58024818: 0x4000,
        0x58024400: 5,
        0x52002000: 0x37,
        0x5C001000: 0x10036450,  # revision Y
    },
    "rp2040": {
        0x4000C008: 0xFFFFFFFF,
        0x40008038: 0x5,
        0x40008044: 0x3,
        0x40028004: 0x2D,
        0x4000C000: 0x1FFFFFF,
    },
    "nrf52": {},
    "lm3s6965": {0x400FE000: 0x10010002, 0x400FE060: 0x078E3AD1},  # revision A2
}


def field(value: int, high: int, low: int) -> int:
    return (value >> low) & ((1 << (high - low + 1)) - 1)


def stm32f4(r: Registers, board: Board) -> dict[str, int]:
    cfgr, pll = r[0x40023808], r[0x40023804]
    assert field(cfgr, 1, 0) == 2
    source = board.clock.settings["hse_hz"] if pll >> 22 & 1 else 16_000_000
    pll_in = source // field(pll, 5, 0)
    vco = pll_in * field(pll, 14, 6)
    assert 1_000_000 <= pll_in <= 2_000_000
    assert 100_000_000 <= vco <= 432_000_000
    assert field(pll, 31, 28) >= 2
    core = vco // (2 * field(pll, 17, 16) + 2)
    assert field(cfgr, 7, 4) == 0
    divide = {0: 1, 4: 2, 5: 4, 6: 8, 7: 16}
    apb1 = core // divide[field(cfgr, 12, 10)]
    apb2 = core // divide[field(cfgr, 15, 13)]
    assert apb1 <= 45_000_000
    assert apb2 <= 90_000_000
    assert field(r[0x40023C00], 3, 0) == 5
    assert r[0x40023C00] >> 8 & 7 == (7 if board.clock.settings.get("prefetch", 1) else 6)
    assert (core <= 168_000_000) or field(r[0x40007000], 17, 16) == 3
    return {"core": core, "uart": apb2 if board.uart.base == 0x40011000 else apb1}


def stm32l4(r: Registers, board: Board) -> dict[str, int]:
    cfgr, pll = r[0x40021008], r[0x4002100C]
    assert field(cfgr, 1, 0) == 3
    assert field(pll, 1, 0) == 2
    vco = 16_000_000 // (field(pll, 7, 4) + 1) * field(pll, 14, 8)
    assert 64_000_000 <= vco <= 344_000_000
    assert pll >> 24 & 1
    core = vco // (2 * field(pll, 26, 25) + 2)
    assert field(cfgr, 13, 4) == 0
    assert field(r[0x40022000], 3, 0) == 5
    assert r[0x40007080] >> 8 & 1 == 0
    assert r[0x40007004] >> 9 & 1
    return {"core": core, "uart": core}


def stm32g0(r: Registers, board: Board) -> dict[str, int]:
    cfgr, pll = r[0x40021008], r[0x4002100C]
    assert field(cfgr, 2, 0) == 2
    assert field(pll, 1, 0) == 2
    vco = 16_000_000 // (field(pll, 6, 4) + 1) * field(pll, 14, 8)
    assert 96_000_000 <= vco <= 344_000_000
    assert pll >> 28 & 1
    core = vco // (field(pll, 31, 29) + 1)
    assert field(cfgr, 14, 8) == 0
    assert field(r[0x40022000], 2, 0) == 2
    assert field(r[0x40022000], 9, 8) == 2  # code cache, no prefetch: an erratum of the G0B1
    return {"core": core, "uart": core}


def stm32h7(r: Registers, board: Board) -> dict[str, int]:
    select, divide = r[0x58024428], r[0x58024430]
    assert field(r[0x58024410], 2, 0) == 3
    source = {0: 64_000_000, 2: board.clock.settings["hse_hz"]}[field(select, 1, 0)]
    pll_in = source // field(select, 9, 4)
    assert 2_000_000 <= pll_in <= 4_000_000
    assert field(r[0x5802442C], 3, 2) == 1
    vco = pll_in * (field(divide, 8, 0) + 1)
    assert 192_000_000 <= vco <= 836_000_000
    assert r[0x5802442C] & 0x10003 == 0x10000
    core = vco // (field(divide, 15, 9) + 1)
    assert r[0x58024418] == 0x48
    assert r[0x5802441C] == 0x440
    assert r[0x58024420] == 0x40
    assert field(r[0x52002000], 5, 0) == 0x22
    assert field(r[0x58024818], 15, 14) == 3
    assert r[0x51008108] == 1  # the erratum of revision Y
    return {"core": core, "uart": core // 4}


def rp2040(r: Registers, board: Board) -> dict[str, int]:
    prim = r[0x4002800C]
    vco = 12_000_000 // field(r[0x40028000], 5, 0) * r[0x40028008]
    assert 750_000_000 <= vco <= 1_600_000_000
    core = vco // (field(prim, 18, 16) * field(prim, 14, 12))
    assert r[0x4000803C] == 1
    assert r[0x40008048] == 1 << 11
    assert r[0x40028004] & 0x29 == 0
    assert r[0x4000C000] & (1 << 5 | 1 << 8 | 1 << 12 | 1 << 22) == 0
    assert r[0x40014004] == r[0x4001400C] == 2
    return {"core": core, "uart": core}


def nrf52(r: Registers, board: Board) -> dict[str, int]:
    assert r[0x4001E540] == 1
    return {"core": 64_000_000, "uart": 16_000_000}


def lm3s6965(r: Registers, board: Board) -> dict[str, int]:
    rcc = r[0x400FE060]
    assert field(rcc, 9, 6) == 0xE  # 8 MHz
    assert field(rcc, 5, 4) == 0  # of the main oscillator
    # Off: power down, output off, bypass, and what stops the main oscillator.
    assert rcc & (1 << 13 | 1 << 12 | 1 << 11 | 1 << 0) == 0
    assert rcc >> 22 & 1
    assert r[0x40004420] == r[0x4000451C] == 3
    core = 200_000_000 // (field(rcc, 26, 23) + 1)
    return {"core": core, "uart": core}


def baud_of(r: Registers, board: Board, uart_hz: int) -> float:
    base = board.uart.base
    if board.uart.kind == "nrf":
        return 16_000_000 * r[base + 0x524] / 2**32
    if board.uart.kind == "pl011":
        return uart_hz / (16 * (r[base + 0x24] + r[base + 0x28] / 64))
    divider = r[base + (8 if board.uart.kind == "stm32_v1" else 0xC)]
    return uart_hz * board.uart.settings.get("divider_scale", 1) / divider


def check_pins(r: Registers, board: Board) -> None:
    wired = board.uart.settings
    if board.uart.kind == "nrf":
        assert r[board.uart.base + 0x50C] == wired["tx_pin"]
        assert r[board.uart.base + 0x514] == wired["rx_pin"]
    if "gpio_base" not in wired:
        return
    for pin in (wired["tx_pin"], wired["rx_pin"]):
        assert field(r[wired["gpio_base"]], 2 * pin + 1, 2 * pin) == 2
        alternate = r[wired["gpio_base"] + 0x20 + 4 * (pin // 8)]
        low = 4 * (pin % 8)
        assert field(alternate, low + 3, low) == wired["alternate_function"]
    for part in ("gpio", "uart"):
        enable = r[wired["rcc_base"] + wired[f"rcc_{part}_offset"]]
        assert enable >> wired[f"rcc_{part}_bit"] & 1


DECODERS: dict[str, Callable[[Registers, Board], dict[str, int]]] = {
    "stm32f4": stm32f4,
    "stm32l4": stm32l4,
    "stm32g0": stm32g0,
    "stm32h7": stm32h7,
    "rp2040": rp2040,
    "nrf52": nrf52,
    "lm3s6965": lm3s6965,
}


def registers_after_start(elf: Path, board: Board, *, ready: bool = True) -> dict[int, int]:
    """Runs from reset to the end of edgeq_platform_init; the registers that were touched."""
    core = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    kind = board.clock.kind
    for memory in board.memories:
        core.mem_map(memory.origin, -(-memory.nbytes // 0x1000) * 0x1000)
    for origin, nbytes in PERIPHERALS:
        core.mem_map(origin, nbytes)
    for address, data in load_segments(elf):
        core.mem_write(address, data)
    for address, value in AFTER_RESET[kind].items():
        core.mem_write(address, value.to_bytes(4, "little"))
    touched: set[int] = set(AFTER_RESET[kind])

    def word(address: int) -> int:
        return int.from_bytes(core.mem_read(address, 4), "little")

    def on_write(_core, _access, address, _size, value, _data) -> None:
        touched.add(address)
        for register, bits, flag_register, flags in READY[kind]:
            if ready and address == register and value & bits == bits:
                now = value if flag_register == address else word(flag_register)
                core.mem_write(flag_register, (now | flags).to_bytes(4, "little"))
                pending[flag_register] = flags

    def on_read(_core, _access, address, _size, _value, _data) -> None:
        if address in pending:
            now = word(address) | pending[address]
            core.mem_write(address, now.to_bytes(4, "little"))

    pending: dict[int, int] = {}
    for origin, nbytes in PERIPHERALS:
        end = origin + nbytes - 1
        core.hook_add(unicorn.UC_HOOK_MEM_WRITE, on_write, begin=origin, end=end)
        core.hook_add(unicorn.UC_HOOK_MEM_READ, on_read, begin=origin, end=end)
    symbols = {symbol.name: symbol.address for symbol in read_symbols(elf)}
    core.reg_write(unicorn.arm_const.UC_ARM_REG_SP, symbols["edgeq_stack_top"])
    core.emu_start(symbols["Reset_Handler"] | 1, symbols["edgeq_ticks_init"])
    return {address: word(address) for address in touched}


@pytest.fixture(scope="module")
def elf_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def build(name: str) -> Path:
        need_compiler("zig")
        folder = tmp_path_factory.mktemp(name)
        shutil.copy(ECHO, folder / "main.c")
        board = load_board(name)
        write_project(board, folder, ["main.c"])
        # -Os keeps the functions apart, so that the run can stop at one.
        result = build_project(
            board, folder, ["main.c"], compiler="zig", levels=Levels("-Os", "-Os")
        )
        return result.elf

    return build


@pytest.mark.parametrize(
    "name",
    [
        "lm3s6965evb",
        "netduinoplus2",
        "nrf52840dk",
        "nucleo_f446re",
        "nucleo_g0b1re",
        "nucleo_h743zi",
        "nucleo_l4r5zi",
        "raspberry_pi_pico",
    ],
)
def test_the_registers_give_the_clock_and_the_baud_rate_of_the_board_file(
    elf_of: Callable[[str], Path], name: str
) -> None:
    board = load_board(name)
    registers = registers_after_start(elf_of(name), board)
    clocks = DECODERS[board.clock.kind](registers, board)
    assert clocks["core"] == board.clock.core_hz
    assert clocks["uart"] == board.uart.clock_hz
    assert baud_of(registers, board, clocks["uart"]) == pytest.approx(board.uart.baud, rel=0.01)
    check_pins(registers, board)
    if board.clock.kind in LATENCY:
        address, mask, clocks_each = LATENCY[board.clock.kind]
        assert board.flash.wait_states == (registers[address] & mask) * clocks_each


def test_a_dead_crystal_leaves_the_clock_as_it_should_be(
    elf_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nucleo_f446re", "nucleo_h743zi"):
        board = load_board(name)
        kind = board.clock.kind
        without_hse = [rule for rule in READY[kind] if rule[3] != 1 << 17 or rule[1] != 1 << 16]
        assert len(without_hse) == len(READY[kind]) - 1
        monkeypatch.setitem(READY, kind, without_hse)
        registers = registers_after_start(elf_of(name), board)
        assert DECODERS[kind](registers, board)["core"] == board.clock.core_hz
