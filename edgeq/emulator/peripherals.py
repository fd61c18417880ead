"""Banks of registers that remember what is written, with the flags that hardware computes.

A bank answers for all offsets that its `registers` name, at the reset values given there; any
other is an error that ends the run, with the address and the instruction: nothing that is not
modelled reads as zero unsaid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

Registers = dict[int, int]  # offset -> value
Computed = Callable[[Registers], int]
OnWrite = Callable[[Registers, int], None]

_ATOMIC_STEP = 0x1000


class NotModelledError(Exception):
    """An access to a register that the virtual board does not have."""

    def __init__(self, address: int, where: str) -> None:
        super().__init__(f"0x{address:08x} ({where})")
        self.address = address
        self.where = where


class Peripheral(Protocol):
    """A range of addresses that answers reads and writes of 1, 2 or 4 bytes."""

    name: str
    base: int
    nbytes: int

    def read(self, offset: int, nbytes: int) -> int:
        """The bytes at `offset`."""

    def write(self, offset: int, nbytes: int, value: int) -> None:
        """Bytes are written at `offset`."""

    def reset(self) -> None:
        """Back to the state after reset."""


class Timer(Protocol):
    """A peripheral that interrupts the core at a time of its own. Times are core ticks."""

    def next_event(self) -> int | None:
        """When it next wants its interrupt; None: never."""

    def update(self) -> None:
        """Let it reach the present: an interrupt that has become due becomes pending."""


@dataclass(slots=True)
class Bank:
    """A peripheral of plain registers.

    `computed` gives a register's value from the others whenever it is read; `on_write` is
    called after a value has been stored. `atomic`: the RP2040's XOR, SET and CLEAR aliases lie
    0x1000, 0x2000 and 0x3000 above the bank (RP2040 Datasheet).
    """

    name: str
    base: int
    nbytes: int
    registers: Mapping[int, int]  # offset -> value after reset
    computed: Mapping[int, Computed] = field(default_factory=dict)
    on_write: Mapping[int, OnWrite] = field(default_factory=dict)
    atomic: bool = False
    values: Registers = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to the reset values."""
        self.values = dict(self.registers)

    def read(self, offset: int, nbytes: int) -> int:
        """The bytes at `offset`."""
        word = self._word(self._known(offset))
        return word >> 8 * (offset & 3) & ((1 << 8 * nbytes) - 1)

    def write(self, offset: int, nbytes: int, value: int) -> None:
        """Bytes are written at `offset`, the others of the register stay."""
        known = self._known(offset)
        shift = 8 * (offset & 3)
        mask = ((1 << 8 * nbytes) - 1) << shift
        old = self.values[known]
        alias = offset // _ATOMIC_STEP if self.atomic else 0
        if alias:
            value = (old ^ value, old | value, old & ~value)[alias - 1]
        self.values[known] = (old & ~mask | value << shift & mask) & 0xFFFFFFFF
        if known in self.on_write:
            self.on_write[known](self.values, self.values[known])

    def _known(self, offset: int) -> int:
        known = offset & ~3
        if self.atomic:
            known %= _ATOMIC_STEP
        if known not in self.values:
            raise NotModelledError(self.base + offset, self.name)
        return known

    def _word(self, offset: int) -> int:
        compute = self.computed.get(offset)
        return self.values[offset] if compute is None else compute(self.values) & 0xFFFFFFFF


def span(first: int, last: int, reset: Mapping[int, int] | None = None) -> dict[int, int]:
    """Registers at each word from `first` to `last`, zero after reset but for `reset`."""
    return dict.fromkeys(range(first, last + 4, 4), 0) | dict(reset or {})


def follows(own: int, *flags: tuple[int, int, int]) -> Computed:
    """The register at `own`, whose flags follow enable bits: for each (flag bit, offset, enable
    bit) the flag is the enable bit of the register at `offset`; other bits are as stored.
    """

    def compute(registers: Registers) -> int:
        value = registers[own]
        for flag, offset, enable in flags:
            value = value & ~(1 << flag) | (registers[offset] >> enable & 1) << flag
        return value

    return compute
