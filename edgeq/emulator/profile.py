"""What a function of a firmware costs on the virtual board: instructions, cycles, stack.

Instructions are exact; cycles are the estimate of the core's model (cycles.py). A function's
own time is kept apart from that of each call it makes, and the parts add up to the whole. An
exception that comes in between, as SysTick's, is counted by itself and is in no part.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.board import Board
from edgeq.emulator.cycles import CycleModel, cycle_model
from edgeq.emulator.decode import Decoder, Instruction
from edgeq.emulator.image import Image, read_image
from edgeq.emulator.virtual import VirtualBoard
from edgeq.emulator.watch import Block, Watch
from edgeq.errors import EmulatorError

ReadMemory = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """The share of one call, or of the function itself; sums over all runs."""

    name: str
    instructions: int
    cycles: int  # estimated
    stack_nbytes: int  # most below the profiled function's own stack pointer at its start
    functions: Mapping[str, int]  # instructions by function that they are in


@dataclass(frozen=True, slots=True)
class Profile:
    """Parts in the order of their calls, the function's own code first."""

    function: str
    core: str
    core_hz: int
    sureness: str  # of the cycles
    source: str
    runs: int
    parts: tuple[Part, ...]
    entry_sp: int  # the stack pointer at the function's start
    exception_instructions: int

    @property
    def instructions(self) -> float:
        """Of one run, the mean over all."""
        return sum(part.instructions for part in self.parts) / self.runs

    @property
    def cycles(self) -> float:
        """Of one run, the mean over all; estimated."""
        return sum(part.cycles for part in self.parts) / self.runs

    @property
    def stack_nbytes(self) -> int:
        """Most stack that the function and what it calls take."""
        return max((part.stack_nbytes for part in self.parts), default=0)

    @property
    def functions(self) -> Mapping[str, int]:
        """Instructions of all runs by function, most first."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part.functions)
        return dict(total.most_common())


def profile_of(
    watch: Watch, calls: Sequence[str], board: Board, image: Image, read_memory: ReadMemory
) -> Profile:
    """The profile of a watch whose runs have finished; `calls` names its calls in order.

    Raises:
        EmulatorError: the function has not returned, or has made other calls than these.
    """
    if watch.runs == 0:
        raise EmulatorError(f"{watch.function.name}: has not returned; nothing to report")
    if watch.calls != len(calls):
        raise EmulatorError(
            f"{watch.function.name}: has made {watch.calls} calls, must be {len(calls)}: "
            f"{', '.join(calls)}"
        )
    model = cycle_model(board.core)
    decoder = Decoder()
    rows: list[list[Block]] = [[] for _ in range(len(calls) + 1)]
    for block in watch.blocks():
        rows[block.row].append(block)
    code = {
        (b.address, b.nbytes): decoder.decode(b.address, read_memory(b.address, b.nbytes))
        for blocks in rows
        for b in blocks
    }
    parts = [
        _part(name, blocks, code, model, image)
        for name, blocks in zip((watch.function.name, *calls), rows, strict=True)
    ]
    return Profile(
        watch.function.name,
        board.core,
        board.clock.core_hz,
        model.sureness,
        model.source,
        watch.runs,
        tuple(parts),
        watch.entry_sp,
        watch.exception_instructions,
    )


def _part(
    name: str,
    blocks: Sequence[Block],
    code: Mapping[tuple[int, int], Sequence[Instruction]],
    model: CycleModel,
    image: Image,
) -> Part:
    instructions = cycles = stack = 0
    functions: Counter[str] = Counter()
    falls = _falls(blocks, code)
    for block in blocks:
        inside = code[block.address, block.nbytes]
        count = block.executed * len(inside)
        instructions += count
        function = image.function_at(block.address)
        functions[function.name if function else f"0x{block.address:08x}"] += count
        before, times = falls.get(block.address, (None, 0))
        times = min(times, block.executed)
        straight, taken = model.block_cycles(inside, None)
        cycles += (block.executed - times) * straight + block.left * (taken - straight)
        if times:
            cycles += times * model.block_cycles(inside, before)[0]
        stack = max(stack, block.depth_nbytes + most_stack(inside))
    return Part(name, instructions, cycles, stack, dict(functions.most_common()))


def _falls(
    blocks: Sequence[Block], code: Mapping[tuple[int, int], Sequence[Instruction]]
) -> dict[int, tuple[Instruction, int]]:
    """Address of a block -> the instruction directly before it and how often it ran, where a
    block before ends without a branch: the emulator splits code at its own boundaries too.
    """
    found: dict[int, tuple[Instruction, int]] = {}
    for block in blocks:
        last = code[block.address, block.nbytes][-1]
        if not last.writes_pc:
            times = found.get(last.end, (last, 0))[1]
            found[last.end] = (last, times + block.executed)
    return found


def most_stack(instructions: Sequence[Instruction]) -> int:
    """Most bytes by which straight code lowers the stack pointer at any point within it."""
    now = most = 0
    for instruction in instructions:
        now -= instruction.sp_change or 0
        most = max(most, now)
    return most


def profile_function(
    elf: Path, board: Board, name: str, *, runs: int = 1, timeout_s: float | None = None
) -> Profile:
    """Boot a firmware and profile the first `runs` runs of one of its functions.

    Raises:
        EmulatorError: no such function; the firmware stops, or waits for input, or time is up
            before the function has run so often.
    """
    image = read_image(elf)
    watch = Watch(image.function(name), runs=runs)
    began = time.monotonic()
    with VirtualBoard(elf, board, watch=watch) as machine:
        while not watch.is_over and not machine.wait(0.02):
            if machine.is_waiting and not watch.is_over:
                raise EmulatorError(
                    f"{elf}: waits for input, and {name} has run {watch.runs} times, must "
                    f"{runs}; profile a firmware that calls it by itself"
                )
            if timeout_s is not None and time.monotonic() - began > timeout_s:
                raise EmulatorError(
                    f"{elf}: {name} has run {watch.runs} times in {timeout_s:g} s, must {runs}"
                )
        if not watch.is_over:
            machine.check()
    return profile_of(watch, (), board, image, machine.read_memory)
