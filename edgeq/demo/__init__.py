"""The demo's network and data: handwritten digits, 8x8 pixels, and a small CNN trained on them.

Data: "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0, in scikit-learn's copy.
The network and the split are written by tools/train_digits.py.
"""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path

import numpy as np

from edgeq.graph import Array

PIXEL_MAX = 16  # of the stored images


def demo_model_path() -> Path:
    """The float network, .onnx; its input of ONNX shape (1, 1, 8, 8) becomes (1, 8, 8, 1)."""
    return Path(str(files(__name__) / "digits_cnn.onnx"))


def load_digits() -> tuple[Array, Array, Array, Array]:
    """(train_x, train_y, test_x, test_y): 1437 and 360 images, float32 (N, 8, 8, 1) in [0, 1].

    Labels are int64 (N,), 0 to 9. The split is fixed, in random order.
    """
    with np.load(io.BytesIO((files(__name__) / "digits.npz").read_bytes())) as data:
        images = data["images"].astype(np.float32) / PIXEL_MAX
        labels = data["labels"].astype(np.int64)
        train, test = data["train_index"], data["test_index"]
    return images[train], labels[train], images[test], labels[test]
