"""Runs `edgeq`, in this process or as one of its own, and makes the files that it is given."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from firmware_matrix import digits
from test_importers import tiny_tflite

from edgeq.cli import main
from edgeq.demo import demo_model_path, load_digits
from edgeq.model_file import save_graph

# What goes on may be said before an error.
_PROGRESS = re.compile(r"(edgeq: )?compiling \d+ (kernels|files).*|linking.*|")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    def error(self) -> str:
        """The one line of the error, without its prefix."""
        assert self.status == 1, (self.status, self.out, self.err)
        lines = [line for line in self.err.splitlines() if not _PROGRESS.fullmatch(line)]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("edgeq: ")
        assert "Traceback" not in self.err + self.out
        return lines[0].removeprefix("edgeq: ")


class CommandLine:
    """`edgeq` in this process, as `python -m edgeq` runs it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Done:
        self._monkeypatch.setattr(sys, "argv", ["edgeq", *map(str, arguments)])
        self._capsys.readouterr()
        status: object = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        assert isinstance(status, int)
        captured = self._capsys.readouterr()
        return Done(status, captured.out, captured.err)


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`edgeq` as a process of its own; killed at the end if it still runs."""
    started = subprocess.Popen(
        [sys.executable, "-m", "edgeq", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        started.communicate()


def make_files(folder: Path) -> Path:
    """Models and data, good and bad, by telling names."""
    train_x, train_y, test_x, test_y = load_digits()
    onnx = demo_model_path().read_bytes()
    shutil.copyfile(demo_model_path(), folder / "float.onnx")
    save_graph(digits(), folder / "digits.edgeq")
    np.savez(folder / "train.npz", inputs=train_x[:100], labels=train_y[:100])
    np.savez(folder / "test.npz", inputs=test_x, labels=test_y)
    np.save(folder / "test.npy", test_x[:5])

    damaged = train_x[:10].copy()
    damaged[3, 2, 2, 0] = np.nan
    np.savez(folder / "nan.npz", inputs=damaged)
    np.savez(folder / "shape.npz", inputs=train_x[:10, :7])
    np.savez(folder / "none.npz", inputs=train_x[:0], labels=train_y[:0])
    np.savez(folder / "two.npz", first=train_x[:2], second=train_x[:2])
    np.savez(folder / "text.npz", inputs=np.full((2, 8, 8, 1), "a"))
    np.savez(folder / "pixels.npz", inputs=(16 * test_x[:4]).astype(np.uint8))
    np.savez(folder / "objects.npz", inputs=np.array([{}], dtype=object))
    np.save(folder / "number.npy", np.float32(3))
    np.savez(folder / "reals.npz", inputs=test_x, labels=test_y.astype(np.float32))
    np.savez(folder / "classes.npz", inputs=test_x, labels=test_y + 5)
    np.savez(folder / "fewer.npz", inputs=test_x, labels=test_y[:7])
    (folder / "file").write_text("x", encoding="utf-8")

    rng = np.random.default_rng(0)
    (folder / "truncated.onnx").write_bytes(onnx[: len(onnx) // 2])
    (folder / "random.onnx").write_bytes(rng.bytes(300))
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "random.tflite").write_bytes(b"\x1c\0\0\0TFL3" + rng.bytes(300))
    (folder / "other.tflite").write_bytes(rng.bytes(300))
    (folder / "truncated.tflite").write_bytes(tiny_tflite()[:200])
    (folder / "truncated.edgeq").write_bytes((folder / "digits.edgeq").read_bytes()[:999])
    (folder / "operator.tflite").write_bytes(tiny_tflite(operator="HARD_SWISH", options=None))
    (folder / "dtype.tflite").write_bytes(tiny_tflite(input_dtype=np.int16))
    (folder / "scale.tflite").write_bytes(tiny_tflite(scale=0.0))
    (folder / "mismatch.tflite").write_bytes(tiny_tflite(features=5))
    (folder / "tiny.tflite").write_bytes(tiny_tflite())
    return folder
