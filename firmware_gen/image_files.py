"""Flashable files of a linked image: flat binary, Intel HEX, UF2."""

from __future__ import annotations

from pathlib import Path

from edgeq.board import Board
from firmware_gen.image import load_segments
from firmware_gen.runtime.make_uf2 import uf2

_HEX_DATA, _HEX_END, _HEX_UPPER_ADDRESS = 0, 1, 4


def write_image_files(elf: Path, board: Board) -> list[Path]:
    """Write .bin and .hex beside the ELF, and .uf2 if the board is flashed so.

    Raises:
        ToolError: the ELF cannot be read.
    """
    segments = load_segments(elf)
    origin = board.flash.origin
    files = {
        elf.with_suffix(".bin"): flat_image(segments, origin),
        elf.with_suffix(".hex"): intel_hex(segments).encode("ascii"),
    }
    if board.flashing is not None and board.flashing.tool == "uf2":
        files[elf.with_suffix(".uf2")] = uf2(flat_image(segments, origin), origin)
    for path, content in files.items():
        path.write_bytes(content)
    return list(files)


def flat_image(segments: list[tuple[int, bytes]], origin: int) -> bytes:
    """The bytes from `origin` to the end of the last segment; gaps are zero."""
    image = bytearray(max(address + len(data) for address, data in segments) - origin)
    for address, data in segments:
        image[address - origin : address - origin + len(data)] = data
    return bytes(image)


def intel_hex(segments: list[tuple[int, bytes]]) -> str:
    """Intel HEX with 32-bit addresses (Intel, Hexadecimal Object File Format, 1988)."""
    lines = []
    upper = -1
    for address, data in segments:
        at = 0
        while at < len(data):
            here = address + at
            if here >> 16 != upper:
                upper = here >> 16
                lines.append(_hex_record(0, _HEX_UPPER_ADDRESS, upper.to_bytes(2, "big")))
            nbytes = min(16, len(data) - at, 0x10000 - (here & 0xFFFF))
            lines.append(_hex_record(here & 0xFFFF, _HEX_DATA, data[at : at + nbytes]))
            at += nbytes
    lines.append(_hex_record(0, _HEX_END, b""))
    return "".join(lines)


def _hex_record(address: int, kind: int, data: bytes) -> str:
    body = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return f":{(body + bytes([-sum(body) & 0xFF])).hex().upper()}\n"
