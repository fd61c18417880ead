"""Bad input gives one clear line on stderr, exit code 1, and no traceback."""

from __future__ import annotations

import importlib.util
import os
import pty
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import CommandLine
from toolchains import need_program

from edgeq.stream.port import Port

BOARD = ("--board", "mps2_an386")
DIGITS = "digits.edgeq"
CALIBRATED = ("quantize", "float.onnx", "-o", "out.edgeq", "--calibration")

# What is typed, in the folder of the files -> what the line must hold.
BAD_INPUT: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a truncated onnx": (("inspect", "truncated.onnx"), ("truncated.onnx: ", "truncated")),
    "a random onnx": (("inspect", "random.onnx"), ("random.onnx: ", "is not an ONNX model")),
    "an empty onnx": (("inspect", "empty.onnx"), ("empty.onnx: ", "is not an ONNX model")),
    "a random tflite": (("inspect", "random.tflite"), ("random.tflite: ", "damaged")),
    "no tflite": (("inspect", "other.tflite"), ("other.tflite: ", "no .tflite file")),
    "a truncated tflite": (("inspect", "truncated.tflite"), ("truncated.tflite: ", "cut off")),
    "a truncated edgeq": (
        ("run", "truncated.edgeq", "-i", "test.npy", "-o", "y.npy"),
        ("truncated.edgeq: ", "damaged"),
    ),
    "no model": (("inspect", "nothing.tflite"), ("nothing.tflite: no such file",)),
    "another suffix": (("inspect", "file"), ("must be .tflite, .onnx or .edgeq",)),
    "an operator": (("inspect", "operator.tflite"), ("not supported: HARD_SWISH 'y'",)),
    "a dtype": (("inspect", "dtype.tflite"), ("dtype.tflite: ", "int16")),
    "a zero scale": (("inspect", "scale.tflite"), ("'x': ", "scale is 0.0, must be")),
    "mismatched shapes": (("inspect", "mismatch.tflite"), ("filter wants 5",)),
    "exporting a float model": (
        ("export", "float.onnx", "-o", "out.tflite"),
        ("is a float graph, must be quantized",),
    ),
    "exporting to another suffix": (
        ("export", DIGITS, "-o", "out.h5"),
        ("out.h5: is '.h5', must be .tflite, .onnx or .edgeq",),
    ),
    "calibration of a wrong shape": (
        (*CALIBRATED, "shape.npz"),
        ("shape.npz: ", "(10, 7, 8, 1), must be (samples, 8, 8, 1)"),
    ),
    "calibration with NaN": ((*CALIBRATED, "nan.npz"), ("nan.npz: ", "NaN")),
    "calibration without samples": (
        (*CALIBRATED, "none.npz"),
        ("none.npz: ", "no samples, must be at"),
    ),
    "calibration of text": ((*CALIBRATED, "text.npz"), ("text.npz: ", "must be numbers")),
    "calibration with a scale of 0": (
        (*CALIBRATED, "train.npz", "--input-scale", "0"),
        ("--input-scale is 0.0, must be a finite number > 0",),
    ),
    "several arrays": (
        (*CALIBRATED, "two.npz"),
        ("two.npz: has the arrays first, second; must have one array",),
    ),
    "objects": ((*CALIBRATED, "objects.npz"), ("objects.npz: ", "of numbers, or damaged")),
    "no data": ((*CALIBRATED, "nothing.npz"), ("nothing.npz: no such file",)),
    "other data": ((*CALIBRATED, "file"), ("file: is no .npy or .npz file",)),
    "a single number": ((*CALIBRATED, "number.npy"), ("number.npy: ", "input shape is ()")),
    "quantized again": (
        ("quantize", DIGITS, "-o", "o.edgeq", "--calibration", "train.npz"),
        ("digits.edgeq: is quantized already",),
    ),
    "a model into a file": (
        ("quantize", "float.onnx", "--calibration", "train.npz", "-o", "file/o.edgeq"),
        ("file/o.edgeq: cannot be written: Not a directory",),
    ),
    "outputs into a file": (
        ("run", DIGITS, "-i", "test.npy", "-o", "file/y.npy"),
        ("file/y.npy: cannot be written: Not a directory",),
    ),
    "inputs of a wrong shape": (
        ("run", DIGITS, "-i", "shape.npz", "-o", "y.npy"),
        ("shape.npz: ", "(10, 7, 8, 1), must be"),
    ),
    "pixels of no known scale": (
        ("run", "tiny.tflite", "-i", "pixels.npz", "-o", "y.npy"),
        ("pixels.npz: ", "must be (samples, 4)"),
    ),
    "labels that are no classes": (("evaluate", DIGITS, "--data", "reals.npz"), ("float32",)),
    "labels of other classes": (
        ("evaluate", DIGITS, "--data", "classes.npz"),
        ("labels reach from 5 to 14, the network has 10 classes",),
    ),
    "fewer labels": (("evaluate", DIGITS, "--data", "fewer.npz"), ("fewer.npz: ", "(7,)")),
    "no labels": (("evaluate", DIGITS, "--data", "two.npz"), ("'inputs' and 'labels'",)),
    "a float model to boards": (("boards", "--model", "float.onnx"), ("quantize it first",)),
    "a float model to generate": (
        ("generate", "float.onnx", *BOARD, "-o", "out"),
        ("float.onnx: is a float model; quantize it first: edgeq quantize float.onnx",),
    ),
    "an unknown board": (
        ("generate", DIGITS, "--board", "mps2-an836", "-o", "out"),
        ("unknown board 'mps2-an836'; nearest: mps2_an386",),
    ),
    "no board file": (
        ("generate", DIGITS, "--board", "my.toml", "-o", "out"),
        ("my.toml: cannot read the board file",),
    ),
    "firmware into a file": (
        ("generate", DIGITS, *BOARD, "-o", "file/out"),
        ("file/out", "cannot be written: Not a directory"),
    ),
    "a build into a file": (
        ("build", DIGITS, *BOARD, "-o", "file"),
        ("file/", "cannot be written: Not a directory"),
    ),
    "a demo into a file": (
        ("demo", "--json", "-o", "file/out"),
        ("file/out", "cannot be written: Not a directory"),
    ),
    "samples with NaN": (
        ("build", DIGITS, *BOARD, "-o", "out", "--samples", "nan.npz"),
        ("nan.npz: ", "NaN"),
    ),
    "no firmware": (("emulate", "no.elf", *BOARD), ("no.elf: cannot read the firmware",)),
    "no elf": (("emulate", "float.onnx", *BOARD), ("float.onnx: is not a readable ELF file",)),
    "no machine": (
        ("verify", DIGITS, "--data", "test.npz", "-b", "nrf52840dk", "--emulator", "qemu"),
        ("nrf52840dk: QEMU has no such machine; boards that it has: ", "mps2_an386"),
    ),
    "no core": (
        ("verify", DIGITS, "--data", "test.npz", "--board", "mps3_an547"),
        ("no cortex-m55", "use --emulator qemu"),
    ),
    "neither board nor port": (("verify", DIGITS, "--data", "test.npz"), ("needs --board",)),
    "board and port": (
        ("verify", DIGITS, "--data", "test.npz", *BOARD, "--port", "x"),
        ("--board (to emulate it) or --port, not both",),
    ),
    "an absent port": (("stream", "--port", "/dev/ttyEdgeq0"), ("ttyEdgeq0: no such port",)),
    "a folder as port": (("stream", "--port", "/tmp"), ("/tmp: is not a serial port",)),
    "a file as port": (("stream", "--port", "file"), ("file: is not a serial port",)),
    "nobody at an address": (
        ("stream", "--port", "socket://127.0.0.1:1"),
        ("socket://127.0.0.1:1: nothing answers at this address",),
    ),
    "no address": (("stream", "--port", "socket://x"), ("must be socket://HOST:PORT",)),
    "data without a model": (
        ("stream", "--port", "x", "--data", "test.npz"),
        ("--data needs --model",),
    ),
    "a multiplier of 0": (("explain", "multiplier", "--m", "0", "--p", "3"), ("must be a",)),
    "no multiplier": (("explain", "multiplier", "--m", "nan", "--p", "3"), ("M is nan",)),
    "a huge multiplier": (("explain", "multiplier", "--m", "1e308", "--p", "3"), ("2**64",)),
    "a huge product": (("explain", "multiplier", "--m", "1", "--p", "9" * 400), ("2**64",)),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_gives_one_line(name: str, edgeq_command: CommandLine) -> None:
    arguments, parts = BAD_INPUT[name]
    line = edgeq_command(*arguments).error()
    for part in parts:
        assert part in line
    for leftover in ("out.edgeq", "o.edgeq", "y.npy"):
        assert not Path(leftover).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (),
            "no compiler: neither arm-none-eabi-gcc nor ziglang is there; install it with `pip",
        ),
        (("--compiler", "gcc"), "arm-none-eabi-gcc is not on PATH; install it with `apt"),
        (("--compiler", "zig"), "ziglang is not installed; install it with `pip install"),
    ],
)
def test_a_missing_compiler_is_told_with_how_to_get_it(
    arguments: tuple[str, ...],
    message: str,
    edgeq_command: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "ziglang" else find_spec(name, *rest),
    )
    assert message in edgeq_command("build", DIGITS, *BOARD, "-o", "out", *arguments).error()


def test_a_missing_qemu_is_told_with_how_to_get_it(
    edgeq_command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = edgeq_command("build", DIGITS, *BOARD, "-o", "out")
    assert built.status == 0
    monkeypatch.setenv("PATH", "")
    done = edgeq_command("emulate", "out/build/firmware.elf", *BOARD, "--emulator", "qemu")
    assert done.error() == (
        "qemu-system-arm is not on PATH; install it: apt install qemu-system-arm"
    )


@pytest.fixture
def silent_port() -> Iterator[str]:
    """A port that nobody answers on."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_a_busy_port_is_told(edgeq_command: CommandLine, silent_port: str) -> None:
    port = Port(silent_port, 115_200)
    line = edgeq_command("stream", "--port", silent_port).error()
    port.close()
    assert line == f"{silent_port}: the port is busy; close the program that has it open"


def test_a_silent_port_is_told(edgeq_command: CommandLine, silent_port: str) -> None:
    line = edgeq_command("verify", DIGITS, "--data", "test.npz", "--port", silent_port).error()
    assert line.startswith(f"{silent_port}: no answer to HELLO within 5 s; nothing was heard")


def test_a_model_that_does_not_fit_is_told_in_bytes(
    edgeq_command: CommandLine, model_path
) -> None:
    vww = model_path("vww")
    line = edgeq_command("generate", vww, "--board", "microbit", "-o", "out").error()
    assert "bytes of ram needed" in line
    assert "'ram' has 16384" in line
    assert not Path("out").exists()


def test_firmware_of_another_core_is_told_by_its_fault(edgeq_command: CommandLine) -> None:
    assert edgeq_command("build", DIGITS, *BOARD, "-o", "out").status == 0
    line = edgeq_command(
        "emulate", "out/build/firmware.elf", "--board", "microbit", "--json"
    ).error()
    assert line.startswith("microbit: at PC 0x")


def test_every_bad_input_also_fails_where_json_is_asked(edgeq_command: CommandLine) -> None:
    done = edgeq_command("inspect", "random.onnx", "--json")
    assert "random.onnx" in done.error()
    assert done.out == ""


def test_a_wrong_way_of_calling_is_told_without_a_traceback(edgeq_command: CommandLine) -> None:
    for arguments in (("generate", DIGITS), ("nothing",), ("build", DIGITS, "--compiler", "x")):
        done = edgeq_command(*arguments)
        assert done.status == 2
        assert "Traceback" not in done.err
        assert "Usage" in done.err


def test_a_reader_that_goes_away_ends_the_command_quietly(cli_files: Path) -> None:
    head = need_program("head", "coreutils")
    command = f"{sys.executable} -m edgeq boards --json | {head} -c 1; exit ${{PIPESTATUS[0]}}"
    bash = need_program("bash", "bash")
    done = subprocess.run([bash, "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141)
    assert done.stderr == ""
