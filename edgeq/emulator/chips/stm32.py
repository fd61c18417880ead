"""Microcontrollers of the STM32 F4, L4+, H7 and G0 series: RCC, PWR, flash interface, ports.

Oscillators and PLLs are ready as soon as they are enabled, and the system clock switches at
once. Sources: ST's CMSIS device headers; ST RM0390 and RM0090 (F4), RM0432 (L4+), RM0433 (H7),
RM0444 (G0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgeq.emulator.chips import Chip, Context
from edgeq.emulator.peripherals import Bank, Computed, Registers, follows, span

_PORT_NBYTES = 0x400
# What each UART driver's pins are set to: MODER's two bits for "alternate function"
_ALTERNATE = 2


def _switch(offset: int, width: int) -> Computed:
    """The clock configuration register: its status field SWS is its switch field SW."""
    mask = (1 << width) - 1

    def compute(registers: Registers) -> int:
        value = registers[offset]
        return value & ~(mask << width) | (value & mask) << width

    return compute


def _always(offset: int, bits: int) -> Computed:
    return lambda registers: registers[offset] | bits


def _ports(base: int, count: int) -> Iterator[Bank]:
    """GPIO ports, alike in all series; all pins low."""
    for i in range(count):
        port = base + _PORT_NBYTES * i
        yield Bank(f"GPIO{chr(ord('A') + i)}", port, _PORT_NBYTES, span(0x00, 0x28))


def _chip(context: Context, rcc: Bank, others: tuple[Bank, ...], ports: list[Bank]) -> Chip:
    board = context.board

    def uart_fault() -> str | None:
        settings: Mapping[str, int] = board.uart.settings
        needed = {"rcc_uart_offset", "rcc_uart_bit", "gpio_base", "tx_pin", "rx_pin"}
        if not needed <= set(settings):
            return None
        if not rcc.values[settings["rcc_uart_offset"]] >> settings["rcc_uart_bit"] & 1:
            return "the UART is used but RCC does not clock it"
        port = next((p for p in ports if p.base == settings["gpio_base"]), None)
        if port is None:
            return f"there is no GPIO port at 0x{settings['gpio_base']:08x}"
        if not rcc.values[settings["rcc_gpio_offset"]] >> settings["rcc_gpio_bit"] & 1:
            return f"the UART is used but RCC does not clock {port.name}"
        for pin in (settings["tx_pin"], settings["rx_pin"]):
            mode = port.values[0x00] >> 2 * pin & 3
            function = port.values[0x20 + 4 * (pin // 8)] >> 4 * (pin % 8) & 0xF
            if mode != _ALTERNATE or function != settings["alternate_function"]:
                return (
                    f"the UART is used but pin {pin} of {port.name} has mode {mode}, alternate "
                    f"function {function}; must be mode {_ALTERNATE}, function "
                    f"{settings['alternate_function']}"
                )
        return None

    return Chip((rcc, *others, *ports), uart_fault=uart_fault)


def stm32f4(context: Context) -> Chip:
    """STM32F405 and STM32F446: RM0090 and RM0390."""
    rcc = Bank(
        "RCC",
        0x40023800,
        0x400,
        span(0x00, 0x94, {0x00: 0x83, 0x04: 0x24003010, 0x70: 0, 0x74: 0x0E000000}),
        computed={
            0x00: follows(
                0x00, (1, 0x00, 0), (17, 0x00, 16), (25, 0x00, 24), (27, 0x00, 26), (29, 0, 28)
            ),
            0x08: _switch(0x08, 2),
            0x70: follows(0x70, (1, 0x70, 0)),
            0x74: follows(0x74, (1, 0x74, 0)),
        },
    )
    pwr = Bank(
        "PWR",
        0x40007000,
        0x400,
        {0x00: 0xC000, 0x04: 0x4000},
        computed={0x04: follows(0x04, (16, 0x00, 16), (17, 0x00, 17))},
    )
    flash = Bank("FLASH", 0x40023C00, 0x400, span(0x00, 0x14, {0x10: 0x80000000}))
    return _chip(context, rcc, (pwr, flash), list(_ports(0x40020000, 9)))


def stm32l4(context: Context) -> Chip:
    """STM32L4R5 and its like: RM0432."""
    rcc = Bank(
        "RCC",
        0x40021000,
        0x400,
        span(0x00, 0x9C, {0x00: 0x63, 0x04: 0x40000000, 0x0C: 0x1000, 0x94: 0x0C000600}),
        computed={
            0x00: follows(
                0x00, (1, 0, 0), (10, 0, 8), (17, 0, 16), (25, 0, 24), (27, 0, 26), (29, 0, 28)
            ),
            0x08: _switch(0x08, 2),
            0x90: follows(0x90, (1, 0x90, 0)),
            0x94: follows(0x94, (1, 0x94, 0)),
            0x98: follows(0x98, (1, 0x98, 0)),
        },
    )
    # SR2.VOSF (bit 10) stays 0: the voltage is there at once
    pwr = Bank("PWR", 0x40007000, 0x400, span(0x00, 0x80, {0x00: 0x200, 0x80: 0x100}))
    flash = Bank("FLASH", 0x40022000, 0x400, span(0x00, 0x50, {0x00: 0x600, 0x14: 0xC0000000}))
    return _chip(context, rcc, (pwr, flash), list(_ports(0x48000000, 9)))


def stm32h7(context: Context) -> Chip:
    """STM32H743: RM0433."""
    reset = {0x00: 0x01, 0x28: 0x02020200, 0x2C: 0x01FF0000}
    reset |= {0x30: 0x01010280, 0x38: 0x01010280, 0x40: 0x01010280}
    rcc = Bank(
        "RCC",
        0x58024400,
        0x400,
        span(0x00, 0x1B0, reset),
        computed={
            0x00: follows(
                0x00,
                (2, 0x00, 0),
                (8, 0x00, 7),
                (13, 0x00, 12),
                (17, 0x00, 16),
                (25, 0x00, 24),
                (27, 0x00, 26),
                (29, 0x00, 28),
            ),
            0x10: _switch(0x10, 3),
            0x70: follows(0x70, (1, 0x70, 0)),
            0x74: follows(0x74, (1, 0x74, 0)),
        },
    )
    pwr = Bank(
        "PWR",
        0x58024800,
        0x400,
        span(0x00, 0x38, {0x00: 0xF000C000, 0x04: 0x4000, 0x0C: 0x06, 0x18: 0x4000}),
        computed={0x04: _always(0x04, 1 << 13), 0x18: _always(0x18, 1 << 13)},  # VOSRDY
    )
    flash = Bank("FLASH", 0x52002000, 0x400, span(0x00, 0x15C, {0x00: 0x37}))
    # Device 0x450, revision Y, which needs the AXI SRAM port's register of the other bank.
    debug = Bank("DBGMCU", 0x5C001000, 0x400, {0x00: 0x10036450})
    axi = Bank("AXI interconnect, target 7", 0x51008000, 0x1000, {0x108: 0})
    return _chip(context, rcc, (pwr, flash, debug, axi), list(_ports(0x58020000, 11)))


def stm32g0(context: Context) -> Chip:
    """STM32G0B1 and its like: RM0444."""
    rcc = Bank(
        "RCC",
        0x40021000,
        0x400,
        span(0x00, 0x60, {0x00: 0x500, 0x0C: 0x1000}),
        computed={
            0x00: follows(0x00, (10, 0x00, 8), (17, 0x00, 16), (25, 0x00, 24)),
            0x08: _switch(0x08, 3),
            0x5C: follows(0x5C, (1, 0x5C, 0)),
            0x60: follows(0x60, (1, 0x60, 0)),
        },
    )
    pwr = Bank("PWR", 0x40007000, 0x400, span(0x00, 0x5C, {0x00: 0x208}))
    flash = Bank("FLASH", 0x40022000, 0x400, span(0x00, 0x50, {0x00: 0x40600}))
    return _chip(context, rcc, (pwr, flash), list(_ports(0x50000000, 6)))
