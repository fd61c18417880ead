"""What commands share: the consoles, --json, progress bars, error lines."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from edgeq.errors import DataError

console = Console()
stderr = Console(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, nothing else.")]
ModelArgument = Annotated[Path, typer.Argument(help="A .tflite, .onnx or .edgeq file.")]
BoardOption = Annotated[
    str,
    typer.Option("--board", "-b", help="Board name (`edgeq boards`), or a .toml of your own."),
]


class EmulatorKind(StrEnum):
    """The emulators."""

    virtual = "virtual"
    qemu = "qemu"


class Compiler(StrEnum):
    """The compilers."""

    gcc = "gcc"
    zig = "zig"


class Purpose(StrEnum):
    """What generated code is for."""

    speed = "speed"
    size = "size"
    balanced = "balanced"


EmulatorOption = Annotated[EmulatorKind, typer.Option(help="Which emulator runs the board.")]
CompilerOption = Annotated[
    Compiler | None, typer.Option(help="arm-none-eabi-gcc, or zig's clang; else what is there.")
]
OptimizeOption = Annotated[
    Purpose,
    typer.Option(
        "--optimize", help="What the code is for; the bytes that it computes are the same."
    ),
]


WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights-in-ram",
        metavar="auto|none|BYTES",
        help="Copy constants from flash into ram at start-up: where the board's file says that "
        "it pays, never, or at most so many bytes on any board.",
    ),
]


def weights_in_ram(text: str) -> Literal["auto", "none"] | int:
    """What --weights-in-ram asks for.

    Raises:
        DataError: it is none of the words, nor a whole number.
    """
    if text == "auto":
        return "auto"
    if text == "none":
        return "none"
    if not text.isdecimal():
        raise DataError(
            f"--weights-in-ram is '{text}', must be auto, none or a number of bytes"
        )
    return int(text)


class RoundingKind(StrEnum):
    """The profiles of requantization."""

    tflm = "tflm"
    single = "single"
    shift = "shift"


CountOption = Annotated[
    int | None, typer.Option(min=1, help="Use only the first COUNT samples.")
]
InputScaleOption = Annotated[
    float | None,
    typer.Option(help="What one unit of the data is worth: real = scale * value."),
]


def show(as_json: bool, record: Any, *renderables: RenderableType) -> None:
    """Print the record as JSON, or the renderables for people."""
    if as_json:
        print(json.dumps(plain(record), indent=2, allow_nan=False))
        return
    for renderable in renderables:
        # The terminal wraps text better than rich does: a path stays one word.
        console.print(renderable, highlight=False, soft_wrap=isinstance(renderable, str | Text))


def plain(value: Any) -> Any:
    """The value in what JSON knows; dataclasses by field, arrays as lists, paths as text.

    JSON has no infinite numbers and no NaN: they are null.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


def _bar(unit: str) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,  # else it leaves empty lines in a log
    )


@contextmanager
def progress_bar(
    title: str, unit: str = "samples"
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr while work goes on; yields a function of (done, in all)."""
    with _bar(unit) as progress:
        task = progress.add_task(title, total=None)

        def update(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield update


@contextmanager
def progress_stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for work in stages; yields a function of (stage, done, in all)."""
    with _bar("") as progress:
        task = progress.add_task("", total=None)

        def update(stage: str, done: int, total: int) -> None:
            progress.update(task, description=stage, completed=done, total=total)

        yield update


def check_output(path: Path, *suffixes: str) -> None:
    """Refuse a file that could not be written, before the work for it begins.

    Raises:
        DataError: another suffix than one of `suffixes`, a folder, or none to be in.
    """
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path}: is '{path.suffix}', must be {' or '.join(suffixes)}")
    if path.is_dir():
        raise DataError(f"{path}: cannot be written: Is a directory")
    if not path.parent.is_dir():
        why = "Not a directory" if path.parent.exists() else "No such file or directory"
        raise DataError(f"{path}: cannot be written: {why}")


def say(text: str) -> None:
    """One line for people, on stderr, so that stdout stays the result."""
    stderr.print(text, highlight=False, soft_wrap=True)
