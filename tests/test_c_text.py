"""Generated C text: what a compiler makes of it is what was meant."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from toolchains import need_compiler

from firmware_gen import c_text
from firmware_gen.toolchain import WARNINGS, find_compiler

TEXTS = ["", 'say "hi"\\n', "tab\tand\nline", "??=trigraph", "é€𝄞", "\x001\x7f9", "*/ /* //"]
CTYPES = {
    "int8_t": ctypes.c_int8,
    "uint8_t": ctypes.c_uint8,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
}


def extremes(name: str) -> list[int]:
    bits = ctypes.sizeof(CTYPES[name]) * 8
    low = 0 if name.startswith("u") else -(1 << (bits - 1))
    high = (1 << bits) - 1 if name.startswith("u") else (1 << (bits - 1)) - 1
    return [low, low + 1, 0, 1, high - 1, high] * 20


def test_a_compiler_reads_every_value_and_text_back(tmp_path: Path) -> None:
    need_compiler("zig")
    source = c_text.comment("*/ int broken; /*\n" + "a long line " * 30)
    source += c_text.include("stdint.h", system=True)
    for name in CTYPES:
        source += c_text.c_array(
            name, f"a_{name}", extremes(name), storage="const", align=16, note=name
        )
    for i, text in enumerate(TEXTS):
        literal = c_text.string_literal(text)
        source += f"const char s_{i}[] = {literal};\n"
    source += "struct pair { uint8_t x; const char *text; };\n"
    members = {"text": c_text.string_literal("t"), "x": c_text.integer(7, "uint8_t")}
    source += c_text.c_struct("struct pair", "pair", members, storage="const")
    path = tmp_path / "text.c"
    path.write_text(source, encoding="utf-8")
    library = tmp_path / "text.so"
    command = [*find_compiler("zig").command, "-std=c11", *WARNINGS, "-shared", "-fPIC"]
    subprocess.run([*command, str(path), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    for name, ctype in CTYPES.items():
        values = extremes(name)
        array = (ctype * len(values)).in_dll(loaded, f"a_{name}")
        assert list(array) == values
        assert ctypes.addressof(array) % 16 == 0
    for i, text in enumerate(TEXTS):
        data = text.encode("utf-8") + b"\0"
        assert bytes((ctypes.c_char * len(data)).in_dll(loaded, f"s_{i}")) == data
    assert ctypes.c_uint8.in_dll(loaded, "pair").value == 7
    assert all(len(line) <= c_text.WIDTH for line in source.splitlines())


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_becomes_an_identifier_and_a_closed_comment(text: str) -> None:
    assert c_text.is_identifier(c_text.identifier(text))
    assert c_text.is_identifier(c_text.identifier(text, "edgeq_"))
    comment = c_text.comment(text)
    assert comment.startswith("/*")
    assert comment.endswith("*/\n")
    assert comment.count("*/") == comment.count("/*") == 1


def test_names_keep_what_they_can() -> None:
    assert c_text.identifier("conv2d/Relu;bias") == "conv2d_Relu_bias"
    assert c_text.identifier("3x3") == "x_3x3"
    assert c_text.identifier("int") == "x_int"
    assert c_text.identifier("") == "x_"


def test_a_header_guards_itself_and_says_what_it_is() -> None:
    assert c_text.header("model.h", c_text.define("N", "1u", "one"), "A model.") == (
        "/* A model. */\n#ifndef MODEL_H\n#define MODEL_H\n\n#define N 1u /* one */\n"
        "\n#endif /* MODEL_H */\n"
    )
