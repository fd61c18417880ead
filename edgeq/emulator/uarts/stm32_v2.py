"""UART kind "stm32_v2": USART and LPUART of the STM32L4, H7 and G0 (ST RM0432, RM0433 and
RM0444, USART registers).
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

CR1 = 0x00
BRR = 0x0C
RTOR = 0x14
RQR = 0x18
ISR = 0x1C
ICR = 0x20
RDR = 0x24
TDR = 0x28
PRESC = 0x2C
CR1_UE, CR1_RE, CR1_TE = 1 << 0, 1 << 2, 1 << 3
ISR_RXNE, ISR_TC, ISR_TXE, ISR_TEACK, ISR_REACK = 1 << 5, 1 << 6, 1 << 7, 1 << 21, 1 << 22


@uart_function
def read(m: Any, offset: int) -> Any:
    """A register's value."""
    control = m.registers[CR1 >> 2]
    if offset == ISR:
        status = ISR_TXE | ISR_TC if tx_ready(m) else 0
        if control & CR1_UE and control & CR1_TE:
            status |= ISR_TEACK
        if control & CR1_UE and control & CR1_RE:
            status |= ISR_REACK
            if rx_ready(m):
                status |= ISR_RXNE
        return status
    if offset == RDR:
        return rx_take(m)
    if (offset <= RTOR or offset in (TDR, PRESC)) and offset & 3 == 0:
        return m.registers[offset >> 2]
    if offset in (RQR, ICR):
        return 0
    not_modelled(m, offset)
    return 0


@uart_function
def write(m: Any, offset: int, value: int) -> None:
    """A register is written."""
    control = m.registers[CR1 >> 2]
    if offset == TDR:
        m.registers[TDR >> 2] = value & 0x1FF
        if control & CR1_UE and control & CR1_TE and m.registers[BRR >> 2] != 0:
            tx_put(m, value)
    elif (offset <= RTOR or offset == PRESC) and offset & 3 == 0:
        m.registers[offset >> 2] = value
    elif offset != RQR and offset != ICR:
        not_modelled(m, offset)
