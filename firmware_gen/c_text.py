"""The only place that formats C: literals, comments, arrays, structures, headers.

Each function returns complete lines that end in a newline, or an expression without one. Lines
stay within 96 columns. Nothing made here carries a date, a path or a version.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

WIDTH = 96

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# C11 6.4.1, with C23's additions, so that a generated name survives a newer compiler.
_KEYWORD_LIST = """
    alignas alignof auto bool break case char const constexpr continue default do double else
    enum extern false float for goto if inline int long main nullptr register restrict return
    short signed sizeof static static_assert struct switch thread_local true typedef typeof
    typeof_unqual union unsigned void volatile while
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())


def identifier(text: str, prefix: str = "") -> str:
    """A C identifier that reads like `text`: other characters become one underscore."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    name = f"{prefix}{name}"
    if not name or name[0].isdigit() or name in _KEYWORDS:
        name = f"x_{name}"
    return name


def is_identifier(name: str) -> bool:
    """Whether `name` may name a C object or function."""
    return _IDENTIFIER.match(name) is not None and name not in _KEYWORDS


def comment(text: str, indent: int = 0) -> str:
    """`text` as one C comment, wrapped; a comment sign within it is broken up."""
    safe = text.replace("*/", "* /").replace("/*", "/ *")
    pad = " " * indent
    lines: list[str] = []
    for paragraph in safe.splitlines() or [""]:
        lines += textwrap.wrap(paragraph, WIDTH - indent - 6, break_long_words=False) or [""]
    if len(lines) == 1:
        return f"{pad}/* {lines[0]} */\n"
    body = "".join(f"{pad} * {line}".rstrip() + "\n" for line in lines[1:])
    return f"{pad}/* {lines[0]}\n{body[:-1]} */\n"


def string_literal(text: str) -> str:
    """`text` as a C string literal of its UTF-8 bytes.

    Octal escapes: unlike a hexadecimal one, an octal escape ends after three digits.
    `?` is escaped so that no trigraph arises.
    """
    out = []
    for byte in text.encode("utf-8"):
        char = chr(byte)
        if char in '"\\?':
            out.append("\\" + char)
        elif 0x20 <= byte < 0x7F:
            out.append(char)
        else:
            out.append(f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def integer(value: int, ctype: str = "int32_t") -> str:
    """An integer constant that has the value in every C11 compiler.

    The least int32_t and int64_t are written as differences: -2147483648 is minus a constant
    that fits no int (C11 6.4.4.1).
    """
    if ctype.startswith("u"):
        return f"{value}{'ull' if value > 0xFFFFFFFF else 'u'}"
    if value == -(2**31):
        return "(-2147483647 - 1)"
    if value == -(2**63):
        return "(-9223372036854775807ll - 1)"
    return f"{value}{'ll' if not -(2**31) <= value < 2**31 else ''}"


def address(value: int) -> str:
    """An unsigned 32-bit constant in hexadecimal, as data sheets print addresses."""
    return f"0x{value:08x}u"


def define(name: str, value: str, note: str = "") -> str:
    """One `#define`, with a comment behind it."""
    return f"#define {name} {value}" + (f" /* {note} */" if note else "") + "\n"


def include(name: str, *, system: bool = False) -> str:
    """One `#include`."""
    return f"#include <{name}>\n" if system else f'#include "{name}"\n'


def wrap_values(values: Iterable[str], indent: int = 4) -> str:
    """Comma-separated values, filled into lines."""
    pad = " " * indent
    lines: list[str] = []
    line = pad
    for value in values:
        item = f"{value}, "
        if len(line) + len(item) - 1 > WIDTH and line != pad:
            lines.append(line.rstrip())
            line = pad
        line += item
    if line != pad:
        lines.append(line.rstrip())
    return "".join(f"{text}\n" for text in lines)


def c_array(
    ctype: str,
    name: str,
    values: Sequence[int],
    *,
    storage: str = "static const",
    align: int = 0,
    section: str = "",
    note: str = "",
) -> str:
    """A one-dimensional array of integers with its values.

    `align` > 0 asks for that alignment in bytes, by the attribute that both compilers know, and
    `section` for a section other than the compiler's.
    """
    asked = [f"aligned({align})"] if align else []
    asked += [f"section({string_literal(section)})"] if section else []
    attribute = f" __attribute__(({', '.join(asked)}))" if asked else ""
    head = f"{storage} {ctype} {name}[{len(values)}]{attribute} = {{".lstrip()
    body = wrap_values(integer(int(value), ctype) for value in values)
    return (comment(note) if note else "") + f"{head}\n{body}}};\n"


def c_struct(
    ctype: str,
    name: str,
    members: Mapping[str, str],
    *,
    storage: str = "static const",
    note: str = "",
) -> str:
    """An object of a structure type; each member is set by name to a C expression."""
    body = "".join(f"    .{member} = {value},\n" for member, value in members.items())
    head = f"{storage} {ctype} {name} = {{".lstrip()
    return (comment(note) if note else "") + f"{head}\n{body}}};\n"


def header(file_name: str, body: str, note: str = "") -> str:
    """A header file: what it is, the guard named after the file, the body."""
    guard = identifier(file_name).upper()
    top = comment(note) if note else ""
    return f"{top}#ifndef {guard}\n#define {guard}\n\n{body}\n#endif /* {guard} */\n"


# A member of a structure: an integer, an expression, a list, or a structure in turn.
Value: TypeAlias = "int | str | Sequence[Value] | Mapping[str, Value]"


def initializer(value: Value, indent: int = 0, used: int = 0) -> str:
    """A C initializer: on one line if it fits behind `used` columns, else on several.

    `indent` is that of the line that it starts on; `used` of WIDTH means an item a line.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, Mapping):
        names = [f".{name} = " for name in value]
        items = list(value.values())
    else:
        names, items = [""] * len(value), list(value)
    flat = ", ".join(n + initializer(v, 0, -WIDTH) for n, v in zip(names, items, strict=True))
    if "\n" not in flat and used + len(flat) + 3 <= WIDTH:
        return f"{{{flat}}}"
    if used < WIDTH and all(isinstance(v, int) for v in items):
        values = [f"{n}{initializer(v)}" for n, v in zip(names, items, strict=True)]
        return "{\n" + wrap_values(values, indent + 4) + " " * indent + "}"
    pad = " " * (indent + 4)
    lines = [
        f"{pad}{n}{initializer(v, indent + 4, indent + 4 + len(n))},"
        for n, v in zip(names, items, strict=True)
    ]
    return "{\n" + "\n".join(lines) + "\n" + " " * indent + "}"


def call(function: str, arguments: Sequence[str], indent: int = 4) -> str:
    """A call as a statement, its arguments filled into lines below the first."""
    head = f"{' ' * indent}{function}("
    lines, line = [], head
    for position, argument in enumerate(arguments):
        item = argument + (");" if position == len(arguments) - 1 else ",")
        if line not in (head, " " * len(head)) and len(line) + 1 + len(item) > WIDTH:
            lines.append(line)
            line = " " * len(head) + item
        else:
            line += item if line == head else f" {item}"
    return "\n".join([*lines, line]) + "\n"
