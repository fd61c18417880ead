"""UART kind "stm32_v1": USART of the STM32F4 (ST RM0090 and RM0390, USART registers)."""

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

SR = 0x00
DR = 0x04
BRR = 0x08
CR1 = 0x0C
GTPR = 0x18
SR_RXNE, SR_TC, SR_TXE = 1 << 5, 1 << 6, 1 << 7
CR1_RE, CR1_TE, CR1_UE = 1 << 2, 1 << 3, 1 << 13


@uart_function
def read(m: Any, offset: int) -> Any:
    """A register's value."""
    control = m.registers[CR1 >> 2]
    if offset == SR:
        status = SR_TXE | SR_TC if tx_ready(m) else 0
        if control & CR1_UE and control & CR1_RE and rx_ready(m):
            status |= SR_RXNE
        return status
    if offset == DR:
        return rx_take(m)
    if BRR <= offset <= GTPR and offset & 3 == 0:
        return m.registers[offset >> 2]
    not_modelled(m, offset)
    return 0


@uart_function
def write(m: Any, offset: int, value: int) -> None:
    """A register is written."""
    control = m.registers[CR1 >> 2]
    if offset == DR:
        if control & CR1_UE and control & CR1_TE and m.registers[BRR >> 2] != 0:
            tx_put(m, value)
    elif BRR <= offset <= GTPR and offset & 3 == 0:
        m.registers[offset >> 2] = value
    elif offset != SR:
        not_modelled(m, offset)
