"""Signal to quantization noise of every layer: the integer graph beside the float one.

SQNR = 10 log10(sum(x**2) / sum((x - q)**2)) in dB, x the float values and q what the integers
stand for, on the same samples. A bit more halves a step: about 6 dB (Widrow and Kollar 2008,
chapter 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeq.float_run import run_float
from edgeq.graph import Array, Graph, Tensor
from edgeq.interpreter import Interpreter
from edgeq.ops.weights import quantize_array

CHUNK = 16  # samples at a time: every activation of them is held
NO_NOISE = 200.0  # dB, where there is none at all

Progress = Callable[[int, int], None]  # (samples done, in all)


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """One activation, integers beside floats."""

    name: str
    operator: str
    sqnr_db: float
    largest: float  # of |x - q|, in steps of the tensor's scale
    clipped: float  # share of the float values outside the grid; 0 if its operator fixes it


def sqnr_db(signal: float, noise: float) -> float:
    """The ratio of two energies in dB, within +-NO_NOISE."""
    if noise <= 0 or signal <= 0:
        return NO_NOISE if noise <= 0 else -NO_NOISE
    return float(np.clip(10 * np.log10(signal / noise), -NO_NOISE, NO_NOISE))


def to_reals(q: Array, tensor: Tensor) -> Array:
    """What the integers of a tensor stand for, float64; floats as they are."""
    if tensor.quant is None or q.dtype.kind == "f":
        return q.astype(np.float64)
    real: Array = (q.astype(np.float64) - tensor.quant.zero_point) * tensor.quant.scale[0]
    return real


def all_activations(graph: Graph) -> Graph:
    """The integer graph with every layer's output as a graph output."""
    names = [node.name for node in graph.nodes]
    return Graph.build(graph.name, graph.tensors.values(), graph.nodes, graph.inputs, names)


def layer_noise(
    graph: Graph, quantized: Graph, x: Array, progress: Progress = lambda done, total: None
) -> list[LayerNoise]:
    """Every layer that both graphs have, in order; x (N, ...) float32, of the only input.

    `graph` is the float graph after its passes, as `quantized` was made from it.
    """
    opened = all_activations(quantized)
    interpreter = Interpreter(opened)
    source = quantized.input_tensors()[0]
    assert source.quant is not None
    fixed = {n.name for n in graph.nodes if getattr(n.op, "output_rule", "") == "fixed"}
    sums = {n.name: _Sums(n.name in fixed) for n in opened.nodes if n.name in graph.tensors}
    for first in range(0, len(x), CHUNK):
        batch = x[first : first + CHUNK]
        reals = run_float(graph, {graph.inputs[0]: batch})
        integers = interpreter.run(quantize_array(batch, source.quant))
        for name, q in zip(opened.outputs, integers, strict=True):
            if name in sums:
                sums[name].add(reals[name], q, opened.tensors[name])
        progress(min(first + CHUNK, len(x)), len(x))
    operators = {node.name: node.op.name for node in graph.nodes}
    return [sums[name].row(name, operators[name]) for name in sums]


class _Sums:
    """Energies of one tensor over all samples."""

    def __init__(self, is_fixed: bool) -> None:
        self.is_fixed = is_fixed
        self.signal = self.noise = self.largest = 0.0
        self.clipped = self.count = 0

    def add(self, x: Array, q: Array, tensor: Tensor) -> None:
        difference = to_reals(q, tensor) - x.reshape(q.shape)
        self.signal += float((x.astype(np.float64) ** 2).sum())
        self.noise += float((difference**2).sum())
        self.count += x.size
        if tensor.quant is None:
            return
        scale, zero_point = tensor.quant.scale[0], tensor.quant.zero_point
        self.largest = max(self.largest, float(np.abs(difference).max()) / scale)
        if self.is_fixed:  # the 1 of a SOFTMAX lies half a step beyond its grid, by rule
            return
        low, high = scale * (-128.5 - zero_point), scale * (127.5 - zero_point)
        self.clipped += int(((x < low) | (x > high)).sum())

    def row(self, name: str, operator: str) -> LayerNoise:
        return LayerNoise(
            name,
            operator,
            sqnr_db(self.signal, self.noise),
            self.largest,
            self.clipped / max(self.count, 1),
        )


def output_sqnr(reals: Array, integers: Array, tensor: Tensor) -> float:
    """SQNR of one output over samples."""
    x = reals.astype(np.float64)
    difference = to_reals(integers, tensor) - x.reshape(integers.shape)
    return sqnr_db(float((x**2).sum()), float((difference**2).sum()))


def by_name(rows: list[LayerNoise]) -> Mapping[str, LayerNoise]:
    """The rows by layer."""
    return {row.name: row for row in rows}
