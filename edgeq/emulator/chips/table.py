"""Which chip model stands for which microcontroller, by how its name begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgeq.emulator.chips import Chip, Context, lm3s, nrf, rp2040, stm32

CHIPS: Mapping[str, Callable[[Context], Chip]] = MappingProxyType(
    {
        "STM32F4": stm32.stm32f4,
        "STM32L4": stm32.stm32l4,
        "STM32H7": stm32.stm32h7,
        "STM32G0": stm32.stm32g0,
        "NRF51": nrf.nrf51,
        "NRF52": nrf.nrf52,
        "RP2040": rp2040.rp2040,
        "LM3S": lm3s.lm3s,
    }
)


def chip_of(context: Context) -> Chip:
    """The chip of a board: the entry that its `mcu` begins with; only core and UART if none."""
    for prefix, build in CHIPS.items():
        if context.board.mcu.upper().startswith(prefix):
            return build(context)
    return Chip()
