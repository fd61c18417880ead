"""Calibration: what each method makes of values, seen as a stream, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import NetworkBuilder, samples, small_network

import edgeq
from edgeq.calibrate import calibrate
from edgeq.calibration import METHODS, choose, parse_choices
from edgeq.calibration.check import check_data
from edgeq.calibration.histogram import HALF, Histogram
from edgeq.calibration.mse import MseObserver, grid_error
from edgeq.errors import DataError, QuantizeError
from edgeq.ops.fully_connected import FullyConnected
from edgeq.samples import SampleStream
from edgeq.scheme import Scheme

FLOAT_CHUNKS = st.lists(
    st.lists(st.floats(-(2.0**40), 2.0**40, width=32), min_size=1, max_size=20),
    min_size=1,
    max_size=8,
)


def observed(method: str, *batches: np.ndarray, symmetric: bool = False) -> tuple[float, float]:
    (choice,) = parse_choices(method)
    observer = choice.make()
    for batch in batches:
        observer.update(batch.astype(np.float32))
    seen = observer.range(symmetric=symmetric)
    return seen.low, seen.high


@given(FLOAT_CHUNKS, st.randoms(use_true_random=False))
def test_a_histogram_depends_on_neither_order_nor_batches(chunks, random) -> None:
    arrays = [np.array(chunk, np.float32) for chunk in chunks]
    together, apart = Histogram(), Histogram()
    together.update(np.concatenate(arrays))
    random.shuffle(arrays)
    for array in arrays:
        apart.update(array)
    assert together.exponent == apart.exponent
    assert together.zeros == apart.zeros
    assert together.counts.tolist() == apart.counts.tolist()


def test_a_histogram_counts_as_numpy_does_at_its_width() -> None:
    rng = np.random.default_rng(0)
    histogram = Histogram()
    values = np.concatenate([rng.normal(0, scale, 1000) for scale in (0.001, 1, 300)]).astype(
        np.float32
    )
    for part in np.split(values, 30):
        histogram.update(part)
    edges = np.arange(-HALF, HALF + 1) * histogram.width
    assert histogram.counts.tolist() == np.histogram(values, edges)[0].tolist()
    assert HALF // 2 <= np.abs(values).max() / histogram.width < HALF


def test_min_max_keeps_all_and_moving_average_the_average_sample() -> None:
    x = np.array([[-1, 2], [-3, 4], [-2, 9]])
    assert observed("minmax", x[:2], x[2:]) == (-3, 9)
    assert observed("moving-average", x[:2], x[2:]) == pytest.approx((-2, 5))


def test_a_percentile_leaves_out_as_many_as_it_says() -> None:
    x = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)
    low, high = observed("percentile:99", x[:70_000], x[70_000:])
    outside = np.mean((x < low) | (x > high))
    assert 0.008 < outside <= 0.0105
    assert observed("percentile:100", x) == (x.min(), x.max())


@pytest.mark.parametrize("symmetric", [False, True])
def test_mse_finds_what_a_full_search_finds(symmetric: bool) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.laplace(0.2, 1, 200_000), [25.0, -21.0]]).astype(np.float32)
    observer = MseObserver()
    observer.update(x)
    data = observer.histogram.distribution()
    found = observer.range(symmetric=symmetric)
    steps = np.linspace(0.05, 1, 60)
    least = min(
        grid_error(data, -21 * a, 25 * b, symmetric=symmetric) for a in steps for b in steps
    )
    assert grid_error(data, found.low, found.high, symmetric=symmetric) <= 1.01 * least
    assert found.high < 24


@pytest.mark.parametrize("method", ["percentile:99.9", "entropy"])
def test_one_outlier_does_not_set_the_range(method: str) -> None:
    x = np.abs(np.random.default_rng(2).normal(0, 1, 50_000))
    x[7] = 1000.0
    low, high = observed(method, x)
    assert 2.5 < high < 200
    assert low >= 0
    assert observed("minmax", x)[1] == 1000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "values", [[0.0, 0.0], [3.5, 3.5], [-(2.0**-100), 2.0**-100], [-7.0, -2.0]]
)
def test_every_method_stays_within_what_it_saw(method: str, values: list[float]) -> None:
    low, high = observed(method, np.array(values))
    assert min(0.0, *values) <= low <= high <= max(0.0, *values)


def test_methods_are_chosen_by_tensor() -> None:
    choices = parse_choices(["mse", "conv*=percentile:99.5", "conv2=minmax"])
    chosen = choose(choices, ["input", "conv1", "conv2"])
    assert [chosen[n].method for n in ("input", "conv1", "conv2")] == [
        "mse",
        "percentile",
        "minmax",
    ]
    assert chosen["conv1"].parameter == 99.5
    graph = small_network()
    x = samples(graph, 32)
    ranges = calibrate(graph, x, method=["minmax", "stem=percentile:90"])
    plain = calibrate(graph, x)
    assert ranges["stem"].high < plain["stem"].high
    assert ranges["sum"] == plain["sum"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", "must be METHOD or PATTERN=METHOD, with METHOD one of minmax, moving-average"),
        ("=mse", "must be METHOD or PATTERN=METHOD"),
        ("mse:3", "mse takes no number"),
        ("percentile:20", "percentile is 20, must be from 50 to 100"),
        ("percentile:many", "percentile is many, must be from 50 to 100"),
        ("conv9=mse", "no activation has such a name; they are input, stem, dw"),
    ],
)
def test_a_method_that_is_none_is_refused(text: str, message: str) -> None:
    graph = small_network()
    with pytest.raises(QuantizeError, match=message):
        calibrate(graph, samples(graph, 4), method=text)


def test_symmetric_activations_have_zero_point_0() -> None:
    graph = small_network()
    quantized = edgeq.quantize(
        graph, samples(graph, 16), scheme=Scheme(activations="symmetric")
    )
    free = [
        t for n, t in quantized.tensors.items() if n in ("input", "stem", "dw", "sum", "fc")
    ]
    assert [t.quant.zero_point for t in free] == [0] * 5


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_filters_have_the_bits_and_scales_asked_for(bits: int, weights: str) -> None:
    graph = small_network()
    quantized = edgeq.quantize(
        graph, samples(graph, 16), scheme=Scheme(weights=weights, weight_bits=bits)
    )
    for name in ("stem/w", "dw/w", "pw/w", "fc/w"):
        tensor = quantized.tensors[name]
        assert np.abs(tensor.data).max() <= 2 ** (bits - 1) - 1
        assert (len(tensor.quant.scale) == 1) == (weights == "per-tensor")
    edgeq.Interpreter(quantized)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight_bits": 1}, "weight bits: 1, must be 2 to 8"),
        ({"weight_bits": 9}, "weight bits: 9, must be 2 to 8"),
        ({"weights": "per-layer"}, "'per-layer', must be per-channel or per-tensor"),
        ({"activations": "signed"}, "must be asymmetric or symmetric"),
        ({"weight_range": "entropy"}, "must be minmax or mse"),
    ],
)
def test_a_scheme_that_is_none_is_refused(fields, message) -> None:
    with pytest.raises(QuantizeError, match=message):
        Scheme(**fields)


def test_what_deserves_attention_is_said() -> None:
    b = NetworkBuilder((1, 4))
    fc = b.layer("fc", FullyConnected(), "input", b.constant("w", 3, 4))
    dead = b.layer("dead", FullyConnected(0.0), fc, b.constant("v", 3, 3), b.constant("c", 3))
    b.tensors["v"].data[:] = 0
    b.tensors["c"].data[:] = -1
    graph = b.build(dead)
    notes: list[str] = []
    edgeq.quantize(graph, samples(graph, 1), note=notes.append)
    assert notes == [
        "network: filters of nothing but zeros: 'v'",
        "calibrated on one sample: its ranges stand for no other; some 100 are usual",
        "constant over all samples: 'dead'",
    ]
    b.tensors["w"].data[:] = 0
    notes.clear()
    edgeq.quantize(graph, samples(graph, 4), note=notes.append)
    assert notes[0] == "network: every filter is zero: the network cannot have been trained"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(bad: float) -> None:
    graph = small_network()
    graph.tensors["pw/w"].data[2, 0, 0, 1] = bad
    with pytest.raises(QuantizeError, match="pw: 'pw/w' holds NaN or infinite values"):
        edgeq.quantize(graph, samples(graph, 4))


def test_a_check_tells_when_ranges_settled_and_who_leaves_them() -> None:
    b = NetworkBuilder((1, 2))
    graph = b.build(b.layer("fc", FullyConnected(), "input", b.constant("w", 3, 2)))
    x = np.zeros((50, 2), np.float32)
    x[9], x[29], x[44] = (-4, 4), (-4.01, 4.01), (0, 7)
    other = np.array([[0, 0], [8, 0], [-1, 1]], np.float32)
    check = check_data(graph, SampleStream(graph, x), SampleStream(graph, other))
    seen = next(t for t in check.tensors if t.name == "input")
    assert (check.samples, check.other_samples, check.settled_after) == (50, 3, 45)
    assert (seen.low, seen.high) == pytest.approx((-4.01, 7))
    assert seen.late_share == 1 / 20  # one of the ten last samples' twenty values
    assert seen.other_share == 1 / 6
    assert seen.other_overshoot == pytest.approx(1 / 11.01)
    assert seen in check.left
    assert not check_data(graph, SampleStream(graph, x), SampleStream(graph, x)).left


def test_a_check_of_the_same_data_leaves_nothing_and_settles_at_once() -> None:
    graph = small_network()
    x = np.repeat(samples(graph, 1), 5, axis=0)
    check = check_data(graph, SampleStream(graph, x), SampleStream(graph, x))
    assert check.settled_after == 1
    assert {(t.late_share, t.other_share) for t in check.tensors} == {(0.0, 0.0)}


def test_an_activation_that_becomes_infinite_is_named() -> None:
    graph = small_network()
    graph.tensors["pw/w"].data[:] = 3e38
    refused = pytest.raises(DataError, match="'pw' becomes NaN or infinite on samples 0 to 3")
    with refused, np.errstate(all="ignore"):
        edgeq.quantize(graph, samples(graph, 4))
