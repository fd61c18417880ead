"""The search: within its budget, judged on samples that a try has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from networks import NetworkBuilder, samples, small_network, uneven_network

from edgeq.auto_quantize import MARGIN_DB, Try, quantize_auto, without_last_curve
from edgeq.digest import graph_digest
from edgeq.errors import DataError, QuantizeError
from edgeq.evaluate import run_in_reals, sqnr_db
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import quantize
from edgeq.scheme import Scheme


def clock(step_s: float) -> Callable[[], float]:
    """Time passes by `step_s` whenever it is asked for."""
    now = [0.0]

    def read() -> float:
        now[0] += step_s
        return now[0]

    return read


def test_the_best_on_held_out_samples_is_kept() -> None:
    graph = small_network()
    notes: list[str] = []
    scheme = Scheme(weight_bits=4)
    x = samples(graph, 60)
    found = quantize_auto(graph, x, budget_s=1e9, scheme=scheme, note=notes.append)
    best = max(t.held_out_db for t in found.tries)
    assert found.best.held_out_db >= best - MARGIN_DB
    plain = next(t for t in found.tries if t.pair == ("minmax", ()))
    assert found.best.held_out_db > plain.held_out_db + 1
    assert notes[-1] == f"auto: {found.reason}"
    assert found.best.correct
    fresh = samples(graph, 60, seed=7)
    y = run_in_reals(found.graph, fresh)[0]
    assert sqnr_db(run_in_reals(graph, fresh)[0], y) > 10


@pytest.mark.parametrize(
    ("bits", "default"), [(8, ("bias-analytic",)), (4, ("rounding", "bias"))]
)
def test_a_spent_budget_leaves_what_quantize_does_by_default(bits, default) -> None:
    graph = small_network()
    notes: list[str] = []
    x, scheme = samples(graph, 10), Scheme(weight_bits=bits)
    found = quantize_auto(graph, x, budget_s=1e-9, scheme=scheme, note=notes.append)
    assert [t.pair for t in found.tries] == [("mse", default)]
    assert found.best is found.tries[0]
    assert graph_digest(found.graph) == graph_digest(quantize(graph, x, scheme=scheme))
    assert len(found.untried) == 59
    assert "auto: no time in 1e-09 s for mse + rounding" in notes[-1]


def test_every_combination_is_tried_once() -> None:
    graph = uneven_network()
    scheme = Scheme(weights="per-tensor")  # equalize has something to do
    found = quantize_auto(graph, samples(graph, 10), budget_s=1e9, scheme=scheme)
    tried = [t.pair for t in found.tries]
    assert len(set(tried)) == len(tried) == 6 * 10
    assert found.untried == ()


def test_tries_with_nothing_to_equalize_are_not_made_again() -> None:
    b = NetworkBuilder((1, 16))  # one layer: no pair to rescale
    graph = b.build(b.layer("fc", FullyConnected(), "input", b.constant("w", 4, 16)))
    found = quantize_auto(graph, samples(graph, 10), budget_s=1e9)
    assert len(found.tries) == 6 * 6
    assert not any("equalize" in t.correct for t in found.tries)
    assert found.untried == ()


def test_a_try_that_takes_too_long_is_given_up() -> None:
    """Every look at the clock costs a second; a try looks at it after each batch and layer."""
    graph = uneven_network()
    notes: list[str] = []
    seen: list[float] = []
    read = clock(1.0)

    def watched() -> float:
        seen.append(read())
        return seen[-1]

    found = quantize_auto(
        graph,
        samples(graph, 10),
        budget_s=100,
        scheme=Scheme(weights="per-tensor"),
        note=notes.append,
        clock=watched,
    )
    assert 1 < len(found.tries) < 20
    # Nothing looks at the clock again once it has seen that no time is left.
    assert seen[-1] - seen[0] <= 100 + 2
    assert {*found.untried}.isdisjoint(t.pair for t in found.tries)
    assert len(found.untried) + len(found.tries) == 60
    assert notes[-1].startswith("auto: no time in 100 s for ")


def test_what_promises_most_is_tried_first() -> None:
    """Filters of 4 bits need rounding: no try without it comes before those with it."""
    graph = small_network()
    x, scheme = samples(graph, 40), Scheme(weight_bits=4)
    found = quantize_auto(graph, x, budget_s=1e9, scheme=scheme)
    with_rounding = ["rounding" in t.correct for t in found.tries[:4]]
    assert all(with_rounding)
    # The best is found long before the last try.
    order = [t.held_out_db for t in found.tries]
    assert order.index(max(order)) < 40


def test_a_last_softmax_is_not_what_a_try_is_judged_by() -> None:
    graph = small_network()
    assert without_last_curve(graph).outputs == ("fc",)
    assert len(without_last_curve(graph).nodes) == len(graph.nodes) - 1
    assert quantize_auto(graph, samples(graph, 10), budget_s=1e-9).graph.outputs == ("prob",)


def test_what_one_try_cannot_do_another_may() -> None:
    failed = Try("mse", (), -np.inf, -np.inf, 0.1, "why")
    assert failed.failure
    graph = small_network()
    graph.tensors["pw/w"].data[0] = np.nan
    with pytest.raises((DataError, QuantizeError), match="NaN"):
        quantize_auto(graph, samples(graph, 10), budget_s=1e-9)


@pytest.mark.parametrize(
    ("count", "budget_s", "error", "message"),
    [
        (4, 1.0, DataError, "4 samples, must be at least 5 to hold some out"),
        (10, 0.0, QuantizeError, "budget: 0 seconds, must be > 0"),
        (10, float("nan"), QuantizeError, "budget: nan seconds, must be > 0"),
    ],
)
def test_what_leaves_nothing_to_judge_is_refused(count, budget_s, error, message) -> None:
    graph = small_network()
    with pytest.raises(error, match=message):
        quantize_auto(graph, samples(graph, count), budget_s=budget_s)
