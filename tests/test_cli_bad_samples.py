"""Samples and networks that are no good, on every command that takes them: a line each."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli import CommandLine
from onnx import numpy_helper

from edgeq.demo import load_digits
from edgeq.files import write_whole
from edgeq.model_file import load_graph

COMMANDS = {
    "quantize": ("quantize", "float.onnx", "-o", "out.edgeq"),
    "auto": ("quantize", "float.onnx", "-o", "out.edgeq", "--method", "auto", "--budget", "1"),
    "analyze": ("analyze", "float.onnx", "-o", "out.html"),
    "check-data": ("check-data", "float.onnx"),
}
BAD_SAMPLES = {
    "none.npz": ("none.npz: ", "no samples, must be at least one"),
    "nan.npz": ("nan.npz: ", "NaN or infinite values"),
    "inf.npz": ("inf.npz: ", "NaN or infinite values"),
    "huge.npz": ("'conv1' becomes NaN or infinite on samples 0 to 15: values or weights are",),
    "shape.npz": ("shape.npz: ", "(10, 7, 8, 1), must be (samples, 8, 8, 1)"),
    "text.npz": ("text.npz: ", "must be numbers"),
    "objects.npz": ("objects.npz: ", "of numbers, or damaged"),
    "file": ("file: is no .npy or .npz file",),
    "float.onnx": ("float.onnx: is no .npy or .npz file",),
    "nothing.npz": ("nothing.npz: no such file",),
    "images": ("5.png: cannot be read as an image",),
    "sizes": ("9.png: is 9 by 9 pixels, the network wants 8 by 8",),
    "folder": ("folder: has no .png, .jpg, .jpeg, .bmp, .wav file",),
    "sound.wav": ("sound.wav: is a sound of 1000 values, the network wants 8x8x1",),
    "stereo.wav": ("stereo.wav: has 2 channels, must have one",),
}


@pytest.fixture(name="bad_files")
def _bad_files(edgeq_command: CommandLine) -> CommandLine:
    """Adds to the files of `edgeq_command`, in whose folder the test runs."""
    pillow = pytest.importorskip("PIL.Image", reason="pip install pillow")
    x = load_digits()[0][:50]
    for name, value in (("inf", np.inf), ("huge", 3e38)):
        damaged = x.copy()
        damaged[:, 2, 2] = value
        damaged[:, 2, 3] = -value if name == "huge" else 0
        np.savez(f"{name}.npz", inputs=damaged)
    np.savez("constant.npz", inputs=np.full_like(x, 0.5))
    for folder in ("images", "sizes", "folder"):
        Path(folder).mkdir(exist_ok=True)
    for i in range(9):
        for folder in ("images", "sizes"):
            pillow.fromarray((x[i, :, :, 0] * 255).astype(np.uint8)).save(f"{folder}/{i}.png")
    whole = Path("images/5.png").read_bytes()
    Path("images/5.png").write_bytes(whole[: len(whole) // 2])
    pillow.new("L", (9, 9)).save("sizes/9.png")
    for name, channels in (("sound", 1), ("stereo", 2)):
        with wave.open(f"{name}.wav", "wb") as sound:
            sound.setparams((channels, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(bytes(2 * channels * 1000))
    return edgeq_command


def written() -> list[str]:
    """What a command left in the folder."""
    return [p.name for p in Path().iterdir() if p.name.startswith(("out.", ".out."))]


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_samples_are_one_line_and_nothing_is_written(
    command: str, bad_files: CommandLine
) -> None:
    for name, parts in BAD_SAMPLES.items():
        done = bad_files(*COMMANDS[command], "--data", name)
        assert done.status == 1, (name, done.out, done.err)
        lines = done.err.splitlines()
        assert lines[-1].startswith("edgeq: "), (name, done.err)
        assert all("--input-scale says what one unit" in line for line in lines[:-1]), done.err
        for part in parts:
            assert part in lines[-1], (name, done.err)
        assert written() == []


@pytest.mark.parametrize("against", ["none.npz", "nan.npz", "huge.npz", "images", "file"])
def test_bad_other_data_are_one_line_too(against: str, bad_files: CommandLine) -> None:
    done = bad_files("check-data", "float.onnx", "--data", "train.npz", "--against", against)
    assert done.status == 1
    assert BAD_SAMPLES[against][0] in done.err.splitlines()[-1]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_constant_samples_quantize_and_are_named(bits: int, bad_files: CommandLine) -> None:
    """At few bits rounding would invert the products of inputs that never change."""
    for command in ("quantize", "analyze", "auto"):
        done = bad_files(*COMMANDS[command], "--data", "constant.npz", *bits_of(command, bits))
        assert done.status == 0, done.err
        assert "constant over all samples: 'image'" in done.err
    done = bad_files(*COMMANDS["check-data"], "--data", "constant.npz")
    assert "constant over all samples: 'image'" in done.err


def bits_of(command: str, bits: int) -> tuple[object, ...]:
    return () if command == "check-data" else ("--weight-bits", bits)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_network_of_zeros_is_named_and_does_not_fail(
    command: str, bad_files: CommandLine
) -> None:
    model = onnx.load("float.onnx")
    for tensor in model.graph.initializer:
        data = numpy_helper.to_array(tensor)
        if data.dtype == np.float32 and data.ndim > 1:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(data), tensor.name))
    onnx.save(model, "zeros.onnx")
    first, _, *rest = COMMANDS[command]
    done = bad_files(first, "zeros.onnx", *rest, "--data", "train.npz", *bits_of(command, 4))
    assert done.status == 0, done.err
    assert "zeros: every filter is zero: the network cannot have been trained" in done.err
    if command == "quantize":
        graph = load_graph(Path("out.edgeq"))
        filters = [t.data for t in graph.tensors.values() if t.data is not None]
        assert not any(data.any() for data in filters if data.ndim > 1)


def test_one_sample_is_noted_or_refused(bad_files: CommandLine) -> None:
    np.savez("one.npz", inputs=load_digits()[0][:1])
    for command in ("quantize", "check-data"):
        done = bad_files(*COMMANDS[command], "--data", "one.npz")
        assert done.status == 0
        assert "one sample: its ranges stand for no other" in done.err
    refused = {
        "analyze": "1 sample, must be at least 2: some calibrate, others are shown",
        "auto": "1 sample, must be at least 5 to hold some out",
    }
    for command, text in refused.items():
        assert text in bad_files(*COMMANDS[command], "--data", "one.npz").error()


@pytest.mark.parametrize("output", ["float.onnx", "out.txt", "folder", "nowhere/out.edgeq"])
def test_an_output_that_cannot_be_is_refused_before_the_work(
    output: str, bad_files: CommandLine
) -> None:
    before = Path("float.onnx").read_bytes()
    for command in (("quantize", "float.onnx"), ("analyze", "float.onnx")):
        line = bad_files(*command, "--data", "nan.npz", "-o", output).error()
        assert line.startswith(f"{output}: ")
        assert "must be ." in line or "cannot be written" in line
    assert Path("float.onnx").read_bytes() == before


def test_labels_of_other_classes_are_refused_before_the_work(bad_files: CommandLine) -> None:
    done = bad_files(*COMMANDS["analyze"], "--data", "classes.npz")
    assert "labels reach from 5 to 14, the network has 10 classes" in done.error()


def test_a_file_stays_as_it_was_if_writing_fails(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "model.edgeq"
    path.write_bytes(b"before")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"after all")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["model.edgeq"]
