"""The LM3S6965: system control and port A (Texas Instruments LM3S6965 data sheet; the
vendor's driverlib).
"""

from __future__ import annotations

from edgeq.emulator.chips import Chip, Context
from edgeq.emulator.peripherals import Bank, Registers, span

_DID0, _LDOPCTL = 0x000, 0x034
_RIS, _RCC, _RCGC1, _RCGC2 = 0x050, 0x060, 0x104, 0x108
_LDO_2_75_V = 0x1B
_PLL_LOCKED, _PLL_POWER_DOWN = 1 << 6, 1 << 13
_AFSEL, _DEN = 0x420, 0x51C
_UART0_PINS = 3


def lm3s(context: Context) -> Chip:
    """System control, whose PLL locks as soon as it has power, and GPIO port A."""

    def raw_interrupts(registers: Registers) -> int:
        powered = not registers[_RCC] & _PLL_POWER_DOWN and registers[_LDOPCTL] == _LDO_2_75_V
        return registers[_RIS] & ~_PLL_LOCKED | (_PLL_LOCKED if powered else 0)

    # DID0: a Fury class chip of revision A2, whose PLL needs the LDO at 2.75 V.
    registers = span(0x000, 0x01C, {_DID0: 0x10010002})
    registers |= span(0x030, 0x070, {_RCC: 0x078E3AD1, 0x070: 0x07802810})
    registers |= span(0x100, 0x128) | span(0x144, 0x150)
    control = Bank(
        "system control", 0x400FE000, 0x1000, registers, computed={_RIS: raw_interrupts}
    )
    port = Bank("GPIOA", 0x40004000, 0x1000, span(0x000, 0x420) | span(0x500, 0x524))

    def uart_fault() -> str | None:
        if not control.values[_RCGC1] & 1 or not control.values[_RCGC2] & 1:
            return "UART0 is used but RCGC1 or RCGC2 does not clock it and its port"
        for name, offset in (("AFSEL", _AFSEL), ("DEN", _DEN)):
            if port.values[offset] & _UART0_PINS != _UART0_PINS:
                return f"UART0 is used but {name} of port A lacks pins 0 and 1"
        return None

    return Chip((control, port), uart_fault=uart_fault)
