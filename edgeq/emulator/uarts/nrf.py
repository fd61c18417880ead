"""UART kind "nrf": UART without DMA of the nRF51 and nRF52 (nRF51 Series Reference Manual
v3.0, chapter 29; nRF52840 Product Specification v1.1, section 6.33).
"""

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

STARTRX, STOPRX, STARTTX, STOPTX, SUSPEND = 0x000, 0x004, 0x008, 0x00C, 0x01C
RXDRDY, TXDRDY = 0x108, 0x11C
INTENSET, INTENCLR = 0x304, 0x308
ERRORSRC = 0x480
ENABLE = 0x500
PSELRTS, PSELRXD = 0x508, 0x514
RXD, TXD = 0x518, 0x51C
BAUDRATE, CONFIG = 0x524, 0x56C
EVENTS_FIRST, EVENTS_LAST = 0x100, 0x144
ENABLED = 4
# Registers of the model's own, in words that the hardware does not use.
RX_ON, TX_ON = 0x800 >> 2, 0x804 >> 2


@uart_function
def read(m: Any, offset: int) -> Any:
    """A register's value."""
    if offset == RXDRDY:
        # The event comes with a byte and stays until it is cleared; cleared with a byte
        # waiting, it comes again, as bytes come from the FIFO one at a time.
        if m.registers[RX_ON] != 0 and m.registers[ENABLE >> 2] == ENABLED and rx_ready(m):
            m.registers[RXDRDY >> 2] = 1
        return m.registers[RXDRDY >> 2]
    if offset == TXDRDY:
        return m.registers[TXDRDY >> 2] if tx_ready(m) else 0
    if offset == RXD:
        return rx_take(m)
    if offset == ERRORSRC:
        return 0
    plain = ENABLE <= offset <= CONFIG or EVENTS_FIRST <= offset <= EVENTS_LAST
    if (plain or offset in (INTENSET, INTENCLR)) and offset & 3 == 0:
        return m.registers[offset >> 2]
    not_modelled(m, offset)
    return 0


@uart_function
def write(m: Any, offset: int, value: int) -> None:
    """A register is written."""
    if offset == TXD:
        if m.registers[TX_ON] != 0 and m.registers[ENABLE >> 2] == ENABLED:
            tx_put(m, value)
            m.registers[TXDRDY >> 2] = 1
    elif offset in (STARTRX, STOPRX):
        m.registers[RX_ON] = 1 if offset == STARTRX else 0
    elif offset in (STARTTX, STOPTX):
        m.registers[TX_ON] = 1 if offset == STARTTX else 0
    elif offset == SUSPEND:
        m.registers[RX_ON] = 0
        m.registers[TX_ON] = 0
    elif offset == INTENSET:
        m.registers[INTENSET >> 2] |= value
    elif offset == INTENCLR:
        m.registers[INTENSET >> 2] &= ~value
    elif (
        ENABLE <= offset <= CONFIG or EVENTS_FIRST <= offset <= EVENTS_LAST
    ) and offset & 3 == 0:
        m.registers[offset >> 2] = value
    elif offset != ERRORSRC:
        not_modelled(m, offset)
