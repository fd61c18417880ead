"""System control space of the virtual board: SysTick, NVIC, system control block, DWT.

Registers: Arm DDI0403E (ARMv7-M), section B3.2 to B3.4; DDI0419E (ARMv6-M) and DDI0553B
(ARMv8-M) where they differ. Time is counted in executed instructions: one instruction is one
tick of the core clock, whichever clock source SysTick is told to take. Priorities have 2 bits
on ARMv6-M and 4 on the others; grouping (AIRCR.PRIGROUP) is ignored: each level preempts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgeq.emulator.peripherals import NotModelledError

BASE = 0xE000E000
NBYTES = 0x1000
SVC, PENDSV, SYSTICK, FIRST_IRQ = 11, 14, 15, 16
IRQ_COUNT = 240
_LOWEST = 256  # below every priority: thread mode

# Part numbers in CPUID (each core's Technical Reference Manual)
_CPUID = {
    "cortex-m0": 0x410CC200,
    "cortex-m0plus": 0x410CC601,
    "cortex-m3": 0x412FC231,
    "cortex-m4": 0x410FC241,
    "cortex-m7": 0x411FC272,
    "cortex-m33": 0x410FD213,
}
_ICSR, _VTOR, _AIRCR, _SHPR1, _SHPR3, _CPACR = 0xD04, 0xD08, 0xD0C, 0xD18, 0xD20, 0xD88
_DEMCR = 0xDFC
_AIRCR_KEY, _SYSRESETREQ = 0x05FA, 1 << 2
_PENDSTCLR, _PENDSTSET, _PENDSVCLR, _PENDSVSET = 1 << 25, 1 << 26, 1 << 27, 1 << 28
# Remembered: ACTLR, SCR, CCR, SHCSR, CFSR, HFSR, DFSR, MMFAR, BFAR, AFSR, CSSELR, CPACR, DEMCR,
# FPCCR, FPCAR, FPDSCR
_PLAIN = frozenset(
    {0x008, 0xD10, 0xD14, 0xD24, 0xD28, 0xD2C, 0xD30, 0xD34, 0xD38, 0xD3C, 0xD84, _CPACR}
    | {_DEMCR, 0xF34, 0xF38, 0xF3C}
)
_WRITE_ONE_CLEARS = frozenset({0xD28, 0xD2C, 0xD30})
# Identification (0xD40-0xD7C), CCSIDR, MPU_TYPE (no regions), MVFR0-2, ICTR: read as zero
_ZERO = frozenset({*range(0xD40, 0xD84, 4), 0xD90, 0xF40, 0xF44, 0xF48, 0x004, 0x01C})
_CACHE_MAINTENANCE = range(0xF50, 0xF7C, 4)  # Cortex-M7; the model has no caches


@dataclass(slots=True)
class SysTick:
    """The 24-bit down counter. Times are the core's, in ticks."""

    control: int = 0
    reload: int = 0
    counted: bool = False  # COUNTFLAG
    value: int = 0  # while disabled
    next_zero: int = 0  # while enabled: when it next reaches 0
    zero_at: int = -1  # when it last was 0

    def update(self, now: int) -> bool:
        """Go on to `now`; whether the counter came to 0 on the way and wants its interrupt."""
        if not self.control & 1 or now < self.next_zero:
            return False
        period = self.reload + 1
        zeros = (now - self.next_zero) // period
        self.zero_at = self.next_zero + zeros * period
        self.next_zero = self.zero_at + period
        if self.reload == 0:  # a reload of 0 stops the counter (section B3.3.4)
            self.next_zero = 1 << 62
        self.counted = True
        return bool(self.control & 2)

    def current(self, now: int) -> int:
        """SYST_CVR."""
        if not self.control & 1:
            return self.value
        return 0 if now == self.zero_at else min(self.next_zero - now, 0xFFFFFF)

    def set_control(self, now: int, control: int) -> None:
        """SYST_CSR is written."""
        if self.control & 1 and not control & 1:
            self.value = self.current(now)
        if control & 1 and not self.control & 1:
            self._start(now, self.value)
        self.control = control & 7

    def clear(self, now: int) -> None:
        """SYST_CVR is written: the counter is 0, without an interrupt."""
        self.value = 0
        self.counted = False
        if self.control & 1:
            self._start(now, 0)

    def _start(self, now: int, value: int) -> None:
        self.next_zero = now + value if value else now + self.reload + 1
        self.zero_at = now if value == 0 else -1
        if value == 0 and self.reload == 0:
            self.next_zero = 1 << 62


@dataclass(slots=True)
class SystemControl:
    """Registers and exception state of one core.

    `now` tells the time in ticks; `changed` is called when an exception may have become due.
    """

    core: str
    now: Callable[[], int]
    changed: Callable[[], None]
    vtor: int = 0
    systick: SysTick = field(default_factory=SysTick)
    pending: set[int] = field(default_factory=set)  # exception numbers
    enabled: set[int] = field(default_factory=set)  # exception numbers of enabled interrupts
    active: list[int] = field(default_factory=list)  # the last is the one that runs
    reset_wanted: bool = False
    _registers: dict[int, int] = field(default_factory=dict)
    _priorities: dict[int, int] = field(default_factory=dict)  # by exception number

    def reset(self) -> None:
        """Back to the state after reset; `vtor` stays."""
        self.systick = SysTick()
        for state in (self.pending, self.enabled, self.active, self._registers):
            state.clear()
        self._priorities.clear()
        self.reset_wanted = False

    @property
    def is_traced(self) -> bool:
        """DEMCR.TRCENA."""
        return bool(self._registers.get(_DEMCR, 0) >> 24 & 1)

    def update(self) -> None:
        """Let SysTick reach the present."""
        if self.systick.update(self.now()):
            self.pending.add(SYSTICK)

    def next_event(self) -> int | None:
        """When SysTick next wants its interrupt; None: never."""
        due = self.systick.next_zero
        return due if self.systick.control & 3 == 3 and due < 1 << 62 else None

    def due(self, primask: int, basepri: int, faultmask: int) -> int | None:
        """The exception that is to be taken now, if any."""
        ready = [n for n in self.pending if n < FIRST_IRQ or n in self.enabled]
        if not ready:
            return None
        number = min(ready, key=lambda n: (self._priority(n), n))
        level = min((self._priority(n) for n in self.active), default=_LOWEST)
        if primask & 1:
            level = min(level, 0)
        if basepri:
            level = min(level, basepri)
        if faultmask & 1:
            level = -1
        return number if self._priority(number) < level else None

    def wakes(self) -> bool:
        """Whether WFI ends: an enabled exception is pending, masked or not."""
        return any(n < FIRST_IRQ or n in self.enabled for n in self.pending)

    def _priority(self, number: int) -> int:
        mask = 0xC0 if self.core.startswith("cortex-m0") else 0xF0
        return self._priorities.get(number, 0) & mask

    def read(self, offset: int, nbytes: int) -> int:
        """A register, or the bytes of one."""
        word = self._read_word(offset & ~3)
        return word >> 8 * (offset & 3) & ((1 << 8 * nbytes) - 1)

    def write(self, offset: int, nbytes: int, value: int) -> None:
        """A register is written; a part of one only where that is allowed."""
        aligned = offset & ~3
        if nbytes < 4:
            shift = 8 * (offset & 3)
            mask = ((1 << 8 * nbytes) - 1) << shift
            old = 0 if aligned in _WRITE_ONE_CLEARS else self._read_word(aligned) & ~mask
            value = old | value << shift
        self._write_word(aligned, value)

    def _read_word(self, offset: int) -> int:
        self.update()
        if 0x010 <= offset <= 0x018:
            return self._read_systick(offset)
        if offset in _PLAIN:
            return self._registers.get(offset, 0x200 if offset == 0xD14 else 0)
        if offset in _ZERO:
            return 0
        if 0x100 <= offset < 0x400:
            if offset & 0x7F >= IRQ_COUNT // 8:
                return 0
            which = self.active if offset >= 0x300 else self.pending
            return _word_of(self.enabled if offset < 0x200 else which, offset & 0x7F)
        if 0x400 <= offset < 0x400 + IRQ_COUNT:
            return self._priority_word(FIRST_IRQ + offset - 0x400)
        if _SHPR1 <= offset <= _SHPR3:
            return self._priority_word(4 + offset - _SHPR1)
        if offset == 0xD00:
            return _CPUID.get(self.core, 0)
        if offset == _ICSR:
            return self._read_icsr()
        if offset == _VTOR:
            return self.vtor
        if offset == _AIRCR:
            return 0xFA050000
        raise NotModelledError(BASE + offset, "system control space")

    def _read_systick(self, offset: int) -> int:
        if offset == 0x010:
            counted = self.systick.counted
            self.systick.counted = False
            return self.systick.control | counted << 16
        return self.systick.reload if offset == 0x014 else self.systick.current(self.now())

    def _read_icsr(self) -> int:
        vector = self.active[-1] if self.active else 0
        highest = min(self.pending, key=lambda n: (self._priority(n), n), default=0)
        icsr = vector | highest << 12
        icsr |= _PENDSTSET if SYSTICK in self.pending else 0
        return icsr | (_PENDSVSET if PENDSV in self.pending else 0)

    def _write_word(self, offset: int, value: int) -> None:
        self.update()
        self.changed()
        if offset == 0x010:
            self.systick.set_control(self.now(), value)
        elif offset == 0x014:
            self.systick.reload = value & 0xFFFFFF
        elif offset == 0x018:
            self.systick.clear(self.now())
        elif offset in _WRITE_ONE_CLEARS:
            self._registers[offset] = self._registers.get(offset, 0) & ~value
        elif offset in _PLAIN:
            self._registers[offset] = value
        elif 0x100 <= offset < 0x300:
            numbers = _numbers_of(offset & 0x7F, value)
            which = self.enabled if offset < 0x200 else self.pending
            if offset & 0x80:
                which -= numbers
            else:
                which |= numbers
        elif 0x400 <= offset < 0x400 + IRQ_COUNT:
            self._set_priorities(FIRST_IRQ + offset - 0x400, value)
        elif _SHPR1 <= offset <= _SHPR3:
            self._set_priorities(4 + offset - _SHPR1, value)
        elif offset == _ICSR:
            self._write_icsr(value)
        elif offset == _VTOR:
            if self.core != "cortex-m0":  # which has none: writes are ignored
                self.vtor = value & ~0x7F
        elif offset == _AIRCR:
            if value >> 16 == _AIRCR_KEY and value & _SYSRESETREQ:
                self.reset_wanted = True
        elif offset not in _CACHE_MAINTENANCE and offset not in _ZERO:
            raise NotModelledError(BASE + offset, "system control space")

    def _write_icsr(self, value: int) -> None:
        for bit, number in ((_PENDSTSET, SYSTICK), (_PENDSVSET, PENDSV)):
            if value & bit:
                self.pending.add(number)
        for bit, number in ((_PENDSTCLR, SYSTICK), (_PENDSVCLR, PENDSV)):
            if value & bit:
                self.pending.discard(number)

    def _priority_word(self, first: int) -> int:
        return sum(self._priority(first + i) << 8 * i for i in range(4))

    def _set_priorities(self, first: int, value: int) -> None:
        for i in range(4):
            self._priorities[first + i] = value >> 8 * i & 0xFF


def _word_of(numbers: set[int] | list[int], byte: int) -> int:
    first = FIRST_IRQ + 8 * byte
    return sum(1 << n - first for n in numbers if first <= n < first + 32)


def _numbers_of(byte: int, word: int) -> set[int]:
    first = FIRST_IRQ + 8 * byte
    return {first + i for i in range(32) if word >> i & 1}
