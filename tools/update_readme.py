"""Write the generated tables of README.md: operators from the code, boards from boards/.

Run without arguments it rewrites README.md; a test checks that nothing would change.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgeq.board import board_names, load_board
from edgeq.importers.tflite_ops import READERS
from edgeq.ops import OPERATORS
from edgeq.report.firmware import kib

README = Path(__file__).parent.parent / "README.md"


def operators_table() -> str:
    lines = ["| operator | .tflite, int8 and float | ONNX | |", "|---|---|---|---|"]
    for operator in OPERATORS:
        if operator.name in ("move", "conv_depthwise", "conv_add"):  # no file has them
            continue
        tflite = operator.name.upper()
        if operator.name == "relu":
            tflite = "RELU, RELU6, RELU_N1_TO_1"
        if operator.name == "reshape":
            tflite = "RESHAPE, SQUEEZE, EXPAND_DIMS"
        assert all(name in READERS for name in tflite.split(", ")), tflite
        lines.append(f"| `{operator.name}` | {tflite} | {operator.onnx} | {operator.note} |")
    return "\n".join(lines)


def boards_table() -> str:
    lines = [
        "| board | | core | clock | flash | RAM | emulators | flash with |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in board_names():
        board = load_board(name)
        emulators = ["virtual"] if board.core != "cortex-m55" else []
        emulators += ["qemu"] if board.qemu_machine else []
        core = board.core.removeprefix("cortex-").upper().replace("PLUS", "+")
        lines.append(
            f"| `{name}` | {board.title} | {core} "
            f"| {board.clock.core_hz / 1e6:g} MHz | {kib(board.flash.nbytes)} "
            f"| {kib(sum(m.nbytes for m in board.of_kind('ram')))} | {', '.join(emulators)} "
            f"| {board.flashing.tool if board.flashing else ''} |"
        )
    return "\n".join(lines)


def with_tables(text: str) -> str:
    for name, table in (("operators", operators_table()), ("boards", boards_table())):
        pattern = rf"(<!-- {name} -->)\n.*?(<!-- /{name} -->)"
        text, count = re.subn(
            pattern, lambda m, t=table: f"{m[1]}\n{t}\n{m[2]}", text, flags=re.DOTALL
        )
        assert count == 1, f"README.md must have one place for the table of {name}"
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
