"""The RP2040's boot block: its check sum, and what it does, run on an emulated core."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import unicorn
from toolchains import need_compiler
from unicorn import arm_const as arm

from firmware_gen.runtime.drivers import runtime_folder

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from make_boot2_rp2040 import boot2_text, crc32_mpeg2

RAM = 0x20041F00  # where the boot ROM copies it: RP2040 Datasheet, section 2.8.1.3.1
SSI = 0x18000000


def block() -> bytes:
    text = (runtime_folder() / "boot2_rp2040.c").read_text(encoding="utf-8")
    words = re.findall(r"0x([0-9a-f]{8})u", text)
    return b"".join(int(word, 16).to_bytes(4, "little") for word in words)


def test_the_check_sum_is_the_published_one() -> None:
    # The check value of CRC-32/MPEG-2 in the catalogue of parametrised CRC algorithms.
    assert crc32_mpeg2(b"123456789") == 0x0376E6E7


def test_the_block_has_256_bytes_and_ends_in_its_check_sum() -> None:
    boot2 = block()
    assert len(boot2) == 256
    assert crc32_mpeg2(boot2[:252]) == int.from_bytes(boot2[252:], "little")


def test_the_block_is_what_its_assembly_gives() -> None:
    need_compiler("gcc")
    assert boot2_text() == (runtime_folder() / "boot2_rp2040.c").read_text(encoding="utf-8")


def test_the_block_sets_up_plain_reads_and_enters_the_program() -> None:
    core = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    writes: list[tuple[int, int]] = []
    core.mem_map(0x20040000, 0x4000)
    core.mem_map(0x10000000, 0x1000)
    core.mem_map(0xE000E000, 0x1000)
    core.mem_map(SSI, 0x1000)
    core.hook_add(
        unicorn.UC_HOOK_MEM_WRITE,
        lambda _core, _access, address, _size, value, _data: writes.append((address, value)),
    )
    core.mem_write(RAM, block())
    core.mem_write(0x10000100, (0x20042000).to_bytes(4, "little"))
    core.mem_write(0x10000104, (0x10000201).to_bytes(4, "little"))
    core.emu_start(RAM | 1, 0x10000200, count=100)
    assert core.reg_read(arm.UC_ARM_REG_PC) == 0x10000200
    assert core.reg_read(arm.UC_ARM_REG_SP) == 0x20042000
    assert writes == [
        (SSI + 0x08, 0),
        (SSI + 0x14, 4),
        (SSI + 0x10, 1),
        (SSI + 0x00, 0x001F0300),
        (SSI + 0x04, 0),
        (SSI + 0xF4, 0x03000218),
        (SSI + 0x08, 1),
        (0xE000ED08, 0x10000100),
    ]
