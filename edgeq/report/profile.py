"""What a firmware costs, layer by layer: figures in one record, a table, and bars.

Instructions, code, weights and stack are those of the linked firmware on the virtual board;
cycles and times are estimates, the arena is the memory plan's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Group
from rich.table import Table
from rich.text import Text

from edgeq.emulator.profile import Part, Profile
from edgeq.emulator.stack import StackBound
from edgeq.graph import Graph
from edgeq.memory import MemoryPlan
from edgeq.report.model import keep_numbers, layer_rows, new_table, short_names, titled

_BAR = 14  # characters
_COUNTED: Mapping[str | None, str] = {
    "measured": "measured: by the cycle counter of the board's core, with wait states; mean of "
    "{} inferences\n",
    "emulated": "emulated: by an emulator's cycle counter, mean of {} inferences; that of the "
    "virtual board counts instructions\n",
}


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """One layer: figures of one inference."""

    name: str  # of its C function
    node: str
    operator: str
    instructions: float
    cycles: float  # estimated
    macs: int
    cycles_per_mac: float | None  # None without MACs
    time_s: float  # of the cycles, at the board's clock
    code_nbytes: int  # of functions that only this layer runs
    weight_nbytes: int  # all constants: filter, bias, multipliers, tables
    arena_nbytes: int  # live while the layer runs
    stack_nbytes: int  # below the stack pointer at the start of the inference
    functions: Mapping[str, float]  # instructions by function
    counted: float | None = None  # by the board itself; ModelProfile.counted_are


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """A whole inference; `own` is edgeq_model_run itself, the rest of the sums."""

    model: str
    board: str
    core: str
    core_hz: int
    cycles_are: str  # "documented" or "rough": how sure the cost table is
    cycles_source: str
    runs: int
    instructions: float
    cycles: float
    macs: int
    cycles_per_mac: float | None
    time_s: float
    code_nbytes: int  # of all functions that run
    shared_code_nbytes: int  # of those that several layers run
    weight_nbytes: int
    arena_nbytes: int
    lower_bound_nbytes: int
    stack_nbytes: int  # of the inference
    whole_stack_nbytes: int  # with that of its callers, from the top of the stack
    stack_bound_nbytes: int | None  # of the inference, by its code; None: no bound is known
    whole_stack_bound_nbytes: int | None  # of the program with interrupts
    stack_unresolved: tuple[str, ...]  # why no bound is known
    exception_instructions: float  # interrupts meanwhile, in no layer
    own_instructions: float
    own_cycles: float
    layers: tuple[LayerProfile, ...]
    counted_are: str | None = None  # "measured" or "emulated"; None: no board was asked
    counted: float | None = None  # of all layers
    counted_runs: int = 0


def with_counts(
    profile: ModelProfile, kind: str, counts: Mapping[str, float], runs: int
) -> ModelProfile:
    """The profile with what a board has counted, by C name of a layer."""
    layers = tuple(replace(row, counted=counts.get(row.name)) for row in profile.layers)
    return replace(
        profile,
        layers=layers,
        counted_are=kind,
        counted=sum(counts.values()),
        counted_runs=runs,
    )


def model_profile(
    profile: Profile,
    graph: Graph,
    plan: MemoryPlan,
    layers: Mapping[str, str],
    layer_nbytes: Mapping[str, int],
    code_nbytes: Mapping[str, int],
    board: str,
    stack_top: int,
    bounds: tuple[StackBound, StackBound],
) -> ModelProfile:
    """Counts and graph in one record.

    `layers`: C name of a layer -> node, in order; `layer_nbytes`: C name -> its constants;
    `code_nbytes`: function -> size; `bounds`: stack of an inference and of the program.
    """
    own, *called = profile.parts
    parts = {part.name: part for part in called}
    users = Counter(name for part in profile.parts for name in part.functions)
    rows = []
    for row, name in zip(layer_rows(graph, graph, plan), layers, strict=True):
        part = parts.get(name, Part(name, 0, 0, 0, {}))
        cycles = part.cycles / profile.runs
        rows.append(
            LayerProfile(
                name,
                row.name,
                row.operator,
                part.instructions / profile.runs,
                cycles,
                row.macs,
                cycles / row.macs if row.macs else None,
                cycles / profile.core_hz,
                sum(code_nbytes.get(f, 0) for f in part.functions if users[f] == 1),
                layer_nbytes[name],
                row.live_nbytes or 0,
                part.stack_nbytes,
                {f: n / profile.runs for f, n in part.functions.items()},
            )
        )
    macs = sum(row.macs for row in rows)
    return ModelProfile(
        model=graph.name,
        board=board,
        core=profile.core,
        core_hz=profile.core_hz,
        cycles_are=profile.sureness,
        cycles_source=profile.source,
        runs=profile.runs,
        instructions=profile.instructions,
        cycles=profile.cycles,
        macs=macs,
        cycles_per_mac=profile.cycles / macs if macs else None,
        time_s=profile.cycles / profile.core_hz,
        code_nbytes=sum(code_nbytes.get(f, 0) for f in users),
        shared_code_nbytes=sum(code_nbytes.get(f, 0) for f, n in users.items() if n > 1),
        weight_nbytes=sum(row.weight_nbytes for row in rows),
        arena_nbytes=plan.arena_nbytes,
        lower_bound_nbytes=plan.lower_bound_nbytes,
        stack_nbytes=profile.stack_nbytes,
        whole_stack_nbytes=stack_top - profile.entry_sp + profile.stack_nbytes,
        stack_bound_nbytes=bounds[0].known_nbytes,
        whole_stack_bound_nbytes=bounds[1].known_nbytes,
        stack_unresolved=tuple(dict.fromkeys(bounds[0].unresolved + bounds[1].unresolved)),
        exception_instructions=profile.exception_instructions / profile.runs,
        own_instructions=own.instructions / profile.runs,
        own_cycles=own.cycles / profile.runs,
        layers=tuple(rows),
    )


def _columns(table: Table, names: Sequence[str]) -> None:
    table.add_column(names[0], no_wrap=True, overflow="ellipsis")
    for name in names[1:]:
        table.add_column(name, justify="right", no_wrap=True)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _counted_or(profile: ModelProfile, value: float | None, ratio: float | None) -> str:
    """What a board has counted, in thousands; if none was asked, cycles per MAC."""
    if profile.counted_are is None:
        return _ratio(ratio)
    return "" if value is None else f"{value / 1e3:,.1f}"


def profile_table(profile: ModelProfile, width: int) -> Group:
    """One line a layer, and the sum."""
    table = new_table()
    names = ["layer", "k instr.", "k cycles", "/MAC", "ms", "code", "weights", "arena", "stack"]
    taken = 65
    if profile.counted_are is not None:  # in place of /MAC: 80 columns hold no more
        names[2:4] = ["estimated", profile.counted_are]
        taken = 70
    _columns(table, names)
    short = short_names([row.name for row in profile.layers], max(10, width - taken))
    for row, name in zip(profile.layers, short, strict=True):
        table.add_row(
            name,
            f"{row.instructions / 1e3:,.1f}",
            f"{row.cycles / 1e3:,.1f}",
            _counted_or(profile, row.counted, row.cycles_per_mac),
            f"{1e3 * row.time_s:.2f}",
            f"{row.code_nbytes:,}",
            f"{row.weight_nbytes:,}",
            f"{row.arena_nbytes:,}",
            f"{row.stack_nbytes:,}",
        )
    table.add_row(
        "shared",
        f"{profile.own_instructions / 1e3:,.1f}",
        f"{profile.own_cycles / 1e3:,.1f}",
        "",
        "",
        f"{profile.code_nbytes - sum(r.code_nbytes for r in profile.layers):,}",
        style="dim",
        end_section=True,
    )
    table.add_row(
        "in all",
        f"{profile.instructions / 1e3:,.1f}",
        f"{profile.cycles / 1e3:,.1f}",
        _counted_or(profile, profile.counted, profile.cycles_per_mac),
        f"{1e3 * profile.time_s:.2f}",
        f"{profile.code_nbytes:,}",
        f"{profile.weight_nbytes:,}",
        f"{profile.arena_nbytes:,}",
        f"{profile.stack_nbytes:,}",
        style="bold",
    )
    keep_numbers(table)
    unit = "" if profile.counted_are is None else "; cycles in thousands"
    return titled(f"{profile.model} on {profile.board}, one inference{unit}", table)


def profile_bars(profile: ModelProfile) -> Group:
    """Cycles by layer, and the arena while each runs, as bars."""
    table = new_table()
    table.add_column("layer", no_wrap=True, overflow="ellipsis")
    table.add_column("cycles", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("arena", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    most = max((row.cycles for row in profile.layers), default=0)
    for row in profile.layers:
        share = row.cycles / profile.cycles if profile.cycles else 0
        table.add_row(
            row.name,
            _bar(row.cycles, most, "cyan"),
            f"{100 * share:.1f} %",
            _bar(row.arena_nbytes, profile.arena_nbytes, "green"),
            f"{row.arena_nbytes:,}",
        )
    return Group(table)


def _bar(value: float, most: float, style: str) -> Text:
    eighths = round(8 * _BAR * value / most) if most else 0
    if value and not eighths:
        eighths = 1
    full, part = divmod(eighths, 8)
    return Text("█" * full + (" ▏▎▍▌▋▊▉"[part] if part else ""), style=style)


def profile_notes(profile: ModelProfile) -> Text:
    """Where the figures come from."""
    text = Text(
        f"instructions: executed on the virtual board, mean of {profile.runs} inferences; "
        f"interrupts meanwhile, in no layer: {profile.exception_instructions:,.0f}\n"
        f"cycles: estimated for the {profile.core} without wait states "
        f"({profile.cycles_are}: {profile.cycles_source})\n"
        f"{_COUNTED.get(profile.counted_are, '').format(profile.counted_runs)}"
        f"arena: {profile.arena_nbytes:,} bytes, at least {profile.lower_bound_nbytes:,} "
        "in any plan\n"
        f"stack: an inference took {profile.stack_nbytes:,} bytes"
        f"{_at_most(profile.stack_bound_nbytes)}; the program until its end "
        f"{profile.whole_stack_nbytes:,}{_at_most(profile.whole_stack_bound_nbytes)}, "
        "with interrupts"
    )
    if profile.stack_unresolved:
        text.append(f"\nno bound of the stack: {'; '.join(profile.stack_unresolved)}", "yellow")
    if profile.cycles_are != "documented":
        text.append("\nthe cycle table of this core is rough: compare, do not quote", "yellow")
    return text


def _at_most(bound: int | None) -> str:
    return "" if bound is None else f" (its code: at most {bound:,})"


def function_picture(profile: Profile) -> Group:
    """A profile of one function of any firmware, by the functions it runs."""
    table = new_table()
    _columns(table, ("function", "instructions", "share"))
    for name, count in profile.functions.items():
        share = count / profile.runs / profile.instructions
        table.add_row(name, f"{count / profile.runs:,.0f}", f"{100 * share:.1f} %")
    text = Text(
        f"{profile.instructions:,.0f} instructions, {profile.cycles:,.0f} cycles estimated "
        f"({profile.sureness}: {profile.source}), "
        f"{1e3 * profile.cycles / profile.core_hz:.3f} ms at {profile.core_hz / 1e6:g} MHz, "
        f"{profile.stack_nbytes:,} bytes of stack; mean of {profile.runs} runs"
    )
    return Group(titled(f"{profile.function} on the {profile.core}", table), text)
