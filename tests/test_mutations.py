"""Each primitive broken on purpose: the comparison with the interpreter finds it."""

from __future__ import annotations

from pathlib import Path

import host_c
import numpy as np
import pytest
from firmware_matrix import digits
from networks import samples, small_network

import edgeq
from edgeq.data import to_input
from edgeq.demo import load_digits
from edgeq.graph import Array, Graph
from edgeq.memory import plan_memory
from firmware_gen.kernels import kernels_folder

ARITHMETIC = "edgeq_arith.h"
# (file, what it says, what it is made to say)
MUTATIONS = {
    "ties of the rounding shift go upward": (
        ARITHMETIC,
        "(mask >> 1) + (x < 0 ? 1 : 0)",
        "(mask >> 1)",
    ),
    "ties of the rounding shift go to zero": (
        ARITHMETIC,
        "(x & mask) > threshold ? 1 : 0",
        "(x & mask) > threshold + (x < 0 ? -1 : 1) ? 1 : 0",
    ),
    "the rounding shift rounds down": (
        ARITHMETIC,
        "(x & mask) > threshold ? 1 : 0",
        "(x & mask) > threshold ? 0 : 0",
    ),
    "the high product has no nudge": (
        ARITHMETIC,
        "edgeq_doubled_product(a, b, 1u << 30)",
        "edgeq_doubled_product(a, b, 0u)",
    ),
    "the high product rounds at half the place": (
        ARITHMETIC,
        "edgeq_doubled_product(a, b, 1u << 30)",
        "edgeq_doubled_product(a, b, 1u << 29)",
    ),
    "the clamp ends one above its lower end": (
        ARITHMETIC,
        "x < low ? low",
        "x < low ? low + 1",
    ),
    "the clamp ends one below its upper end": (
        ARITHMETIC,
        "x > high ? high",
        "x > high ? high - 1",
    ),
    "the zero point of a convolution's output is one off": (
        "conv_2d.h",
        "y + op->output_zero_point",
        "y + op->output_zero_point + 1",
    ),
}
M0_MUTATIONS = {
    "the carry of the product without 64 bits is lost": (
        ARITHMETIC,
        "(uint32_t)high + carry",
        "(uint32_t)high + (carry & 0u)",
    ),
    "a middle product without 64 bits is lost": (
        ARITHMETIC,
        " + (middle2 >> 16)",
        "",
    ),
}
NO_LONG_MULTIPLY = "-DEDGEQ_NO_LONG_MULTIPLY"


def networks() -> list[tuple[Graph, Array]]:
    """Digits, and a network of other operators, with inputs of their ranges' ends too."""
    graph = small_network()
    small = edgeq.quantize(graph, samples(graph, 20))
    shape = small.input_tensors()[0].shape[1:]
    x = np.random.default_rng(5).integers(-128, 128, (100, *shape)).astype(np.int8)
    return [(digits(), to_input(digits(), load_digits()[2])), (small, x)]


def outputs_differ(folder: Path, mutation: tuple[str, str, str] | None, options: str) -> bool:
    """Whether C with the mutation (None: as it is) differs from the interpreter somewhere."""
    for number, (graph, x) in enumerate(networks()):
        here = folder / str(number)
        here.mkdir(parents=True)
        for path in kernels_folder().glob("*.h"):
            (here / path.name).write_bytes(path.read_bytes())
        if mutation is not None:
            name, old, new = mutation
            text = (here / name).read_text(encoding="utf-8")
            assert text.count(old) == 1, f"{name} has changed: mutate what it says now"
            (here / name).write_text(text.replace(old, new), encoding="utf-8")
        got = host_c.run_model(
            here, graph, plan_memory(graph), [[row] for row in x], (options,)
        )
        (expected,) = edgeq.Interpreter(graph).run(x)
        if [row[0] for row in got] != [row.tobytes() for row in expected]:
            return True
    return False


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_primitive_is_found(name: str, tmp_path: Path) -> None:
    assert outputs_differ(tmp_path, MUTATIONS[name], "-O1")


@pytest.mark.parametrize("name", M0_MUTATIONS)
def test_a_broken_primitive_of_the_m0_is_found(name: str, tmp_path: Path) -> None:
    assert outputs_differ(tmp_path, M0_MUTATIONS[name], NO_LONG_MULTIPLY)


@pytest.mark.parametrize("options", ["-O1", NO_LONG_MULTIPLY])
def test_nothing_differs_without_a_mutation(options: str, tmp_path: Path) -> None:
    assert not outputs_differ(tmp_path, None, options)
