"""The buildable folder: runtime sources, board header, linker script, Makefile, CMakeLists.txt.

The folder builds without edgeq: `make`, `make COMPILER=zig`, or CMake. What the application and
the model add are source files in the folder, named relative to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeq.board import Board
from edgeq.errors import DataError
from firmware_gen.image_files import write_image_files
from firmware_gen.linker_script import STACK_NBYTES, linker_script
from firmware_gen.runtime import drivers
from firmware_gen.toolchain import (
    LEVELS,
    BuildResult,
    CompilerName,
    Levels,
    Progress,
    compile_and_link,
    compile_flags,
    link_flags,
)

RUNTIME = "runtime"
LINKER_SCRIPT = "link.ld"
BUILD = "build"

_MAKEFILE = """\
# Builds build/firmware.elf, .bin and .hex: `make` with arm-none-eabi-gcc, `make COMPILER=zig`
# with the clang of the ziglang wheel (pip install ziglang).
COMPILER ?= gcc
PYTHON ?= python3
OPTIMIZE ?= @rest_level@
MODEL_OPTIMIZE ?= @model_level@
BUILD ?= @build@

SOURCES = @sources@

INCLUDES = @includes@

ifeq ($(COMPILER),zig)
CC = $(PYTHON) -m ziglang cc
OBJCOPY = $(PYTHON) -m ziglang objcopy
HEX = hex
CFLAGS = @zig_cflags@
LDFLAGS = @zig_ldflags@
LDLIBS =
else
CC = arm-none-eabi-gcc
OBJCOPY = arm-none-eabi-objcopy
HEX = ihex
CFLAGS = @gcc_cflags@
LDFLAGS = @gcc_ldflags@
LDLIBS = -lgcc
endif

OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)

all: @targets@

$(BUILD)/model.o: OPTIMIZE = $(MODEL_OPTIMIZE)
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(OPTIMIZE) $(INCLUDES) -MMD -MP -c $< -o $@

$(BUILD)/firmware.elf: $(OBJECTS) @linker_script@
	$(CC) $(OBJECTS) -o $@ $(LDFLAGS) $(LDLIBS)

$(BUILD)/firmware.bin: $(BUILD)/firmware.elf
	$(OBJCOPY) -O binary $< $@

$(BUILD)/firmware.hex: $(BUILD)/firmware.elf
	$(OBJCOPY) -O $(HEX) $< $@

$(BUILD)/firmware.uf2: $(BUILD)/firmware.bin
	$(PYTHON) @runtime@/make_uf2.py $< $@

clean:
	rm -rf $(BUILD)

.PHONY: all clean
-include $(OBJECTS:.o=.d)
"""

_CMAKE = """\
# Builds firmware.elf, .bin and .hex: `cmake -S . -B build && cmake --build build` with
# arm-none-eabi-gcc; add -DCOMPILER=zig for the clang of the ziglang wheel.
cmake_minimum_required(VERSION 3.20)

set(COMPILER gcc CACHE STRING "gcc or zig")
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_C_COMPILER_WORKS TRUE)
find_program(PYTHON NAMES python3 python)
if(COMPILER STREQUAL "zig")
    set(CMAKE_C_COMPILER ${PYTHON} -m ziglang cc)
    set(OBJCOPY ${PYTHON} -m ziglang objcopy)
    set(HEX hex)
    set(FLAGS @zig_cflags@)
    set(LINK_FLAGS @zig_ldflags@)
    set(LIBRARIES)
else()
    set(CMAKE_C_COMPILER arm-none-eabi-gcc)
    set(OBJCOPY arm-none-eabi-objcopy)
    set(HEX ihex)
    set(FLAGS @gcc_cflags@)
    set(LINK_FLAGS @gcc_ldflags@)
    set(LIBRARIES gcc)
endif()

project(firmware C)

add_executable(firmware.elf
    @sources@)
target_include_directories(firmware.elf PRIVATE
    @include_dirs@)
target_compile_options(firmware.elf PRIVATE ${FLAGS} @rest_level@)
set_source_files_properties(model.c PROPERTIES COMPILE_OPTIONS @model_level@)
target_link_options(firmware.elf PRIVATE ${LINK_FLAGS})
target_link_libraries(firmware.elf PRIVATE ${LIBRARIES})
set_target_properties(firmware.elf PROPERTIES
    LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/@linker_script@)
add_custom_command(TARGET firmware.elf POST_BUILD
    COMMAND ${OBJCOPY} -O binary firmware.elf firmware.bin
    COMMAND ${OBJCOPY} -O ${HEX} firmware.elf firmware.hex
@uf2_command@    VERBATIM)
"""

_CMAKE_UF2 = (
    "    COMMAND ${PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/@runtime@/make_uf2.py firmware.bin "
    "firmware.uf2\n"
)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Says of files that cannot be written which, and why.

    Raises:
        DataError: a file or a folder cannot be created or written.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise DataError(f"{where}: cannot be written: {error.strerror}") from error


def write_project(
    board: Board,
    folder: Path,
    sources: Sequence[str],
    include_dirs: Sequence[str] = (".",),
    stack_nbytes: int = STACK_NBYTES,
    levels: Levels = LEVELS,
    arenas: Sequence[int] = (),
    copied: Sequence[int] = (),
) -> None:
    """Write all that makes `folder` buildable but the application's and the model's own files.

    `sources` and `include_dirs` are relative to the folder, with forward slashes; the runtime
    adds its own. `arenas` and `copied` as in `linker_script`.

    Raises:
        BoardError: the board names an unknown driver, or a setting is missing or unknown.
    """
    header = drivers.board_header(board, has_copies=bool(copied))
    script = linker_script(board, stack_nbytes, arenas, copied)
    runtime = folder / RUNTIME
    runtime.mkdir(parents=True, exist_ok=True)
    files = [drivers.runtime_folder() / name for name in drivers.HEADERS]
    files += drivers.runtime_sources(board)
    if _is_uf2(board):
        files.append(drivers.runtime_folder() / "make_uf2.py")
    for path in files:
        shutil.copyfile(path, runtime / path.name)
    (runtime / "edgeq_board.h").write_text(header, encoding="utf-8")
    (folder / LINKER_SCRIPT).write_text(script, encoding="utf-8")
    for name, template in (("Makefile", _MAKEFILE), ("CMakeLists.txt", _CMAKE)):
        text = _filled(template, board, project_sources(board, sources), include_dirs, levels)
        (folder / name).write_text(text, encoding="utf-8")


def project_sources(board: Board, sources: Sequence[str]) -> list[str]:
    """All C files of a project, relative to its folder: the given ones, then the runtime's."""
    return [*sources, *(f"{RUNTIME}/{path.name}" for path in drivers.runtime_sources(board))]


def build_project(
    board: Board,
    folder: Path,
    sources: Sequence[str],
    include_dirs: Sequence[str] = (".",),
    compiler: CompilerName | None = None,
    levels: Levels = LEVELS,
    progress: Progress | None = None,
) -> BuildResult:
    """Build what `write_project` wrote with the same arguments, into build/ in the folder.

    Writes firmware.elf, .map, .bin, .hex, and .uf2 for a board that takes it.

    Raises:
        ToolError: no compiler, a file does not compile, or the image holds what it must not.
        BoardError: the image does not fit the board's memories.
        DataError: build/ cannot be written.
    """
    with writing(folder):
        result = compile_and_link(
            [folder / name for name in project_sources(board, sources)],
            [*(folder / name for name in include_dirs), folder / RUNTIME],
            folder / LINKER_SCRIPT,
            board,
            folder / BUILD / "firmware.elf",
            compiler,
            levels,
            progress,
        )
        write_image_files(result.elf, board)
    return result


def _is_uf2(board: Board) -> bool:
    return board.flashing is not None and board.flashing.tool == "uf2"


def _filled(
    template: str,
    board: Board,
    sources: Sequence[str],
    include_dirs: Sequence[str],
    levels: Levels,
) -> str:
    cmake = template is _CMAKE
    script = "${CMAKE_CURRENT_SOURCE_DIR}/" + LINKER_SCRIPT if cmake else LINKER_SCRIPT
    suffixes = ["elf", "bin", "hex", *(["uf2"] if _is_uf2(board) else [])]
    folders = [*include_dirs, RUNTIME]
    values = {
        "uf2_command": _CMAKE_UF2 if _is_uf2(board) else "",
        "build": BUILD,
        "model_level": levels.model,
        "rest_level": levels.rest,
        "runtime": RUNTIME,
        "linker_script": LINKER_SCRIPT,
        "sources": ("\n    " if cmake else " \\\n\t").join(sources),
        "includes": " ".join(f"-I{name}" for name in folders),
        "include_dirs": "\n    ".join(folders),
        "targets": " ".join(f"$(BUILD)/firmware.{suffix}" for suffix in suffixes),
    }
    names: tuple[CompilerName, ...] = ("gcc", "zig")
    for name in names:
        # A later compiler may know more warnings: they must not stop somebody else's build.
        flags = [flag for flag in compile_flags(board, name, "") if flag not in ("", "-Werror")]
        values[f"{name}_cflags"] = " ".join(flags)
        values[f"{name}_ldflags"] = " ".join(link_flags(board, name, script))
    for key, value in values.items():
        template = template.replace(f"@{key}@", value)
    return template
