"""Samples from arrays, streams and files: the same ranges, little memory, clear refusals."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from networks import NetworkBuilder, samples, small_network

import edgeq
from edgeq.calibrate import calibrate
from edgeq.errors import DataError
from edgeq.graph import Graph
from edgeq.ops.fully_connected import FullyConnected
from edgeq.sample_files import SampleFiles
from edgeq.samples import BATCH, SampleStream

COUNT = 41  # no multiple of a batch


@pytest.fixture(scope="module")
def graph() -> Graph:
    return small_network()


@pytest.fixture(scope="module")
def x(graph: Graph) -> np.ndarray:
    return samples(graph, COUNT)


def listening(length: int) -> Graph:
    b = NetworkBuilder((1, length))
    return b.build(b.layer("fc", FullyConnected(), "input", b.constant("w", 2, length)))


def write_wav(
    path: Path, values: np.ndarray, width: int, channels: int = 1, rate_hz: int = 16000
) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate_hz)
        if width == 1:
            sound.writeframes((values + 128).astype(np.uint8).tobytes())
        else:
            raw = values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width]
            sound.writeframes(np.ascontiguousarray(raw).tobytes())


def test_every_kind_of_source_gives_the_same_ranges(graph, x, tmp_path) -> None:
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", inputs=x, labels=np.arange(COUNT))
    np.savez_compressed(tmp_path / "c.npz", only=x)
    expected = calibrate(graph, x, method="mse")
    sources = {
        "samples": list(x),
        "a generator": (sample for sample in x),
        "batches": (x[i : i + 7] for i in range(0, COUNT, 7)),
        "a function": lambda: iter(x),
        "a tuple for each input": ((sample,) for sample in x),
        **{n: SampleFiles(graph, tmp_path / n) for n in ("x.npy", "x.npz", "c.npz")},
    }
    for name, source in sources.items():
        assert calibrate(graph, source, method="mse") == expected, name


def test_a_stream_never_holds_more_than_a_batch_beyond_what_it_keeps(graph, x) -> None:
    held = []
    stream = SampleStream(graph, (sample for _ in range(10) for sample in x))
    stream.keep = 8
    for batch in stream:
        held.append(len(batch["input"]))
    assert max(held) == BATCH
    assert sum(held) == stream.count == 10 * COUNT
    kept = stream.spread(8)["input"]
    # every 64th of 410 samples
    assert kept.tolist() == [x[i % COUNT].tolist() for i in range(0, 410, 64)]


def test_progress_knows_the_total_where_the_source_does(graph, x) -> None:
    calls: list[tuple[int, int | None]] = []
    calibrate(graph, x, progress=lambda *call: calls.append(call))
    assert calls == [(16, COUNT), (32, COUNT), (COUNT, COUNT)]
    calls.clear()
    calibrate(graph, iter(x), progress=lambda *call: calls.append(call))
    assert calls[:2] == [(16, None), (32, None)]


def test_a_generator_is_enough_where_samples_are_needed_once(graph, x) -> None:
    assert edgeq.quantize(graph, iter(x)).is_quantized
    with pytest.raises(DataError, match="can be read only once and are needed again; give"):
        edgeq.quantize(graph, iter(x), correct="equalize")
    assert edgeq.quantize(graph, lambda: iter(x), correct="equalize").is_quantized


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (iter([]), "no samples for 'input', must be at least one"),
        (lambda: iter([]), "no samples"),
        ([], "no samples"),
        (iter([np.zeros((3, 3))]), r"have shape \(3, 3\), must be \(samples, 8, 6, 3\)"),
        (iter([(np.zeros((8, 6, 3)),) * 2]), "got samples for 2 inputs, wants 1"),
        (
            iter([np.zeros((8, 6, 3)), np.full((8, 6, 3), np.nan)]),
            "1 of 1 of part 1 hold NaN or infinite values",
        ),
    ],
)
def test_streams_that_do_not_fit_are_refused(graph, source, message) -> None:
    with pytest.raises(DataError, match=message):
        calibrate(graph, source)


def test_a_folder_of_images_is_read_in_the_order_of_names(tmp_path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="pip install pillow")
    rng = np.random.default_rng(0)
    graph = small_network()
    pixels = rng.integers(0, 256, (3, 8, 6, 3), np.uint8)
    for name, image in zip(("b.png", "a.png", "sub/c.bmp"), pixels, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pillow.fromarray(image).save(tmp_path / name)
    (tmp_path / "labels.txt").write_text("not an image")
    files = SampleFiles(graph, tmp_path, 1 / 255)
    assert len(files) == 3
    read = np.concatenate(list(files))
    assert np.array_equal(read, pixels[[1, 0, 2]].astype(np.float32) * np.float32(1 / 255))
    assert len(list(SampleFiles(graph, tmp_path, 1.0, 2))) == 2
    pillow.fromarray(pixels[0][:4]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="is 6 by 4 pixels, the network wants 6 by 8; resize"):
        list(SampleFiles(graph, tmp_path, 1.0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image"):
        list(SampleFiles(graph, tmp_path, 1.0))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds_are_cut_to_the_length_of_the_input(width: int, tmp_path) -> None:
    top = 2 ** (8 * width - 1)
    values = np.array([0, top // 2, -top, top - 1, 1, 2, 3, 4, 5, 6], np.int64)
    write_wav(tmp_path / "a.wav", values, width)
    files = SampleFiles(listening(4), tmp_path)
    read = np.concatenate(list(files))
    assert len(files) == 2  # the last two values are left over
    assert np.array_equal(read, (values[:8] / top).astype(np.float32).reshape(2, 4))


def test_sounds_have_one_rate_and_it_is_told(tmp_path) -> None:
    write_wav(tmp_path / "a.wav", np.arange(10), 2)
    write_wav(tmp_path / "b.wav", np.arange(10), 2)
    notes: list[str] = []
    SampleFiles(listening(4), tmp_path, note=notes.append)
    assert notes == ["sounds of 16000 values a second are taken as the network's own rate"]
    write_wav(tmp_path / "c.wav", np.arange(10), 2, rate_hz=8000)
    with pytest.raises(
        DataError, match=r"c\.wav: has 8000 values a second, .*a\.wav has 16000"
    ):
        SampleFiles(listening(4), tmp_path)


@pytest.mark.parametrize(
    ("length", "channels", "message"),
    [
        (100, 1, "is a sound of 10 values, the network wants 100; make its features with your"),
        (5, 2, "has 2 channels, must have one"),
    ],
)
def test_sounds_that_do_not_fit_are_refused(length, channels, message, tmp_path) -> None:
    write_wav(tmp_path / "a.wav", np.arange(10 * channels), 2, channels)
    with pytest.raises(DataError, match=message):
        SampleFiles(listening(length), tmp_path / "a.wav")


def test_a_sound_is_no_spectrogram(tmp_path) -> None:
    write_wav(tmp_path / "a.wav", np.arange(1000), 2)
    with pytest.raises(DataError, match="the network wants 8x6x3; make its features with"):
        SampleFiles(small_network(), tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "has no .png, .jpg, .jpeg, .bmp, .wav file, must have some"),
        (("a.png", "b.wav"), "has images and sounds, must have one kind"),
    ],
)
def test_folders_without_one_kind_of_samples_are_refused(names, message, tmp_path) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=message):
        SampleFiles(small_network(), tmp_path)


def test_a_cut_off_archive_is_refused(graph, x, tmp_path) -> None:
    np.savez(tmp_path / "x.npz", inputs=x)
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"x\.npz: is no \.npy or \.npz file"):
        SampleFiles(graph, tmp_path / "x.npz")
