"""Builds emulator_c/loops.c: functions whose cost is counted by hand."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from toolchains import need_compiler

from edgeq.board import load_board
from firmware_gen.project import build_project, write_project

LOOPS = Path(__file__).parent / "emulator_c" / "loops.c"
BOARDS = {
    "cortex-m0": "microbit",
    "cortex-m0plus": "nucleo_g0b1re",
    "cortex-m3": "mps2_an385",
    "cortex-m4": "mps2_an386",
    "cortex-m33": "mps2_an505",
    "cortex-m7": "mps2_an500",
}


@cache
def _folder() -> Path:
    return Path(mkdtemp(prefix="edgeq-loops-"))


@cache
def loops(core: str) -> Path:
    """The ELF of loops.c for the core's board, built once a session."""
    need_compiler("gcc")
    folder = _folder() / core
    folder.mkdir()
    shutil.copy(LOOPS, folder / "main.c")
    board = load_board(BOARDS[core])
    write_project(board, folder, ["main.c"])
    return build_project(board, folder, ["main.c"], compiler="gcc").elf


def remove_loops() -> None:
    shutil.rmtree(_folder(), ignore_errors=True)
    loops.cache_clear()
    _folder.cache_clear()
