"""Layers of a graph before it is planned: their C names, and which kernel serves each.

A layer's kernel is chosen from what the core can do and from the layer's own shapes and
weights; the choice says how much scratch the memory plan must give it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from edgeq.graph import Graph
from edgeq.memory import Scratch
from edgeq.ops.op import IntegerOp
from firmware_gen.cores import Target
from firmware_gen.kernels import kernel_of
from firmware_gen.kernels.kernel import ROLES, Layer, LayerCode
from firmware_gen.model_h import location
from firmware_gen.names import layer_names
from firmware_gen.optimize import MODES, Optimize

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
    is_shared: bool  # in the mode that shares some
    code_nbytes: int  # of Variant; 0 of a portable kernel
    is_exact: bool = False  # as Variant.is_exact


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


def choose_kernels(
    graph: Graph, target: Target, optimize: Optimize = "speed"
) -> tuple[Choice, ...]:
    """The first variant that can serve each layer on this core, else the portable kernel.

    But for `speed`, a variant whose code is large for what its layers have to do is left out.

    Raises:
        GraphError: an operator has no kernel.
    """
    nodes = list(zip(graph.nodes, layers_of(graph), strict=True))
    left_out: dict[str, str] = {}  # headers of variants, and why
    while True:
        choices = tuple(
            _choice(node.name, node.op, layer, target, left_out) for node, layer in nodes
        )
        found = _not_worth_its_code(graph, choices, MODES[optimize].macs_a_byte)
        if not found:
            return choices
        left_out |= found


def _not_worth_its_code(
    graph: Graph, choices: Sequence[Choice], macs_a_byte: float
) -> dict[str, str]:
    """Headers whose layers multiply less than their code is worth, and what to say of each."""
    work: dict[str, int] = {}
    total = 0
    for node, choice in zip(graph.nodes, choices, strict=True):
        macs = cast(IntegerOp, node.op).macs(*choice.layer.shapes())
        total += macs
        if choice.header is not None and choice.code_nbytes:
            work[choice.header] = work.get(choice.header, 0) + macs
    code = {choice.header: choice.code_nbytes for choice in choices}
    return {
        header: f"its code of {code[header]} bytes would serve {macs:,} of {total:,} "
        "multiplications; `--optimize speed` takes it"
        for header, macs in work.items()
        if macs < macs_a_byte * code[header] * total
    }


def shared_headers(choices: Sequence[Choice], optimize: Optimize) -> dict[str, int]:
    """The headers whose kernels layers share, by the kinds of layers beyond which they do."""
    mode = MODES[optimize]
    few = {True: mode.few, False: mode.few_of_special}
    found = {choice.header: few[choice.is_shared] for choice in choices if choice.header}
    return {header: least for header, least in found.items() if least is not None}


def scratch_of(choices: Sequence[Choice]) -> Scratch:
    """Bytes of scratch by name of the node, and what may share memory, for plan_memory."""
    return Scratch(
        {choice.node: choice.scratch_nbytes for choice in choices},
        exact=(choice.node for choice in choices if choice.is_exact),
    )


def _choice(
    node: str, op: Any, layer: Layer, target: Target, left_out: Mapping[str, str]
) -> Choice:
    kernel = kernel_of(op)
    reasons: dict[str, str] = {}
    rounding = getattr(op, "rounding", None)
    for variant in kernel.variants:
        if rounding is None or rounding in variant.roundings:
            reason = variant.why_not(op, layer, target) or left_out.get(variant.header)
        else:
            reason = f"the layer rounds by '{rounding}', the kernel does not"
        if reason is None:
            return Choice(
                node,
                layer,
                variant.name,
                variant.header,
                variant.scratch_nbytes(op, *layer.shapes()),
                variant.emit,
                reasons,
                variant.is_shared,
                variant.code_nbytes,
                variant.is_exact,
            )
        reasons[variant.name] = reason
    return Choice(
        node,
        layer,
        PORTABLE_NAME,
        kernel.header,
        kernel.scratch_nbytes(op, *layer.shapes()),
        kernel.emit,
        reasons,
        kernel.is_shared,
        0,
    )


def _roles(graph: Graph) -> tuple[str, ...]:
    most = max((len(n.inputs) for n in graph.nodes), default=0)
    outputs = max((len(n.outputs) for n in graph.nodes), default=0)
    return (
        *ROLES,
        *(f"constant_{i}" for i in range(most)),
        *(f"output_{i}" for i in range(1, outputs)),
    )
