"""UARTs of the virtual board, one file a kind; KINDS is the table. A kind is named as in the
board files, and its C driver has the same name in firmware_gen/runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeq.emulator.uarts import cmsdk, nrf, pl011, stm32_v1, stm32_v2


@dataclass(frozen=True, slots=True)
class UartModel:
    """Compiled functions of one UART kind, and the bytes of address space it answers in."""

    read: Any  # (machine, offset) -> value
    write: Any  # (machine, offset, value)
    nbytes: int


KINDS = {
    "cmsdk": UartModel(cmsdk.read, cmsdk.write, 0x1000),
    "stm32_v1": UartModel(stm32_v1.read, stm32_v1.write, 0x400),
    "stm32_v2": UartModel(stm32_v2.read, stm32_v2.write, 0x400),
    "pl011": UartModel(pl011.read, pl011.write, 0x1000),
    "nrf": UartModel(nrf.read, nrf.write, 0x1000),
}
