"""The toolchain: what is refused and how it is said, sizes, and the project without edgeq."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toolchains import COMPILERS, need_compiler, need_program

from edgeq.board import load_board
from edgeq.errors import BoardError, ToolError
from firmware_gen.cores import core_of
from firmware_gen.image import load_segments, memory_use, read_symbols
from firmware_gen.image_files import flat_image, intel_hex
from firmware_gen.linker_script import GUARD_NBYTES, STACK_NBYTES, linker_script
from firmware_gen.project import build_project, write_project
from firmware_gen.toolchain import BuildResult, CompilerName, find_compiler, zig_cache_folder

ECHO = Path(__file__).parent / "echo" / "main.c"

QUIET = """
#include "edgeq_platform.h"
static uint8_t big[{bss}];
static volatile uint32_t initial[{data}] = {{1u}};
static const uint8_t constant[{rodata}] = {{1u}};
int main(void) {{
    edgeq_platform_init();
    for (uint32_t i = 0;; ++i) {{
        ((volatile uint8_t *)big)[i % sizeof big] = (uint8_t)initial[i % {data}u];
        edgeq_uart_write(constant[i % {rodata}u]);
    }}
}}
"""


def quiet(bss: int = 4, data: int = 1, rodata: int = 1) -> str:
    return QUIET.format(bss=bss, data=data, rodata=rodata)


def build(
    folder: Path, text: str, compiler: CompilerName, name: str = "mps2_an386", **more
) -> BuildResult:
    need_compiler(compiler)
    (folder / "main.c").write_text(text, encoding="utf-8")
    board = load_board(name)
    write_project(board, folder, ["main.c"])
    return build_project(board, folder, ["main.c"], compiler=compiler, **more)


def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "ziglang" else real(n, *a)
    )


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("gcc", "apt install gcc-arm-none-eabi"),
        ("zig", "pip install ziglang"),
        (None, "pip install ziglang"),
    ],
)
def test_a_missing_compiler_is_named_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, name: CompilerName | None, install: str
) -> None:
    no_tools(monkeypatch)
    with pytest.raises(ToolError, match=install):
        find_compiler(name)


def test_without_gcc_the_choice_falls_on_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    need_compiler("zig")
    monkeypatch.setenv("PATH", "")
    assert find_compiler().name == "zig"


def test_an_unknown_compiler_is_refused() -> None:
    with pytest.raises(ToolError, match="compiler is 'tcc', must be gcc or zig"):
        find_compiler("tcc")  # type: ignore[arg-type]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_sizes_are_those_of_the_program_and_data_counts_twice(
    tmp_path: Path, compiler: CompilerName
) -> None:
    small = build(tmp_path, quiet(), compiler)
    large = build(tmp_path, quiet(bss=504, data=101, rodata=3001), compiler)
    assert large.ram_nbytes - small.ram_nbytes == pytest.approx(500 + 400, abs=16)
    assert large.flash_nbytes - small.flash_nbytes == pytest.approx(3000 + 400, abs=200)
    assert large.stack_nbytes == STACK_NBYTES + GUARD_NBYTES
    sections = sum(
        nbytes for name, nbytes in large.sections.items() if name not in (".bss", ".stack")
    )
    assert 0 <= large.flash_nbytes - sections < 64  # alignment between sections
    assert large.flash_nbytes == len(flat_image(load_segments(large.elf), 0))
    assert large.compiler.startswith(compiler)
    assert " main\n" in large.map.read_text(encoding="utf-8")


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["mps2_an386", "microbit"])
def test_soft_float_is_refused_by_name(
    tmp_path: Path, name: str, compiler: CompilerName
) -> None:
    text = quiet() + "volatile float f;\nfloat twice(void);\n"
    text += "float twice(void) {\n    return f * 2.5f;\n}\n"
    text = text.replace("edgeq_platform_init();", "edgeq_platform_init();\n    f = twice();")
    text = text.replace(
        "static uint8_t big",
        "float twice(void);\nextern volatile float f;\nstatic uint8_t big",
        1,
    )
    with pytest.raises(ToolError, match=r"soft-float helpers \(.*__aeabi_fmul"):
        build(tmp_path, text, compiler, name)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_heap_is_refused_by_name(tmp_path: Path, compiler: CompilerName) -> None:
    text = quiet().replace("static uint8_t big", HEAP + "static uint8_t big")
    text = text.replace(
        "edgeq_platform_init();", "edgeq_platform_init();\n    (void)malloc(3u);"
    )
    with pytest.raises(ToolError, match=r"heap functions \(malloc\)"):
        build(tmp_path, text, compiler)


HEAP = """#include <stddef.h>
__attribute__((noinline)) void *malloc(size_t n);
static volatile size_t used;
void *malloc(size_t n) {
    used = n;
    return NULL;
}
"""


@pytest.mark.parametrize("compiler", COMPILERS)
def test_integer_helpers_of_the_m0_are_allowed(tmp_path: Path, compiler: CompilerName) -> None:
    result = build(tmp_path, ECHO.read_text(encoding="utf-8"), compiler, "microbit")
    names = {symbol.name for symbol in read_symbols(result.elf)}
    assert {"__aeabi_lmul", "__aeabi_uldivmod"} <= names


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("kind", "more"), [("ram", {"bss": 20000}), ("flash", {"rodata": 300000})]
)
def test_what_does_not_fit_is_refused_with_both_sizes(
    tmp_path: Path, kind: str, more: dict[str, int], compiler: CompilerName
) -> None:
    there = getattr(load_board("microbit"), kind).nbytes
    with pytest.raises(BoardError, match=f"{kind} '{kind}' has {there} bytes, (\\d+) are") as e:
        build(tmp_path, quiet(**more), compiler, "microbit")
    needed = int(str(e.value).split(" bytes, ")[1].split()[0])
    assert needed == pytest.approx(
        sum(more.values()) + (4200 if kind == "ram" else 1500), abs=900
    )


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_warning_stops_the_build_and_names_the_file(
    tmp_path: Path, compiler: CompilerName
) -> None:
    text = (
        quiet()
        + "uint8_t narrow(uint32_t x);\nuint8_t narrow(uint32_t x) {\n    return x;\n}\n"
    )
    with pytest.raises(ToolError, match=r"main\.c: .* refuses it:[\s\S]*conversion"):
        build(tmp_path, text, compiler)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["mps2_an386", "mps2_an500", "mps2_an505", "mps3_an547"])
def test_code_for_cores_with_the_dsp_extension_is_told_of_it(
    name: str, compiler: CompilerName, tmp_path: Path
) -> None:
    assert core_of(load_board(name)).target.has_dsp
    untold = (
        "#ifndef __ARM_FEATURE_DSP\n#error the kernels would be compiled as plain C\n#endif"
    )
    build(tmp_path, f"{untold}\n{quiet()}", compiler, name)


def test_zig_builds_from_an_empty_cache_and_says_what_takes_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEQ_CACHE_DIR", str(tmp_path / "cache"))
    said: list[str] = []
    build(tmp_path, quiet(), "zig", progress=said.append)
    assert "zig first compiles its run-time library for cortex-m4" in said[-1]
    said.clear()
    build(tmp_path, quiet(), "zig", progress=said.append)
    assert said[-1] == "linking"


@pytest.mark.parametrize("stack", [0, -8, 12, 1 << 22])
def test_an_impossible_stack_is_refused(stack: int) -> None:
    with pytest.raises(BoardError, match=f"stack (is|of) {stack} bytes"):
        linker_script(load_board("mps2_an386"), stack)


def test_a_file_that_is_no_elf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(b"not an ELF")
    with pytest.raises(ToolError, match=r"firmware\.elf: cannot be read as ELF"):
        memory_use(path)


def test_intel_hex_crosses_64_kilobytes_in_a_new_segment() -> None:
    # Check sums by hand: the sum of all bytes of a record is 0 modulo 256.
    assert intel_hex([(0x0800FFFE, b"\x01\x02\x03")]).splitlines() == [
        ":020000040800F2",
        ":02FFFE000102FE",
        ":020000040801F1",
        ":0100000003FC",
        ":00000001FF",
    ]


@pytest.mark.parametrize("tool", ["make", "cmake"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_folder_builds_without_edgeq(
    tmp_path: Path, compiler: CompilerName, tool: str
) -> None:
    need_program("make", "make")
    need_program(tool, tool)
    result = build(tmp_path, ECHO.read_text(encoding="utf-8"), compiler, "raspberry_pi_pico")
    elsewhere = tmp_path / "elsewhere"
    steps = [["make", f"COMPILER={compiler}", "BUILD=elsewhere"]]
    if tool == "cmake":
        here = ["-S", ".", "-B", "elsewhere", "-G", "Unix Makefiles"]
        steps = [["cmake", *here, f"-DCOMPILER={compiler}"], ["cmake", "--build", "elsewhere"]]
    environment = {
        **os.environ,
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
        "ZIG_GLOBAL_CACHE_DIR": str(zig_cache_folder()),
    }
    for step in steps:
        done = subprocess.run(
            step, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning:" not in done.stdout + done.stderr
    for suffix in (".bin", ".uf2"):
        theirs = (elsewhere / f"firmware{suffix}").read_bytes()
        assert theirs == result.elf.with_suffix(suffix).read_bytes()
    assert memory_use(elsewhere / "firmware.elf") == memory_use(result.elf)
    assert (elsewhere / "firmware.hex").read_text().startswith(":020000041000EA")


def test_generated_text_is_the_same_each_time(tmp_path: Path) -> None:
    board = load_board("raspberry_pi_pico")
    for name in ("a", "b"):
        write_project(board, tmp_path / name, ["main.c"])
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) > 10
    for path in files:
        text = (tmp_path / "a" / path).read_bytes()
        assert text == (tmp_path / "b" / path).read_bytes()
        assert str(tmp_path).encode() not in text
