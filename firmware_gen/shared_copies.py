"""Kernels of which several layers call one copy, instead of one specialized for each.

Layers with the same parameters call one copy that is specialized for these. Of the kernels
that a mode shares, layers with other parameters call one copy that reads them from flash.
What many layers call in the same way has a table with a row for each (layer_tables.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from firmware_gen import c_text
from firmware_gen.kernels import kernels_folder
from firmware_gen.kernels.kernel import LayerCode
from firmware_gen.layer_tables import Callee, Prototype, Tables, key_of

_PROTOTYPE = re.compile(
    r"^static (inline )?(?:__attribute__\(\([\w, ]+\)\)\s)?"
    r"void\s(\w+)\(([^)]*)\) \{",
    re.MULTILINE,
)


class Copies:
    """The copies that the layers of one model share, and what each layer calls."""

    def __init__(
        self, layers: Sequence[LayerCode], headers: Iterable[str], few: Mapping[str, int]
    ) -> None:
        """`headers` hold the kernels; more kinds of layers than `few` says share one copy.

        A kernel that is no inline function in its header has one copy as it is.
        """
        code = [part for layer in layers for part in layer.functions() if part.calls]
        self._prototype_of = _prototypes(headers)
        is_inline = {name for name, found in self._prototype_of.items() if found.is_inline}
        by_key = Counter(key_of(c) for c in code if c.function in is_inline)
        kinds = Counter(function for function, _ in by_key)
        self._any = {
            function
            for header, least in few.items()
            for function in _prototypes([header])
            if function in is_inline and kinds[function] > least
        }
        self._same = {key for key, count in by_key.items() if count > 1}
        self.tables = Tables([self._callee_of(layer) for layer in layers], layers)
        # What else is called, by layers outside the tables and by parts of layers.
        rows = {id(layers[index]) for index in self.tables.layers()}
        others = [c for c in code if id(c) not in rows]
        left = Counter(key_of(c) for c in others)
        self._copied = {c.function for c in others if c.function in self._any}
        self._name_of: dict[tuple[str, str], str] = {}
        numbers: Counter[str] = Counter()
        for key in by_key:
            if left[key] > 1 and key[0] in is_inline:
                numbers[key[0]] += 1
                self._name_of[key] = f"{key[0]}_{numbers[key[0]]}"

    def is_shared(self, code: LayerCode) -> bool:
        """Whether another layer calls the copy that this one calls."""
        return code.function in self._any or key_of(code) in self._same

    def body(self, code: LayerCode) -> str:
        """The statements of a layer's function."""
        if (same := self._name_of.get(key_of(code))) is not None:
            return "".join(c_text.call(same, call) for call in code.calls)
        calls = "".join(c_text.call(self._one(code.function), ["&op", *c]) for c in code.calls)
        return _parameters(*key_of(code)) + calls

    def text(self, offset_ctype: str) -> str:
        """The copies, and the functions of the tables, with offsets of that type."""
        parts = []
        for function in sorted(self._copied):
            prototype = self._prototype_of[function]
            calls = c_text.call(function, prototype.names())
            parts.append(_function(f"{function}_shared", prototype.parameters, calls))
        for (function, fields), name in self._name_of.items():
            prototype = self._prototype_of[function]
            calls = c_text.call(self._one(function), ["&op", *prototype.names()[1:]])
            body = _parameters(function, fields) + calls
            parts.append(_function(name, prototype.parameters[1:], body))
        return "\n".join([*parts, *self.tables.functions(self._one, offset_ctype)])

    def _callee_of(self, code: LayerCode) -> Callee | None:
        """What a layer of several calls alike; None: only it calls it."""
        prototype = self._prototype_of.get(code.function)
        if prototype is None or not code.calls:
            return None
        if code.function in self._any or not prototype.is_inline:
            return Callee(code.function, None, prototype)
        same = key_of(code)
        return Callee(code.function, same[1], prototype) if same in self._same else None

    def _one(self, function: str) -> str:
        return f"{function}_shared" if function in self._copied else function


def _prototypes(headers: Iterable[str]) -> dict[str, Prototype]:
    """The functions of headers that kernels may be, by name."""
    found = {}
    for header in headers:
        text = (kernels_folder() / header).read_text(encoding="utf-8")
        for inline, function, parameters in _PROTOTYPE.findall(text):
            split = tuple(" ".join(parameters.split()).split(", "))
            found[function] = Prototype(split, bool(inline))
    return found


def _parameters(function: str, fields: str) -> str:
    return f"    static const struct {function} op = {fields};\n"


def _function(name: str, parameters: Sequence[str], body: str) -> str:
    head = c_text.call(f"static __attribute__((noinline)) void {name}", parameters, 0)
    prototype = head.removesuffix(";\n")
    return f"{prototype} {{\n{body}}}\n"
