"""How many cycles a core takes for a basic block, from memory without wait states.

The models know instructions, not data: a division takes its typical time. How sure each is
stands beside it: "documented" (every figure from Arm's manual, where that gives a range the
figure used is said), or "rough" (Arm publishes no table). Estimates are for comparing code; a
board adds its flash's wait states and caches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edgeq.emulator.decode import FLAGS, Instruction, Kind
from edgeq.errors import EmulatorError

# Cycles of a block when it is left at its end, and when its last branch is taken.
BlockCycles = tuple[int, int]


@dataclass(frozen=True, slots=True)
class CycleModel:
    """The time of one core. `block_cycles` takes a block's instructions and the instruction
    that ran directly before it, None after a branch.
    """

    core: str
    sureness: str  # "documented" or "rough"
    source: str  # and what is left out
    block_cycles: Callable[[Sequence[Instruction], Instruction | None], BlockCycles]


@dataclass(frozen=True, slots=True)
class _Costs:
    """Cycles of each class for a core that issues one instruction after the other."""

    multiply: int
    multiply_add: int
    long_multiply: int
    long_multiply_add: int
    load: int
    store: int
    double: int  # LDRD, STRD
    multiple: int  # LDM, STM, PUSH, POP: this + registers
    load_pc: int  # more, when a load writes the program counter
    branch: int  # taken; 1 if not
    call: int
    branch_register: int
    table_branch: int
    status: int
    barrier: int
    divide: int = 7
    # DDI0439B section 3.3.3: neighbouring single loads overlap, and so do their addresses with
    # a store's after a load.
    loads_overlap: bool = False
    store_indexed: int = 0  # a store with a register as offset; 0: as any
    load_use: int = 0  # more, when the next instruction reads what was loaded


_FIXED = {
    Kind.ALU: 1,
    Kind.IT: 1,
    Kind.FLOAT: 1,
    Kind.FLOAT_MULTIPLY_ADD: 3,  # DDI0439B table 7-1
    Kind.FLOAT_DIVIDE: 14,
    Kind.DSP_MULTIPLY: 1,
}
_FIELDS = {
    Kind.MULTIPLY: "multiply",
    Kind.MULTIPLY_ADD: "multiply_add",
    Kind.LONG_MULTIPLY: "long_multiply",
    Kind.LONG_MULTIPLY_ADD: "long_multiply_add",
    Kind.DIVIDE: "divide",
    Kind.LOAD_DOUBLE: "double",
    Kind.STORE_DOUBLE: "double",
    Kind.STATUS: "status",
    Kind.BARRIER: "barrier",
    Kind.TABLE_BRANCH: "table_branch",
}
_BRANCHES = {
    Kind.BRANCH: "branch",
    Kind.CALL: "call",
    Kind.BRANCH_REGISTER: "branch_register",
}


def _one_by_one(costs: _Costs) -> Callable[..., BlockCycles]:
    def block_cycles(
        instructions: Sequence[Instruction], before: Instruction | None
    ) -> BlockCycles:
        total = taken = 0
        for instruction in instructions:
            cycles, taken = _cost(costs, instruction, before)
            total += cycles
            before = instruction
        return total, total + taken

    return block_cycles


def _cost(costs: _Costs, i: Instruction, before: Instruction | None) -> BlockCycles:
    """Cycles of an instruction, and how many more if it is a branch that is taken."""
    stall = 0
    if costs.load_use and before is not None and before.kind is Kind.LOAD:
        stall = costs.load_use if _loaded(before) & i.reads else 0
    if i.kind in _BRANCHES:
        return 1 + stall, getattr(costs, _BRANCHES[i.kind]) - 1
    if i.kind is Kind.LOAD:
        return stall + _load(costs, i, before) + (costs.load_pc if i.writes_pc else 0), 0
    if i.kind is Kind.STORE:
        return stall + _store(costs, i, before), 0
    if i.kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
        more = costs.load_pc if i.writes_pc else 0
        return stall + costs.multiple + i.registers + more, 0
    if i.kind in _FIELDS:
        return stall + int(getattr(costs, _FIELDS[i.kind])), 0
    return stall + _FIXED[i.kind], 0


def _loaded(load: Instruction) -> frozenset[int]:
    """The register that a single load fills, without the base that it may update."""
    return load.writes - load.address_registers if load.has_writeback else load.writes


def _load(costs: _Costs, i: Instruction, before: Instruction | None) -> int:
    if not costs.loads_overlap or i.has_writeback or i.writes_pc:
        return costs.load
    if before is None or before.kind is not Kind.LOAD or before.has_writeback:
        return costs.load
    return costs.load if _loaded(before) & i.address_registers else 1


def _store(costs: _Costs, i: Instruction, before: Instruction | None) -> int:
    if not costs.store_indexed or not i.is_indexed:
        return costs.store
    return 1 if before is not None and before.kind is Kind.LOAD else costs.store_indexed


# Arm DDI0439B section 3.3 (Cortex-M4): a taken branch refills the pipeline in 2 of 1 to 3
# cycles, a division takes 7 of 2 to 12. A load with writeback overlaps with no other.
_M4 = _Costs(
    multiply=1, multiply_add=1, long_multiply=1, long_multiply_add=1,
    load=2, store=1, double=3, multiple=1, load_pc=2,
    branch=3, call=3, branch_register=3, table_branch=4, status=2, barrier=1,
    loads_overlap=True, store_indexed=2,
)  # fmt: skip
# Arm DDI0337I section 3.3 (Cortex-M3): SMULL and UMULL 4 of 3 to 5, with addition 5 of 4 to 7.
_M3 = _Costs(
    multiply=1, multiply_add=2, long_multiply=4, long_multiply_add=5,
    load=2, store=1, double=3, multiple=1, load_pc=2,
    branch=3, call=3, branch_register=3, table_branch=4, status=2, barrier=1,
    loads_overlap=True, store_indexed=2,
)  # fmt: skip
# Arm DDI0484C section 3.3 (Cortex-M0+), with the fast multiplier; POP with pc is 3 + registers.
_M0PLUS = _Costs(
    multiply=1, multiply_add=1, long_multiply=1, long_multiply_add=1,
    load=2, store=2, double=3, multiple=1, load_pc=2,
    branch=2, call=3, branch_register=2, table_branch=2, status=3, barrier=3,
)  # fmt: skip
# Arm DDI0432C section 3.3 (Cortex-M0), with the fast multiplier; POP with pc is 4 + registers.
_M0 = _Costs(
    multiply=1, multiply_add=1, long_multiply=1, long_multiply_add=1,
    load=2, store=2, double=3, multiple=1, load_pc=3,
    branch=3, call=4, branch_register=3, table_branch=3, status=4, barrier=4,
)  # fmt: skip
_M33 = _Costs(
    multiply=1, multiply_add=1, long_multiply=1, long_multiply_add=1,
    load=1, store=1, double=2, multiple=0, load_pc=2,
    branch=3, call=3, branch_register=3, table_branch=4, status=2, barrier=1,
    load_use=1,
)  # fmt: skip

_MULTIPLIES = frozenset(
    {
        Kind.MULTIPLY,
        Kind.MULTIPLY_ADD,
        Kind.LONG_MULTIPLY,
        Kind.LONG_MULTIPLY_ADD,
        Kind.DSP_MULTIPLY,
    }
)
_ALONE = frozenset(
    {
        Kind.DIVIDE,
        Kind.LOAD_MULTIPLE,
        Kind.STORE_MULTIPLE,
        Kind.LOAD_DOUBLE,
        Kind.STORE_DOUBLE,
        Kind.STATUS,
        Kind.BARRIER,
        Kind.TABLE_BRANCH,
        Kind.FLOAT_DIVIDE,
    }
)
_BRANCHING = frozenset(_BRANCHES)
_OCCUPIES = {Kind.DIVIDE: 7, Kind.FLOAT_DIVIDE: 14}
_LATENCY = {Kind.LOAD: 2, Kind.LOAD_DOUBLE: 2, Kind.LOAD_MULTIPLE: 2, Kind.DIVIDE: 7}


def _two_by_two(instructions: Sequence[Instruction], before: Instruction | None) -> BlockCycles:
    """Two neighbours issue together unless one needs the other or both the same unit: one
    multiplier, one store, one branch. What a load or a multiplication gives is there after 2
    cycles, to the sum of the next multiply-add after 1. A taken branch costs one cycle more.
    """
    ready: dict[int, tuple[int, Kind]] = {}  # register -> when its value is there, and of what
    time, free, end = -1, 0, 0  # of the last issue; when the next can be; when all is done
    second_slot = False
    previous: Instruction | None = None
    for i in instructions:
        reads = i.reads - {FLAGS} if i.kind is Kind.BRANCH else i.reads  # it is predicted
        start = max([free, *(_there(ready, r, i) for r in reads)])
        if second_slot and start <= time and previous is not None and _pairs(previous, i):
            second_slot = False
        else:
            time = max(time + 1, start)
            second_slot = True
        latency = 2 if i.kind in _MULTIPLIES else _LATENCY.get(i.kind, 1)
        for register in i.writes:
            updated = i.has_writeback and register in i.address_registers
            ready[register] = (time + (1 if updated else latency), i.kind)
        cycles = _OCCUPIES.get(i.kind, max(1, (i.registers + 1) // 2))
        free = time if cycles == 1 else time + cycles
        end = max(end, time + cycles)
        previous = i
    leaves = bool(instructions) and instructions[-1].writes_pc
    return end, end + (1 if leaves else 0)


def _there(ready: Mapping[int, tuple[int, Kind]], register: int, reader: Instruction) -> int:
    if register not in ready:
        return 0
    at, kind = ready[register]
    is_sum = kind in _MULTIPLIES and reader.kind in _MULTIPLIES and register in reader.writes
    return at - 1 if is_sum else at


def _pairs(first: Instruction, second: Instruction) -> bool:
    if {first.kind, second.kind} & _ALONE or first.kind in _BRANCHING:
        return False
    if first.kind in _MULTIPLIES and second.kind in _MULTIPLIES:
        return False
    if first.kind is Kind.STORE and second.kind is Kind.STORE:
        return False
    needs = first.writes & (second.reads | second.writes)
    return not (needs - {FLAGS} if second.kind is Kind.BRANCH else needs)


MODELS: Mapping[str, CycleModel] = MappingProxyType(
    {
        m.core: m
        for m in (
            CycleModel(
                "cortex-m0",
                "documented",
                "Arm DDI0432C section 3.3, fast multiplier",
                _one_by_one(_M0),
            ),
            CycleModel(
                "cortex-m0plus",
                "documented",
                "Arm DDI0484C section 3.3, fast multiplier",
                _one_by_one(_M0PLUS),
            ),
            CycleModel(
                "cortex-m3",
                "documented",
                "Arm DDI0337I section 3.3; SMULL 4 of 3-5, SMLAL 5 of 4-7, division 7 of 2-12",
                _one_by_one(_M3),
            ),
            CycleModel(
                "cortex-m4",
                "documented",
                "Arm DDI0439B section 3.3; taken branch 3 of 2-4, division 7 of 2-12",
                _one_by_one(_M4),
            ),
            CycleModel(
                "cortex-m33",
                "rough",
                "no table published; as the M4, but loads 1, or 2 if used at once; pairs of "
                "16-bit instructions that issue together are not modelled",
                _one_by_one(_M33),
            ),
            CycleModel(
                "cortex-m7",
                "rough",
                "no table published; two instructions a cycle where neither needs the other, "
                "branches predicted, caches and TCM always hit",
                _two_by_two,
            ),
        )
    }
)


def cycle_model(core: str) -> CycleModel:
    """The model of a core.

    Raises:
        EmulatorError: there is none.
    """
    if core not in MODELS:
        raise EmulatorError(
            f"{core}: has no cycle model, the core must be one of {', '.join(MODELS)}"
        )
    return MODELS[core]
