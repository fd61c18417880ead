"""Make tests/data/ai_edge_quantizer.tflite: a small network as ai-edge-quantizer quantizes it.

Run in an environment that has ai-edge-quantizer and tflite-micro; the result is in the
repository, so that the tests need neither to make it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "tests/data/ai_edge_quantizer.tflite"
SHAPE = (1, 8, 8, 2)
sys.path.insert(0, str(ROOT / "tests"))


def float_model() -> bytes:
    from tflite_builder import TfliteBuilder, schema

    rng = np.random.default_rng(0)

    def real(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.4, shape).astype(np.float32)

    b = TfliteBuilder()
    x = b.tensor("x", SHAPE, np.float32)
    conv = b.tensor("conv", (1, 4, 4, 6), np.float32)
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 2
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    weights = [b.constant("conv/w", real(6, 3, 3, 2)), b.constant("conv/b", real(6))]
    b.operator("CONV_2D", [x, *weights], [conv], options)
    other = b.tensor("point", (1, 4, 4, 6), np.float32)
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    options.dilationHFactor = options.dilationWFactor = 1
    weights = [b.constant("point/w", real(6, 1, 1, 6)), b.constant("point/b", real(6))]
    b.operator("CONV_2D", [conv, *weights], [other], options)
    total = b.tensor("sum", (1, 4, 4, 6), np.float32)
    b.operator("ADD", [conv, other], [total], schema.AddOptionsT())
    flat = b.tensor("flat", (1, 96), np.float32)
    shape = b.constant("shape", np.array([1, 96], np.int32))
    b.operator("RESHAPE", [total, shape], [flat], schema.ReshapeOptionsT())
    fc = b.tensor("fc", (1, 3), np.float32)
    weights = [b.constant("fc/w", real(3, 96)), b.constant("fc/b", real(3))]
    b.operator("FULLY_CONNECTED", [flat, *weights], [fc], schema.FullyConnectedOptionsT())
    return b.finish([x], [fc], signature="serving_default")


def main() -> None:
    from ai_edge_quantizer import quantizer, recipe

    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.tflite"
        path.write_bytes(float_model())
        work = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
        rows = [{"x": rng.normal(0, 1, SHAPE).astype(np.float32)} for _ in range(20)]
        calibrated = work.calibrate({"serving_default": rows})
        work.quantize(calibrated).export_model(str(TARGET), overwrite=True)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
