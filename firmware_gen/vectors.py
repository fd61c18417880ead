"""Inputs in flash: samples for streaming, and the self-test's inputs with expected outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.errors import DataError
from edgeq.graph import Array, Graph, Tensor
from edgeq.interpreter import Interpreter
from firmware_gen import c_text

SELF_TEST_HEADER = c_text.header(
    "self_test.h",
    """\
#include <stdint.h>

/* How many inputs are stored. */
uint32_t edgeq_self_test_count(void);

/* Runs the model on input `index`; how many bytes of its outputs are not what they must be. */
uint32_t edgeq_self_test_run(uint32_t index);
""",
    "Inputs of the model in flash, and the outputs that the interpreter gives for them.",
)

_SELF_TEST = """\
#include <stddef.h>

#include "model.h"
#include "self_test.h"

#define COUNT {count}u

/* The input tensors of each run, one behind the other. */
static const uint8_t inputs[COUNT][EDGEQ_MODEL_INPUT_NBYTES] = {inputs};

/* The output tensors that each run must give. */
static const uint8_t outputs[COUNT][EDGEQ_MODEL_OUTPUT_NBYTES] = {outputs};

uint32_t edgeq_self_test_count(void) {{
    return COUNT;
}}

uint32_t edgeq_self_test_run(uint32_t index) {{
    const uint8_t *from = inputs[index];
    for (size_t tensor = 0; tensor < EDGEQ_MODEL_INPUT_COUNT; ++tensor) {{
        uint8_t *to = edgeq_model_input(tensor);
        for (size_t i = 0; i < edgeq_model_input_nbytes(tensor); ++i) {{
            to[i] = *from++;
        }}
    }}
    edgeq_model_run();
    const uint8_t *wanted = outputs[index];
    uint32_t differences = 0;
    for (size_t tensor = 0; tensor < EDGEQ_MODEL_OUTPUT_COUNT; ++tensor) {{
        const uint8_t *got = edgeq_model_output(tensor);
        for (size_t i = 0; i < edgeq_model_output_nbytes(tensor); ++i) {{
            differences += got[i] != *wanted++ ? 1u : 0u;
        }}
    }}
    return differences;
}}
"""

_SAMPLES_HEADER = """\
#include <stdint.h>

#include "model.h"

#define EDGEQ_SAMPLES_COUNT {count}u

extern const uint8_t edgeq_samples[EDGEQ_SAMPLES_COUNT][EDGEQ_MODEL_INPUT_NBYTES];
"""


def checked_samples(graph: Graph, samples: Array | Sequence[Array]) -> tuple[Array, ...]:
    """One array for each input, samples on the first axis, of the inputs' types.

    Raises:
        DataError: the number of arrays, a shape or a type does not fit.
    """
    arrays = (samples,) if isinstance(samples, np.ndarray) else tuple(samples)
    tensors = graph.input_tensors()
    if len(arrays) != len(tensors):
        raise DataError(
            f"samples: {len(arrays)} arrays, {graph.name} has {len(tensors)} inputs"
        )
    for x, tensor in zip(arrays, tensors, strict=True):
        if x.dtype != tensor.dtype or x.shape[1:] != tensor.shape[1:]:
            raise DataError(
                f"samples of '{tensor.name}' are {x.dtype}{x.shape}, must be {tensor.dtype} "
                f"of shape (samples, {', '.join(map(str, tensor.shape[1:]))})"
            )
    counts = {x.shape[0] for x in arrays}
    if len(counts) != 1 or counts == {0}:
        raise DataError(f"samples: {sorted(counts)} of the inputs, must be one number above 0")
    return arrays


def sources_of_samples(graph: Graph, samples: tuple[Array, ...]) -> tuple[str, str]:
    """samples.c and samples.h."""
    rows = _rows(samples)
    header = _SAMPLES_HEADER.format(count=len(rows))
    source = (
        c_text.include("samples.h")
        + "\nconst uint8_t edgeq_samples[EDGEQ_SAMPLES_COUNT][EDGEQ_MODEL_INPUT_NBYTES] = "
        + f"{_table(rows)};\n"
    )
    note = f'Inputs of the model "{graph.name}" in flash: the tensors of each, in order.'
    return source, c_text.header("samples.h", header, note)


def self_test_inputs(
    graph: Graph, samples: tuple[Array, ...] | None, count: int
) -> tuple[Array, ...]:
    """The inputs of `count` vectors: the first samples, or random ones, the same each time."""
    if samples is not None:
        return tuple(x[:count] for x in samples)
    rng = np.random.default_rng(0)
    return tuple(_random(rng, tensor, count) for tensor in graph.input_tensors())


def self_test_source(graph: Graph, inputs: tuple[Array, ...]) -> str:
    """self_test.c: the inputs, and the outputs that the interpreter gives."""
    outputs = Interpreter(graph, threads=1).run(*inputs)
    rows = _rows(inputs)
    note = f'The self-test of the model "{graph.name}".'
    return c_text.comment(note) + _SELF_TEST.format(
        count=len(rows), inputs=_table(rows), outputs=_table(_rows(outputs))
    )


def _random(rng: np.random.Generator, tensor: Tensor, count: int) -> Array:
    shape = (count, *tensor.shape[1:])
    if tensor.dtype == np.float32:
        return rng.normal(0.0, 1.0, shape).astype(np.float32)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(tensor.dtype)


def _rows(arrays: tuple[Array, ...]) -> list[bytes]:
    return [
        b"".join(np.ascontiguousarray(x[i]).tobytes() for x in arrays)
        for i in range(arrays[0].shape[0])
    ]


def _table(rows: list[bytes]) -> str:
    body = "".join(
        f"    {{\n{c_text.wrap_values((str(byte) for byte in row), 8)}    }},\n" for row in rows
    )
    return f"{{\n{body}}}"
