"""UART kind "cmsdk": APB UART of the Cortex-M System Design Kit (Arm DDI0479D, section 4.3)."""

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

DATA = 0x00
STATE = 0x04  # TX full, RX full, TX overrun, RX overrun
CTRL = 0x08  # TX enable, RX enable, interrupts
INTSTATUS = 0x0C
BAUDDIV = 0x10


@uart_function
def read(m: Any, offset: int) -> Any:
    """A register's value."""
    if offset == DATA:
        return rx_take(m)
    if offset == STATE:
        state = 0 if tx_ready(m) else 1
        if m.registers[CTRL >> 2] & 2 and rx_ready(m):
            state |= 2
        return state
    if offset in (CTRL, BAUDDIV):
        return m.registers[offset >> 2]
    if offset == INTSTATUS:
        return 0
    not_modelled(m, offset)
    return 0


@uart_function
def write(m: Any, offset: int, value: int) -> None:
    """A register is written."""
    if offset == DATA:
        if m.registers[CTRL >> 2] & 1:
            tx_put(m, value)
    elif offset in (CTRL, BAUDDIV):
        m.registers[offset >> 2] = value
    elif offset != STATE and offset != INTSTATUS:
        not_modelled(m, offset)
