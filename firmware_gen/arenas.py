"""The arenas in C and in the linker script: one, or one in each memory region in use.

With several, an offset holds the arena's number in its highest bits; it is a constant wherever
a layer uses it, so that the compiler sees an address.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.board import Board
from edgeq.memory import MemoryPlan, Placement
from firmware_gen import c_text
from firmware_gen.linker_script import GUARD_NBYTES

# Static memory of the program and the runtime at least, in the linked images of all cores and
# both compilers. The linker has the last word.
PROGRAM_RAM_NBYTES = 304
# What constants leave of the first ram besides, for a program that takes more than the least.
SPARE_RAM_NBYTES = 1024

_BUFFER = """\
/* A buffer of {where}, as a pointer of which the compiler knows no more: from constant
 * addresses GCC 12 (-O2) may form one buffer's address out of another's, and then take a
 * function that only writes through it for one without effect. */
static inline void *edgeq_buffer(uint32_t offset) {{
    uint8_t *at = {address};
    __asm__("" : "+r"(at));
    return at;
}}
"""

_ONE = """\
/* Every activation and all scratch memory. */
_Alignas(16) uint8_t edgeq_arena[EDGEQ_MODEL_ARENA_NBYTES];

"""

_SEVERAL = """\
/* Every activation and all scratch memory, an arena in each memory region. */
{arrays}
/* An offset has the arena's number in its highest bits. */
#define IN_ARENA(number) ((number) << 28)
static uint8_t *const edgeq_arenas[] = {names};

"""


def capacities(board: Board, stack_nbytes: int) -> tuple[int, ...]:
    """What each ram has for an arena; the first has the stack and the program's data too."""
    first, *others = (memory.nbytes for memory in board.of_kind("ram"))
    return (max(first - stack_nbytes - GUARD_NBYTES - PROGRAM_RAM_NBYTES, 0), *others)


def free_for_constants(
    board: Board, stack_nbytes: int, arenas: Sequence[int]
) -> tuple[int, ...]:
    """What each ram has left for constants, beside the arenas of a plan."""
    first, *others = capacities(board, stack_nbytes)
    used = (*arenas, *(0 for _ in others))
    left = (first - SPARE_RAM_NBYTES, *others)
    # An arena begins at a multiple of 16, so it may take 15 bytes more.
    return tuple(max(nbytes - taken - 15, 0) for nbytes, taken in zip(left, used, strict=False))


def section(arena: int) -> str:
    """The section of an arena that is not in the first ram. Compilers give .bss.* no bytes."""
    return f".bss.edgeq_arena_{arena}"


def arena_text(plan: MemoryPlan) -> str:
    """The arrays, and how an offset becomes a pointer."""
    sizes = plan.arenas
    if len(sizes) == 1:
        return _ONE + _BUFFER.format(where="the arena", address="edgeq_arena + offset")
    names = ["edgeq_arena", *(f"edgeq_arena_{k}" for k in range(1, len(sizes)))]
    arrays = "".join(
        f"static _Alignas(16) uint8_t {name}[{max(nbytes, 1)}]"
        + (f"\n    __attribute__((section({c_text.string_literal(section(k))})))" if k else "")
        + ";\n"
        for k, (name, nbytes) in enumerate(zip(names, sizes, strict=True))
    )
    text = _SEVERAL.format(arrays=arrays, names=c_text.initializer(names, 0, 40))
    address = "edgeq_arenas[offset >> 28] + (offset & 0xfffffffu)"
    return text + _BUFFER.format(where="an arena", address=address)


def offset_text(place: Placement) -> str:
    """The value of the constant that says where a buffer is."""
    return f"IN_ARENA({place.arena}) + {place.offset}" if place.arena else str(place.offset)


def offset_ctype(plan: MemoryPlan) -> str:
    """The narrowest type of any offset."""
    return "uint16_t" if len(plan.arenas) == 1 and plan.arenas[0] < 1 << 16 else "uint32_t"


def address_text(plan: MemoryPlan, offset: str) -> str:
    """The address of an offset that is no constant."""
    return f"edgeq_arena + {offset}" if len(plan.arenas) == 1 else f"edgeq_buffer({offset})"


def used_memories(sizes: Sequence[int]) -> tuple[int, ...]:
    """Numbers of the rams besides the first that hold an arena."""
    return tuple(k for k, nbytes in enumerate(sizes) if k and nbytes)
