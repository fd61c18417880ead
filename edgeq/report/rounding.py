"""Tables of what the profiles of rounding change."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from edgeq.explain_rounding import LAYER_SAMPLES, LayerDifference, RoundingRow
from edgeq.report.model import keep_numbers, new_table, short_names, titled

_MEANING = {
    "tflm": "twice, as TensorFlow Lite Micro: the default",
    "single": "once, the 64-bit product",
    "shift": "once, a 32-bit product by a short M0",
}


def rounding_picture(name: str, samples: int, rows: list[RoundingRow]) -> Group:
    """One row a profile; changes are against `tflm`."""
    table = new_table()
    table.add_column("rounding", no_wrap=True, style="bold")
    heads = ["bits of M0", "changed", "share", "largest", "decided otherwise"]
    has_labels = any(row.evaluation for row in rows)
    for head in (*heads, "accuracy") if has_labels else heads:
        table.add_column(head, justify="right")
    for row in rows:
        shortest, longest = row.multiplier_bits
        cells = [
            row.rounding,
            str(longest) if shortest == longest else f"{shortest} .. {longest}",
            f"{row.difference.changed:,}",
            f"{100 * row.difference.share:.2f} %",
            str(row.difference.largest),
            f"{row.decided_otherwise:,}",
        ]
        if row.evaluation is not None:
            cells.append(f"{100 * row.evaluation.accuracy:.2f} %")
        table.add_row(*cells)
    values = rows[0].difference.values
    title = f"{name}: {values:,} output values of {samples:,} samples, against tflm"
    lines = [Text(f"{row.rounding:<7} rounds {_MEANING[row.rounding]}") for row in rows]
    return Group(titled(title, table), *lines)


def layers_picture(rows: list[LayerDifference], width: int) -> Group:
    """One row a layer: the share of its values that changed, and the largest change."""
    table = new_table()
    table.add_column("layer", no_wrap=True)
    table.add_column("operator", no_wrap=True)
    roundings = list(rows[0].differences)
    for rounding in roundings:
        table.add_column(rounding, justify="right", no_wrap=True)
        table.add_column("largest", justify="right", no_wrap=True)
    for name, row in zip(short_names([r.name for r in rows], width - 60), rows, strict=True):
        cells = []
        for rounding in roundings:
            found = row.differences[rounding]
            cells += [f"{100 * found.share:.2f} %", str(found.largest)]
        table.add_row(name, row.operator, *cells)
    keep_numbers(table)
    return titled(f"by layer, of the first samples (at most {LAYER_SAMPLES})", table)
