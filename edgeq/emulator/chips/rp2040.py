"""The RP2040: resets, clocks, oscillators, PLLs, pins, XIP, and what its boot ROM does.

Sources: pico-sdk, hardware_regs; RP2040 Datasheet, build 2023-06-14. One core; PIO, DMA,
USB and the SIO's divider and spinlocks are not modelled.
"""

from __future__ import annotations

import struct

from edgeq.emulator.chips import Chip, Context
from edgeq.emulator.machine import Machine
from edgeq.emulator.peripherals import Bank, Computed, Registers, span
from edgeq.errors import EmulatorError

_ALIASED = 0x4000  # a peripheral with its XOR, SET and CLEAR aliases
_RESETS = 0x01FFFFFF  # all peripherals
_RESET_UART0 = 1 << 22
_XOSC_ENABLE = 0xFAB
_BOOT2_NBYTES = 256
_BOOT2_ADDRESS = 0x20041F00  # where the boot ROM puts the second stage
_BOOT_STACK = 0x20042000
_UART_FUNCTION = 2


def _bank(
    name: str, base: int, registers: Registers, computed: dict[int, Computed] | None = None
) -> Bank:
    return Bank(name, base, _ALIASED, registers, computed=computed or {}, atomic=True)


def _selected(control: int, mask: int) -> Computed:
    """One bit for the source that a multiplexer has switched to."""
    return lambda registers: 1 << (registers[control] & mask)


def _pll(name: str, base: int) -> Bank:
    def status(registers: Registers) -> int:
        powered = not registers[0x04] & 0x21  # PD and VCOPD clear
        return registers[0x00] & ~(1 << 31) | powered << 31

    registers = span(0x00, 0x0C, {0x00: 0x01, 0x04: 0x2D, 0x0C: 0x00077000})
    return _bank(name, base, registers, {0x00: status})


def rp2040(context: Context) -> Chip:
    """The chip of the Raspberry Pi Pico."""

    def oscillator(registers: Registers) -> int:
        return (registers[0x00] >> 12 == _XOSC_ENABLE) * 0x80001000

    resets = _bank(
        "RESETS",
        0x4000C000,
        span(0x00, 0x08, {0x00: _RESETS}),
        {0x08: lambda registers: ~registers[0x00] & _RESETS},
    )
    clocks = _bank(
        "CLOCKS",
        0x40008000,
        span(0x00, 0xC4),
        {0x38: _selected(0x30, 3), 0x44: _selected(0x3C, 1)},
    )
    pins = _bank("IO_BANK0", 0x40014000, span(0x000, 0x18C))
    others = (
        _bank("SYSINFO", 0x40000000, {0x00: 0x20002927, 0x04: 2, 0x40: 0}),
        _bank("PSM", 0x40010000, span(0x00, 0x0C, {0x0C: 0x1FFFF})),
        _bank("PADS_BANK0", 0x4001C000, span(0x00, 0x80)),
        _bank("XOSC", 0x40024000, span(0x00, 0x1C), {0x04: oscillator}),
        _pll("PLL_SYS", 0x40028000),
        _pll("PLL_USB", 0x4002C000),
        _bank("WATCHDOG", 0x40058000, span(0x00, 0x2C)),
        _bank("ROSC", 0x40060000, span(0x00, 0x20), {0x18: lambda registers: 0x80001000}),
        _bank("VREG_AND_CHIP_RESET", 0x40064000, span(0x00, 0x08, {0x00: 0x10B1})),
        _bank("XIP_CTRL", 0x14000000, span(0x00, 0x1C, {0x00: 3}), {0x08: lambda registers: 3}),
        Bank("XIP_SSI", 0x18000000, 0x1000, span(0x00, 0xFC)),
        Bank("SIO", 0xD0000000, 0x1000, span(0x00, 0x4C)),
    )

    def uart_fault() -> str | None:
        if resets.values[0x00] & _RESET_UART0:
            return "UART0 is used but RESETS holds it in reset"
        if not clocks.values[0x48] >> 11 & 1:
            return "UART0 is used but clk_peri is not enabled"
        for pin in (0, 1):
            if pins.values[0x04 + 8 * pin] & 0x1F != _UART_FUNCTION:
                return f"UART0 is used but GPIO{pin} does not have function {_UART_FUNCTION}"
        return None

    return Chip(
        (resets, clocks, pins, *others),
        uart_nbytes=_ALIASED,
        boot=_boot,
        uart_fault=uart_fault,
    )


def _boot(machine: Machine, flash: int) -> None:
    """The boot ROM: check the second stage at the flash's start, copy it to SRAM, run it."""
    second_stage = bytes(machine.uc.mem_read(flash, _BOOT2_NBYTES))
    *_, stored = struct.unpack("<64I", second_stage)
    found = _crc32(second_stage[:-4])
    if stored != found:
        raise EmulatorError(
            f"RP2040: the second boot stage at 0x{flash:08x} has the check sum 0x{stored:08x}, "
            f"must be 0x{found:08x}; the boot ROM would not start this image"
        )
    machine.uc.mem_write(_BOOT2_ADDRESS, second_stage)
    machine.start_at(sp=_BOOT_STACK, pc=_BOOT2_ADDRESS, lr=0)


def _crc32(data: bytes) -> int:
    """Polynomial 0x04c11db7, top bit first, not inverted at the end."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc >> 31 else 0)
            crc &= 0xFFFFFFFF
    return crc
