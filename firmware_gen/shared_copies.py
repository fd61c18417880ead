"""Kernels of which several layers call one copy, instead of one specialized for each.

Layers with the same parameters call one copy that is specialized for these. Of the kernels
that a mode shares, layers with other parameters call one copy that reads them from flash.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from firmware_gen import c_text
from firmware_gen.kernels import kernels_folder
from firmware_gen.kernels.kernel import LayerCode

_PROTOTYPE = re.compile(
    r"^static inline (?:__attribute__\(\(always_inline\)\)\s)?void\s(\w+)\(([^)]*)\) \{",
    re.MULTILINE,
)
_LAST_NAME = re.compile(r"\w+$")


class Copies:
    """The copies that the layers of one model share, and what each layer calls."""

    def __init__(
        self, code: Iterable[LayerCode], headers: Iterable[str], few: Mapping[str, int]
    ) -> None:
        """`headers` hold the kernels; more kinds of layers than `few` says share one copy.

        A kernel that is no inline function in its header has one copy as it is.
        """
        self._parameters_of = _prototypes(headers)
        by_key = Counter(_key(c) for c in code if c.calls and c.function in self._parameters_of)
        kinds = Counter(function for function, _ in by_key)
        self._any = {
            function
            for header, least in few.items()
            for function in _prototypes([header])
            if kinds[function] > least
        }
        self._same: dict[tuple[str, str], str] = {}
        numbers: Counter[str] = Counter()
        for key, layers in by_key.items():
            if layers > 1:
                numbers[key[0]] += 1
                self._same[key] = f"{key[0]}_{numbers[key[0]]}"

    def is_shared(self, code: LayerCode) -> bool:
        """Whether another layer calls the copy that this one calls."""
        return code.function in self._any or _key(code) in self._same

    def body(self, code: LayerCode) -> str:
        """The statements of a layer's function."""
        if (same := self._same.get(_key(code))) is not None:
            return "".join(c_text.call(same, call) for call in code.calls)
        calls = "".join(c_text.call(self._one(code.function), ["&op", *c]) for c in code.calls)
        return _parameters(*_key(code)) + calls

    def text(self) -> str:
        """The copies."""
        parts = []
        for function in sorted(self._any):
            first, *rest = self._parameters_of[function]
            calls = c_text.call(function, _names([first, *rest]))
            parts.append(_function(f"{function}_shared", [first, *rest], calls))
        for (function, fields), name in self._same.items():
            _, *rest = self._parameters_of[function]
            calls = c_text.call(self._one(function), ["&op", *_names(rest)])
            parts.append(_function(name, rest, _parameters(function, fields) + calls))
        return "\n".join(parts)

    def _one(self, function: str) -> str:
        return f"{function}_shared" if function in self._any else function


def _key(code: LayerCode) -> tuple[str, str]:
    return code.function, c_text.initializer(code.parameters, 4, c_text.WIDTH)


def _prototypes(headers: Iterable[str]) -> dict[str, list[str]]:
    """The parameters of the inline functions of headers, by name."""
    found = {}
    for header in headers:
        text = (kernels_folder() / header).read_text(encoding="utf-8")
        for function, parameters in _PROTOTYPE.findall(text):
            found[function] = " ".join(parameters.split()).split(", ")
    return found


def _names(parameters: Sequence[str]) -> list[str]:
    return [found[0] for found in map(_LAST_NAME.search, parameters) if found]


def _parameters(function: str, fields: str) -> str:
    return f"    static const struct {function} op = {fields};\n"


def _function(name: str, parameters: Sequence[str], body: str) -> str:
    head = c_text.call(f"static __attribute__((noinline)) void {name}", parameters, 0)
    prototype = head.removesuffix(";\n")
    return f"{prototype} {{\n{body}}}\n"
