"""Reads a linked image: what memory it takes, its symbols, and what it must not hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from edgeq.errors import ToolError

# Sections of a ram, by this and its number: arenas, but for that of the first; constants of
# layers that start-up copies there.
ARENA = ".arena_"
WEIGHTS = ".weights_"

_HEAP = ("malloc", "calloc", "realloc", "free", "sbrk", "_sbrk", "_malloc_r", "_free_r")
# Soft-float helpers: Arm IHI0043E, Run-time ABI, section 4.1.2 (tables 2 to 8), and the names
# of libgcc (GCC internals, section 4.2) for types sf, df, tf, hf and complex.
_SOFT_FLOAT = re.compile(
    r"__aeabi_c?[dfh](?!iv)\w*"  # __aeabi_dadd, fmul, cdcmple, h2f, d2iz ...
    r"|__aeabi_(?:u?[il])2[dfh]\w*"  # __aeabi_i2d, ul2f ...
    r"|__(?:add|sub|mul|div|neg|eq|ne|lt|le|gt|ge|unord|cmp|pow)[sdthx]f\w*"
    r"|__(?:extend|trunc)[sdthx]f[sdthx]f\w*"
    r"|__fix(?:uns)?[sdthx]f[sdt]i"
    r"|__float(?:un)?[sdt]i[sdthx]f"
    r"|__(?:mul|div)[sdthx]c\d"
    r"|__gnu_(?:f2h|h2f|d2h)\w*"
)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named object or function of an image; bit 0 of a function's address is cleared."""

    name: str
    address: int
    nbytes: int
    section: str


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes that an image takes, gaps of alignment included, so that all of them must fit.

    .data counts in flash (its initial values) and in ram, and so do copied constants.
    """

    flash_nbytes: int  # from the first to the last that is loaded: the size of the .bin
    ram_nbytes: int  # static: .data, copied constants, .bss with the first arena
    stack_nbytes: int  # reserved, with the guard below it
    sections: Mapping[str, int]  # sizes of all sections that take memory


def memory_use(elf: Path) -> MemoryUse:
    """What a linked image takes of flash and ram.

    Raises:
        ToolError: not a readable ELF file, or nothing to load.
    """
    segments = load_segments(elf)
    last_address, last_bytes = segments[-1]
    stack = 0
    sections: dict[str, int] = {}
    ram: list[int] = []  # where variables begin and end
    with _opened(elf) as image:
        for section in image.iter_sections():
            flags, address = section["sh_flags"], int(section["sh_addr"])
            nbytes = int(section["sh_size"])
            if not flags & SH_FLAGS.SHF_ALLOC or nbytes == 0:
                continue
            sections[section.name] = nbytes
            if section.name == ".stack":
                stack = nbytes
                ram.append(address)
            elif section.name == f"{WEIGHTS}0" or (
                flags & SH_FLAGS.SHF_WRITE and not section.name.startswith((ARENA, WEIGHTS))
            ):
                ram += [address, address + nbytes]
    return MemoryUse(
        flash_nbytes=last_address + len(last_bytes) - segments[0][0],
        ram_nbytes=max(ram, default=0) - min(ram, default=0),
        stack_nbytes=stack,
        sections=MappingProxyType(sections),
    )


def load_segments(elf: Path) -> list[tuple[int, bytes]]:
    """What a programmer writes into flash: (address, bytes), by address.

    Raises:
        ToolError: not a readable ELF file, or nothing to load.
    """
    with _opened(elf) as image:
        segments = [
            (int(segment["p_paddr"]), bytes(segment.data()))
            for segment in image.iter_segments()
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"] > 0
        ]
    if not segments:
        raise ToolError(f"{elf}: holds nothing to load")
    return sorted(segments)


def read_symbols(elf: Path) -> list[Symbol]:
    """Functions and objects of an image by address.

    Raises:
        ToolError: not a readable ELF file, or it has no symbols.
    """
    with _opened(elf) as image:
        table = image.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise ToolError(f"{elf}: has no symbol table; build it without stripping")
        names = [section.name for section in image.iter_sections()]
        symbols = [_symbol(entry, names) for entry in table.iter_symbols() if _is_named(entry)]
    return sorted(symbols, key=lambda s: (s.address, s.name))


def symbol_map(elf: Path) -> str:
    """A table of an image's symbols: address, size, section, name; one a line."""
    rows = [
        f"0x{s.address:08x} {s.nbytes:8d} {s.section:10s} {s.name}" for s in read_symbols(elf)
    ]
    return "\n".join(["address        size section    name", *rows, ""])


def audit_image(elf: Path) -> None:
    """Check that an image allocates nothing at run time and computes with integers only.

    Raises:
        ToolError: it holds a heap function or a soft-float helper; names all.
    """
    names = {symbol.name for symbol in read_symbols(elf)}
    heap = sorted(names.intersection(_HEAP))
    soft = sorted(name for name in names if _SOFT_FLOAT.fullmatch(name))
    found = []
    if heap:
        found.append(f"heap functions ({', '.join(heap)})")
    if soft:
        found.append(f"soft-float helpers ({', '.join(soft)})")
    if found:
        raise ToolError(
            f"{elf.name}: holds {' and '.join(found)}; firmware must allocate nothing at run "
            "time and compute with integers only: remove the calls from the application's code"
        )


def _is_named(entry: Any) -> bool:
    kind = entry["st_info"]["type"]
    return bool(entry.name) and kind in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE")


def _symbol(entry: Any, sections: list[str]) -> Symbol:
    index = entry["st_shndx"]
    address = entry["st_value"]
    if entry["st_info"]["type"] == "STT_FUNC":
        address &= ~1
    section = sections[index] if isinstance(index, int) else str(index)
    return Symbol(entry.name, address, entry["st_size"], section)


@contextmanager
def _opened(elf: Path) -> Iterator[Any]:
    try:
        with elf.open("rb") as stream:
            yield ELFFile(stream)
    except (OSError, ELFError) as error:
        raise ToolError(f"{elf}: cannot be read as ELF: {error}") from error
