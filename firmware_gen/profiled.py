"""C of a model that measures its layers: the cycles of each, for PROFILE of the protocol."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.board import Board
from edgeq.errors import BoardError
from firmware_gen import c_text
from firmware_gen.cores import core_of

HEADER = "edgeq_cycles.h"
_DECLARATIONS = """\

/* Cycles of each layer that has code, in the order of their calls, in the last run. */
#define EDGEQ_MODEL_LAYER_COUNT {count}
extern uint32_t edgeq_model_cycles[EDGEQ_MODEL_LAYER_COUNT];
"""
_RUN = """\
uint32_t edgeq_model_cycles[EDGEQ_MODEL_LAYER_COUNT];

/* The counter must run (edgeq_cycles_start). A layer's cycles have its call, and the reading
 * and storing of the counter, in them. */
void edgeq_model_run(void) {{
    uint32_t before = edgeq_cycles();
    uint32_t now;
{calls}}}
"""
_CALL = """\
    {call}
    now = edgeq_cycles();
    edgeq_model_cycles[{index}] = now - before;
    before = now;
"""


def declarations(layers: Sequence[str]) -> str:
    """What model.h says of the figures."""
    return _DECLARATIONS.format(count=len(layers))


def run_function(calls: Sequence[str]) -> str:
    """edgeq_model_run of these statements, one a layer, with the counter read behind each."""
    lines = (_CALL.format(call=call, index=i) for i, call in enumerate(calls))
    return _RUN.format(calls="".join(lines))


def include() -> str:
    """What model.c must include."""
    return c_text.include(HEADER)


def check_counter(board: Board) -> None:
    """Nothing, if the board's core has a cycle counter.

    Raises:
        BoardError: it has none.
    """
    if not core_of(board).has_cycle_counter:
        raise BoardError(
            f"{board.name}: the {board.core} has no cycle counter (DWT_CYCCNT), layers cannot "
            "be measured on it; `edgeq profile` without a port estimates them"
        )
