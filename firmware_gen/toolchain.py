"""Find a compiler, build firmware with it, and read sizes and symbols back from the ELF.

Two compilers: "gcc" is arm-none-eabi-gcc on PATH, "zig" the clang of the ziglang wheel
(compiler, LLD and the run-time library of every core, no system package). Both build with the
same warnings, all of them errors, and against no C library.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeq.board import Board
from edgeq.errors import BoardError, ToolError
from firmware_gen.cores import core_of
from firmware_gen.image import ARENA, WEIGHTS, MemoryUse, audit_image, memory_use, symbol_map

CompilerName = Literal["gcc", "zig"]
Progress = Callable[[str], None]

INSTALL = {
    "gcc": "install it with `apt install gcc-arm-none-eabi` (Debian, Ubuntu) or from "
    "developer.arm.com, and put it on PATH",
    "zig": "install it with `pip install ziglang`",
}

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
LANGUAGE = ("-std=c11", "-ffreestanding", "-fno-common")
SECTIONS = ("-ffunction-sections", "-fdata-sections")
# Nothing is unwound; clang keeps a frame pointer unless told.
CODE = ("-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fomit-frame-pointer")


MODEL_C = "model.c"  # holds the kernels


@dataclass(frozen=True, slots=True)
class Levels:
    """The compiler's optimization of a firmware's files."""

    model: str = "-O2"  # of model.c
    rest: str = "-O2"

    def of(self, source: str) -> str:
        """The level of a C file, by its name."""
        return self.model if source == MODEL_C else self.rest


LEVELS = Levels()


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler found on this system; `command` runs its driver."""

    name: CompilerName
    command: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class MemoryTaken:
    """What an image takes of one of a board's memories."""

    name: str
    kind: str
    used_nbytes: int
    nbytes: int
    holds: str


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A linked image and what it takes; sizes are read from the ELF."""

    elf: Path
    map: Path  # symbols by address, with their sizes
    compiler: str  # name and version
    flash_nbytes: int  # with the initial values of .data; the size of the .bin
    ram_nbytes: int  # .data and .bss, up to the stack
    stack_nbytes: int
    sections: Mapping[str, int]
    memories: tuple[MemoryTaken, ...]  # those in use, in the board's order by kind


def find_compiler(name: CompilerName | None = None) -> Compiler:
    """The compiler of that name; None: gcc if it is there, else zig.

    Raises:
        ToolError: it is not installed (says how to install it), or does not run.
    """
    if name == "gcc" or (name is None and shutil.which("arm-none-eabi-gcc")):
        path = shutil.which("arm-none-eabi-gcc")
        if path is None:
            raise ToolError(f"arm-none-eabi-gcc is not on PATH; {INSTALL['gcc']}")
        return Compiler("gcc", (path,), _output([path, "-dumpfullversion"]))
    if name not in (None, "zig"):
        raise ToolError(f"compiler is '{name}', must be gcc or zig")
    if importlib.util.find_spec("ziglang") is None:
        if name is None:
            raise ToolError(
                f"no compiler: neither arm-none-eabi-gcc nor ziglang is there; {INSTALL['zig']}"
            )
        raise ToolError(f"ziglang is not installed; {INSTALL['zig']}")
    command = (sys.executable, "-m", "ziglang")
    return Compiler("zig", (*command, "cc"), _output([*command, "version"]))


def compile_flags(board: Board, compiler: CompilerName, optimize: str = "-O2") -> list[str]:
    """The options with which every C file of a board's firmware is compiled."""
    core = core_of(board)
    if compiler == "gcc":
        target = [*core.gcc_flags]
    else:
        # zig's driver adds undefined-behaviour traps at low optimization levels.
        target = ["-target", core.zig_target, f"-mcpu={core.zig_cpu}", "-fno-sanitize=all"]
    return [*target, *LANGUAGE, *WARNINGS, *SECTIONS, *CODE, optimize, "-g"]


def link_flags(board: Board, compiler: CompilerName, linker_script: str) -> list[str]:
    """The options with which the objects of a board's firmware are linked.

    The compilers' own libraries stay: they hold 64-bit arithmetic, and on the M0 division.
    """
    core = core_of(board)
    common = ["-T", linker_script, "-Wl,--gc-sections", "-Wl,--entry=Reset_Handler"]
    common += ["-Wl,--fatal-warnings"]
    if compiler == "gcc":
        return [*core.gcc_flags, "-nostdlib", *common]
    # The level is that of the run-time library; at -Os zig would drop the symbols.
    return ["-target", core.zig_target, f"-mcpu={core.zig_cpu}", "-O2", *common]


def compile_and_link(
    sources: Sequence[Path],
    include_dirs: Sequence[Path],
    linker_script: Path,
    board: Board,
    out_elf: Path,
    compiler: CompilerName | None = None,
    levels: Levels = LEVELS,
    progress: Progress | None = None,
) -> BuildResult:
    """Build firmware: compile the sources, two at a time, link, audit the image, read sizes.

    `progress` is told what is going on, one line at a time.

    Raises:
        ToolError: no compiler, or a file does not compile (with the compiler's words), or the
            image holds what it must not (`audit_image`).
        BoardError: the image does not fit the board's memories.
    """
    tool = find_compiler(compiler)
    say = progress or (lambda line: None)
    includes = [f"-I{folder}" for folder in include_dirs]
    environment = _environment(tool)
    out_elf.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgeq-build-") as scratch:
        objects = [Path(scratch) / f"{i}-{s.stem}.o" for i, s in enumerate(sources)]

        def compile_one(source: Path, target: Path) -> None:
            flags = compile_flags(board, tool.name, levels.of(source.name))
            command = [*tool.command, *flags, *includes, "-c", str(source), "-o", str(target)]
            failure = _run(command, environment)
            if failure is not None:
                raise ToolError(f"{source.name}: {tool.name} refuses it:\n{failure}")

        say(f"compiling {len(sources)} files with {tool.name} {tool.version}")
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(compile_one, sources, objects))
        mark = _first_link_mark(tool, board)
        if mark is None or mark.exists():
            say("linking")
        else:
            say(f"linking; zig first compiles its run-time library for {board.core}, once")
        command = [*tool.command, *map(str, objects), "-o", str(out_elf)]
        command += link_flags(board, tool.name, str(linker_script))
        command += ["-lgcc"] if tool.name == "gcc" else []
        failure = _run(command, environment)
    if failure is not None:
        raise _link_error(board, tool, failure)
    if mark is not None:
        mark.touch()
    audit_image(out_elf)
    use = memory_use(out_elf)
    map_path = out_elf.with_suffix(".map")
    map_path.write_text(symbol_map(out_elf), encoding="utf-8")
    return BuildResult(
        elf=out_elf,
        map=map_path,
        compiler=f"{tool.name} {tool.version}",
        flash_nbytes=use.flash_nbytes,
        ram_nbytes=use.ram_nbytes,
        stack_nbytes=use.stack_nbytes,
        sections=use.sections,
        memories=_memories(board, use),
    )


def _memories(board: Board, use: MemoryUse) -> tuple[MemoryTaken, ...]:
    """The first flash and the first ram, and the rams that hold an arena or constants too."""
    flash, rams = board.flash, board.of_kind("ram")
    static = use.ram_nbytes + use.stack_nbytes
    has_several = any(name.startswith(ARENA) for name in use.sections)
    weights = [use.sections.get(f"{WEIGHTS}{number}", 0) for number in range(len(rams))]
    copied = f"constants of {weights[0]:,}, " if weights[0] else ""
    arena = f"{'first ' if has_several else ''}arena"
    holds = f"data, {copied}{arena}, stack of {use.stack_nbytes:,}"
    found = [
        MemoryTaken(flash.name, "flash", use.flash_nbytes, flash.nbytes, "code, constants"),
        MemoryTaken(rams[0].name, "ram", static, rams[0].nbytes, holds),
    ]
    for number, memory in enumerate(rams[1:], 1):
        used = use.sections.get(f"{ARENA}{number}", 0)
        what = ["arena"] if used else []
        what += [f"constants of {weights[number]:,}"] if weights[number] else []
        used += weights[number]
        if used:
            found.append(MemoryTaken(memory.name, "ram", used, memory.nbytes, ", ".join(what)))
    return tuple(found)


def zig_cache_folder() -> Path:
    """Where zig keeps what it compiled: in EDGEQ_CACHE_DIR or the user's cache, as jit.py."""
    base = os.environ.get("EDGEQ_CACHE_DIR")
    if base is None:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        base = str(Path(home) / "edgeq")
    return Path(base) / "zig"


def _environment(tool: Compiler) -> dict[str, str]:
    environment = {**os.environ, "LC_ALL": "C"}
    if tool.name == "zig":
        folder = zig_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        environment["ZIG_GLOBAL_CACHE_DIR"] = str(folder)
        environment["ZIG_LOCAL_CACHE_DIR"] = str(folder)
    return environment


def _first_link_mark(tool: Compiler, board: Board) -> Path | None:
    """A file that is there once zig has linked for a board's core; None for gcc."""
    if tool.name == "gcc":
        return None
    return zig_cache_folder() / f"linked-{tool.version}-{board.core}"


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """None if the command succeeds, else what it printed."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ToolError(f"{command[0]}: cannot be started: {error}") from error
    if done.returncode == 0:
        return None
    return (done.stdout + done.stderr).strip() or f"exit status {done.returncode}"


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError(f"{command[0]}: does not run: {error}") from error
    return done.stdout.strip()


def _link_error(board: Board, tool: Compiler, text: str) -> BoardError | ToolError:
    # GNU ld: "region `ram' overflowed by 8 bytes"; LLD: "region 'ram': overflowed by 8 bytes".
    regions = {"flash": board.flash, "ram": board.ram}
    regions |= {f"ram_{k}": memory for k, memory in enumerate(board.of_kind("ram")) if k}
    for name, memory in regions.items():
        over = [int(n) for n in re.findall(rf"\b{name}\b'?:? overflowed by (\d+)", text)]
        if over:
            return BoardError(
                f"{board.name}: the image does not fit: {memory.kind} '{memory.name}' has "
                f"{memory.nbytes} bytes, {memory.nbytes + max(over)} are needed"
            )
    return ToolError(f"{board.name}: {tool.name} cannot link:\n{text}")
