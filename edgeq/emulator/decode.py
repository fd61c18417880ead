"""Thumb instructions as the cycle models and the stack analysis see them: class and registers.

Decoded by capstone. Registers are numbers: r0-r12, 13 the stack pointer, 14 the link register,
15 the program counter, 16 the flags; 32 + n a floating point register s<n>, 64 + n d<n>.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from edgeq.errors import EmulatorError, ToolError

SP, LR, PC, FLAGS = 13, 14, 15, 16


class Kind(Enum):
    """Classes of instructions that some core gives a time of their own."""

    ALU = auto()
    MULTIPLY = auto()  # 32-bit result
    MULTIPLY_ADD = auto()
    LONG_MULTIPLY = auto()  # 64-bit result
    LONG_MULTIPLY_ADD = auto()
    DSP_MULTIPLY = auto()  # SMLAD, SMLABB, SMMLA and the others of the DSP extension
    DIVIDE = auto()
    LOAD = auto()  # one register
    STORE = auto()
    LOAD_DOUBLE = auto()
    STORE_DOUBLE = auto()
    LOAD_MULTIPLE = auto()  # LDM, POP
    STORE_MULTIPLE = auto()
    BRANCH = auto()  # B, CBZ, CBNZ
    CALL = auto()  # BL
    BRANCH_REGISTER = auto()  # BX, BLX, MOV pc
    TABLE_BRANCH = auto()
    IT = auto()
    STATUS = auto()  # MRS, MSR
    BARRIER = auto()
    FLOAT = auto()
    FLOAT_MULTIPLY_ADD = auto()
    FLOAT_DIVIDE = auto()  # and square root


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a firmware."""

    address: int
    nbytes: int
    text: str
    kind: Kind
    reads: frozenset[int]
    writes: frozenset[int]
    address_registers: frozenset[int]  # base and index of a load or store
    is_indexed: bool  # a load or store with a register as offset
    has_writeback: bool
    registers: int  # loaded or stored by a LOAD_MULTIPLE or STORE_MULTIPLE
    target: int | None  # of a direct branch or call
    is_conditional: bool  # alone or by IT
    sp_change: int | None  # bytes added to the stack pointer; None: not known from the text

    @property
    def end(self) -> int:
        """Address of the instruction behind it."""
        return self.address + self.nbytes

    @property
    def writes_pc(self) -> bool:
        """Whether it may go elsewhere than to the instruction behind it."""
        return self.target is not None or PC in self.writes or self.kind is Kind.TABLE_BRANCH


_DSP = (
    r"smla(bb|bt|tb|tt|dx?|wb|wt)|smls(dx?)|smul(bb|bt|tb|tt|wb|wt)|smu[as]dx?|smml[as]r?"
    r"|smmulr?|usada?8"
)
_DSP_LONG = r"smlal(bb|bt|tb|tt|dx?)|smlsldx?|umaal"
# Names without condition, S and width, the first that fits; from Arm DDI0403E, section A7.7.
_KINDS: tuple[tuple[Kind, str], ...] = (
    (Kind.DSP_MULTIPLY, rf"{_DSP}|{_DSP_LONG}"),
    (Kind.MULTIPLY, r"muls?"),
    (Kind.MULTIPLY_ADD, r"mla|mls"),
    (Kind.LONG_MULTIPLY, r"[us]mull"),
    (Kind.LONG_MULTIPLY_ADD, r"[us]mlal"),
    (Kind.DIVIDE, r"[us]div"),
    (Kind.LOAD_DOUBLE, r"ldrd"),
    (Kind.STORE_DOUBLE, r"strd"),
    (Kind.LOAD, r"ldr(s?[bh]|ex[bh]?|s?[bh]?t)?|lda(ex)?[bh]?|vldr(\..*)?"),
    (Kind.STORE, r"str([bh]|ex[bh]?|[bh]?t)?|stl(ex)?[bh]?|vstr(\..*)?"),
    (Kind.LOAD_MULTIPLE, r"ldm(ia|db)?|pop|vldm(ia|db)?|vpop"),
    (Kind.STORE_MULTIPLE, r"stm(ia|db)?|push|vstm(ia|db)?|vpush"),
    (Kind.CALL, r"bl"),
    (Kind.BRANCH_REGISTER, r"bx|blx|bxns|blxns"),
    (Kind.BRANCH, r"b|cbn?z"),
    (Kind.TABLE_BRANCH, r"tb[bh]"),
    (Kind.IT, r"it[te]{0,3}"),
    (Kind.STATUS, r"mrs|msr|vmrs|vmsr"),
    (Kind.BARRIER, r"dmb|dsb|isb"),
    (Kind.FLOAT_DIVIDE, r"v(div|sqrt)\..*"),
    (Kind.FLOAT_MULTIPLY_ADD, r"v(fn?m[as]|n?ml[as])\..*"),
    (Kind.FLOAT, r"v.*"),
)
_PATTERNS = tuple((kind, re.compile(rf"(?:{text})\Z")) for kind, text in _KINDS)
_CONDITION = re.compile(r"(?P<name>.+?)(eq|ne|hs|cs|lo|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)\Z")
_ALWAYS = (0, 15)  # capstone's ARM_CC_INVALID and ARM_CC_AL
_MULTIPLE = (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE)
_ACCESSES = (Kind.LOAD, Kind.STORE, Kind.LOAD_DOUBLE, Kind.STORE_DOUBLE)


class Decoder:
    """Decodes stretches of Thumb code, such as basic blocks or functions."""

    def __init__(self) -> None:
        try:
            import capstone
        except ModuleNotFoundError as error:
            raise ToolError(
                "profiles need the package capstone: pip install 'edgeq[board]'"
            ) from error
        mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8
        self._engine = capstone.Cs(capstone.CS_ARCH_ARM, mode)
        self._engine.detail = True

    def decode(self, address: int, code: bytes) -> list[Instruction]:
        """The instructions of `code`.

        Raises:
            EmulatorError: bytes that are no instruction.
        """
        found = list(self.decode_some(address, code))
        end = found[-1].end if found else address
        if end != address + len(code):
            raise EmulatorError(
                f"0x{end:08x}: capstone knows no such instruction: "
                f"{code[end - address :][:4].hex()}"
            )
        return found

    def decode_some(self, address: int, code: bytes) -> list[Instruction]:
        """The instructions of `code` up to bytes that are none."""
        return [_instruction(raw) for raw in self._engine.disasm(code, address)]


def _instruction(raw: Any) -> Instruction:
    name = raw.mnemonic.removesuffix(".w").removesuffix(".n")
    is_conditional = raw.cc not in _ALWAYS or name.startswith("cb")
    kind = _kind(name, raw.cc not in _ALWAYS)
    read, written = raw.regs_access()
    reads = frozenset(r for i in read if (r := _register(raw.reg_name(i))) is not None)
    writes = frozenset(r for i in written if (r := _register(raw.reg_name(i))) is not None)
    reads |= _unsaid_reads(raw, name, kind, writes)
    if name.startswith(("vpush", "vpop")):
        writes = frozenset({SP})
    if raw.update_flags:
        writes |= {FLAGS}
    if raw.cc not in _ALWAYS and kind is not Kind.IT:
        reads |= {FLAGS}
    base, index = _memory_operand(raw)
    if kind is Kind.TABLE_BRANCH:
        writes |= {PC}
    if kind is Kind.ALU and PC in writes:
        kind = Kind.BRANCH_REGISTER
    if raw.writeback and kind in (*_ACCESSES, *_MULTIPLE) and base is not None:
        writes |= {base}
    return Instruction(
        address=raw.address,
        nbytes=raw.size,
        text=f"{raw.mnemonic} {raw.op_str}".rstrip(),
        kind=kind,
        reads=reads,
        writes=writes,
        address_registers=frozenset(r for r in (base, index) if r is not None),
        is_indexed=index is not None,
        has_writeback=bool(raw.writeback) and kind in (*_ACCESSES, *_MULTIPLE),
        registers=_listed(raw) if kind in _MULTIPLE else 0,
        target=_target(raw, kind),
        is_conditional=is_conditional,
        sp_change=_sp_change(raw, name, kind, writes),
    )


def _kind(name: str, has_condition: bool) -> Kind:
    names = [name]
    if has_condition and (found := _CONDITION.fullmatch(name.split(".")[0])):
        names.append(found["name"] + name[len(name.split(".")[0]) :])
    for kind, pattern in _PATTERNS:
        if any(pattern.fullmatch(n) for n in names[::-1]):
            return kind
    return Kind.ALU


_NAMES = {
    "sp": SP, "lr": LR, "pc": PC, "cpsr": FLAGS, "apsr": FLAGS, "apsr_nzcv": FLAGS,
    "sb": 9, "sl": 10, "fp": 11, "ip": 12,
}  # fmt: skip


def _register(name: str) -> int | None:
    if name in _NAMES:
        return _NAMES[name]
    if found := re.fullmatch(r"([rsd])(\d+)", name):
        return {"r": 0, "s": 32, "d": 64}[found[1]] + int(found[2])
    return None


def _memory_operand(raw: Any) -> tuple[int | None, int | None]:
    from capstone import arm

    for operand in raw.operands:
        if operand.type == arm.ARM_OP_MEM:
            base = _register(raw.reg_name(operand.mem.base)) if operand.mem.base else None
            index = _register(raw.reg_name(operand.mem.index)) if operand.mem.index else None
            return base, index
    if "!" in raw.op_str and raw.operands:  # LDM, STM
        return _register(raw.reg_name(raw.operands[0].reg)), None
    return None, None


def _unsaid_reads(raw: Any, name: str, kind: Kind, writes: frozenset[int]) -> frozenset[int]:
    """Registers that an instruction reads and capstone 5 does not tell of."""
    if kind is Kind.LONG_MULTIPLY_ADD or re.match(_DSP_LONG, name):
        return writes
    if name.startswith(("ssat", "usat")):
        found = [_register(n) for n in re.findall(r"\w+", raw.op_str)[1:]]
        return frozenset(r for r in found if r is not None)
    return frozenset()


def _listed(raw: Any) -> int:
    """Words moved by an LDM, STM, PUSH or POP; a d register is two."""
    listed = re.search(r"\{(.*)\}", raw.op_str)
    names = [n.strip() for n in listed[1].split(",")] if listed else []
    return sum(2 if n.startswith("d") else 1 for n in names)


def _target(raw: Any, kind: Kind) -> int | None:
    from capstone import arm

    if kind not in (Kind.BRANCH, Kind.CALL):
        return None
    found = [int(o.imm) & 0xFFFFFFFF for o in raw.operands if o.type == arm.ARM_OP_IMM]
    return found[-1] if found else None


def _sp_change(raw: Any, name: str, kind: Kind, writes: frozenset[int]) -> int | None:
    from capstone import arm

    if SP not in writes:
        return 0
    if kind in _MULTIPLE:
        words = _listed(raw)
        return 4 * words if kind is Kind.LOAD_MULTIPLE else -4 * words
    constants = [int(o.imm) for o in raw.operands if o.type == arm.ARM_OP_IMM]
    if kind in _ACCESSES:
        offsets = [int(o.mem.disp) for o in raw.operands if o.type == arm.ARM_OP_MEM]
        if constants:  # post-indexed
            return -constants[-1] if raw.operands[-1].subtracted else constants[-1]
        return offsets[0] if offsets else None
    registers = [raw.reg_name(o.reg) for o in raw.operands if o.type == arm.ARM_OP_REG]
    if not constants or any(r != "sp" for r in registers):
        return None
    if name.startswith("add"):
        return constants[-1]
    return -constants[-1] if name.startswith("sub") else None
