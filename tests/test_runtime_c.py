import subprocess
import sys
from pathlib import Path

import pytest
from stream_device import DEVICE, RUNTIME, WARNINGS
from toolchains import need_compiler

PARTS = ("framing", "serial", "app_serial", "app_flash")
SOURCES = [*(RUNTIME / f"edgeq_{part}.c" for part in PARTS), RUNTIME / "main.c"]
GCC = ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb"]
ZIG = [sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabi"]
ZIG += ["-mcpu=cortex_m0", "-fno-sanitize=all", "-fno-unwind-tables"]


@pytest.mark.parametrize("compiler", [GCC, ZIG], ids=["gcc", "zig"])
@pytest.mark.parametrize("optimization", ["-Os", "-O2"])
def test_the_device_side_compiles_for_the_smallest_core(
    tmp_path: Path, compiler: list[str], optimization: str
) -> None:
    need_compiler("gcc" if compiler is GCC else "zig")
    flags = [optimization, "-ffreestanding", *WARNINGS, f"-I{RUNTIME}", f"-I{DEVICE}", "-c"]
    for source in SOURCES:
        target = tmp_path / f"{source.stem}.o"
        subprocess.run([*compiler, *flags, str(source), "-o", str(target)], check=True)
        assert b"__aeabi_uidiv" not in target.read_bytes(), "the Cortex-M0 has no division"
