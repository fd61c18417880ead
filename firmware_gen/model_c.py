"""A graph and its memory plan as C: model.c, model.h, and which kernel headers they use.

Each node is a function of its own, `static void <layer>(void)`, with its constants before it,
or a row in the table of those that call one kernel (layer_tables.py); edgeq_model_run is the
sequence of calls. Activations are at the plan's offsets in one arena.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from edgeq.digest import graph_digest
from edgeq.errors import GraphError
from edgeq.graph import Graph, Node, Tensor
from edgeq.memory import MemoryPlan, Placement, scratch_name
from edgeq.ops.op import IntegerOp
from edgeq.passes.prove_accumulators import prove_accumulators
from firmware_gen import c_text, profiled
from firmware_gen.arenas import address_text, arena_text, offset_ctype, offset_text
from firmware_gen.cores import PORTABLE, Target
from firmware_gen.kernels import headers_with_includes
from firmware_gen.kernels.kernel import AT, C_TYPES, Constant, Layer, LayerCode
from firmware_gen.layers import Choice, choose_kernels, shared_headers
from firmware_gen.manifest import Manifest, manifest
from firmware_gen.model_h import (
    DECLARATIONS,
    is_inline,
    location,
    model_header,
    tensor_text,
)
from firmware_gen.optimize import MODES, Optimize
from firmware_gen.shared_copies import Copies
from firmware_gen.weights import Room, place_constants, section

_NOTE = """\
The model "{name}": constants, a function or a row of a table for each layer, and the calls in \
order. Fixed-point integers only; nothing is allocated at run time. The functions for other \
code are declared in model.h."""

_ACCESS = """\
{declaration} {{
    static const uint32_t offsets[] = {offsets};
    return index < EDGEQ_MODEL_{upper}_COUNT ? {address} : NULL;
}}
"""


@dataclass(frozen=True, slots=True)
class ModelCode:
    """The C of one model."""

    source: str  # model.c
    header: str  # model.h
    kernel_headers: tuple[str, ...]  # files of kernels/ that model.c needs
    layers: Mapping[str, str]  # C name of a layer -> name of its node
    constant_nbytes: int  # of filters, biases, multipliers and tables in flash
    layer_nbytes: Mapping[str, int]  # the same by C name of a layer
    called: tuple[str, ...]  # C names of the layers that edgeq_model_run calls, in order
    manifest: Manifest  # which kernel serves each layer, and why no other
    copied: frozenset[int] = frozenset()  # numbers of the rams that constants are copied into


def model_code(
    graph: Graph,
    plan: MemoryPlan,
    target: Target = PORTABLE,
    *,
    optimize: Optimize = "speed",
    digest: bytes | None = None,
    measured: bool = False,
    layers_in_one: str = "",
    room: Room | None = None,
    choices: Sequence[Choice] | None = None,
) -> ModelCode:
    """model.c and model.h of an integer graph, with the kernels chosen for a core.

    The plan must hold the scratch of these kernels (`layers.scratch_of`), in the same mode.

    `digest` is that of the model as the host has it; None: of this graph. `measured`: a run
    counts the cycles of each layer (profiled.py). `layers_in_one` is for the manifest. `room`:
    what of a board's rams constants may have (weights.py); None: all are in flash. `choices`:
    the kernels (layers.planned); None: those that choose_kernels gives without rooms.

    Raises:
        GraphError: an operator has no kernel, its scratch does not fit the plan, or an
            accumulator could overflow.
    """
    if not graph.is_quantized:
        raise GraphError(f"{graph.name}: is a float graph; quantize it first")
    prove_accumulators(graph)
    choices = tuple(choices or choose_kernels(graph, target, optimize))
    writer = _Writer(graph, plan, choices, measured, MODES[optimize].cold_share)
    code = [writer.code_of(index) for index in range(len(graph.nodes))]
    copied = place_constants(choices, code, room, optimize) if room else ()
    writer.ram_of = {c.function: c.home.ram for c in copied if c.home.ram is not None}
    headers = sorted({name for choice in choices for name in choice.headers()})
    called = tuple(n for n, c in zip(writer.names, code, strict=True) if c.calls)
    nbytes = [layer.constant_nbytes() for layer in code]
    copies = Copies(code, headers, shared_headers(choices, optimize))
    return ModelCode(
        source=writer.source(code, headers, copies, MODES[optimize].define),
        header=model_header(
            graph,
            plan,
            graph_digest(graph) if digest is None else digest,
            profiled.declarations(called) if measured else "",
        ),
        kernel_headers=tuple(headers_with_includes(headers)),
        layers=dict(zip(writer.names, (n.name for n in graph.nodes), strict=True)),
        constant_nbytes=sum(nbytes),
        layer_nbytes=dict(zip(writer.names, nbytes, strict=True)),
        called=called,
        manifest=manifest(graph, optimize, choices, code, copies, layers_in_one, copied),
        copied=frozenset(writer.ram_of.values()),
    )


class _Writer:
    """Names of everything in one model.c, and its parts."""

    def __init__(
        self,
        graph: Graph,
        plan: MemoryPlan,
        choices: tuple[Choice, ...],
        measured: bool,
        cold_share: float,
    ) -> None:
        self.measured = measured
        self.graph = graph
        self.plan = plan
        self.choices = choices
        self.ram_of: Mapping[str, int] = {}  # C function -> ram that its constants are in
        self.names = tuple(choice.layer.name for choice in choices)
        self.offset_of = {name: location("input", i) for i, name in enumerate(graph.inputs)}
        for node, choice in zip(graph.nodes, choices, strict=True):
            self.offset_of.update(zip(node.outputs, choice.layer.output_at, strict=True))
        work = [
            _work(node, choice.layer) for node, choice in zip(graph.nodes, choices, strict=True)
        ]
        self.is_cold = [found <= cold_share * sum(work) for found in work]

    def code_of(self, index: int) -> LayerCode:
        """The C parts of one node.

        Raises:
            GraphError: names the node.
        """
        node = self.graph.nodes[index]
        choice = self.choices[index]
        wanted = choice.scratch_nbytes
        planned = self.plan.placements.get(scratch_name(node))
        if wanted != (planned.nbytes if planned else 0):
            raise GraphError(
                f"{node.name}: the kernel wants {wanted} bytes of scratch, the plan has "
                f"{planned.nbytes if planned else 0}"
            )
        if choice.is_exact:
            self._check_exact(index)
        if choice.header is None:
            self._check_alias(node)
        try:
            code = choice.emit(node.op, choice.layer)
            return self._with_constant_inputs(choice.layer, code)
        except GraphError as error:
            raise GraphError(f"{node.name}: {error}") from None

    def _with_constant_inputs(self, layer: Layer, code: LayerCode) -> LayerCode:
        """The code, with those inputs as constants that the calls read as they are."""
        extra = []
        for i, tensor in enumerate(layer.inputs):
            if tensor.data is not None and any(
                layer.input_at[i] in call for call in code.calls
            ):
                ctype = C_TYPES.get(tensor.dtype.name)
                if ctype is None:
                    raise GraphError(
                        f"constant {tensor.name} is {tensor.dtype}, cannot be read"
                    )
                extra.append(Constant(f"constant_{i}", ctype, tensor.data, tensor.name))
        return replace(code, constants=(*extra, *code.constants))

    def _check_exact(self, index: int) -> None:
        """The plan is one for this kernel: Scratch.exact had the node."""
        node = self.graph.nodes[index]
        at = {name: place.offset for name, place in self.plan.placements.items()}
        for found in self.plan.overlaps_at(index):
            both = {found.first, found.second}
            if node.name in both and both & set(node.inputs) and len({at[n] for n in both}) > 1:
                raise GraphError(
                    f"{node.name}: shares {found.nbytes} bytes with its input, but does not "
                    "begin where it does; the kernel wants a plan with scratch_of(choices)"
                )

    def _check_alias(self, node: Node) -> None:
        source, output = self.graph.tensors[node.inputs[0]], node.outputs[0]
        if source.data is not None or _place_of(self.plan, source.name) != _place_of(
            self.plan, output
        ):
            raise GraphError(
                f"{node.name}: {node.op.name} of '{source.name}' must share its bytes"
            )

    def source(
        self, code: list[LayerCode], headers: list[str], copies: Copies, define: str | None
    ) -> str:
        """The text of model.c."""
        layers = "\n".join(self._layer_text(i, c, copies) for i, c in enumerate(code))
        shared = copies.text(offset_ctype(self.plan))
        functions = [part for parts in code for part in parts.functions()]
        defines = {name for part in functions for name in part.defines}
        defines |= {define} if define else set()
        text = "\n".join(
            [
                c_text.comment(_NOTE.format(name=self.graph.name)),
                c_text.include("model.h"),
                (profiled.include() if self.measured else "")
                + self._rounding()
                + "".join(f"#define {name}\n" for name in sorted(defines))
                + "".join(c_text.include(name) for name in headers),
                arena_text(self.plan),
                self._offsets(),
                _pointer_macros(shared + layers),
                shared,
                layers,
                copies.tables.rows([self._note(i) for i in range(len(code))]),
                self._access("input"),
                self._run(code, copies),
                self._access("output"),
            ]
        )
        return text.replace("\n\n\n", "\n\n")

    def _rounding(self) -> str:
        """What edgeq_arith.h must know before it is included."""
        rounding = self.graph.rounding
        if rounding == "tflm":
            return ""
        return f"#define EDGEQ_ROUNDING EDGEQ_ROUNDING_{rounding.upper()}\n"

    def _offsets(self) -> str:
        """An enumeration of where each buffer is, with what it is."""
        lines = [
            "/* Offsets in the arena, and the steps (layers, from 0) that a buffer lives. */\n"
        ]
        lines.append("enum {\n")
        for name in self.graph.inputs:
            lines += self._offset(self.offset_of[name], name, self.graph.tensors[name])
        for node, layer in zip(self.graph.nodes, self.names, strict=True):
            for name in node.outputs:
                lines += self._offset(self.offset_of[name], name, self.graph.tensors[name])
            if scratch_name(node) in self.plan.placements:
                lines += self._offset(f"{layer}_scratch", scratch_name(node), None)
        return "".join([*lines, "};\n"])

    def _offset(self, at: str, name: str, tensor: Tensor | None) -> list[str]:
        place = self.plan.placements[name]
        what = f"{place.nbytes} bytes of scratch" if tensor is None else tensor_text(tensor)
        return [
            c_text.comment(f"{what}; {_life(place, len(self.graph.nodes))}", 4),
            f"    {at} = {offset_text(place)},\n",
        ]

    def _note(self, index: int) -> str:
        return f"{index}: {self.names[index]}"

    def _layer_text(self, index: int, code: LayerCode, copies: Copies) -> str:
        node, layer = self.graph.nodes[index], self.names[index]
        inputs = self.graph.tensors_of(node.inputs)
        macs = _macs(node, self.choices[index].layer)
        sources = ", ".join(str(t.shape) for t in inputs if t.data is None)
        outputs = ", ".join(str(self.graph.tensors[name].shape) for name in node.outputs)
        work = f", {macs} multiplications" if macs else ""
        note = f"{index}: {node.op.name.upper()} {sources} -> {outputs}{work}. {node.name}"
        if not code.calls:
            return c_text.comment(f"{note}\nNo code: the output is the input's bytes.")
        if (call := copies.tables.call(index)) is not None:
            return c_text.comment(f"{note}\nBy {call}") + self._constants_text(layer, code)
        parts = "".join(
            self._function_text(
                f"{layer}_{role}", part, copies, "", "const int8_t *x, int8_t *out"
            )
            for role, part in code.parts.items()
        )
        noinline = f"__attribute__(({'cold, ' if self.is_cold[index] else ''}noinline)) "
        return (
            f"{c_text.comment(note)}{parts}"
            f"{self._function_text(layer, code, copies, noinline, 'void')}"
        )

    def _function_text(
        self, name: str, code: LayerCode, copies: Copies, attribute: str, arguments: str
    ) -> str:
        """The constants and the function of a layer."""
        constants = self._constants_text(name, code)
        body = copies.body(code)
        return f"{constants}static {attribute}void {name}({arguments}) {{\n{body}}}\n"

    def _constants_text(self, name: str, code: LayerCode) -> str:
        ram = self.ram_of.get(name)
        return "".join(
            c_text.c_array(
                c.ctype,
                f"{name}_{c.role}",
                np.asarray(c.values).ravel().tolist(),
                # In a section of its own, compilers align an array no more than they must.
                align=0 if ram is None else 4,
                section="" if ram is None else section(ram),
                note=c.note,
            )
            + "\n"
            for c in code.constants
        )

    def _run(self, code: list[LayerCode], copies: Copies) -> str:
        called = [(i, f"{self.names[i]}();") for i, parts in enumerate(code) if parts.calls]
        if self.measured:
            return profiled.run_function([copies.tables.call(i) or own for i, own in called])
        return f"void edgeq_model_run(void) {{\n{copies.tables.calls(called)}}}\n"

    def _access(self, kind: str) -> str:
        names = self.graph.inputs if kind == "input" else self.graph.outputs
        for name in names:
            if name not in self.offset_of:
                raise GraphError(f"output '{name}' is a constant; leave it out of the model")
        if is_inline(self.graph, self.plan, kind):  # for those who cannot read model.h
            return f"extern inline {DECLARATIONS[kind]};\n"
        offsets = c_text.initializer([self.offset_of[name] for name in names], 4, 36)
        return _ACCESS.format(
            declaration=DECLARATIONS[kind],
            upper=kind.upper(),
            offsets=offsets,
            address=address_text(self.plan, "offsets[index]"),
        )


def _macs(node: Node, layer: Layer) -> int:
    return cast(IntegerOp, node.op).macs(*layer.shapes())


def _work(node: Node, layer: Layer) -> int:
    """Multiplications, or bytes if there are more of these."""
    tensors = (*layer.inputs, *layer.outputs)
    return max(_macs(node, layer), sum(t.nbytes for t in tensors if t.data is None))


def _place_of(plan: MemoryPlan, name: str) -> tuple[int, int]:
    return plan.placements[name].arena, plan.placements[name].offset


def _pointer_macros(text: str) -> str:
    lines = [
        f"#define {macro}(offset) (({ctype} *)edgeq_buffer(offset))\n"
        for ctype, macro in AT.items()
        if f"{macro}(" in text
    ]
    return "".join(lines)


def _life(place: Placement, steps: int) -> str:
    first = "the start" if place.first_step < 0 else f"step {place.first_step}"
    last = "the end" if place.last_step >= steps else f"step {place.last_step}"
    return f"from {first} to {last}"
