"""Write firmware_gen/runtime/boot2_rp2040.c from boot2_rp2040.S: assemble, pad, append the CRC.

Run it after a change of the assembly: `python tools/make_boot2_rp2040.py`.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

from firmware_gen import c_text
from firmware_gen.toolchain import find_compiler

HERE = Path(__file__).parent
TARGET = HERE.parent / "firmware_gen" / "runtime" / "boot2_rp2040.c"
CODE_NBYTES = 252


def crc32_mpeg2(data: bytes) -> int:
    """The boot ROM's check sum: CRC-32 with 0x04c11db7, most significant bit first, start all
    ones, not inverted at the end (RP2040 Datasheet, section 2.8.1.3.1)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def assemble(source: Path) -> bytes:
    tool = find_compiler("gcc")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "boot2.o"
        subprocess.run(
            [*tool.command, "-mcpu=cortex-m0plus", "-c", str(source), "-o", str(target)],
            check=True,
        )
        with target.open("rb") as stream:
            image = ELFFile(stream)
            if any(s.name in (".rel.text", ".rela.text") for s in image.iter_sections()):
                raise SystemExit(f"{source.name}: must not need relocation")
            return bytes(image.get_section_by_name(".text").data())


def boot2_text() -> str:
    code = assemble(HERE / "boot2_rp2040.S")
    if len(code) > CODE_NBYTES:
        raise SystemExit(f"boot2 has {len(code)} bytes, must be at most {CODE_NBYTES}")
    padded = code.ljust(CODE_NBYTES, b"\0")
    block = padded + crc32_mpeg2(padded).to_bytes(4, "little")
    words = [f"0x{int.from_bytes(block[i : i + 4], 'little'):08x}u" for i in range(0, 256, 4)]
    note = c_text.comment(
        "The second stage of the RP2040's boot loader with its check sum; made by "
        "tools/make_boot2_rp2040.py from tools/boot2_rp2040.S."
    )
    head = '__attribute__((section(".boot2"), used)) const uint32_t edgeq_boot2[64] = {\n'
    return (
        note
        + c_text.include("stdint.h", system=True)
        + "\nextern const uint32_t edgeq_boot2[64];\n\n"
        + head
        + c_text.wrap_values(words)
        + "};\n"
    )


if __name__ == "__main__":
    TARGET.write_text(boot2_text(), encoding="utf-8")
