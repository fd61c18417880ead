"""Tables of layers that call one kernel alike: a row for each instead of a function.

A row holds the layer's parameters, the offsets of its buffers in the arena and pointers to its
constants; `<kernel>_layer` runs the layer of a row. A function of a layer's own would take more
bytes for its call than a row for the layer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from firmware_gen import c_text
from firmware_gen.kernels.kernel import AT, LayerCode

LEAST = 3  # layers of a table: fewer take no more bytes as functions
LEAST_SAVED = 3  # calls that a loop over rows leaves out

_LAST_NAME = re.compile(r"\w+$")
_AT = "|".join(AT.values())
_IN_ARENA = re.compile(rf"((?:\([^()]*\))?(?:{_AT}))\(([^()]+)\)")  # perhaps with a cast
_IS_IN_ARENA = re.compile(rf"\b(?:{_AT})\(")


@dataclass(frozen=True, slots=True)
class Prototype:
    """A kernel's function as its header has it."""

    parameters: tuple[str, ...]  # the first points to a struct of its name
    is_inline: bool

    def names(self) -> list[str]:
        """Of the parameters."""
        return [found[0] for found in map(_LAST_NAME.search, self.parameters) if found]


@dataclass(frozen=True, slots=True)
class Callee:
    """What layers call: a kernel, which reads their parameters or has those in `fields`."""

    function: str
    fields: str | None
    prototype: Prototype


@dataclass(slots=True)
class _Table:
    callee: Callee
    macros: tuple[str | None, ...]  # of each argument: how it is in the arena, None: it is not
    name: str = ""
    indices: list[int] = field(default_factory=list)
    code: list[LayerCode] = field(default_factory=list)

    def members(self) -> list[tuple[str, str, str | None]]:
        """Name and declaration of each argument of a row, and its macro if it is an offset."""
        names = self.callee.prototype.names()[1:]
        types = self.callee.prototype.parameters[1:]
        return [
            (name, f"edgeq_offset {name}" if macro else _no_restrict(declared), macro)
            for name, declared, macro in zip(names, types, self.macros, strict=True)
        ]

    def kinds(self) -> dict[str, int]:
        """The layers' parameters, each kind with its number."""
        return {key: i for i, key in enumerate(dict.fromkeys(_fields(c) for c in self.code))}

    def has_pointers(self) -> bool:
        """Whether rows point to their parameters: where most share them."""
        return 2 * len(self.kinds()) <= len(self.code)

    def function(self, kernel: str) -> str:
        """The type of a row, and what runs its layer by a kernel or the kernel's copy."""
        arguments = [f"{m}(row->{n})" if m else f"row->{n}" for n, _, m in self.members()]
        # Pointers first: nothing is lost between members.
        members = [d for _, d, m in self.members() if not m]
        members += [d for _, d, m in self.members() if m]
        op, body = "&op", ""
        struct = f"struct {self.callee.function}"
        if self.callee.fields is not None:
            body = f"    static const {struct} op = {self.callee.fields};\n"
        elif self.has_pointers():
            members.insert(0, f"const {struct} *op")
            op = "row->op"
        else:
            members.insert(0, f"{struct} op")
            op = "&row->op"
        lines = "".join(f"    {member};\n" for member in members)
        head = (
            f"static __attribute__((noinline)) void {self.name}(const struct {self.name} *row)"
        )
        return (
            f"struct {self.name} {{\n{lines}}};\n\n"
            f"{head} {{\n{body}{c_text.call(kernel, [op, *arguments])}}}\n"
        )

    def rows(self, comments: Sequence[str]) -> str:
        """The table; `comments` are of all layers."""
        parts = []
        kinds = self.kinds()
        has_op = self.callee.fields is None
        if has_op and self.has_pointers():
            parts = [
                f"static const struct {self.callee.function} {self.name}_op_{i} = {key};\n\n"
                for key, i in kinds.items()
            ]
        parts.append(f"static const struct {self.name} {self.name}s[] = {{\n")
        for index, code in zip(self.indices, self.code, strict=True):
            values = []
            if has_op and self.has_pointers():
                values.append(f".op = &{self.name}_op_{kinds[_fields(code)]}")
            elif has_op:
                values.append(f".op = {c_text.initializer(code.parameters, 8, 14)}")
            for (name, _, macro), argument in zip(self.members(), code.calls[0], strict=True):
                values.append(f".{name} = {_offset(argument) if macro else argument}")
            lines = "".join(f"        {value},\n" for value in values)
            parts.append(f"{c_text.comment(comments[index], 4)}    {{\n{lines}    }},\n")
        return "".join([*parts, "};\n"])


class Tables:
    """The tables of one model."""

    def __init__(self, callees: Sequence[Callee | None], layers: Sequence[LayerCode]) -> None:
        """`callees` of the layers: None if a layer has its kernel for itself."""
        found: dict[tuple[Callee, tuple[str | None, ...]], _Table] = {}
        for index, (callee, code) in enumerate(zip(callees, layers, strict=True)):
            if callee is not None and _is_plain(code):
                macros = tuple(_macro(argument) for argument in code.calls[0])
                table = found.setdefault((callee, macros), _Table(callee, macros))
                table.indices.append(index)
                table.code.append(code)
        self._tables = [t for t in found.values() if len(t.code) >= LEAST]
        numbers: Counter[str] = Counter()
        for table in self._tables:
            function = table.callee.function
            numbers[function] += 1
            number = f"_{numbers[function]}" if numbers[function] > 1 else ""
            table.name = f"{function}{number}_layer"
        self._place = {
            index: (table, row)
            for table in self._tables
            for row, index in enumerate(table.indices)
        }

    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have a row."""
        return tuple(self._place)

    def functions(self, kernel_of: Callable[[str], str], offset_ctype: str) -> Iterator[str]:
        """Types of rows and the functions of them; `kernel_of` a function: its copy, or it."""
        if self._tables:
            yield (
                "/* Where a buffer is, in the tables of layers that call one kernel. */\n"
                f"typedef {offset_ctype} edgeq_offset;\n"
            )
        for table in self._tables:
            yield table.function(kernel_of(table.callee.function))

    def rows(self, comments: Sequence[str]) -> str:
        """The tables; `comments` are of all layers."""
        return "\n".join(table.rows(comments) for table in self._tables)

    def call(self, index: int) -> str | None:
        """The statement that runs a layer; None: it has no row."""
        if index not in self._place:
            return None
        table, row = self._place[index]
        return f"{table.name}(&{table.name}s[{row}]);"

    def calls(self, others: Sequence[tuple[int, str]]) -> str:
        """The statements that run layers (by number, each with what to call if it has no row)
        in their order: repetitions of rows are loops.
        """
        lines = []
        at = 0
        while at < len(others):
            period, turns = self._repetition([index for index, _ in others[at:]])
            if period:
                inside = [index for index, _ in others[at : at + period]]
                lines.append(self._loop(inside, turns, others[at + period * turns - 1][0]))
                at += period * turns
            else:
                index, statement = others[at]
                lines.append(f"    {self.call(index) or statement}\n")
                at += 1
        return "".join(lines)

    def _repetition(self, indices: Sequence[int]) -> tuple[int, int]:
        """How many calls at the start come again and again, and how often; (0, 0): none that
        a loop is for.
        """
        names = [self._place[i][0].name if i in self._place else None for i in indices]
        best = (LEAST_SAVED - 1, 0, 0)
        for period in range(1, len(names) // 2 + 1):
            pattern = names[:period]
            if None in pattern:
                break
            turns = 1
            while names[period * turns : period * (turns + 1)] == pattern:
                turns += 1
            best = max(best, (period * (turns - 1), period, turns), key=lambda b: b[0])
        return best[1:]

    def _loop(self, indices: Sequence[int], turns: int, last: int) -> str:
        """`turns` times the calls of these layers, each time of the rows that come next."""
        each = Counter(self._place[index][0].name for index in indices)
        lines = []
        for index in indices:
            table, row = self._place[index]
            step = f"{each[table.name]} * i" if each[table.name] > 1 else "i"
            at = f"{row} + {step}" if row else step
            lines.append(f"        {table.name}(&{table.name}s[{at}]);\n")
        note = f"    /* Layers {indices[0]} to {last}. */\n"
        return f"{note}    for (size_t i = 0; i < {turns}; ++i) {{\n{''.join(lines)}    }}\n"


def key_of(code: LayerCode) -> tuple[str, str]:
    """The kernel of a layer, and its parameters as they are in C."""
    return code.function, _fields(code)


def _fields(code: LayerCode) -> str:
    return c_text.initializer(code.parameters, 4, c_text.WIDTH)


def _is_plain(code: LayerCode) -> bool:
    """Whether the layer is one call, each of whose arguments a row can hold."""
    return (
        len(code.calls) == 1
        and not code.parts
        and all(_macro(a) or not _IS_IN_ARENA.search(a) for a in code.calls[0])
    )


def _macro(argument: str) -> str | None:
    found = _IN_ARENA.fullmatch(argument)
    return found[1] if found else None


def _offset(argument: str) -> str:
    found = _IN_ARENA.fullmatch(argument)
    assert found is not None
    return found[2]


def _no_restrict(declared: str) -> str:
    return declared.replace("*restrict ", "*")
