"""Samples from files, read a part at a time: .npy, .npz, a folder of images or of sounds.

Images (.png, .jpg, .bmp) come as uint8 (H, W, C), in the order of their names, and must have
the size that the network wants: how to resize or crop is for whoever trained it to say.
Sounds (.wav, PCM, one channel) come as reals in [-1, 1), cut into pieces of the network's
input length. A front end that makes features of a sound (a spectrogram, MFCC) is the user's.
"""

from __future__ import annotations

import importlib
import math
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from edgeq.data import Note, read_array, to_input
from edgeq.errors import DataError, ToolError
from edgeq.graph import Array, Graph, Tensor

PART_NBYTES = 1 << 22  # read at a time
IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
SOUNDS = (".wav",)


class SampleFiles:
    """The samples of a path, as the graph's only input wants them; may be read again.

    Raises:
        DataError: the path or what is in it is missing, damaged, or does not fit; names it.
    """

    def __init__(
        self,
        graph: Graph,
        path: Path,
        input_scale: float | None = None,
        limit: int | None = None,
        note: Note = lambda text: None,
    ) -> None:
        if len(graph.inputs) != 1:
            raise DataError(f"{graph.name}: has {len(graph.inputs)} inputs, must have one")
        self._graph, self._path, self._scale, self._note = graph, path, input_scale, note
        self._noted = False
        self._count, self._parts = _open(path, graph.input_tensors()[0], note)
        self._limit = self._count if limit is None else min(limit, self._count)

    def __len__(self) -> int:
        return self._limit

    def __iter__(self) -> Iterator[Array]:
        left = self._limit
        for part in self._parts():
            try:
                first = part[:left] if part.ndim else part
                x = to_input(self._graph, first, self._scale, self._note_once)
            except DataError as error:
                raise DataError(f"{self._path}: {error}") from error
            yield x
            left -= len(x)
            if left <= 0:
                return

    def _note_once(self, text: str) -> None:
        if not self._noted:
            self._note(text)
        self._noted = True


_Parts = Callable[[], Iterator[Array]]


def _open(path: Path, tensor: Tensor, note: Note) -> tuple[int, _Parts]:
    """How many samples there are, and what reads them."""
    if path.is_dir():
        return _folder(path, tensor, note)
    if path.suffix.lower() in SOUNDS:
        return _sounds([path], tensor, note)
    if path.suffix.lower() in IMAGES:
        return 1, lambda: iter([_image(path, tensor)])
    if path.suffix.lower() == ".npz":
        streamed = _npz(path, tensor)
        if streamed is not None:
            return streamed
    x = _mapped(path) if path.suffix.lower() == ".npy" else None
    x = read_array(path) if x is None else x
    if x.shape == tensor.shape[1:]:
        x = x[np.newaxis]
    if x.ndim == 0 or len(x) == 0:
        return 1, lambda: iter([x])  # to_input says what is wrong
    return len(x), lambda: _slices(x)


def _mapped(path: Path) -> Array | None:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, IndexError):
        return None  # read_array, or to_input, says what is wrong


def _slices(x: Array) -> Iterator[Array]:
    step = _rows(x.shape, x.dtype)
    for first in range(0, len(x), step):
        yield np.asarray(x[first : first + step])


def _rows(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    return max(1, PART_NBYTES // max(1, math.prod(shape[1:]) * dtype.itemsize))


def _npz(path: Path, tensor: Tensor) -> tuple[int, _Parts] | None:
    """The array "inputs", or the only one; None where read_array must say what is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith(".npy")]
            name = "inputs.npy" if "inputs.npy" in names else names[0]
            if name != "inputs.npy" and len(names) != 1:
                return None
            with archive.open(name) as stream:
                shape, is_fortran, dtype = _header(stream)
    except (OSError, ValueError, IndexError, zipfile.BadZipFile):
        return None
    if is_fortran or dtype.hasobject or len(shape) != len(tensor.shape) or 0 in shape:
        return None

    def parts() -> Iterator[Array]:
        step = _rows(shape, dtype)
        nbytes = math.prod(shape[1:]) * dtype.itemsize
        try:
            with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
                _header(stream)
                for first in range(0, shape[0], step):
                    count = min(step, shape[0] - first)
                    data = stream.read(count * nbytes)
                    yield np.frombuffer(data, dtype).reshape(count, *shape[1:])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: is damaged: {error}") from error

    return shape[0], parts


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _folder(path: Path, tensor: Tensor, note: Note) -> tuple[int, _Parts]:
    files = sorted(p for p in path.rglob("*") if p.is_file())
    images = [p for p in files if p.suffix.lower() in IMAGES]
    sounds = [p for p in files if p.suffix.lower() in SOUNDS]
    if images and sounds:
        raise DataError(f"{path}: has images and sounds, must have one kind")
    if images:
        return len(images), lambda: (_image(p, tensor) for p in images)
    if sounds:
        return _sounds(sounds, tensor, note)
    raise DataError(f"{path}: has no {', '.join((*IMAGES, *SOUNDS))} file, must have some")


def _image(path: Path, tensor: Tensor) -> Array:
    """(1, H, W, C) uint8."""
    if len(tensor.shape) != 4 or tensor.shape[3] not in (1, 3):
        raise DataError(
            f"{path}: is an image, '{tensor.name}' has shape {tensor.shape}, must be "
            "(1, height, width, 1 or 3)"
        )
    try:
        pillow = importlib.import_module("PIL.Image")
    except ImportError:
        raise ToolError("images need the package pillow: pip install 'edgeq[images]'") from None
    try:
        with pillow.open(path) as image:
            x = np.asarray(image.convert("RGB" if tensor.shape[3] == 3 else "L"), np.uint8)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from error
    _, height, width, channels = tensor.shape
    if x.shape[:2] != (height, width):
        raise DataError(
            f"{path}: is {x.shape[1]} by {x.shape[0]} pixels, the network wants {width} by "
            f"{height}; resize or crop as its training did"
        )
    return x.reshape(1, height, width, channels)


def _sounds(paths: list[Path], tensor: Tensor, note: Note) -> tuple[int, _Parts]:
    length = math.prod(tensor.shape)
    is_sound = max(tensor.shape) == length  # all extents but one are 1
    count = 0
    rates: dict[int, Path] = {}
    for path in paths:
        with _wav(path) as sound:
            if not is_sound or sound.getnframes() < length:
                raise DataError(
                    f"{path}: is a sound of {sound.getnframes()} values, the network wants "
                    f"{'x'.join(map(str, tensor.shape[1:]))}; make its features with your "
                    "front end and give them as .npz"
                )
            count += sound.getnframes() // length
            rates.setdefault(sound.getframerate(), path)
    if len(rates) > 1:
        (one, first), (other, second) = list(rates.items())[:2]
        raise DataError(
            f"{second}: has {other} values a second, {first} has {one}; must be the rate that "
            "the network was trained with"
        )
    note(f"sounds of {next(iter(rates))} values a second are taken as the network's own rate")

    def parts() -> Iterator[Array]:
        for path in paths:
            x = _pcm(path)
            pieces = len(x) // length
            yield x[: pieces * length].reshape(pieces, *tensor.shape[1:])

    return count, parts


def _wav(path: Path) -> wave.Wave_read:
    try:
        sound = wave.open(str(path), "rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"{path}: cannot be read as PCM sound: {error}") from error
    if sound.getnchannels() != 1:
        channels = sound.getnchannels()
        sound.close()
        raise DataError(f"{path}: has {channels} channels, must have one")
    return sound


def _pcm(path: Path) -> Array:
    """Reals in [-1, 1); 8 bits are unsigned, more are signed, little endian."""
    with _wav(path) as sound:
        width, data = sound.getsampwidth(), sound.readframes(sound.getnframes())
    raw = np.frombuffer(data, np.uint8).reshape(-1, width)
    if width == 1:
        return (raw[:, 0].astype(np.float32) - 128) / 128
    padded = np.zeros((len(raw), 4), np.uint8)  # the value in the upper bytes of an int32
    padded[:, 4 - width :] = raw
    reals: Array = (padded.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    return reals
