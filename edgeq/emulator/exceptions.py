"""Exception entry and return of M-profile cores, which Unicorn leaves to its user.

Arm DDI0403E, sections B1.5.6 (entry: eight words pushed, 26 with floating point), B1.5.7
(stack alignment) and B1.5.8 (return by a branch to EXC_RETURN). Only the main stack is
modelled; state is always pushed at once, never lazily.
"""

from __future__ import annotations

import struct

from unicorn import Uc, UcError
from unicorn import arm_const as arm

from edgeq.emulator.system_control import SystemControl

EXC_RETURN_LEAST = 0xFFFFFF00
_RETURN_TO_HANDLER, _RETURN_TO_THREAD = 0xFFFFFFF1, 0xFFFFFFF9
_BASIC_FRAME = 1 << 4  # in EXC_RETURN; clear: the frame has floating point registers
_CONTROL_SPSEL, _CONTROL_FPCA = 1 << 1, 1 << 2
_XPSR_PADDED, _XPSR_THUMB, _XPSR_IT, _XPSR_NUMBER = 1 << 9, 1 << 24, 0x0600FC00, 0x1FF
_BASIC = "<8I"
_FLOAT = "<18I"  # S0-S15, FPSCR, reserved
_STACKED = (
    arm.UC_ARM_REG_R0,
    arm.UC_ARM_REG_R1,
    arm.UC_ARM_REG_R2,
    arm.UC_ARM_REG_R3,
    arm.UC_ARM_REG_R12,
    arm.UC_ARM_REG_LR,
)


class LockupError(Exception):
    """An exception cannot be entered or left; the core would stop."""


def enter(uc: Uc, system: SystemControl, number: int) -> None:
    """Take exception `number` at the instruction that is next.

    Raises:
        LockupError: the stack is not in memory, or the vector is no Thumb function.
    """
    control = uc.reg_read(arm.UC_ARM_REG_CONTROL)
    if control & _CONTROL_SPSEL:
        raise LockupError("exception with the process stack in use, which is not modelled")
    floats = bool(control & _CONTROL_FPCA)
    sp = uc.reg_read(arm.UC_ARM_REG_SP)
    xpsr = uc.reg_read(arm.UC_ARM_REG_XPSR) & ~_XPSR_PADDED
    xpsr |= _XPSR_THUMB | (_XPSR_PADDED if sp & 4 else 0)
    frame = struct.pack(
        _BASIC,
        *(uc.reg_read(r) for r in _STACKED),
        uc.reg_read(arm.UC_ARM_REG_PC) & ~1,
        xpsr,
    )
    if floats:
        frame += struct.pack(
            _FLOAT,
            *(uc.reg_read(arm.UC_ARM_REG_S0 + i) for i in range(16)),
            uc.reg_read(arm.UC_ARM_REG_FPSCR),
            0,
        )
    sp = (sp & ~4) - len(frame)
    try:
        uc.mem_write(sp, frame)
        (vector,) = struct.unpack("<I", uc.mem_read(system.vtor + 4 * number, 4))
    except UcError as error:
        raise LockupError(
            f"exception {number}: no memory for its frame at 0x{sp:08x}"
        ) from error
    if not vector & 1:
        raise LockupError(f"exception {number}: its vector 0x{vector:08x} is no Thumb address")
    back = _RETURN_TO_HANDLER if system.active else _RETURN_TO_THREAD
    uc.reg_write(arm.UC_ARM_REG_CONTROL, control & ~_CONTROL_FPCA)
    uc.reg_write(arm.UC_ARM_REG_XPSR, xpsr & ~(_XPSR_IT | _XPSR_PADDED | _XPSR_NUMBER) | number)
    uc.reg_write(arm.UC_ARM_REG_SP, sp)
    uc.reg_write(arm.UC_ARM_REG_LR, back & ~(_BASIC_FRAME if floats else 0))
    uc.reg_write(arm.UC_ARM_REG_PC, vector)
    system.active.append(number)
    system.pending.discard(number)


def leave(uc: Uc, system: SystemControl, exc_return: int) -> None:
    """Return from the exception that runs.

    Raises:
        LockupError: the frame is not in memory.
    """
    floats = not exc_return & _BASIC_FRAME
    sp = uc.reg_read(arm.UC_ARM_REG_SP)
    try:
        words = struct.unpack(_BASIC, uc.mem_read(sp, 32))
        tail = struct.unpack(_FLOAT, uc.mem_read(sp + 32, 72)) if floats else ()
    except UcError as error:
        raise LockupError(f"exception return: no frame at 0x{sp:08x}") from error
    system.active.pop()
    *registers, pc, xpsr = words
    for register, value in zip(_STACKED, registers, strict=True):
        uc.reg_write(register, value)
    uc.reg_write(arm.UC_ARM_REG_XPSR, xpsr & ~_XPSR_PADDED)
    uc.reg_write(arm.UC_ARM_REG_SP, sp + (104 if floats else 32) + (4 if xpsr & 512 else 0))
    control = uc.reg_read(arm.UC_ARM_REG_CONTROL) & ~_CONTROL_FPCA
    if floats:
        for i in range(16):
            uc.reg_write(arm.UC_ARM_REG_S0 + i, tail[i])
        uc.reg_write(arm.UC_ARM_REG_FPSCR, tail[16])
        control |= _CONTROL_FPCA
    uc.reg_write(arm.UC_ARM_REG_CONTROL, control)
    uc.reg_write(arm.UC_ARM_REG_PC, pc | 1)
