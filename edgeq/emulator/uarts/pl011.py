"""UART kind "pl011": PrimeCell UART (Arm DDI0183G, section 3.3) of the LM3S6965 and RP2040."""

from __future__ import annotations

from typing import Any

from edgeq.emulator.native import (
    not_modelled,
    rx_ready,
    rx_take,
    tx_put,
    tx_ready,
    uart_function,
)

DR = 0x00
RSR = 0x04
FR = 0x18
ILPR = 0x20
IBRD = 0x24
CR = 0x30
DMACR = 0x48
RIS = 0x3C
MIS = 0x40
ICR = 0x44
FR_RXFE, FR_TXFF, FR_RXFF, FR_TXFE = 1 << 4, 1 << 5, 1 << 6, 1 << 7
CR_UARTEN, CR_TXE, CR_RXE = 1 << 0, 1 << 8, 1 << 9
CR_RESET = CR_TXE | CR_RXE
ATOMIC = 0x3000  # the RP2040's XOR, SET and CLEAR aliases (RP2040 Datasheet, section 2.1.2)


@uart_function
def _enabled(m: Any, direction: int) -> Any:
    control = m.registers[CR >> 2] ^ CR_RESET
    return control & CR_UARTEN != 0 and control & direction != 0


@uart_function
def read(m: Any, offset: int) -> Any:
    """A register's value."""
    offset &= ~ATOMIC
    if offset == FR:
        flags = FR_TXFE if tx_ready(m) else FR_TXFF
        if not (_enabled(m, CR_RXE) and rx_ready(m)):
            flags |= FR_RXFE
        return flags
    if offset == DR:
        return rx_take(m)
    if offset in (RSR, RIS, MIS):
        return 0
    if ILPR <= offset <= DMACR and offset & 3 == 0:
        # CR is kept exclusive-ored with its reset value, so that zero means reset
        return m.registers[offset >> 2] ^ (CR_RESET if offset == CR else 0)
    not_modelled(m, offset)
    return 0


@uart_function
def write(m: Any, offset: int, value: int) -> None:
    """A register is written, or the RP2040's alias of one."""
    alias = offset & ATOMIC
    offset &= ~ATOMIC
    if offset == DR:
        if _enabled(m, CR_TXE):
            tx_put(m, value)
    elif ILPR <= offset <= DMACR and offset & 3 == 0 and offset != RIS and offset != MIS:
        reset = CR_RESET if offset == CR else 0
        if alias != 0:
            old = m.registers[offset >> 2] ^ reset
            if alias == 0x1000:
                value = old ^ value
            elif alias == 0x2000:
                value = old | value
            else:
                value = old & ~value
        m.registers[offset >> 2] = value ^ reset
    elif offset != RSR:
        not_modelled(m, offset)
