"""The linker script of a board, for GNU ld and for LLD.

Image: vectors, code, constants and the initial values of .data in the first flash; .data, .bss
(with the arena) and the stack, in this order, in the first ram; arenas beside the first in
the other rams. Constants of layers that are copied into a ram are the first there, but for
.data. Symbols for the startup code: edgeq_data_load/start/end, edgeq_bss_start/end,
edgeq_stack_guard/bottom/top, and edgeq_copies, a table of (load, start, end) up to
edgeq_copies_end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeq.board import Board
from edgeq.errors import BoardError

STACK_NBYTES = 4096
GUARD_NBYTES = 32  # below the stack, filled by startup.c; part of the .stack section

_TEMPLATE = """\
/* Linker script for @title@. */
ENTRY(Reset_Handler)

MEMORY
{
    flash (rx) : ORIGIN = @flash_origin@, LENGTH = @flash_nbytes@
    ram (rwx) : ORIGIN = @ram_origin@, LENGTH = @ram_nbytes@
@regions@}

SECTIONS
{
    /* The second stage of an RP2040's boot loader; empty for all others. */
    .boot2 : { KEEP(*(.boot2)) } > flash

    /* A vector table lies at a multiple of its size rounded up to a power of two. */
    .vectors : ALIGN(256) { KEEP(*(.vectors)) } > flash

    .text : ALIGN(4)
    {
        /* The handler of a tick counter that is in use, else what reports exceptions that
           nobody expects. */
        edgeq_ticks_entry = .;
        *(.text.edgeq_ticks_handler)
        *(.text.edgeq_startup)
        *(.text .text.*)
        . = ALIGN(4);
    } > flash

    .rodata : ALIGN(4) { *(.rodata .rodata.*) . = ALIGN(4);@copies@ } > flash

    .data : ALIGN(16)
    {
        edgeq_data_start = .;
        *(.data .data.*)
        . = ALIGN(4);
        edgeq_data_end = .;
    } > ram AT > flash
    edgeq_data_load = LOADADDR(.data);

@copied@@arenas@    .bss (NOLOAD) : ALIGN(16)
    {
        edgeq_bss_start = .;
        *(.bss .bss.* COMMON)
        . = ALIGN(4);
        edgeq_bss_end = .;
    } > ram

    .stack (NOLOAD) : ALIGN(32)
    {
        edgeq_stack_guard = .;
        . = . + @guard_nbytes@;
        edgeq_stack_bottom = .;
        . = . + @stack_nbytes@;
        edgeq_stack_top = .;
    } > ram

    /* Nothing unwinds a stack. */
    /DISCARD/ : { *(.ARM.exidx .ARM.exidx.* .ARM.extab .ARM.extab.*) }
}

ASSERT(SIZEOF(.boot2) == 0 || SIZEOF(.boot2) == 256, ".boot2 must be empty or 256 bytes")
ASSERT(SIZEOF(.vectors) >= 64, "the vector table is missing")
ASSERT(ADDR(.vectors) == @flash_origin@ + SIZEOF(.boot2), "the vectors must come first")
ASSERT(edgeq_data_load % 4 == 0, "words are copied from there")
ASSERT(edgeq_stack_top % 8 == 0, "the stack must be a multiple of 8 bytes")
ASSERT(edgeq_bss_end <= edgeq_stack_guard, "the stack must lie above the data")
ASSERT(edgeq_stack_top <= @ram_origin@ + @ram_nbytes@, "the stack must lie within the ram")
"""


_REGION = """\
    ram_@number@ (rwx) : ORIGIN = @origin@, LENGTH = @nbytes@
"""
_ARENA = """\
    /* An arena in '@name@'; nothing clears it. */
    .arena_@number@ (NOLOAD) : ALIGN(16) { *(.bss.edgeq_arena_@number@) } > ram_@number@

"""


_COPIED = """\
    /* Constants of layers, copied into '@name@'. */
    .weights_@number@ : ALIGN(16)
    {
        *(.edgeq_weights.@number@)
        . = ALIGN(16);
    } > @region@ AT > flash

"""
# Within .rodata: GNU ld takes a section of such numbers alone for one that is written.
_COPIES = """

        edgeq_copies = .;
@rows@        edgeq_copies_end = .;
   """
_ROW = """\
        LONG(LOADADDR(.weights_@number@))
        LONG(ADDR(.weights_@number@))
        LONG(ADDR(.weights_@number@) + SIZEOF(.weights_@number@))
"""


def linker_script(
    board: Board,
    stack_nbytes: int = STACK_NBYTES,
    arenas: Sequence[int] = (),
    copied: Sequence[int] = (),
) -> str:
    """The text of the linker script; `arenas`: numbers of the rams that hold a further arena,
    `copied`: of those that hold constants of layers.

    Raises:
        BoardError: the stack is not a multiple of 8 bytes (Arm IHI0042F, AAPCS, section
            6.2.1.2) or not smaller than the ram.
    """
    if stack_nbytes <= 0 or stack_nbytes % 8:
        raise BoardError(
            f"{board.name}: stack is {stack_nbytes} bytes, must be a multiple of 8 above 0"
        )
    if stack_nbytes + GUARD_NBYTES >= board.ram.nbytes:
        raise BoardError(
            f"{board.name}: stack of {stack_nbytes} bytes, must be smaller than the ram of "
            f"{board.ram.nbytes} bytes"
        )
    rows = "".join(_of_ram(_ROW, board, number) for number in copied)
    values = {
        "title": board.title.replace("*/", "* /"),
        "flash_origin": f"0x{board.flash.origin:08x}",
        "flash_nbytes": str(board.flash.nbytes),
        "ram_origin": f"0x{board.ram.origin:08x}",
        "ram_nbytes": str(board.ram.nbytes),
        "stack_nbytes": str(stack_nbytes),
        "guard_nbytes": str(GUARD_NBYTES),
        "regions": "".join(
            _of_ram(_REGION, board, number) for number in sorted({*arenas, *copied} - {0})
        ),
        "copies": _filled(_COPIES, {"rows": rows}) if copied else "",
        "copied": "".join(_of_ram(_COPIED, board, number) for number in copied),
        "arenas": "".join(_of_ram(_ARENA, board, number) for number in arenas),
    }
    return _filled(_TEMPLATE, values)


def _of_ram(template: str, board: Board, number: int) -> str:
    memory = board.of_kind("ram")[number]
    values = {
        "name": memory.name.replace("*/", "* /"),
        "number": str(number),
        "region": f"ram_{number}" if number else "ram",
        "origin": f"0x{memory.origin:08x}",
        "nbytes": str(memory.nbytes),
    }
    return _filled(template, values)


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
