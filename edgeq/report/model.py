"""Pictures of a model: its layers, its memory over time, its accuracy."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeq.evaluate import Evaluation
from edgeq.explain import MultiplierRow
from edgeq.graph import Graph, Node, Tensor
from edgeq.memory import MemoryPlan
from edgeq.ops.op import IntegerOp

BAR = 40  # characters of a full bar


def new_table() -> Table:
    """A table as all of edgeq's look."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def keep_numbers(table: Table) -> None:
    """On a narrow terminal only the first column is cut, never a number."""
    for column in table.columns[1:]:
        texts = [str(column.header), *(str(cell) for cell in column.cells)]
        column.min_width = max(len(text) for text in texts)


def titled(title: str, table: Table) -> Group:
    """A table under a line that says what it shows."""
    return Group(Text(title, style="bold"), table)


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer as `edgeq inspect` shows it."""

    name: str
    operator: str
    output_shape: tuple[int, ...]
    macs: int
    live_macs: int  # without dead work; 0 of a layer that firmware leaves out
    weight_nbytes: int
    live_weight_nbytes: int
    live_nbytes: int | None  # of the arena, while the layer runs; None if it does not


@dataclass(frozen=True, slots=True)
class TensorRow:
    """An input or output of the model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


def tensor_row(tensor: Tensor) -> TensorRow:
    """Shape, type and quantization of a tensor."""
    quant = tensor.quant
    return TensorRow(
        tensor.name,
        tensor.shape,
        tensor.dtype.name,
        quant.scale[0] if quant else None,
        quant.zero_point if quant else None,
    )


def layer_rows(
    graph: Graph,
    optimized: Graph | None,
    plan: MemoryPlan | None,
    arranged: Graph | None = None,
) -> list[LayerRow]:
    """One row a node, in order; `plan` is that of `arranged`, which is None if `optimized` is.

    All three are None of a float graph. A node that `arranged` has in one with the node that
    reads it has that one's step.
    """
    live = optimized or graph
    nodes = {node.name: node for node in live.nodes}
    steps = {node.name: step for step, node in enumerate((arranged or live).nodes)}
    rows = []
    for node in graph.nodes:
        macs, weights = _work(graph, node)
        live_macs, live_weights, step = 0, 0, None
        if (kept := nodes.get(node.name)) is not None:
            live_macs, live_weights = _work(live, kept)
            name = kept.name if kept.name in steps else live.consumers(kept.name)[0].name
            step = steps[name]
        rows.append(
            LayerRow(
                node.name,
                node.op.name,
                graph.tensors[node.outputs[0]].shape,
                macs,
                live_macs,
                weights,
                live_weights,
                None if plan is None or step is None else live_nbytes(plan, step),
            )
        )
    return rows


def _work(graph: Graph, node: Node) -> tuple[int, int]:
    """MACs and bytes of constants of a node."""
    constants = (t for t in graph.tensors_of(node.inputs) if t.data is not None)
    return _macs(graph, node), sum(t.nbytes for t in constants)


def live_nbytes(plan: MemoryPlan, step: int) -> int:
    """Bytes of the arenas in use at a step; shared bytes counted once."""
    used = sorted(
        (p.arena, p.offset, p.end)
        for p in plan.placements.values()
        if p.first_step <= step <= p.last_step
    )
    total, reached, last = 0, 0, 0
    for arena, start, end in used:
        reached = reached if arena == last else 0
        total += max(end - max(start, reached), 0)
        reached, last = max(reached, end), arena
    return total


def _macs(graph: Graph, node: Node) -> int:
    shapes = [graph.tensors[name].shape for name in node.inputs]
    if isinstance(node.op, IntegerOp):
        return node.op.macs(*shapes)
    if len(shapes) < 2 or node.op.name not in (
        "conv_2d",
        "depthwise_conv_2d",
        "fully_connected",
    ):
        return 0
    output = graph.tensors[node.outputs[0]].shape
    if node.op.name == "fully_connected":
        return math.prod(output[:-1]) * math.prod(shapes[1])
    return output[1] * output[2] * math.prod(shapes[1])


def model_picture(
    graph: Graph, rows: list[LayerRow], plan: MemoryPlan | None, width: int
) -> RenderableType:
    """The layers as a table; for an integer graph with a bar of the arena at each step."""
    kind = f"int8 graph, rounding {graph.rounding}" if plan else "float graph"
    title = f"{graph.name}: {kind}"
    table = new_table()
    table.add_column("layer", no_wrap=True)
    table.add_column("operator", no_wrap=True)
    table.add_column("output", no_wrap=True)
    has_dead = any(
        (r.live_macs, r.live_weight_nbytes) != (r.macs, r.weight_nbytes) for r in rows
    )
    for name in ("MACs", "weights"):
        table.add_column(name, justify="right", no_wrap=True)
        if has_dead:
            table.add_column("live", justify="right", no_wrap=True)
    # Two more columns leave room for the arena only on a wide screen.
    has_arena = plan is not None and (not has_dead or width >= 97)
    if has_arena:
        table.add_column("arena", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
    taken = 66 if not has_dead else 81 if has_arena else 65
    names = short_names([row.name for row in rows], max(12, width - taken))
    most = max((row.live_nbytes or 0 for row in rows), default=0)
    for step, row in enumerate(rows):
        cells: list[RenderableType] = [
            names[step],
            row.operator,
            "x".join(str(e) for e in row.output_shape[1:]),
        ]
        for total, live in (
            (row.macs, row.live_macs),
            (row.weight_nbytes, row.live_weight_nbytes),
        ):
            cells.append(f"{total:,}" if total else "")
            if has_dead:
                cells.append(f"{live:,}" if total else "")
        if plan and has_arena and row.live_nbytes is not None:
            bar = "█" * max(1, round(6 * row.live_nbytes / plan.arena_nbytes))
            style = "red" if row.live_nbytes == most else "cyan"
            cells += [f"{row.live_nbytes:,}", Text(bar, style=style)]
        table.add_row(*cells)
    return titled(title, table)


def short_names(names: list[str], width: int) -> list[str]:
    """Layer names without the path that most of them share, cut in the middle to `width`."""
    prefixes = Counter(name.rsplit("/", 2)[0] + "/" for name in names if name.count("/") >= 2)
    common, count = prefixes.most_common(1)[0] if prefixes else ("", 0)
    if count * 2 < len(names):
        common = ""
    short = [name.removeprefix(common) for name in names]
    half = (width - 1) // 2
    return [n if len(n) <= width else f"{n[:half]}…{n[-(width - 1 - half) :]}" for n in short]


def model_summary(
    graph: Graph, optimized: Graph | None, rows: list[LayerRow], plan: MemoryPlan | None
) -> Group:
    """Inputs, outputs, totals; where the peak of memory is and what shares it."""
    lines: list[RenderableType] = [
        *(_tensor_line("input", t) for t in graph.input_tensors()),
        *(_tensor_line("output", t) for t in graph.output_tensors()),
        Text(
            f"total    {sum(r.macs for r in rows):,} MACs, "
            f"{sum(r.weight_nbytes for r in rows):,} bytes of weights, {len(rows)} layers"
        ),
    ]
    if optimized is not None:
        lines.append(
            Text(
                f"live     {sum(r.live_macs for r in rows):,} MACs, "
                f"{sum(r.live_weight_nbytes for r in rows):,} bytes of weights, "
                f"{len(optimized.nodes)} layers: firmware leaves out what changes no output"
            )
        )
    if optimized is None or plan is None:
        lines.append(Text("This is a float graph: `edgeq quantize` makes it run on a board."))
        return Group(*lines)
    nodes = optimized.nodes
    at = nodes[plan.peak_step].name if 0 <= plan.peak_step < len(nodes) else "the input"
    lines.append(
        Text(
            f"arena    {plan.arena_nbytes:,} bytes; no plan can be below "
            f"{plan.lower_bound_nbytes:,}, which live at once at '{at}':"
        )
    )
    for name in plan.live_at(plan.peak_step):
        place = plan.placements[name]
        lines.append(
            Text(f"           {place.offset:>8,} .. {place.offset + place.nbytes:>8,}  {name}")
        )
    lines += [
        Text(f"           {row.nbytes:,} bytes are shared by {row.first} and {row.second}")
        for row in plan.overlaps_at(plan.peak_step)
    ]
    copies = [optimized.tensors[n.name].nbytes for n in nodes if n.op.name == "move"]
    if copies:
        text = f"{len(copies)} copies of {sum(copies):,} bytes in all keep the arena small"
        lines.append(Text(f"moves    {text}"))
    if pairs := sum(n.op.name in ("conv_add", "conv_depthwise") for n in nodes):
        text = (
            f"{pairs} times two layers run as one, row by row: what is between is never whole"
        )
        lines.append(Text(f"fused    {text}"))
    return Group(*lines)


def _tensor_line(kind: str, tensor: Tensor) -> Text:
    shape = "x".join(str(e) for e in tensor.shape)
    text = f"{kind:<8} {tensor.name}: {tensor.dtype.name} {shape}"
    if tensor.quant is not None:
        text += f", real = {tensor.quant.scale[0]:.9g} * (q - {tensor.quant.zero_point})"
    return Text(text.replace("- -", "+ "))


def evaluation_picture(evaluation: Evaluation) -> Group:
    """Accuracy and the confusion matrix."""
    table = new_table()
    table.add_column("", justify="right", style="bold")
    classes = len(evaluation.confusion)
    for index in range(classes):
        table.add_column(str(index), justify="right")
    for label, row in enumerate(evaluation.confusion.tolist()):
        cells = []
        for predicted, count in enumerate(row):
            style = "green" if predicted == label else "red"
            cells.append(Text(str(count) if count else "·", style=style if count else "dim"))
        table.add_row(str(label), *cells)
    accuracy = (
        f"accuracy {100 * evaluation.accuracy:.2f} % "
        f"({evaluation.correct} of {evaluation.samples} samples)"
    )
    if classes > 20:
        return Group(Text(accuracy))
    return Group(titled("confusion: label down, prediction across", table), Text(accuracy))


def multiplier_picture(m: float, p: int, rows: list[MultiplierRow]) -> Group:
    """The rows of explain.multiplier_rows; the first n within one is marked."""
    title = f"M = {m:g}, P = {p}: M * P = {m * p:.6g};  M0 = round(2^n * M)"
    table = new_table()
    for name in ("n", "M0", "(M0 * P) >> n", "error", "bits", ""):
        table.add_column(name, justify="right")
    for row in rows:
        mark = "<- first within one" if row.is_first_within_one else ""
        table.add_row(
            str(row.n),
            str(row.m0),
            str(row.result),
            f"{row.error:+.4f}",
            str((row.m0 * p).bit_length() + 1),
            mark,
            style="bold green" if row.is_first_within_one else None,
        )
    return titled(title, table)


def error_bars(rows: list[MultiplierRow]) -> Text:
    """|error| by n as bars on a logarithmic scale; the line of 1 marked."""
    errors = [max(abs(row.error), 1e-3) for row in rows]
    low, high = -3.0, max(math.log10(max(errors)), 1.0)
    one = round(BAR * (0 - low) / (high - low))
    text = Text("|error|, logarithmic; the bar turns green below 1\n")
    for row, error in zip(rows, errors, strict=True):
        length = max(1, round(BAR * (math.log10(error) - low) / (high - low)))
        bar = "█" * length + " " * max(0, one - length) + ("│" if length <= one else "")
        text.append(f"n={row.n:>2} ")
        text.append(bar, style="green" if abs(row.error) < 1 else "yellow")
        text.append(f" {abs(row.error):.3g}\n")
    return text
