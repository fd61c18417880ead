"""Layers of a graph before it is planned: their C names, and which kernel serves each.

A layer's kernel is chosen from what the core can do and from the layer's own shapes and
weights; the choice says how much scratch the memory plan must give it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeq.graph import Graph
from firmware_gen.cores import Target
from firmware_gen.kernels import kernel_of
from firmware_gen.kernels.kernel import ROLES, Layer, LayerCode
from firmware_gen.model_h import location
from firmware_gen.names import layer_names

PORTABLE_NAME = "portable"


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel of one layer, and why it is not another."""

    node: str
    layer: Layer
    variant: str
    header: str | None  # None: the layer needs no code
    scratch_nbytes: int
    emit: Callable[[Any, Layer], LayerCode]
    why_not: Mapping[str, str]  # variants that were tried before, and what each says


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """Every node of a graph as the generators of kernels see it."""
    names = layer_names(graph, _roles(graph))
    at = {name: location("input", i) for i, name in enumerate(graph.inputs)}
    for node, layer in zip(graph.nodes, names, strict=True):
        for i, output in enumerate(node.outputs):
            at[output] = f"{layer}_output" + (f"_{i}" if i else "")
    layers = []
    for node, name in zip(graph.nodes, names, strict=True):
        inputs = graph.tensors_of(node.inputs)
        layers.append(
            Layer(
                name=name,
                inputs=inputs,
                outputs=graph.tensors_of(node.outputs),
                input_at=tuple(
                    f"{name}_constant_{i}" if t.data is not None else at[t.name]
                    for i, t in enumerate(inputs)
                ),
                output_at=tuple(at[t] for t in node.outputs),
                scratch_at=f"{name}_scratch",
            )
        )
    return tuple(layers)


def choose_kernels(graph: Graph, target: Target) -> tuple[Choice, ...]:
    """The first variant that can serve each layer on this core, else the portable kernel.

    Raises:
        GraphError: an operator has no kernel.
    """
    return tuple(
        _choice(node.name, node.op, layer, target)
        for node, layer in zip(graph.nodes, layers_of(graph), strict=True)
    )


def scratch_of(choices: Sequence[Choice]) -> dict[str, int]:
    """Bytes of scratch by name of the node, for plan_memory."""
    return {choice.node: choice.scratch_nbytes for choice in choices}


def _choice(node: str, op: Any, layer: Layer, target: Target) -> Choice:
    kernel = kernel_of(op)
    reasons: dict[str, str] = {}
    rounding = getattr(op, "rounding", None)
    for variant in kernel.variants:
        if rounding is None or rounding in variant.roundings:
            reason = variant.why_not(op, layer, target)
        else:
            reason = f"the layer rounds by '{rounding}', the kernel does not"
        if reason is None:
            scratch = variant.scratch_nbytes(op, *layer.shapes())
            return Choice(
                node, layer, variant.name, variant.header, scratch, variant.emit, reasons
            )
        reasons[variant.name] = reason
    scratch = kernel.scratch_nbytes(op, *layer.shapes())
    return Choice(node, layer, PORTABLE_NAME, kernel.header, scratch, kernel.emit, reasons)


def _roles(graph: Graph) -> tuple[str, ...]:
    most = max((len(n.inputs) for n in graph.nodes), default=0)
    outputs = max((len(n.outputs) for n in graph.nodes), default=0)
    return (
        *ROLES,
        *(f"constant_{i}" for i in range(most)),
        *(f"output_{i}" for i in range(1, outputs)),
    )
