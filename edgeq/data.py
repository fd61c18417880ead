"""Arrays from files, and how they become a graph's input.

An int8 array goes to an int8 input as it is; reals are quantized with the input's scale and
zero point; uint8 is taken for pixels: real = value (times `input_scale` if given), and where no
scale is given and the input's zero point is -128, the byte less 128, as a camera's firmware
would do it.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeq.errors import DataError
from edgeq.graph import Array, Graph, Tensor
from edgeq.ops.weights import quantize_array

Note = Callable[[str], None]  # takes a line for the user


def read_array(path: Path, key: str | None = None) -> Array:
    """The array of a .npy file; of a .npz the one called `key`, or "inputs", or the only one.

    Raises:
        DataError: the file is missing or damaged, or has no such array.
    """
    archive = _load(path)
    if isinstance(archive, np.ndarray):
        return archive
    names = list(archive)
    wanted = key or ("inputs" if "inputs" in names else names[0] if len(names) == 1 else None)
    if wanted is None or wanted not in names:
        needed = f"must have '{key}'" if key else "must have one array, or one called 'inputs'"
        raise DataError(f"{path}: has the arrays {', '.join(names) or 'none'}; {needed}")
    return archive[wanted]


def read_input(
    graph: Graph,
    path: Path,
    input_scale: float | None = None,
    count: int | None = None,
    note: Note = lambda text: None,
) -> Array:
    """The first `count` samples of a file (None: all), as the graph's only input wants them.

    Raises:
        DataError: as `read_array` and `to_input`; names the file.
    """
    x = read_array(path)
    try:
        return to_input(graph, x, input_scale, note)[:count]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_labelled(path: Path) -> tuple[Array, Array]:
    """`inputs` (N, ...) and `labels` (N,), class numbers, of a .npz file.

    Raises:
        DataError: the file is missing or damaged, or the arrays do not belong together.
    """
    archive = _load(path)
    if isinstance(archive, np.ndarray) or not {"inputs", "labels"} <= set(archive):
        raise DataError(f"{path}: must be an .npz with 'inputs' and 'labels'")
    inputs, labels = archive["inputs"], archive["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: labels are {labels.dtype}{labels.shape}, must be whole (N,)")
    if len(labels) == 0:
        raise DataError(f"{path}: no samples, must be at least one")
    if inputs.shape[:1] != labels.shape:
        raise DataError(f"{path}: {inputs.shape[:1]} inputs for {labels.shape} labels")
    return inputs, labels


def read_samples(path: Path) -> tuple[Array, Array | None]:
    """Inputs as read_array finds them; labels as read_labelled, None if there are none.

    Raises:
        DataError: as these two.
    """
    archive = _load(path)
    if isinstance(archive, dict) and {"inputs", "labels"} <= set(archive):
        return read_labelled(path)
    return read_array(path), None


def _load(path: Path) -> Array | dict[str, Array]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        # numpy takes what it does not know for a pickle, and advises to trust it
        why = "" if "pickle" in str(error) else f": {error}"
        raise DataError(
            f"{path}: is no .npy or .npz file of numbers, or damaged{why}"
        ) from error


def to_input(
    graph: Graph, x: Array, input_scale: float | None = None, note: Note = lambda text: None
) -> Array:
    """`x` (N, ...) or one sample, as the graph's only input wants it; see the module.

    `note` is told when integers are taken for reals.

    Raises:
        DataError: the graph has several inputs, the shape does not fit, NaN, or uint8 values of
            which nobody said what they mean.
    """
    tensors = graph.input_tensors()
    if len(tensors) != 1:
        raise DataError(f"{graph.name}: has {len(tensors)} inputs, this command takes one")
    tensor = tensors[0]
    if input_scale is not None and not (math.isfinite(input_scale) and input_scale > 0):
        raise DataError(f"--input-scale is {input_scale}, must be a finite number > 0")
    x = _shaped(x, tensor)
    if x.dtype == tensor.dtype and x.dtype != np.float32 and input_scale is None:
        return x
    if x.dtype.kind not in "fiu":
        raise DataError(f"{graph.name}: input is {x.dtype}, must be numbers")
    if x.dtype == np.uint8 and input_scale is None and tensor.dtype == np.int8:
        if tensor.quant is not None and tensor.quant.zero_point == -128:
            return (x ^ 0x80).view(np.int8)
        raise DataError(
            f"{graph.name}: input is uint8, the network wants int8; say what a unit is worth "
            "with --input-scale (for pixels of 0 to 1: 0.00392156862745098)"
        )
    if x.dtype.kind != "f" and input_scale is None:
        note(
            f"{graph.name}: {x.dtype} values are taken for reals; "
            "--input-scale says what one unit is worth"
        )
    real = x.astype(np.float32) * np.float32(1.0 if input_scale is None else input_scale)
    if not np.isfinite(real).all():
        raise DataError(f"{graph.name}: input holds NaN or infinite values")
    if tensor.dtype == np.float32:
        return real
    if tensor.quant is None or tensor.dtype != np.int8:
        raise DataError(f"{graph.name}: input is {x.dtype}, must be {tensor.dtype}")
    return quantize_array(real, tensor.quant)


def _shaped(x: Array, tensor: Tensor) -> Array:
    if x.shape == tensor.shape[1:] and x.ndim:
        return x[np.newaxis]
    if x.shape[:1] == (0,):
        raise DataError(f"'{tensor.name}': no samples, must be at least one")
    if x.ndim != len(tensor.shape) or x.shape[1:] != tensor.shape[1:] or x.shape[0] == 0:
        wanted = ", ".join(["samples", *(str(e) for e in tensor.shape[1:])])
        raise DataError(f"'{tensor.name}': input shape is {x.shape}, must be ({wanted})")
    return x
