"""Layers of a graph before it is planned: their C names, and which kernel serves each.

A layer's kernel is chosen from what the core can do and from the layer's own shapes and
weights; the choice says how much scratch the memory plan must give it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgeq.graph import Graph
from edgeq.memory.blocks import aligned
from edgeq.ops.op import IntegerOp
from edgeq.passes.arrange import arrange_for_device
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
    expand: Choice | None = None  # the kernel that makes the rows that this one reads

    def headers(self) -> tuple[str, ...]:
        """What model.c includes for it."""
        own = () if self.header is None else (self.header,)
        return own if self.expand is None else (*self.expand.headers(), *own)


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


def arranged(graph: Graph, target: Target) -> Graph:
    """The graph as it runs on a core: passes.arrange with the scratch of its kernels.

    Raises:
        GraphError: the graph is not quantized, or an operator has no kernel.
    """
    return arrange_for_device(graph, lambda g: scratch_of(choose_kernels(g, target)))


def _choice(node: str, op: Any, layer: Layer, target: Target) -> Choice:
    kernel = kernel_of(op)
    reasons: dict[str, str] = {}
    for variant in kernel.variants:
        reason = variant.why_not(op, layer, target)
        if reason is None:
            scratch = variant.scratch_nbytes(op, *layer.shapes())
            found = Choice(
                node, layer, variant.name, variant.header, scratch, variant.emit, reasons
            )
            break
        reasons[variant.name] = reason
    else:
        scratch = kernel.scratch_nbytes(op, *layer.shapes())
        found = Choice(node, layer, PORTABLE_NAME, kernel.header, scratch, kernel.emit, reasons)
    if kernel.expanding is None:
        return found
    return _with_rows(found, *kernel.expanding(op, layer), target)


def _with_rows(outer: Choice, op: IntegerOp, layer: Layer, target: Target) -> Choice:
    """The choice, with the kernel of the operator that makes the rows that it reads."""
    inner = _choice(outer.node, op, layer, target)
    before = aligned(inner.scratch_nbytes)

    def emit(whole: Any, whole_layer: Layer) -> LayerCode:
        behind = replace(whole_layer, scratch_at=f"{whole_layer.scratch_at} + {before}")
        return replace(outer.emit(whole, behind), expand=inner.emit(op, layer))

    return replace(outer, scratch_nbytes=before + outer.scratch_nbytes, emit=emit, expand=inner)


def _roles(graph: Graph) -> tuple[str, ...]:
    most = max((len(n.inputs) for n in graph.nodes), default=0)
    outputs = max((len(n.outputs) for n in graph.nodes), default=0)
    return (
        *ROLES,
        *(f"constant_{i}" for i in range(most)),
        *(f"output_{i}" for i in range(1, outputs)),
    )
