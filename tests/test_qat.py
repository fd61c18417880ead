"""Training sees what the integers compute, element for element, and its result keeps it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from float_networks import float_networks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import samples, small_network

import edgeq
from edgeq.arith import ROUNDINGS, Rounding
from edgeq.demo import load_digits
from edgeq.digest import graph_digest
from edgeq.errors import DataError, ToolError
from edgeq.graph import Graph
from edgeq.model_file import save_graph
from edgeq.ops.weights import quantize_array
from edgeq.qat import fake_quantized
from edgeq.scheme import Scheme

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
torch = pytest.importorskip("torch", reason="PyTorch is not there: pip install 'edgeq[torch]'")


def integers_of(graph: Graph, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(int8 inputs, the interpreter's first output)."""
    quant = graph.input_tensors()[0].quant
    assert quant is not None
    q = quantize_array(x, quant)
    return q, edgeq.Interpreter(graph, threads=1).run(q)[0]


def require_same(module, x: np.ndarray) -> None:
    """The module's integers are the interpreter's, in every activation of every sample."""
    graph = module.to_graph()
    q, y = integers_of(graph, x)
    found = module.integers(torch.from_numpy(x))
    np.testing.assert_array_equal(found[graph.inputs[0]].numpy(), q)
    np.testing.assert_array_equal(found[graph.outputs[0]].numpy(), y)
    trace = edgeq.Interpreter(graph, threads=1).trace(q[:1])
    for name, values in found.items():
        np.testing.assert_array_equal(values[:1].numpy(), trace[name], err_msg=name)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(graph=float_networks(), rounding=st.sampled_from(ROUNDINGS))
def test_every_activation_of_any_network_is_the_interpreters(
    graph: Graph, rounding: Rounding
) -> None:
    x = samples(graph, 6)
    scheme = Scheme(weight_bits=5)
    module = fake_quantized(graph, x, scheme=scheme, rounding=rounding).eval()
    require_same(module, 2 * x)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_each_profile_of_rounding_is_trained_as_it_runs(rounding: Rounding) -> None:
    graph = small_network()  # it has an ADD, whose inputs are rounded too
    x = samples(graph, 64)
    module = fake_quantized(graph, x, rounding=rounding).eval()
    assert module.to_graph().rounding == rounding
    require_same(module, x)


def test_outputs_are_the_reals_of_the_integers() -> None:
    graph = small_network()
    x = samples(graph, 8)
    module = fake_quantized(graph, x).eval()
    output = module.to_graph().output_tensors()[0]
    assert output.quant is not None
    q = module.integers(torch.from_numpy(x))[output.name].numpy().astype(np.float64)
    reals = output.quant.scale[0] * (q - output.quant.zero_point)
    np.testing.assert_array_equal(
        module(torch.from_numpy(x)).detach().numpy(), reals.astype(np.float32)
    )


def test_gradients_are_those_of_the_float_network_where_nothing_is_clamped() -> None:
    graph = small_network()
    x = torch.from_numpy(samples(graph, 8))
    module = fake_quantized(graph, x.numpy()).eval()
    module(x)[:, 0].sum().backward()
    name = module._names["fc/w"]
    at = getattr(module, name)
    with torch.no_grad():
        at += 1e-2 * at.grad / at.grad.norm()
    assert module(x)[:, 0].sum() > fake_quantized(graph, x.numpy()).eval()(x)[:, 0].sum()


def test_digits_with_filters_of_four_bits_gain_and_stay_exact(tmp_path) -> None:
    """examples/train_digits_4_bits.py, as its reader runs it but for the number of epochs."""
    example = importlib.import_module("train_digits_4_bits")
    module, result = example.trained(bits=4, epochs=4), example.run(bits=4, epochs=4)
    _, _, test_x, _ = load_digits()
    require_same(module, test_x)
    assert result.trained > result.plain
    assert result.corrected > result.plain
    assert (result.differing, result.of) == (0, 360)
    for node in result.graph.nodes:
        for tensor in result.graph.tensors_of(node.inputs[1:2]):
            assert tensor.data is not None
            assert np.abs(tensor.data).max() <= 7
    save_graph(result.graph, tmp_path / "digits.edgeq")
    assert graph_digest(edgeq.read_model(tmp_path / "digits.edgeq")) == graph_digest(
        module.to_graph()
    )


def test_frozen_ranges_stay() -> None:
    graph = small_network()
    x = torch.from_numpy(samples(graph, 8))
    module = fake_quantized(graph, x.numpy()).train()
    before = module.ranges()
    module(3 * x)
    followed = module.ranges()
    assert followed["stem"].high > before["stem"].high
    module.freeze_ranges()
    module(9 * x)
    assert module.ranges() == followed


def test_a_state_is_saved_and_loaded_with_its_ranges(tmp_path) -> None:
    graph = small_network()
    x = torch.from_numpy(samples(graph, 8))
    module = fake_quantized(graph, x.numpy()).train()
    module(3 * x)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    other = fake_quantized(graph, x.numpy())
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert other.ranges() == module.ranges()
    np.testing.assert_array_equal(
        other.eval()(x).detach().numpy(), module.eval()(x).detach().numpy()
    )


def test_channels_first_is_refused_with_the_shape() -> None:
    graph = small_network()
    module = fake_quantized(graph, samples(graph, 2))
    with pytest.raises(DataError, match=r"must be \(N, 8, 6, 3\); images are NHWC here"):
        module(torch.zeros(1, 3, 8, 6))


def test_without_torch_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [n for n in sys.modules if n.startswith("edgeq.qat.")]:
        monkeypatch.delitem(sys.modules, name)
    graph = small_network()
    with pytest.raises(ToolError, match=r"pip install 'edgeq\[torch\]'"):
        fake_quantized(graph, samples(graph, 2))
