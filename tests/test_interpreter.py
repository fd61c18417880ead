"""The interpreter's manners: batches, threads, and inputs that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from networks import samples, small_network

import edgeq
from edgeq.errors import DataError, GraphError
from edgeq.ops.weights import quantize_array


@pytest.fixture(scope="module")
def quantized():
    return edgeq.quantize(small_network(), samples(small_network(), 16))


@pytest.fixture(scope="module")
def inputs(quantized) -> np.ndarray:
    return quantize_array(
        samples(small_network(), 50, seed=5), quantized.input_tensors()[0].quant
    )


def test_a_batch_over_threads_equals_one_sample_at_a_time(quantized, inputs) -> None:
    (batch,) = edgeq.Interpreter(quantized, threads=3).run(inputs)
    single = edgeq.Interpreter(quantized, threads=1)
    np.testing.assert_array_equal(batch, np.concatenate([single.run(x)[0] for x in inputs]))


def test_the_interpreter_equals_the_reference_in_plain_integers(quantized, inputs) -> None:
    trace = edgeq.Interpreter(quantized).trace(inputs[:1])
    values = {"input": inputs[:1]}
    for node in quantized.nodes:
        operands = [
            values[n] if quantized.tensors[n].data is None else quantized.tensors[n].data
            for n in node.inputs
        ]
        values.update(zip(node.outputs, node.op.reference(*operands), strict=True))
        np.testing.assert_array_equal(trace[node.name], values[node.name], err_msg=node.name)


def test_running_twice_gives_the_same(quantized, inputs) -> None:
    interpreter = edgeq.Interpreter(quantized)
    np.testing.assert_array_equal(interpreter.run(inputs)[0], interpreter.run(inputs)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.astype(np.float32), "is float32, must be int8"),
        (lambda x: x[:, :3], r"has shape \(50, 3, 6, 3\), must be \(samples, 8, 6, 3\)"),
        (lambda x: x[:0], r"has shape \(0, 8, 6, 3\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(quantized, inputs, change, message) -> None:
    with pytest.raises(DataError, match=message):
        edgeq.Interpreter(quantized).run(change(inputs))


def test_a_float_graph_is_refused() -> None:
    with pytest.raises(GraphError, match="quantize it first"):
        edgeq.Interpreter(small_network())


def test_the_number_of_inputs_is_checked(quantized, inputs) -> None:
    with pytest.raises(DataError, match="got 2 inputs, wants 1"):
        edgeq.Interpreter(quantized).run(inputs, inputs)
