"""The nRF51822 and nRF52840: CLOCK and POWER, GPIO, NVMC, FICR, UICR, and the timers.

Sources: Nordic's nrf51.svd and nrf52840.svd; nRF51 Series Reference Manual v3.0; nRF52840
Product Specification v1.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeq.emulator.chips import Chip, Context
from edgeq.emulator.peripherals import Bank, NotModelledError, OnWrite, Registers, span
from edgeq.emulator.system_control import FIRST_IRQ

_TIMER_HZ = 16_000_000
_START, _STOP, _COUNT, _CLEAR, _SHUTDOWN = 0x000, 0x004, 0x008, 0x00C, 0x010
_CAPTURE, _COMPARE, _CC = 0x040, 0x140, 0x540
_SHORTS, _INTENSET, _INTENCLR = 0x200, 0x304, 0x308
_MODE, _BITMODE, _PRESCALER = 0x504, 0x508, 0x510
_BITS = (16, 8, 24, 32)  # by BITMODE


@dataclass(slots=True)
class NrfTimer:
    """A TIMER in timer mode: nRF51 Series Reference Manual, TIMER.

    Compare shortcuts work; counter mode does not count.
    """

    name: str
    base: int
    irq: int
    channels: int
    context: Context
    nbytes: int = 0x1000
    _events: dict[int, int] = field(default_factory=dict)  # channel -> EVENTS_COMPARE
    _compare: dict[int, int] = field(default_factory=dict)  # channel -> CC
    _plain: Registers = field(default_factory=dict)
    _running: bool = False
    _count: int = 0  # at `_since`, not wrapped
    _since: int = 0  # in timer clocks

    def reset(self) -> None:
        """Stopped, all registers as after reset."""
        self._events = dict.fromkeys(range(self.channels), 0)
        self._compare = dict.fromkeys(range(self.channels), 0)
        self._plain = {_SHORTS: 0, _INTENSET: 0, _MODE: 0, _BITMODE: 0, _PRESCALER: 4}
        self._running = False
        self._count = 0
        self._since = self._clock()

    def _clock(self) -> int:
        """Time in timer clocks."""
        core_hz = self.context.board.clock.core_hz
        return self.context.now() * _TIMER_HZ // core_hz >> self._plain[_PRESCALER]

    def _bits(self) -> int:
        return _BITS[self._plain[_BITMODE] & 3]

    def _span(self) -> int:
        return 1 << self._bits()

    def update(self) -> None:
        """Set the events of the compare values that the count has passed."""
        if not self._running:
            return
        clock = self._clock()
        before, self._count = self._count, self._count + clock - self._since
        self._since = clock
        for channel, compare in self._compare.items():
            if self._count - compare >> self._bits() != before - compare >> self._bits():
                self._events[channel] = 1
                if self._plain[_SHORTS] >> channel & 1:
                    self._count = (self._count - compare) % self._span()
                if self._plain[_SHORTS] >> 8 + channel & 1:
                    self._running = False
        if self._interrupts():
            self.context.set_pending(FIRST_IRQ + self.irq)

    def _interrupts(self) -> bool:
        enabled = self._plain[_INTENSET] >> 16
        return any(event and enabled >> channel & 1 for channel, event in self._events.items())

    def next_event(self) -> int | None:
        """When the next enabled compare is reached, in core ticks."""
        if not self._running:
            return None
        enabled = self._plain[_INTENSET] >> 16
        waits = [
            (compare - self._count - 1) % self._span() + 1
            for channel, compare in self._compare.items()
            if enabled >> channel & 1 and not self._events[channel]
        ]
        if not waits:
            return None
        clock = self._since + min(waits) << self._plain[_PRESCALER]
        return -(-clock * self.context.board.clock.core_hz // _TIMER_HZ)

    def read(self, offset: int, nbytes: int) -> int:
        """A register; tasks read as 0."""
        self.update()
        channel = (offset & 0x3F) // 4
        if channel < self.channels:
            if offset & ~0x3F == _COMPARE:
                return self._events[channel]
            if offset & ~0x3F == _CC:
                return self._compare[channel]
            if offset & ~0x3F == _CAPTURE:
                return 0
        if offset == _INTENCLR:
            offset = _INTENSET
        if offset in self._plain:
            return self._plain[offset]
        if offset <= _SHUTDOWN:
            return 0
        raise NotModelledError(self.base + offset, self.name)

    def write(self, offset: int, nbytes: int, value: int) -> None:
        """A register is written, or a task triggered."""
        self.update()
        self.context.changed()
        channel = (offset & 0x3F) // 4
        group = offset & ~0x3F if channel < self.channels else -1
        if offset <= _SHUTDOWN:
            self._task(offset, value)
        elif group == _CAPTURE:
            if value & 1:
                self._compare[channel] = self._count % self._span()
        elif group == _COMPARE:
            self._events[channel] = value & 1
        elif group == _CC:
            self._compare[channel] = value % self._span()
        elif offset == _INTENSET:
            self._plain[_INTENSET] |= value
        elif offset == _INTENCLR:
            self._plain[_INTENSET] &= ~value
        elif offset in self._plain:
            self._plain[offset] = value
            self._since = self._clock()
        else:
            raise NotModelledError(self.base + offset, self.name)

    def _task(self, offset: int, value: int) -> None:
        if not value & 1:
            return
        if offset == _START:
            self._running = self._plain[_MODE] == 0
            self._since = self._clock()
        elif offset in (_STOP, _SHUTDOWN):
            self._running = False
        elif offset == _CLEAR:
            self._count = 0


def _clock_bank() -> Bank:
    """CLOCK, POWER and MPU share 0x40000000."""

    def high(registers: Registers, value: int) -> None:
        if value & 1:
            registers.update({0x100: 1, 0x408: 1, 0x40C: 0x00010001})

    def low(registers: Registers, value: int) -> None:
        if value & 1:
            source = registers[0x518] & 3
            registers.update({0x104: 1, 0x414: 1, 0x418: 0x00010000 | source})

    def stop_high(registers: Registers, value: int) -> None:
        registers.update({0x408: 0, 0x40C: 0x00010000})

    def stop_low(registers: Registers, value: int) -> None:
        registers.update({0x414: 0, 0x418: 0})

    names = span(0x000, 0x01C) | span(0x078, 0x07C) | span(0x100, 0x124) | span(0x300, 0x308)
    names |= span(0x400, 0x42C) | span(0x438, 0x440) | span(0x500, 0x5FC)
    return Bank(
        "CLOCK and POWER",
        0x40000000,
        0x1000,
        names,
        on_write={0x000: high, 0x004: stop_high, 0x008: low, 0x00C: stop_low},
    )


def _gpio_bank(ports: int) -> Bank:
    """GPIO ports P0 and P1, 0x300 apart; all inputs low."""
    registers: Registers = {}
    on_write: dict[int, OnWrite] = {}
    for port in range(ports):
        first = 0x300 * port
        registers |= span(first + 0x504, first + 0x524) | span(first + 0x700, first + 0x77C)
        for plain in (first + 0x504, first + 0x514):  # OUT and DIR, with SET and CLR after them
            on_write[plain + 4] = _change(plain, set_bits=True)
            on_write[plain + 8] = _change(plain, set_bits=False)
    return Bank("GPIO", 0x50000000, 0x1000, registers, on_write=on_write)


def _change(plain: int, *, set_bits: bool) -> OnWrite:
    """Write ones to set or clear bits of `plain`; SET and CLR read as the register itself."""

    def change(registers: Registers, value: int) -> None:
        old = registers[plain]
        new = old | value if set_bits else old & ~value
        offsets = (plain, plain + 4, plain + 8)
        registers.update(dict.fromkeys(offsets, new))

    return change


def _timers(context: Context, count: int, channels: int) -> tuple[NrfTimer, ...]:
    timers = tuple(
        NrfTimer(f"TIMER{i}", 0x40008000 + 0x1000 * i, 8 + i, channels, context)
        for i in range(count)
    )
    for timer in timers:
        timer.reset()
    return timers


def nrf51(context: Context) -> Chip:
    """nRF51822: TIMER0 to TIMER2 with four compare registers each."""
    timers = _timers(context, 3, 4)
    nvmc = Bank("NVMC", 0x4001E000, 0x1000, span(0x400, 0x514, {0x400: 1}))
    ficr = Bank("FICR", 0x10000000, 0x1000, span(0x000, 0x0FC, {0x010: 1024, 0x014: 256}))
    uicr = Bank("UICR", 0x10001000, 0x1000, _erased(0x000, 0x0FC))
    return Chip((_clock_bank(), _gpio_bank(1), nvmc, ficr, uicr, *timers), timers)


def nrf52(context: Context) -> Chip:
    """nRF52840: TIMER0 to TIMER2 with four compare registers each."""
    timers = _timers(context, 3, 4)
    nvmc = Bank("NVMC", 0x4001E000, 0x1000, span(0x400, 0x54C, {0x400: 1, 0x408: 1}))
    ficr = Bank("FICR", 0x10000000, 0x1000, span(0x000, 0x3FC, {0x010: 4096, 0x014: 256}))
    uicr = Bank("UICR", 0x10001000, 0x1000, _erased(0x000, 0x3FC))
    return Chip((_clock_bank(), _gpio_bank(2), nvmc, ficr, uicr, *timers), timers)


def _erased(first: int, last: int) -> Registers:
    return dict.fromkeys(span(first, last), 0xFFFFFFFF)
