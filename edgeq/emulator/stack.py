"""The most stack a function of a linked firmware can take: from its code, whatever the input.

Every path through a function is followed from its start, with the stack pointer's changes; a
call adds the callee's own worst case at that depth. After a jump through a register anything in
the function that is not reached otherwise may come next. What cannot be followed (a call
through a register, a stack pointer set from a register, recursion) is named, and then there is
no bound. Vector instructions and loops of the M55, which capstone 5 does not know, are taken by
their encodings: loops go both ways, and only a load or store with writeback to sp moves it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgeq.emulator.decode import LR, PC, Decoder, Instruction, Kind
from edgeq.emulator.image import Function, Image

# DDI0403E section B1.5.6 and B1.5.7: eight words, and one to align.
EXCEPTION_NBYTES = 36
# With S0-S15, FPSCR and a reserved word.
FLOAT_EXCEPTION_NBYTES = EXCEPTION_NBYTES + 72
_LONGEST = 1 << 20
_IT_NBYTES = 2 + 4 * 4  # IT with four instructions
_RUN, _RESET = "edgeq_model_run", "Reset_Handler"
_HANDLERS = ("SysTick_Handler", "edgeq_irq_handler")  # only these come in a sound program


@dataclass(frozen=True, slots=True)
class StackBound:
    """`nbytes` is a bound if `unresolved` is empty; `path` are the functions that reach it."""

    nbytes: int
    path: tuple[str, ...]
    unresolved: tuple[str, ...]  # place and reason

    @property
    def known_nbytes(self) -> int | None:
        """The bound, None if something is unresolved."""
        return None if self.unresolved else self.nbytes


@dataclass(slots=True)
class _Body:
    """What one function does: its own most stack, its calls, whether it ever returns."""

    most: int = 0
    calls: dict[int, int] = field(default_factory=dict)  # target -> stack at the call
    returns: bool = False
    unresolved: list[str] = field(default_factory=list)


class StackAnalysis:
    """Bounds of the functions of one image."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._decoder = Decoder()
        self._bodies: dict[int, _Body] = {}
        self._bounds: dict[int, StackBound] = {}
        self._in_it: dict[int, Instruction] = {}  # by address, seen behind their IT
        self._open: set[int] = set()  # functions whose analysis is under way

    def bound(self, name: str) -> StackBound:
        """Of a function by name, with all that it calls.

        Raises:
            EmulatorError: there is no such function.
        """
        return self._bound(self._image.function(name).address)

    def bound_with_exceptions(
        self, name: str, handlers: tuple[str, ...], frame_nbytes: int
    ) -> StackBound:
        """Of a function that one of the handlers may interrupt at its deepest."""
        own = self.bound(name)
        there = {f.name for f in self._image.functions}
        found = [self.bound(handler) for handler in handlers if handler in there]
        worst = max(found, key=lambda b: b.nbytes, default=StackBound(0, (), ()))
        unresolved = dict.fromkeys(u for b in (own, *found) for u in b.unresolved)
        return StackBound(
            own.nbytes + frame_nbytes + worst.nbytes,
            (*own.path, *worst.path),
            tuple(unresolved),
        )

    def _bound(self, address: int) -> StackBound:
        if address in self._bounds:
            return self._bounds[address]
        name = self._name(address)
        if address in self._open:
            return StackBound(0, (), (f"{name}: calls itself",))
        self._open.add(address)
        body = self._body(address)
        nbytes = body.most
        path: tuple[str, ...] = (name,)
        unresolved = dict.fromkeys(body.unresolved)
        for target, depth in body.calls.items():
            callee = self._bound(target)
            unresolved.update(dict.fromkeys(callee.unresolved))
            if depth + callee.nbytes > nbytes:
                nbytes, path = depth + callee.nbytes, (name, *callee.path)
        self._open.discard(address)
        self._bounds[address] = StackBound(nbytes, path, tuple(unresolved))
        return self._bounds[address]

    def _name(self, address: int) -> str:
        function = self._image.function_at(address)
        return function.name if function else f"0x{address:08x}"

    def _body(self, address: int) -> _Body:
        if address in self._bodies:
            return self._bodies[address]
        # Until it is known, a function is taken to return: so its callers are read to the end.
        self._bodies[address] = _Body(returns=True)
        function = self._image.function_at(address)
        if function is None:
            body = _Body(unresolved=[f"0x{address:08x}: is in no function"])
        else:
            body = _Reader(self, function, address).read()
        self._bodies[address] = body
        return body

    def returns(self, address: int) -> bool:
        """Whether a call of the function there comes back."""
        return self._body(address).returns

    def decoded(self, address: int) -> Instruction | None:
        """The instruction at an address of the image; None if there is none."""
        if address in self._in_it:
            return self._in_it[address]
        first = int.from_bytes(self.bytes_at(address, 2), "little")
        if first & 0xFF80 == 0xF000:
            loop = _loop(address, self.bytes_at(address, 4))
            if loop is not None:
                return loop
        is_it = first & 0xFF00 == 0xBF00 and first & 0xF != 0
        code = self.bytes_at(address, _IT_NBYTES if is_it else 4)
        found = self._decoder.decode_some(address, code)
        if not found:
            return _plain(address, code) if len(code) == 4 and _is_vector(first) else None
        if is_it:  # alone, what follows would look unconditional
            followers = len(found[0].text.split()[0]) - 1
            self._in_it.update((i.address, i) for i in found[1 : 1 + followers])
        return found[0]

    def is_data(self, address: int) -> bool:
        """Whether the image says that no instruction is there."""
        code = self._image.code
        return bool(code) and not any(start <= address < end for start, end in code)

    def code_between(self, start: int, end: int) -> list[tuple[int, int]]:
        """Ranges of instructions within [start, end)."""
        cut = [(max(a, start), min(b, end)) for a, b in self._image.code]
        return [(a, b) for a, b in cut if a < b]

    def bytes_at(self, address: int, nbytes: int) -> bytes:
        """Bytes of the image, fewer at its end, none outside it."""
        for start, data in self._image.segments:
            if start <= address < start + len(data):
                return data[address - start : address - start + nbytes]
        return b""


def _is_vector(first: int) -> bool:
    """Whether a 32-bit instruction is of the vector extension or its loops (DDI0553B, C2.3)."""
    return first >> 8 in (0xEC, 0xED, 0xEE, 0xEF, 0xFC, 0xFD, 0xFE, 0xFF) or (
        first & 0xFF80 == 0xF000
    )


def _loop(address: int, code: bytes) -> Instruction | None:
    """WLS, WLSTP, LE and LETP: a branch that may be taken (DDI0553B, C2.4.84 and C2.4.226)."""
    first, second = (int.from_bytes(code[i : i + 2], "little") for i in (0, 2))
    if len(code) < 4 or second & 0xF001 != 0xC001:
        return None
    distance = (second >> 1 & 0x3FF) << 2 | (second >> 11 & 1) << 1
    target = address + 4 + (-distance if first & 0xF == 0xF else distance)
    plain = _plain(address, code)
    return replace(plain, kind=Kind.BRANCH, target=target, is_conditional=True)


def _plain(address: int, code: bytes) -> Instruction:
    none: frozenset[int] = frozenset()
    first = int.from_bytes(code[:2], "little")
    is_access = first >> 9 == 0xEC >> 1  # bit 5: writeback; the lowest four the base
    return Instruction(
        address=address,
        nbytes=4,
        text=f".inst {code.hex()}",
        kind=Kind.FLOAT,
        reads=none,
        writes=none,
        address_registers=none,
        is_indexed=False,
        has_writeback=False,
        registers=0,
        target=None,
        is_conditional=False,
        sp_change=None if is_access and first & 0x2F == 0x2D else 0,
    )


class _Reader:
    """Follows the paths of one function from `entry`."""

    def __init__(self, analysis: StackAnalysis, function: Function, entry: int) -> None:
        self._analysis = analysis
        self._function = function
        self._end = function.address + (function.nbytes or _LONGEST)
        self._entry = entry
        self._body = _Body()
        self._depths: dict[int, int] = {}  # address -> most stack with which it is reached
        self._work: list[tuple[int, int]] = [(entry, 0)]
        self._jump_depth = -1  # most stack at a jump through a register

    def read(self) -> _Body:
        visits: dict[int, int] = {}
        while self._work or self._goes_on():
            address, depth = self._work.pop()
            if depth <= self._depths.get(address, -1):
                continue
            visits[address] = visits.get(address, 0) + 1
            if visits[address] > 8:
                self._note(address, "the stack grows with each turn of a loop")
                continue
            self._depths[address] = depth
            instruction = self._analysis.decoded(address)
            if instruction is None:
                self._note(address, "is no instruction")
                continue
            self._step(instruction, depth)
        return self._body

    def _goes_on(self) -> bool:
        """Whether something may come next behind a jump through a register."""
        if self._jump_depth >= 0:
            self._work = [(place, self._jump_depth) for place in self._unreached()]
            self._jump_depth = -1
        return bool(self._work)

    def _unreached(self) -> list[int]:
        """Instructions of the function to which no path has led."""
        found = []
        for start, stop in self._analysis.code_between(self._function.address, self._end):
            at = start
            while at < stop:
                instruction = self._analysis.decoded(at)
                if at not in self._depths:
                    found.append(at)
                at = instruction.end if instruction else at + 2
        return found

    def _note(self, address: int, why: str) -> None:
        place = f"{self._function.name}+0x{address - self._function.address:x}"
        if f"{place}: {why}" not in self._body.unresolved:
            self._body.unresolved.append(f"{place}: {why}")

    def _go(self, address: int, depth: int) -> None:
        """On at an address: in this function, or for good in another.

        Not into data: what fills up to it is no way either, if nothing else leads there.
        """
        if self._analysis.is_data(address):
            return
        if self._function.address <= address < self._end:
            self._work.append((address, depth))
        else:
            self._call(address, depth)
            self._body.returns |= self._analysis.returns(address)

    def _call(self, target: int, depth: int) -> None:
        self._body.calls[target] = max(depth, self._body.calls.get(target, 0))

    def _step(self, i: Instruction, depth: int) -> None:
        if i.sp_change is None:
            self._note(i.address, f"sets the stack pointer by '{i.text}'")
        before, depth = depth, max(0, depth - (i.sp_change or 0))
        if i.is_conditional:  # it may be skipped
            depth = max(depth, before)
        self._body.most = max(self._body.most, depth)
        falls = True
        if i.kind is Kind.CALL and i.target is not None and self._is_far_jump(i.target):
            self._go(i.target, depth)
            falls = False
        elif i.kind is Kind.CALL and i.target is not None:
            self._call(i.target, depth)
            falls = self._analysis.returns(i.target)
        elif i.kind is Kind.BRANCH and i.target is not None:
            self._go(i.target, depth)
            falls = i.is_conditional
        elif i.kind is Kind.TABLE_BRANCH:
            self._table(i, depth)
            falls = False
        elif i.writes_pc:
            falls = self._leave(i, depth)
        if falls:
            self._go(i.end, depth)

    def _is_far_jump(self, target: int) -> bool:
        """Whether BL leads on within the function: clang's jump beyond B's 2 KB on Armv6-M."""
        return self._function.address < target < self._end and target != self._entry

    def _leave(self, i: Instruction, depth: int) -> bool:
        """A write of the program counter from a register or memory; whether it comes back."""
        if i.kind is Kind.BRANCH_REGISTER and LR in i.writes:
            self._note(i.address, f"calls through a register: '{i.text}'")
            return True
        is_return = i.kind is Kind.LOAD_MULTIPLE or (
            i.kind is Kind.BRANCH_REGISTER and i.reads & {LR}
        )
        if is_return or (i.kind is Kind.LOAD and i.text.startswith("ldr pc, [sp]")):
            self._body.returns = True
        else:
            self._jump_depth = max(self._jump_depth, depth)
        return i.is_conditional

    def _table(self, i: Instruction, depth: int) -> None:
        """TBB and TBH with the table behind them, which ends where its nearest target is."""
        if PC not in i.address_registers:
            self._jump_depth = max(self._jump_depth, depth)
            return
        size = 2 if i.text.startswith("tbh") else 1
        base = at = i.end
        nearest = self._end
        while at < nearest:
            entry = int.from_bytes(self._analysis.bytes_at(at, size), "little")
            if entry == 0:
                break
            nearest = min(nearest, base + 2 * entry)
            self._go(base + 2 * entry, depth)
            at += size


def firmware_bounds(image: Image, core: str) -> tuple[StackBound, StackBound]:
    """Of a generated firmware: of one inference, and of the whole program with interrupts.

    Raises:
        EmulatorError: the image is not of generated firmware.
    """
    frame = FLOAT_EXCEPTION_NBYTES if core == "cortex-m55" else EXCEPTION_NBYTES
    analysis = StackAnalysis(image)
    return analysis.bound(_RUN), analysis.bound_with_exceptions(_RESET, _HANDLERS, frame)
