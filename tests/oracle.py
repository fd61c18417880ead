"""TensorFlow Lite Micro's wheel, the oracle of bit-exactness: code that is not ours."""

from __future__ import annotations

import importlib

import numpy as np

runtime = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
ARENA = 2_000_000  # bytes; its own guess goes by the file, which says little about the tensors


def tflm_run(model: bytes, *inputs: np.ndarray) -> np.ndarray:
    """The first output of every sample of a batch, one sample at a time."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA)
    results = []
    for sample in range(inputs[0].shape[0]):
        for index, x in enumerate(inputs):
            interpreter.set_input(np.ascontiguousarray(x[sample : sample + 1]), index)
        interpreter.invoke()
        results.append(np.array(interpreter.get_output(0)))
    return np.concatenate(results)


def tflm_trace(model: bytes, x: np.ndarray, tensors: int) -> list[np.ndarray]:
    """Every tensor of the file after one run, by index; None where the oracle has no data."""
    interpreter = runtime.Interpreter.from_bytes(
        model,
        arena_size=ARENA,
        intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors,
    )
    interpreter.set_input(np.ascontiguousarray(x), 0)
    interpreter.invoke()
    return [np.array(interpreter.GetTensor(i, 0)["tensor_data"]) for i in range(tensors)]
