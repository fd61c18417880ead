"""The search: within its budget, judged on samples that a try has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from networks import samples, small_network

from edgeq.auto_quantize import Try, quantize_auto, without_last_curve
from edgeq.errors import DataError, QuantizeError
from edgeq.evaluate import run_in_reals, sqnr_db
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
    found = quantize_auto(
        graph, x, budget_s=100, scheme=scheme, note=notes.append, clock=clock(3.0)
    )
    assert len(found.tries) > 5
    least = max(t.held_out_db for t in found.tries) - 0.1
    assert found.best.held_out_db >= least
    assert found.best.held_out_db > found.tries[0].held_out_db + 1
    assert notes[-1] == f"auto: {found.reason}"
    assert found.best.correct
    assert found.reason.endswith("dB beside minmax")
    fresh = samples(graph, 60, seed=7)
    y = run_in_reals(found.graph, fresh)[0]
    assert sqnr_db(run_in_reals(graph, fresh)[0], y) > 10


def test_a_spent_budget_ends_the_search_after_the_first_try() -> None:
    graph = small_network()
    found = quantize_auto(graph, samples(graph, 10), budget_s=1e-9)
    assert [(t.method, t.correct) for t in found.tries] == [("minmax", ())]
    assert found.best is found.tries[0]


def test_every_combination_is_tried_once() -> None:
    graph = small_network()
    found = quantize_auto(graph, samples(graph, 10), budget_s=1e9, clock=clock(1e-6))
    tried = [(t.method, t.correct) for t in found.tries]
    assert len(set(tried)) == len(tried) == 6 * 10


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
