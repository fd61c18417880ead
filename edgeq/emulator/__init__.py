"""Emulated boards: the very ELF that would be flashed, its serial port open to pyserial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from edgeq.board import Board
from edgeq.emulator.base import Emulator
from edgeq.errors import ToolError

if TYPE_CHECKING:
    from edgeq.emulator.qemu import QemuBoard
    from edgeq.emulator.virtual import VirtualBoard

__all__ = ["Emulator", "start"]


@overload
def start(
    elf_path: Path, board: Board, emulator: Literal["virtual"], *, tcp: bool = False
) -> VirtualBoard: ...
@overload
def start(
    elf_path: Path, board: Board, emulator: Literal["qemu"], *, tcp: bool = False
) -> QemuBoard: ...
@overload
def start(
    elf_path: Path, board: Board, emulator: Literal["virtual", "qemu"], *, tcp: bool = False
) -> Emulator: ...


def start(
    elf_path: Path, board: Board, emulator: Literal["virtual", "qemu"], *, tcp: bool = False
) -> Emulator:
    """Boot a firmware on an emulated board; it runs until `close` or until it stops by itself.

    "virtual" counts each instruction, "qemu" is independent and knows the Cortex-M55. The port
    is a pty, or a TCP port if `tcp` is true or the system has no ptys.

    Raises:
        EmulatorError: the firmware cannot be read, or the emulator has no such board.
        ToolError: the emulator is not installed.
    """
    if emulator == "qemu":
        from edgeq.emulator.qemu import QemuBoard

        return QemuBoard(elf_path, board, tcp=tcp)
    try:
        from edgeq.emulator.virtual import VirtualBoard
    except ModuleNotFoundError as error:
        if error.name != "unicorn":
            raise
        raise ToolError(
            "the virtual board needs the package unicorn: pip install 'edgeq[board]'"
        ) from error
    return VirtualBoard(elf_path, board, tcp=tcp)
