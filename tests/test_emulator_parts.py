"""Parts of the virtual board by themselves: timers, exceptions, chips, decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.board import board_names, load_board
from edgeq.emulator import exceptions, native
from edgeq.emulator.chips import Context
from edgeq.emulator.chips.nrf import NrfTimer
from edgeq.emulator.chips.table import chip_of
from edgeq.emulator.image import Function, Image
from edgeq.emulator.machine import Machine
from edgeq.emulator.peripherals import Bank, NotModelledError
from edgeq.emulator.system_control import SYSTICK, SystemControl
from edgeq.emulator.uarts import KINDS
from firmware_gen.runtime.drivers import UARTS

CSR, RVR, CVR, ICSR = 0x010, 0x014, 0x018, 0xD04


@dataclass
class Time:
    """A clock for peripherals, and what they did with it."""

    now: int = 0
    pending: list[int] = field(default_factory=list)

    def context(self, name: str) -> Context:
        return Context(load_board(name), lambda: self.now, lambda: None, self.pending.append)


def system(time: Time, core: str = "cortex-m4") -> SystemControl:
    return SystemControl(core, lambda: time.now, lambda: None)


class NaiveSysTick:
    """DDI0403E section B3.3.1, tick by tick."""

    def __init__(self, reload: int) -> None:
        self.reload, self.value, self.interrupts = reload, 0, 0

    def tick(self) -> None:
        if self.value == 0:
            self.value = self.reload
        else:
            self.value -= 1
            self.interrupts += self.value == 0


@given(st.integers(1, 40), st.lists(st.integers(1, 100), min_size=1, max_size=20))
def test_systick_counts_like_one_that_ticks_one_by_one(reload: int, steps: list[int]) -> None:
    time = Time(now=1000)
    control = system(time)
    naive = NaiveSysTick(reload)
    control.write(RVR, 4, reload)
    control.write(CVR, 4, 123)
    control.write(CSR, 4, 7)
    for step in steps:
        control.pending.clear()
        before = naive.interrupts
        next_event = control.next_event()
        for tick in range(step):
            naive.tick()
            if naive.interrupts == before + 1 and time.now + tick + 1 < next_event:
                pytest.fail("an interrupt before the one foretold")
        time.now += step
        assert control.read(CVR, 4) == naive.value
        assert (SYSTICK in control.pending) == (naive.interrupts > before)
        assert bool(control.read(ICSR, 4) >> 26 & 1) == (naive.interrupts > before)


def test_systick_stops_and_goes_on_where_it_was() -> None:
    time = Time()
    control = system(time)
    control.write(RVR, 4, 99)
    control.write(CVR, 4, 0)
    control.write(CSR, 4, 5)
    time.now = 31
    assert control.read(CVR, 4) == 69
    control.write(CSR, 4, 4)
    time.now = 500
    assert control.read(CVR, 4) == 69
    control.write(CSR, 4, 5)
    time.now = 569
    assert control.read(CVR, 4) == 0
    assert control.read(CSR, 4) == 5 | 1 << 16
    assert control.read(CSR, 4) == 5
    assert not control.pending  # TICKINT is off


def test_priorities_and_masks_decide_what_is_taken() -> None:
    control = system(Time())
    control.write(0x100, 4, 0b11)  # enable interrupts 0 and 1
    control.write(0xD20, 4, 0x40 << 24)  # SysTick
    control.write(0x400, 1, 0x80)
    control.write(0x401, 1, 0x20)
    control.pending = {SYSTICK, 16, 17, 18}  # 18 is not enabled
    assert control.due(0, 0, 0) == 17
    assert control.due(1, 0, 0) is None
    assert control.due(0, 0, 1) is None
    assert control.due(0, 0x20, 0) is None
    control.pending.discard(17)
    assert control.due(0, 0, 0) == SYSTICK
    control.active.append(17)
    assert control.due(0, 0, 0) is None
    control.active[:] = [16]
    assert control.due(0, 0, 0) == SYSTICK
    assert control.read(0x300, 4) == 1  # IABR: interrupt 0 is active
    assert control.read(0x200, 4) == 0b101  # ISPR
    control.write(0x280, 4, 0b100)
    assert control.read(0x200, 4) == 0b001
    with pytest.raises(NotModelledError, match="0xe000efb0"):
        control.read(0xFB0, 4)


@given(
    prescaler=st.integers(0, 3),
    compare=st.integers(1, 300),
    steps=st.lists(st.integers(1, 500), max_size=20),
)
def test_the_nrf_timer_sets_its_event_when_the_count_passes_the_compare_value(
    prescaler: int, compare: int, steps: list[int]
) -> None:
    time = Time()
    timer = NrfTimer("TIMER0", 0x40008000, 8, 4, time.context("microbit"))
    timer.reset()
    timer.write(0x508, 4, 1)  # 8 bits
    timer.write(0x510, 4, prescaler)
    timer.write(0x544, 4, compare)
    timer.write(0x304, 4, 1 << 17)
    timer.write(0x000, 4, 1)
    for step in steps:
        before = time.now >> prescaler
        foretold = timer.next_event()
        time.now += step
        after = time.now >> prescaler
        passed = any(count % 256 == compare % 256 for count in range(before + 1, after + 1))
        assert timer.read(0x144, 4) == passed
        assert bool(time.pending) == passed
        assert passed == (foretold is not None and foretold <= time.now)
        timer.write(0x040, 4, 1)
        assert timer.read(0x540, 4) == after % 256
        timer.write(0x144, 4, 0)
        time.pending.clear()


def machine_of(name: str, *halfwords: int) -> Machine:
    """A machine with a vector table of one vector for all, and code from 0x100 on."""
    board = load_board(name)
    code = struct.pack(f"<{len(halfwords)}H", *halfwords)
    vectors = struct.pack("<64I", 0x20001000, *[0x101] * 63)
    return Machine(Image(Path("made.elf"), ((0, vectors), (0x100, code)), ()), board)


@pytest.mark.parametrize("sp", [0x20001000, 0x20000FFC])
@pytest.mark.parametrize("floats", [False, True])
def test_exception_entry_and_return_keep_every_register(sp: int, floats: bool) -> None:
    machine = machine_of("mps2_an386", 0xBF00)
    arm, uc = exceptions.arm, machine.uc
    control = system(Time())
    machine.reset(0)
    registers = [arm.UC_ARM_REG_R0 + i for i in range(13)] + [arm.UC_ARM_REG_LR]
    values = {register: 0x1000 + i for i, register in enumerate(registers)}
    values |= {arm.UC_ARM_REG_S0 + i: 0x2000 + i for i in range(16)} if floats else {}
    values |= {arm.UC_ARM_REG_FPSCR: 0x03C00000} if floats else {}
    values |= {arm.UC_ARM_REG_SP: sp, arm.UC_ARM_REG_PC: 0x100}
    values |= {arm.UC_ARM_REG_XPSR: 0xA1000000, arm.UC_ARM_REG_CONTROL: 4 if floats else 0}
    for register, value in values.items():
        uc.reg_write(register, value | (register == arm.UC_ARM_REG_PC))
    control.pending.add(SYSTICK)
    exceptions.enter(uc, control, SYSTICK)
    nbytes = 104 if floats else 32
    assert uc.reg_read(arm.UC_ARM_REG_SP) == (sp & ~7) - nbytes
    assert uc.reg_read(arm.UC_ARM_REG_IPSR) == SYSTICK
    assert uc.reg_read(arm.UC_ARM_REG_LR) == (0xFFFFFFE9 if floats else 0xFFFFFFF9)
    assert control.active == [SYSTICK]
    assert not control.pending
    frame = struct.unpack("<8I", uc.mem_read((sp & ~7) - nbytes, 32))
    assert frame == (0x1000, 0x1001, 0x1002, 0x1003, 0x100C, 0x100D, 0x100, frame[7])
    assert frame[7] == 0xA1000000 | (1 << 9 if sp & 4 else 0)
    for register in (0, 1, 2, 3, 12):
        uc.reg_write(arm.UC_ARM_REG_R0 + register, 0)
    for i in range(16):
        uc.reg_write(arm.UC_ARM_REG_S0 + i, 0)
    exceptions.leave(uc, control, uc.reg_read(arm.UC_ARM_REG_LR))
    assert {register: uc.reg_read(register) for register in values} == values
    assert control.active == []
    machine.close()


def test_an_exception_without_memory_for_its_frame_is_a_lockup() -> None:
    machine = machine_of("mps2_an386", 0xBF00)
    machine.reset(0)
    machine.uc.reg_write(exceptions.arm.UC_ARM_REG_SP, 0x20000008)
    with pytest.raises(exceptions.LockupError, match="exception 15: no memory for its frame"):
        exceptions.enter(machine.uc, system(Time()), SYSTICK)
    machine.close()


def test_memory_can_be_read_also_after_the_end() -> None:
    machine = machine_of("mps2_an386", 0xBF00, 0x1234)
    machine.close()
    assert machine.read_memory(0x100, 4) == b"\x00\xbf\x34\x12"
    with pytest.raises(Exception, match="0x003ffffe are not in one memory"):
        machine.read_memory(0x3FFFFE, 4)


# Encodings from DDI0403E sections A7.7.x and their absence from DDI0419E section A5.
@pytest.mark.parametrize(
    ("first", "second", "v6m", "v7m"),
    [
        (0xB100, 0, True, False),  # CBZ
        (0xBB01, 0, True, False),  # CBNZ
        (0xBF08, 0, True, False),  # IT EQ
        (0xBF00, 0, False, False),  # NOP
        (0xBF30, 0, False, False),  # WFI
        (0xB510, 0, False, False),  # PUSH
        (0xBA00, 0, False, False),  # REV
        (0xB280, 0, False, False),  # UXTH
        (0xFB01, 0xF002, False, False),  # MUL
        (0xFB01, 0x3002, False, False),  # MLA
        (0xFB01, 0x3012, False, False),  # MLS
        (0xFB11, 0xF002, False, True),  # SMULBB
        (0xFB21, 0x3002, False, True),  # SMLAD
        (0xFB51, 0x3002, False, True),  # SMMLA
        (0xFB81, 0x2003, False, False),  # SMULL
        (0xFB91, 0xF0F2, False, False),  # SDIV
        (0xFBA1, 0x2003, False, False),  # UMULL
        (0xFBB1, 0xF0F2, False, False),  # UDIV
        (0xFBC1, 0x2003, False, False),  # SMLAL
        (0xFBC1, 0x2083, False, True),  # SMLALBB
        (0xFBC1, 0x20C3, False, True),  # SMLALD
        (0xFBE1, 0x2003, False, False),  # UMLAL
        (0xFBE1, 0x2063, False, True),  # UMAAL
    ],
)
def test_instructions_that_a_core_lacks_are_known(first, second, v6m, v7m) -> None:
    assert native.lacks(native.RULES_V6M, first, second) == v6m
    assert native.lacks(native.RULES_V7M, first, second) == v7m
    assert not native.lacks(native.RULES_NONE, first, second)


@pytest.mark.parametrize("name", [n for n in board_names() if n.startswith("nucleo")])
def test_a_uart_without_clock_or_pins_is_a_fault(name: str) -> None:
    board = load_board(name)
    settings = board.uart.settings
    chip = chip_of(Time().context(name))
    rcc = next(p for p in chip.peripherals if p.name == "RCC")
    port = next(p for p in chip.peripherals if p.base == settings["gpio_base"])

    def change(bank: Bank, offset: int, mask: int, value: int) -> None:
        bank.write(offset, 4, bank.read(offset, 4) & ~mask | value)

    assert chip.uart_fault() == "the UART is used but RCC does not clock it"
    change(rcc, settings["rcc_uart_offset"], 0, 1 << settings["rcc_uart_bit"])
    assert "RCC does not clock GPIO" in chip.uart_fault()
    change(rcc, settings["rcc_gpio_offset"], 0, 1 << settings["rcc_gpio_bit"])
    for pin in (settings["tx_pin"], settings["rx_pin"]):
        assert f"pin {pin} of GPIO" in chip.uart_fault()
        change(port, 0, 3 << 2 * pin, 2 << 2 * pin)
        shift = 4 * (pin % 8)
        function = settings["alternate_function"] << shift
        change(port, 0x20 + 4 * (pin // 8), 0xF << shift, function)
    assert chip.uart_fault() is None


def test_every_uart_driver_has_its_model() -> None:
    assert set(KINDS) == set(UARTS)


def test_addresses_are_described_by_function_and_offset() -> None:
    functions = (Function("first", 0x100, 8), Function("second", 0x120, 0))
    image = Image(Path("x.elf"), (), functions)
    assert image.describe(0x104) == "0x00000104 (first+0x4)"
    assert image.describe(0x108) == "0x00000108"
    assert image.describe(0x130) == "0x00000130 (second+0x10)"
    assert image.describe(0x50) == "0x00000050"


def test_the_rp2040_aliases_change_bits() -> None:
    bank = Bank("X", 0x40000000, 0x4000, {0x10: 0b1100}, atomic=True)
    bank.write(0x1010, 4, 0b0110)
    assert bank.read(0x10, 4) == 0b1010
    bank.write(0x2010, 4, 0b0101)
    assert bank.read(0x10, 4) == 0b1111
    bank.write(0x3010, 4, 0b1001)
    assert bank.read(0x10, 4) == 0b0110
    with pytest.raises(NotModelledError, match=r"0x40000014 \(X\)"):
        bank.read(0x14, 4)
