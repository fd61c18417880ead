"""model.h: what code that uses a model must know of it, in macros and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeq.graph import Graph, Tensor
from edgeq.memory import MemoryPlan
from firmware_gen import c_text

_BODY = """\
#include <stddef.h>
#include <stdint.h>

{macros}{arena}
/* Where to write input `index`, {alignment} bytes aligned; NULL if there is none. A run may
 * overwrite its inputs: write all of them before each. */
{input}

/* Runs the model on what is in the inputs. */
void edgeq_model_run(void);

/* Where output `index` is from the end of a run to the next write of an input; NULL if there is
 * none. */
{output}

/* Bytes of input `index`, 0 if there is none. */
static inline size_t edgeq_model_input_nbytes(size_t index) {{
    static const size_t nbytes[EDGEQ_MODEL_INPUT_COUNT] = {input_nbytes};
    return index < EDGEQ_MODEL_INPUT_COUNT ? nbytes[index] : 0;
}}

/* Bytes of output `index`, 0 if there is none. */
static inline size_t edgeq_model_output_nbytes(size_t index) {{
    static const size_t nbytes[EDGEQ_MODEL_OUTPUT_COUNT] = {output_nbytes};
    return index < EDGEQ_MODEL_OUTPUT_COUNT ? nbytes[index] : 0;
}}
"""
_INLINE = """\
inline {declaration} {{
    return index == 0 ? edgeq_arena + {offset} : NULL;
}}"""
_ARENA = """\

/* For the functions below alone. */
extern uint8_t edgeq_arena[EDGEQ_MODEL_ARENA_NBYTES];
"""
ALIGNMENT = 4  # of every tensor in the arena
DECLARATIONS = {
    "input": "void *edgeq_model_input(size_t index)",
    "output": "const void *edgeq_model_output(size_t index)",
}


def model_header(graph: Graph, plan: MemoryPlan, digest: bytes, more: str = "") -> str:
    """The text of model.h; `more` is put behind its declarations."""
    body = _BODY.format(
        macros=_macros(graph, plan, digest),
        alignment=ALIGNMENT,
        arena=_ARENA if any(is_inline(graph, plan, kind) for kind in DECLARATIONS) else "",
        input=_access(graph, plan, "input"),
        output=_access(graph, plan, "output"),
        input_nbytes=_nbytes_list(graph, "input"),
        output_nbytes=_nbytes_list(graph, "output"),
    )
    return c_text.header("model.h", body + more, _note(graph, plan))


def is_inline(graph: Graph, plan: MemoryPlan, kind: str) -> bool:
    """Whether model.h defines the function that says where an input or output is: one in the
    only arena, so a caller needs no call for the address.
    """
    return len(plan.arenas) == 1 and len(_names(graph, kind)) == 1


def _access(graph: Graph, plan: MemoryPlan, kind: str) -> str:
    if not is_inline(graph, plan, kind):
        return f"{DECLARATIONS[kind]};"
    place = plan.placements[_names(graph, kind)[0]]
    return _INLINE.format(declaration=DECLARATIONS[kind], offset=place.offset)


def _names(graph: Graph, kind: str) -> Sequence[str]:
    return graph.inputs if kind == "input" else graph.outputs


def location(kind: str, index: int) -> str:
    """C name of the offset of a graph input."""
    return f"{kind}_{index}"


def tensor_text(tensor: Tensor) -> str:
    """Name, type, shape and quantization of an activation, in words; the scale is exact."""
    text = f"{tensor.name}: {tensor.dtype} {tensor.shape}"
    if tensor.quant is None:
        return text
    scale = tensor.quant.scale[0]
    return f"{text}, scale {_real(scale)}, zero point {tensor.quant.zero_point}"


def _real(scale: float) -> str:
    fraction, exponent = scale.hex().split("p")
    exact = f"{fraction.rstrip('0').rstrip('.')}p{exponent}"
    short = "" if f"{scale:.9g}" == repr(scale) else f"{scale:.9g} as a float32, "
    return f"{scale!r} ({short}{exact})"


def _note(graph: Graph, plan: MemoryPlan) -> str:
    lines = [
        f'The model "{graph.name}": write the inputs, call edgeq_model_run, read the outputs. '
        f"Not reentrant: there is {_arenas(plan)}, static in model.c. Images are (1, height, "
        "width, channels), channels together."
    ]
    for kind, tensors in (("Input", graph.input_tensors()), ("Output", graph.output_tensors())):
        for index, tensor in enumerate(tensors):
            lines += ["", f"{kind} {index}: {tensor_text(tensor)}, {tensor.nbytes} bytes."]
            lines += _conversion(kind, tensor)
    return "\n".join(lines)


def _arenas(plan: MemoryPlan) -> str:
    if len(plan.arenas) == 1:
        return f"one arena, of {plan.arena_nbytes} bytes"
    sizes = ", ".join(str(nbytes) for nbytes in plan.arenas)
    return f"an arena in each of {len(plan.arenas)} memory regions, of {sizes} bytes"


def _conversion(kind: str, tensor: Tensor) -> list[str]:
    if tensor.quant is None:
        return ["Real values: float32, little endian (IEEE 754)."]
    scale, zero_point = tensor.quant.scale[0], tensor.quant.zero_point
    low, high = (0, 255) if tensor.dtype.name == "uint8" else (-128, 127)
    if kind == "Input":
        text = (
            f"A real value x is written as q = round(x / {scale!r}) + {zero_point}, "
            f"clamped to {low} .. {high}."
        )
    else:
        text = f"q stands for the real value {scale!r} * (q - {zero_point})."
    return [text.replace("+ -", "- ").replace("- -", "+ ")]


def _macros(graph: Graph, plan: MemoryPlan, digest: bytes) -> str:
    octets = [f"0x{byte:02x}" for byte in digest]
    first, second = ", ".join(octets[:8]), ", ".join(octets[8:])
    lines = [
        c_text.define("EDGEQ_MODEL_NAME", c_text.string_literal(graph.name)),
        f"#define EDGEQ_MODEL_DIGEST {{{first}, \\\n                            {second}}}\n",
        _define_size("ARENA_NBYTES", plan.arena_nbytes),
    ]
    for kind, tensors in (("INPUT", graph.input_tensors()), ("OUTPUT", graph.output_tensors())):
        lines.append(_define_size(f"{kind}_COUNT", len(tensors)))
        lines.append(_define_size(f"{kind}_NBYTES", sum(t.nbytes for t in tensors)))
        for index, tensor in enumerate(tensors):
            lines.append(_define_size(f"{kind}_{index}_NBYTES", tensor.nbytes))
            lines.append(_define_size(f"{kind}_{index}_LENGTH", math.prod(tensor.shape)))
    return "".join(lines)


def _define_size(name: str, value: int) -> str:
    return c_text.define(f"EDGEQ_MODEL_{name}", c_text.integer(value, "uint32_t"))


def _nbytes_list(graph: Graph, kind: str) -> str:
    macros = [f"EDGEQ_MODEL_{kind.upper()}_{i}_NBYTES" for i in range(len(_names(graph, kind)))]
    return c_text.initializer(macros, 4, 60)
