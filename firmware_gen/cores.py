"""What the firmware and the compilers must know of each Cortex-M core.

Sources: the cores' technical reference manuals, and the Armv6-M, Armv7-M and Armv8-M
Architecture Reference Manuals (Arm DDI0419E, DDI0403E, DDI0553B).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from edgeq.board import Board
from edgeq.errors import BoardError


@dataclass(frozen=True, slots=True)
class Target:
    """What the choice of a kernel's variant must know of a core; the default fits any."""

    has_dsp: bool = False  # SMLAD, SXTB16, SMMLA, SSAT and the like: Armv7E-M, Armv8-M DSP
    has_mve: bool = False  # Helium
    has_mul64: bool = True  # SMULL: not in Armv6-M
    has_mla: bool = False  # MLA, SMULL, SSAT and 32-bit Thumb: Armv7-M, and with DSP too

    @property
    def channel_group(self) -> int:
        """How many channels its kernels of convolutions take at a time."""
        return 4 if self.has_dsp and not self.has_mve else 1


PORTABLE = Target()  # plain C, for the host too


@dataclass(frozen=True, slots=True)
class Core:
    """One core: compiler options, and which optional registers it has.

    Integer firmware needs no floating point unit, so all cores but the M55 use the soft-float
    ABI, and neither compiler then touches an FPU register. Helium (MVE) shares its registers
    with the FPU and wants the hard-float ABI.
    """

    gcc_flags: tuple[str, ...]
    zig_target: str
    zig_cpu: str
    has_vtor: bool  # the vector table can be moved: VTOR
    has_fault_status: bool  # CFSR, HFSR, BFAR: not in Armv6-M
    has_msplim: bool  # stack limit registers: Armv8-M with the main extension
    has_caches: bool  # instruction and data caches that software must enable
    target: Target

    @property
    def has_cycle_counter(self) -> bool:
        """Whether its DWT can have CYCCNT: Armv7-M, and Armv8-M with the main extension.

        They are those with fault status registers; the DWT of Armv6-M has no such register.
        """
        return self.has_fault_status


def _gcc(cpu: str, float_abi: str = "soft") -> tuple[str, ...]:
    return ("-mthumb", f"-mcpu={cpu}", f"-mfloat-abi={float_abi}")


_NO_MUL64 = Target(has_mul64=False)
_MLA = Target(has_mla=True)
_DSP = Target(has_dsp=True, has_mla=True)
_SOFT = "thumb-freestanding-eabi"
_HARD = "thumb-freestanding-eabihf"

# The columns after the CPU: VTOR, fault status, MSPLIM, caches, and what kernels may use.
CORES = MappingProxyType(
    {
        # VTOR is absent from the M0: Arm DDI0432C; optional on the M0+ (DDI0484C),
        # implemented by the RP2040 and the STM32G0.
        "cortex-m0": Core(
            _gcc("cortex-m0"), _SOFT, "cortex_m0", False, False, False, False, _NO_MUL64
        ),
        "cortex-m0plus": Core(
            _gcc("cortex-m0plus"), _SOFT, "cortex_m0plus", True, False, False, False, _NO_MUL64
        ),
        "cortex-m3": Core(
            _gcc("cortex-m3"), _SOFT, "cortex_m3", True, True, False, False, _MLA
        ),
        "cortex-m4": Core(
            _gcc("cortex-m4"), _SOFT, "cortex_m4", True, True, False, False, _DSP
        ),
        # Arm DDI0489F: caches of the M7.
        "cortex-m7": Core(_gcc("cortex-m7"), _SOFT, "cortex_m7", True, True, False, True, _DSP),
        "cortex-m33": Core(
            _gcc("cortex-m33"), _SOFT, "cortex_m33+dsp", True, True, True, False, _DSP
        ),
        "cortex-m55": Core(
            # GCC 12.2 loses the comparison that follows a loop it has turned into DLS and LE.
            (*_gcc("cortex-m55", "hard"), "-fno-branch-count-reg"),
            _HARD,
            "cortex_m55+mve_fp+fp_armv8d16+fullfp16",
            True,
            True,
            True,
            True,
            Target(has_dsp=True, has_mve=True, has_mla=True),
        ),
    }
)


def core_of(board: Board) -> Core:
    """The entry of a board's core.

    Raises:
        BoardError: the core is in no entry.
    """
    try:
        return CORES[board.core]
    except KeyError:
        known = ", ".join(CORES)
        raise BoardError(
            f"{board.name}: core is '{board.core}', firmware is known for {known}"
        ) from None
