"""A linked firmware: what lies at which load address, and which function an address is in."""

from __future__ import annotations

import bisect
import difflib
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from edgeq.errors import EmulatorError

_EM_ARM = "EM_ARM"


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the symbol table; `nbytes` is 0 if the table does not say."""

    name: str
    address: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Image:
    """Segments as they lie in flash (load address, bytes), and functions by address."""

    path: Path
    segments: tuple[tuple[int, bytes], ...]
    functions: tuple[Function, ...]
    code: tuple[tuple[int, int], ...] = ()  # ranges of instructions, by mapping symbols

    def describe(self, address: int) -> str:
        """`address` in hexadecimal, with function and offset where there is one."""
        function = self.function_at(address)
        if function is None:
            return f"0x{address:08x}"
        return f"0x{address:08x} ({function.name}+0x{address - function.address:x})"

    def function_at(self, address: int) -> Function | None:
        """The function that `address` is in, None if in none."""
        at = bisect.bisect_right([f.address for f in self.functions], address) - 1
        if at < 0:
            return None
        function = self.functions[at]
        inside = address < function.address + function.nbytes
        return function if inside or function.nbytes == 0 else None

    def function(self, name: str) -> Function:
        """The function of that name.

        Raises:
            EmulatorError: there is none; names the nearest.
        """
        for function in self.functions:
            if function.name == name:
                return function
        near = difflib.get_close_matches(name, [f.name for f in self.functions], 3, cutoff=0.0)
        hint = f"; nearest: {', '.join(near)}" if near else ", nor any other"
        raise EmulatorError(f"{self.path}: has no function '{name}'{hint}")


def read_image(path: Path) -> Image:
    """Read an ELF for an Arm core.

    Raises:
        EmulatorError: unreadable, not an ELF, not for Arm, or with nothing to load.
    """
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if elf["e_machine"] != _EM_ARM:
                raise EmulatorError(
                    f"{path}: is an ELF for {elf['e_machine']}, must be for Arm"
                )
            segments = tuple(
                (int(segment["p_paddr"]), bytes(segment.data()))
                for segment in elf.iter_segments("PT_LOAD")
                if segment["p_filesz"]
            )
            functions = _functions(elf)
            code = _code_ranges(elf)
    except OSError as error:
        raise EmulatorError(f"{path}: cannot read the firmware: {error.strerror}") from error
    except (ELFError, ValueError, KeyError, AttributeError) as error:
        raise EmulatorError(f"{path}: is not a readable ELF file: {error}") from error
    if not segments:
        raise EmulatorError(f"{path}: has no segment to load")
    return Image(path, segments, functions, code)


def _functions(elf: ELFFile) -> tuple[Function, ...]:
    """Functions by address, one name an address (the largest, then the first by name)."""
    found: dict[int, Function] = {}
    for section in elf.iter_sections():
        if not isinstance(section, SymbolTableSection):
            continue
        for symbol in sorted(section.iter_symbols(), key=lambda s: (s["st_size"], s.name)):
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF":
                address = int(symbol["st_value"]) & ~1  # bit 0 says Thumb
                found[address] = Function(symbol.name, address, int(symbol["st_size"]))
    return tuple(found[address] for address in sorted(found))


def _code_ranges(elf: ELFFile) -> tuple[tuple[int, int], ...]:
    """Where Thumb instructions are: from $t to the next $d or the section's end (Arm IHI0044H,
    section 5.5.5, mapping symbols).
    """
    marks: dict[int, list[tuple[int, str]]] = {}
    for table in elf.iter_sections():
        if not isinstance(table, SymbolTableSection):
            continue
        for symbol in table.iter_symbols():
            kind, where = symbol.name[:2], symbol["st_shndx"]
            if kind in ("$t", "$d") and isinstance(where, int):
                marks.setdefault(where, []).append((int(symbol["st_value"]), kind))
    found = []
    for where, places in marks.items():
        section = elf.get_section(where)
        end = int(section["sh_addr"]) + int(section["sh_size"])
        ordered = sorted(places)
        ends = [address for address, _ in ordered[1:]] + [end]
        found += [
            (address, stop)
            for (address, kind), stop in zip(ordered, ends, strict=True)
            if kind == "$t" and stop > address
        ]
    return tuple(sorted(found))
