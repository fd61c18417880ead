"""Sensitivity: what the output loses if one layer alone is quantized, all others in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.analysis.noise import Progress, sqnr_db, to_reals
from edgeq.float_run import run_float
from edgeq.graph import Array, Graph, Node, Tensor
from edgeq.ops.op import FloatOp


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """SQNR of the network's first output where only this layer is quantized, in dB."""

    name: str
    operator: str
    weights_db: float | None  # filter and bias alone on their grids; None: it has none
    activation_db: float  # the output alone on its grid


def layer_sensitivity(
    graph: Graph, quantized: Graph, x: Array, progress: Progress = lambda done, total: None
) -> list[LayerSensitivity]:
    """Every layer of the float graph that the integer graph has; x (N, ...) float32.

    Each is rounded in float as `quantized` rounds it, and the layers after it run anew.
    """
    reals = run_float(graph, {graph.inputs[0]: x})
    expected = reals[graph.outputs[0]].astype(np.float64)
    signal = float((expected**2).sum())
    twins = {node.name: node for node in quantized.nodes}

    def from_layer(index: int, value: Array) -> float:
        y = _rerun(graph, reals, index, value)[graph.outputs[0]].astype(np.float64)
        return sqnr_db(signal, float(((y - expected) ** 2).sum()))

    rows = []
    for index, node in enumerate(graph.nodes):
        if (twin := twins.get(node.name)) is not None:
            weights = None
            filter_tensor = quantized.tensors[twin.inputs[1]] if len(twin.inputs) > 1 else None
            if filter_tensor is not None and filter_tensor.data is not None:
                constants = quantized.tensors_of(twin.inputs[1:])
                weights = from_layer(index, _with_constants(graph, node, reals, constants))
            rounded = round_to_grid(reals[node.name], quantized.tensors[node.name])
            rows.append(
                LayerSensitivity(node.name, node.op.name, weights, from_layer(index, rounded))
            )
        progress(index + 1, len(graph.nodes))
    return rows


def real_constant(tensor: Tensor) -> Array:
    """What an integer constant stands for, float32."""
    assert tensor.data is not None
    if tensor.quant is None:
        return tensor.data.astype(np.float32)
    scale = np.array(tensor.quant.scale, np.float64)
    if tensor.quant.axis is not None:
        scale = scale.reshape(
            [-1 if axis == tensor.quant.axis else 1 for axis in range(tensor.data.ndim)]
        )
    real = (tensor.data.astype(np.float64) - tensor.quant.zero_point) * scale
    return real.astype(np.float32)


def round_to_grid(x: Array, tensor: Tensor) -> Array:
    """Reals rounded and clamped to the tensor's grid."""
    assert tensor.quant is not None
    scale, zero_point = tensor.quant.scale[0], tensor.quant.zero_point
    q = np.clip(np.rint(x.astype(np.float64) / scale) + zero_point, -128, 127)
    return to_reals(q.astype(np.int8), tensor).astype(np.float32)


def _with_constants(
    graph: Graph, node: Node, reals: dict[str, Array], constants: Sequence[Tensor]
) -> Array:
    """The layer's output with a filter and a bias as the integers have them."""
    assert isinstance(node.op, FloatOp)
    operands = [_operand(graph, reals, name) for name in node.inputs]
    return node.op.run(operands[0], *(real_constant(t) for t in constants))[0]


def _rerun(graph: Graph, reals: dict[str, Array], index: int, value: Array) -> dict[str, Array]:
    """The activations with another value of layer `index`: only what depends on it anew."""
    changed = {graph.nodes[index].name: value}
    for node in graph.nodes[index + 1 :]:
        if changed.keys().isdisjoint(node.inputs):
            continue
        assert isinstance(node.op, FloatOp)
        known = {**{n: reals[n] for n in node.inputs if n in reals}, **changed}
        changed[node.name] = node.op.run(*(_operand(graph, known, n) for n in node.inputs))[0]
    return {**{name: reals[name] for name in graph.outputs}, **changed}


def _operand(graph: Graph, values: dict[str, Array], name: str) -> Array:
    data = graph.tensors[name].data
    return values[name] if data is None else data
