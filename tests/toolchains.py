"""What the tests do when a tool is missing: fail in CI, where all are installed, else skip."""

from __future__ import annotations

import os
import shutil

import pytest

from edgeq.errors import ToolError
from firmware_gen.toolchain import CompilerName, find_compiler

COMPILERS: tuple[CompilerName, ...] = ("gcc", "zig")


def missing(text: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def need_compiler(name: CompilerName) -> None:
    try:
        find_compiler(name)
    except ToolError as error:
        missing(str(error))


def need_program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not on PATH; install it with `apt install {package}`")
    assert path is not None
    return path
