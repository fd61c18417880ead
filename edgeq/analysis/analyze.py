"""One analysis of a float network: what its integers cost, where, and what else would cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from edgeq.analysis.distribution import LayerDistribution, layer_distributions
from edgeq.analysis.noise import LayerNoise, layer_noise, output_sqnr
from edgeq.analysis.sensitivity import LayerSensitivity, layer_sensitivity
from edgeq.correction import parse_corrections
from edgeq.errors import DataError
from edgeq.evaluate import Evaluation, check_labels, run_graph, score
from edgeq.explain_rounding import RoundingRow, rounding_rows
from edgeq.graph import Array, Graph, QuantParams
from edgeq.ops.softmax import Softmax
from edgeq.ops.weights import quantize_array
from edgeq.quantize import (
    DEFAULT_METHOD,
    Note,
    calibrate_and_rewrite,
    default_corrections,
)
from edgeq.scheme import LEAST_BITS, MOST_BITS, Scheme

NOISE_SAMPLES = 64  # of which every layer is compared
SENSITIVITY_SAMPLES = 24  # each is run once for each layer
CALIBRATION_SAMPLES = 100

Progress = Callable[[str, int, int], None]  # (what goes on, done, in all)


@dataclass(frozen=True, slots=True)
class BitsRow:
    """The whole network with filters of so many bits, its ranges alike."""

    bits: int
    corrections: tuple[str, ...]
    sqnr_db: float  # of the first output
    evaluation: Evaluation | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that the report shows of a network; accuracies are None without labels."""

    graph: Graph  # float, as rewritten before calibration
    quantized: Graph
    calibration_samples: int
    samples: int
    method: str  # several joined by commas
    corrections: tuple[str, ...]
    scheme: Scheme
    float_evaluation: Evaluation | None
    evaluation: Evaluation | None
    agreement: float | None  # share of samples whose largest output is the float network's
    sqnr_db: float
    noise: tuple[LayerNoise, ...]
    sensitivity: tuple[LayerSensitivity, ...]
    distributions: tuple[LayerDistribution, ...]
    bits: tuple[BitsRow, ...]
    rounding: tuple[RoundingRow, ...]


def split(x: Array, calibration: int | None) -> int:
    """How many samples in front calibrate: as said, else 100, but at most half.

    Raises:
        DataError: fewer than two samples, or none would be left to analyze.
    """
    if len(x) < 2:
        raise DataError(
            f"{len(x)} sample, must be at least 2: some calibrate, others are shown"
        )
    if calibration is not None and calibration >= len(x):
        raise DataError(f"{calibration} samples to calibrate of {len(x)}: none would be left")
    return calibration or min(CALIBRATION_SAMPLES, len(x) // 2)


def analyze(
    graph: Graph,
    x: Array,
    labels: Array | None = None,
    *,
    calibration: int | None = None,
    method: str | Iterable[str] = DEFAULT_METHOD,
    correct: str | Iterable[str] | None = None,
    scheme: Scheme | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Note = lambda text: None,
) -> Analysis:
    """Quantize the float `graph` with the first samples of x (N, ...), and look at the others.

    `method`, `correct`, `scheme`, `note`: as quantize.quantize, which makes the same integers
    of these. With other bits the corrections are those that it chooses for them, if nobody
    says.

    Raises:
        DataError: too few samples, or samples or labels that do not fit.
        QuantizeError: the graph cannot be quantized.
    """
    scheme = scheme or Scheme()
    count = split(x, calibration)
    if labels is not None:
        check_labels(labels, math.prod(graph.output_tensors()[0].shape[1:]))
    methods = [method] if isinstance(method, str) else list(method)

    def tell(what: str) -> Callable[[int, int | None], None]:
        return lambda done, total: progress(what, done, total or done)

    def corrections(of: Scheme) -> tuple[str, ...]:
        return parse_corrections(default_corrections(of) if correct is None else correct)

    calibrated = calibrate_and_rewrite(
        graph,
        x[:count],
        method=methods,
        correct=correct,
        scheme=scheme,
        progress=tell("calibrating"),
        note=note,
    )
    prepared = calibrated.graph
    quantized = calibrated.quantized(correct=correct, progress=tell("correcting"))
    shown, known = x[count:], None if labels is None else labels[count:]
    reals = run_graph(prepared, shown, tell("the float network"))[0]
    q = quantize_array(shown, _input_quant(quantized))
    integers = run_graph(quantized, q, tell("the integer network"))[0]
    output = quantized.output_tensors()[0]

    def score_of(y: Array) -> Evaluation | None:
        return None if known is None else score(y.reshape(len(y), -1), known)

    bits = []
    for number in range(LEAST_BITS, MOST_BITS + 1):
        of = replace(scheme, weight_bits=number)
        other = quantized
        if number != scheme.weight_bits:
            other = calibrated.quantized(
                scheme=of, correct=correct, progress=tell(f"weights of {number} bits")
            )
        y = run_graph(other, quantize_array(shown, _input_quant(other)))[0]
        noise = output_sqnr(reals, y, output)
        bits.append(BitsRow(number, corrections(of), noise, score_of(y)))
    agreement = None  # of a network that chooses nothing, as an autoencoder
    if known is not None or isinstance(prepared.nodes[-1].op, Softmax):
        agreement = float(np.mean(_largest(reals) == _largest(integers)))
    few = shown[:SENSITIVITY_SAMPLES]
    return Analysis(
        graph=prepared,
        quantized=quantized,
        calibration_samples=count,
        samples=len(shown),
        method=", ".join(methods),
        corrections=corrections(scheme),
        scheme=scheme,
        float_evaluation=score_of(reals),
        evaluation=score_of(integers),
        agreement=agreement,
        sqnr_db=output_sqnr(reals, integers, output),
        noise=tuple(
            layer_noise(prepared, quantized, shown[:NOISE_SAMPLES], tell("layer by layer"))
        ),
        sensitivity=tuple(
            layer_sensitivity(prepared, quantized, few, tell("one layer at a time"))
        ),
        distributions=tuple(layer_distributions(prepared, quantized, few)),
        bits=tuple(bits),
        rounding=tuple(
            rounding_rows(quantized, q, known, lambda r, d, t: progress(f"rounding {r}", d, t))
        ),
    )


def _input_quant(graph: Graph) -> QuantParams:
    quant = graph.input_tensors()[0].quant
    assert quant is not None
    return quant


def _largest(y: Array) -> Array:
    found: Array = y.reshape(len(y), -1).argmax(1)
    return found
