"""Layers of a graph before it is planned: their C names, and which kernel serves each.

A layer's kernel is chosen from what the core can do and from the layer's own shapes and
weights; the choice says how much scratch the memory plan must give it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from edgeq.graph import Graph, Tensor
from edgeq.memory import MemoryPlan, Scratch, plan_memory
from edgeq.memory.blocks import aligned
from edgeq.memory.holes import holes, with_scratch
from edgeq.passes.align_channels import align_channels
from edgeq.passes.arrange import Arrangement, arrangement_for_device
from firmware_gen.cores import Target
from firmware_gen.kernels import kernel_of
from firmware_gen.kernels.kernel import ROLES, Kernel, Layer, LayerCode, Part, Variant
from firmware_gen.model_h import location
from firmware_gen.names import layer_names
from firmware_gen.optimize import MODES, Optimize


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
    is_shared: bool | None  # in the mode that shares some; None: in no mode
    macs: int  # multiplications that it does
    code_nbytes: int = 0  # of Variant
    is_exact: bool = False  # as Variant.is_exact
    unpacks: bool = False  # its constants, once in each run
    parts: Mapping[str, Choice] = field(default_factory=dict)  # by Part.role

    def kernels(self) -> tuple[Choice, ...]:
        """Those of its parts, and itself."""
        return (*(k for part in self.parts.values() for k in part.kernels()), self)

    def headers(self) -> tuple[str, ...]:
        """What model.c includes for it."""
        return tuple(c.header for c in self.kernels() if c.header is not None)


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
    graph: Graph,
    target: Target,
    optimize: Optimize = "speed",
    *,
    rooms: Mapping[str, int] = MappingProxyType({}),
    reasons: Reasons | None = None,
) -> tuple[Choice, ...]:
    """The first variant that can serve each layer on this core, else the portable kernel.

    But for `speed`, a variant whose code is large for what its layers have to do is left out.
    `rooms`: by node, bytes of scratch that one may have which unpacks its constants there; the
    others have none. `reasons` keeps what variants say, of layers that one graph after the
    other has.

    Raises:
        GraphError: an operator has no kernel.
    """
    nodes = list(zip(graph.nodes, layers_of(graph), strict=True))
    rate = MODES[optimize].unpacked_a_byte
    chooser = _Chooser(target, {} if reasons is None else reasons, rate or 0.0)
    no_room: int | str = 0
    if rate is None:
        no_room, rooms = f"`--optimize {optimize}` does not unpack constants in each run", {}
    while True:
        choices = tuple(
            chooser.choice(node.name, node.op, layer, rooms.get(node.name, no_room))
            for node, layer in nodes
        )
        found = _not_worth_its_code(choices, MODES[optimize].macs_a_byte)
        if not found:
            return choices
        chooser.left_out |= found


def _not_worth_its_code(choices: Sequence[Choice], macs_a_byte: float) -> dict[str, str]:
    """Headers whose layers multiply less than their code is worth, and what to say of each."""
    kernels = [kernel for choice in choices for kernel in choice.kernels()]
    total = sum(kernel.macs for kernel in kernels)
    work: dict[str, int] = {}
    for kernel in kernels:
        if kernel.header is not None and kernel.code_nbytes:
            work[kernel.header] = work.get(kernel.header, 0) + kernel.macs
    code = {kernel.header: kernel.code_nbytes for kernel in kernels}
    return {
        header: f"its code of {code[header]} bytes would serve {macs:,} of {total:,} "
        "multiplications; `--optimize speed` takes it"
        for header, macs in work.items()
        if macs < macs_a_byte * code[header] * total
    }


def shared_headers(choices: Sequence[Choice], optimize: Optimize) -> dict[str, int]:
    """The headers whose kernels layers share, by the kinds of layers beyond which they do."""
    mode = MODES[optimize]
    few = {True: mode.few, False: mode.few_of_special, None: None}
    kernels = [kernel for choice in choices for kernel in choice.kernels()]
    found = {kernel.header: few[kernel.is_shared] for kernel in kernels if kernel.header}
    return {header: least for header, least in found.items() if least is not None}


def scratch_of(choices: Sequence[Choice]) -> Scratch:
    """Bytes of scratch by name of the node, and what may share memory, for plan_memory."""
    return Scratch(
        {choice.node: choice.scratch_nbytes for choice in choices},
        exact=(choice.node for choice in choices if choice.is_exact),
    )


def arranged(
    graph: Graph, target: Target, optimize: Optimize = "speed", fast_nbytes: int = 0
) -> Arrangement:
    """The graph as it runs on a core: channels in whole groups, and passes.arrange with the
    scratch of its kernels.

    For `speed`, layers stay apart where `fast_nbytes`, what the first ram has for an arena,
    are enough for that.

    Raises:
        GraphError: the graph is not quantized, or an operator has no kernel.
    """
    graph = align_channels(graph, target.channel_group)
    reasons: Reasons = {}

    def scratch(found: Graph) -> Scratch:
        return scratch_of(choose_kernels(found, target, optimize, reasons=reasons))

    return arrangement_for_device(graph, scratch, fast_nbytes if optimize == "speed" else 0)


def planned(
    graph: Graph, target: Target, optimize: Optimize, capacities: Sequence[int] = ()
) -> tuple[MemoryPlan, tuple[Choice, ...]]:
    """The plan of an arranged graph and its kernels, of which some unpack their constants into
    what is free of the arenas while they run.

    Raises:
        GraphError: the graph is not quantized, or an operator has no kernel.
    """
    reasons: Reasons = {}
    choices = choose_kernels(graph, target, optimize, reasons=reasons)
    plan = plan_memory(graph, scratch_of(choices), capacities)
    if MODES[optimize].unpacked_a_byte is None:
        return plan, choices
    free = holes(graph, plan)
    rooms = {name: hole.nbytes for name, hole in free.items()}
    choices = choose_kernels(graph, target, optimize, rooms=rooms, reasons=reasons)
    return with_scratch(graph, plan, free, scratch_of(choices)), choices


# What a variant says of a layer, and the tensors whose identities are in the key.
Reasons: TypeAlias = dict[tuple[Any, ...], tuple[str | None, tuple[Tensor, ...]]]


@dataclass(slots=True)
class _Chooser:
    target: Target
    reasons: Reasons
    unpacked_a_byte: float  # of Mode
    left_out: dict[str, str] = field(default_factory=dict)  # headers of variants, and why

    def choice(self, node: str, op: Any, layer: Layer, room: int | str) -> Choice:
        """The kernel of a layer, and those of its parts. `room`: bytes of scratch that one
        which unpacks its constants may have, or why none may.
        """
        kernel = kernel_of(op)
        by: Variant | Kernel = kernel
        reasons: dict[str, str] = {}
        for variant in kernel.variants:
            reason = self._reason(variant, op, layer, room)
            if reason is None:
                by = variant
                break
            reasons[variant.name] = reason
        found = Choice(
            node,
            layer,
            by.name,
            by.header,
            by.scratch_nbytes(op, *layer.shapes()),
            by.emit,
            reasons,
            by.is_shared,
            op.macs(*layer.shapes()),
        )
        if isinstance(by, Variant):
            found = replace(
                found,
                code_nbytes=by.code_nbytes,
                is_exact=by.is_exact,
                unpacks=by.saved_nbytes is not None,
            )
        parts = kernel.parts(op, layer)
        return self._with_parts(found, parts) if parts else found

    def _reason(self, variant: Variant, op: Any, layer: Layer, room: int | str) -> str | None:
        """Why a variant is not taken, for whatever reason."""
        rounding = getattr(op, "rounding", None)
        if rounding is not None and rounding not in variant.roundings:
            return f"the layer rounds by '{rounding}', the kernel does not"
        if variant.saved_nbytes is not None and isinstance(room, str):
            return room
        reason = self._why_not(variant, op, layer) or self.left_out.get(variant.header)
        if reason is not None or variant.saved_nbytes is None or isinstance(room, str):
            return reason
        nbytes = variant.scratch_nbytes(op, *layer.shapes())
        if nbytes > room:
            return f"{nbytes} bytes of scratch to unpack to, the arena has room for {room}"
        saved = variant.saved_nbytes(op, layer)
        if saved <= 0 or nbytes > self.unpacked_a_byte * saved:
            return f"{nbytes} bytes to unpack in each run would save {saved} bytes of flash"
        return None

    def _why_not(self, variant: Variant, op: Any, layer: Layer) -> str | None:
        tensors = (*layer.inputs, *layer.outputs)
        key = (
            self.target,
            variant.name,
            op,
            *(t.shape if t.data is None else id(t.data) for t in tensors),
        )
        if key not in self.reasons:
            self.reasons[key] = variant.why_not(op, layer, self.target), tensors
        return self.reasons[key][0]

    def _with_parts(self, whole: Choice, parts: Sequence[Part]) -> Choice:
        """The choice, with those of its parts, whose scratch is behind its own."""
        own = aligned(whole.scratch_nbytes)
        choices = {}
        for part in parts:
            layer = replace(part.layer, scratch_at=f"{part.layer.scratch_at} + {own}")
            found = self.choice(
                whole.node, part.op, layer, "a part of a layer would unpack for each row"
            )
            choices[part.role] = replace(found, macs=found.macs * part.calls)

        def emit(op: Any, layer: Layer) -> LayerCode:
            codes: dict[str, LayerCode] = {}
            for part in parts:
                codes[part.role] = _part_code(part, choices[part.role], choices, codes)
            return replace(whole.emit(op, layer), parts=codes)

        return replace(
            whole,
            scratch_nbytes=own + max(c.scratch_nbytes for c in choices.values()),
            emit=emit,
            macs=whole.macs - sum(c.macs for c in choices.values()),
            parts=choices,
        )


def _part_code(
    part: Part, choice: Choice, choices: Mapping[str, Choice], codes: Mapping[str, LayerCode]
) -> LayerCode:
    """The code of a part; constants that another part has too are that one's."""
    code = choice.emit(part.op, choice.layer)
    other = part.constants_of
    if other is None or not same_constants(code, codes[other]):
        return code
    layer = replace(choice.layer, name=choices[other].layer.name)
    return replace(choice.emit(part.op, layer), constants=(), constants_of=other)


def same_constants(code: LayerCode, other: LayerCode) -> bool:
    """Whether two layers would have the same constants."""
    return [(c.role, c.ctype) for c in code.constants] == [
        (c.role, c.ctype) for c in other.constants
    ] and all(
        np.array_equal(a.values, b.values)
        for a, b in zip(code.constants, other.constants, strict=True)
    )


def _roles(graph: Graph) -> tuple[str, ...]:
    most = max((len(n.inputs) for n in graph.nodes), default=0)
    outputs = max((len(n.outputs) for n in graph.nodes), default=0)
    return (
        *ROLES,
        *(f"constant_{i}" for i in range(most)),
        *(f"output_{i}" for i in range(1, outputs)),
    )
