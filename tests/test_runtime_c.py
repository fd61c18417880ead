import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stream_device import DEVICE, RUNTIME, WARNINGS

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
    if shutil.which(compiler[0]) is None and "CI" not in os.environ:
        pytest.skip("arm-none-eabi-gcc is not here: apt install gcc-arm-none-eabi")
    flags = [optimization, "-ffreestanding", *WARNINGS, f"-I{RUNTIME}", f"-I{DEVICE}", "-c"]
    for source in SOURCES:
        target = tmp_path / f"{source.stem}.o"
        subprocess.run([*compiler, *flags, str(source), "-o", str(target)], check=True)
        assert b"__aeabi_uidiv" not in target.read_bytes(), "the Cortex-M0 has no division"
