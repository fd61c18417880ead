"""manifest.json: which kernel serves each layer, where its constants are, and why no other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from edgeq.graph import Graph
from firmware_gen.kernels.kernel import LayerCode
from firmware_gen.layers import Choice
from firmware_gen.optimize import Optimize
from firmware_gen.shared_copies import Copies
from firmware_gen.weights import Copied


@dataclass(frozen=True, slots=True)
class ManifestPart:
    """The kernel of a part of a layer."""

    role: str  # its C function is <layer>_<role>
    kernel: str
    copy: Literal["own", "shared"]
    header: str | None
    why_not: Mapping[str, str]
    constant_nbytes: int  # of those of the layer


@dataclass(frozen=True, slots=True)
class ManifestLayer:
    """One layer that has code."""

    layer: str  # its C function
    node: str
    operator: str
    kernel: str  # the variant, or "portable"
    copy: Literal["own", "shared"]  # of the kernel's code
    header: str | None  # None: no code
    why_not: Mapping[str, str]  # variants that were tried before, and what each says
    scratch_nbytes: int
    constant_nbytes: int
    parts: tuple[ManifestPart, ...] = ()


@dataclass(frozen=True, slots=True)
class ManifestConstants:
    """Where the constants of a function that multiplies are while it runs.

    Cycles are those of a run at the board's clock, at the least (edgeq/memory/constants.py).
    """

    layer: str  # the C function: of a layer, or of a part
    nbytes: int
    memory: str  # of the board's file: its flash, or the ram into which they are copied
    readings: int  # of all of them, in a run; estimated
    wait_cycles: int  # that the core waits for them there
    saved_cycles: int  # by the copy
    why_not: str  # why they stay in flash; "" of a copy


@dataclass(frozen=True, slots=True)
class Manifest:
    """The kernels of one model on one core."""

    model: str
    rounding: str
    optimize: Optimize
    layers_in_one: str  # why layers are one by rows, or apart; "" if nothing was arranged
    layers: tuple[ManifestLayer, ...]
    constants: tuple[ManifestConstants, ...] = ()  # empty: model.c is for no board

    def json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(asdict(self), indent=2) + "\n"


def manifest(
    graph: Graph,
    optimize: Optimize,
    choices: Sequence[Choice],
    code: Sequence[LayerCode],
    copies: Copies,
    layers_in_one: str,
    copied: Sequence[Copied] = (),
) -> Manifest:
    """The choices, with what became of each in C."""
    layers = tuple(
        ManifestLayer(
            layer=choice.layer.name,
            node=choice.node,
            operator=node.op.name,
            kernel=choice.variant,
            copy="shared" if copies.is_shared(parts) else "own",
            header=choice.header,
            why_not=dict(choice.why_not),
            scratch_nbytes=choice.scratch_nbytes,
            constant_nbytes=parts.constant_nbytes(),
            parts=_parts(choice, parts, copies),
        )
        for node, choice, parts in zip(graph.nodes, choices, code, strict=True)
    )
    constants = tuple(
        ManifestConstants(
            c.function,
            c.nbytes,
            c.memory,
            c.readings,
            c.home.wait_cycles,
            c.home.saved_cycles,
            c.home.why,
        )
        for c in copied
    )
    return Manifest(graph.name, graph.rounding, optimize, layers_in_one, layers, constants)


def _parts(choice: Choice, code: LayerCode, copies: Copies) -> tuple[ManifestPart, ...]:
    return tuple(
        ManifestPart(
            role=role,
            kernel=part.variant,
            copy="shared" if copies.is_shared(code.parts[role]) else "own",
            header=part.header,
            why_not=dict(part.why_not),
            constant_nbytes=code.parts[role].constant_nbytes(),
        )
        for role, part in choice.parts.items()
    )
