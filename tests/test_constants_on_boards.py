"""Firmware with constants in rams: the same bytes, where and as large as is said before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cli import CommandLine
from firmware_matrix import EmulatorName, Images, board_of, linked
from integer_networks import IntegerNetwork, inputs_of
from test_constants import product_network
from test_regions import wide_network
from test_sizes import is_in, program_headers, symbols
from toolchains import COMPILERS, need_compiler

from edgeq.board import Board, Memory, load_board
from edgeq.model_file import save_graph
from edgeq.ops import Window
from edgeq.stream.verify import verify
from firmware_gen import GeneratedFirmware, build, generate
from firmware_gen.arenas import capacities
from firmware_gen.linker_script import GUARD_NBYTES, STACK_NBYTES, linker_script
from firmware_gen.runtime.drivers import board_header
from firmware_gen.toolchain import BuildResult


def check_image(firmware: GeneratedFirmware, result: BuildResult) -> None:
    """Constants are where the manifest says, and the report has the program headers' bytes."""
    board, named = firmware.board, symbols(result.elf)
    memories = {memory.name: memory for memory in board.memories}
    for constants in firmware.model.manifest.constants:
        address, nbytes = named[f"{constants.layer}_filter"]
        assert is_in(address, memories[constants.memory]), constants
        assert is_in(address + nbytes - 1, memories[constants.memory])
    ends = dict.fromkeys(memories, 0)
    for virtual, load, in_file, in_memory in program_headers(result.elf):
        for memory in memories.values():
            if in_memory and is_in(virtual, memory):
                end = virtual + in_memory - memory.origin
                ends[memory.name] = max(ends[memory.name], end)
            if in_file and is_in(load, memory):
                assert memory is board.flash, "what is loaded lies in flash"
                ends[memory.name] = max(ends[memory.name], load + in_file - memory.origin)
    taken = {row.name: row for row in result.memories}
    assert {name: row.used_nbytes for name, row in taken.items()} == {
        name: nbytes for name, nbytes in ends.items() if nbytes
    }
    for name in {c.memory for c in firmware.model.manifest.constants} - {board.flash.name}:
        assert "constants of " in taken[name].holds


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("name", "emulator"),
    [
        ("nucleo_f446re", "virtual"),
        ("nucleo_g0b1re", "virtual"),
        ("nucleo_h743zi", "virtual"),
        ("nucleo_l4r5zi", "virtual"),
        ("raspberry_pi_pico", "virtual"),
        ("netduinoplus2", "virtual"),
        ("netduinoplus2", "qemu"),
    ],
)
def test_a_real_board_copies_constants_and_gives_the_same_bytes(
    name: str, emulator: EmulatorName, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    graph, board = product_network(), load_board(name)
    firmware = generate(graph, board, tmp_path, self_test=0, optimize="speed")
    assert firmware.model.copied == {0}
    result = build(firmware, compiler)
    check_image(firmware, result)
    with linked(result.elf, board, emulator) as link:
        found = verify(link, graph, [inputs_of(graph)])
    assert found.is_equal, found.differences


def slow_flash_board(first: int = 16_384, target: str = "m4") -> Board:
    """An emulator's machine whose flash is slow, with two rams; the first for the arena."""
    board = board_of(target)
    flash = replace(board.flash, wait_states=5, read_nbytes=16)
    origin = board.ram.origin
    rams = (
        Memory("fast", "ram", origin, first),
        Memory("other", "ram", origin + 0x4_0000, 0x1_0000),
    )
    return replace(board, memories=(flash, *rams))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("target", "emulator"), [("m4", "virtual"), ("m4", "qemu"), ("m55", "qemu")]
)
def test_constants_and_arenas_in_two_rams_give_the_same_bytes(
    target: str, emulator: EmulatorName, compiler, tmp_path: Path
) -> None:
    """The arena needs both rams; the constants come into what is left of either."""
    need_compiler(compiler)
    graph, board = wide_network(), slow_flash_board(14 * 1024, target)
    firmware = generate(graph, board, tmp_path, self_test=0, optimize="speed")
    assert firmware.model.copied == {0, 1}
    assert len(firmware.plan.arenas) == 2
    result = build(firmware, compiler)
    check_image(firmware, result)
    with linked(result.elf, board, emulator) as link:
        found = verify(link, graph, [inputs_of(graph)[:2]])
    assert found.is_equal, found.differences


def test_constants_too_large_for_the_rams_stay_in_flash_with_a_reason(tmp_path: Path) -> None:
    need_compiler("gcc")
    net = IntegerNetwork((1, 6, 6, 32))
    net.conv(net.conv("input", 64, Window(3, 3)), 8, Window(1, 1))
    board = slow_flash_board(12_000)
    board = replace(board, memories=board.memories[:2])
    firmware = generate(net.build(), board, tmp_path, self_test=0)
    large, small = firmware.model.manifest.constants
    assert large.nbytes > 16_000
    assert large.memory == board.flash.name
    assert large.why_not.startswith(f"{large.nbytes:,} bytes, 'fast' has ")
    assert small.memory == "fast"
    check_image(firmware, build(firmware, "gcc"))


def test_what_is_left_beside_a_full_arena_is_nothing(tmp_path: Path) -> None:
    """The constants never make a model that fits one that does not."""
    need_compiler("gcc")
    graph = product_network()
    free = generate(graph, board_of("m4"), tmp_path / "any", self_test=0, optimize="speed")
    arena = free.plan.arena_nbytes
    board = slow_flash_board()
    least = STACK_NBYTES + GUARD_NBYTES + 352 + -(-arena // 16) * 16
    board = replace(board, memories=(board.flash, replace(board.ram, nbytes=least)))
    assert capacities(board, STACK_NBYTES)[0] >= arena
    firmware = generate(graph, board, tmp_path / "full", self_test=0, optimize="speed")
    assert not firmware.model.copied
    assert firmware.model.manifest.constants[0].why_not.endswith("'fast' has 0 left")
    build(firmware, "gcc")


@pytest.mark.parametrize(
    "name", ["mps2_an385", "mps2_an386", "mps3_an547", "lm3s6965evb", "microbit", "nrf52840dk"]
)
def test_a_board_without_wait_states_has_the_files_that_it_had(
    name: str, tmp_path: Path
) -> None:
    graph, board = product_network(), load_board(name)
    assert not board.flash.wait_states
    generate(graph, board, tmp_path / "auto", optimize="speed")
    generate(graph, board, tmp_path / "none", optimize="speed", weights_in_ram="none")
    for path in (p for p in (tmp_path / "auto").rglob("*") if p.is_file()):
        text = path.read_text("utf-8")
        if path.name != "manifest.json":  # which has the reason
            assert text == (tmp_path / "none" / path.relative_to(tmp_path / "auto")).read_text()
    assert "weights" not in (tmp_path / "auto" / "link.ld").read_text("utf-8")
    assert "#define EDGEQ_HAS_COPIES 0" in board_header(board)


def test_the_mode_says_what_a_byte_of_ram_must_save(tmp_path: Path) -> None:
    board = load_board("nucleo_f446re")
    copied = {}
    for mode in ("speed", "balanced", "size"):
        firmware = generate(product_network(), board, tmp_path, optimize=mode)
        constants = firmware.model.manifest.constants
        copied[mode] = {c.layer for c in constants if not c.why_not}
        for c in constants:
            if mode == "balanced" and not c.why_not:
                assert c.saved_cycles >= c.nbytes
            if mode == "speed":
                assert c.saved_cycles > 0
    assert copied["speed"] > copied["balanced"] > copied["size"] == set()


def test_a_linker_script_that_knows_nothing_of_them_leaves_constants_in_flash(
    tmp_path: Path,
) -> None:
    """What model.c is in somebody else's firmware."""
    need_compiler("gcc")
    graph, board = product_network(), load_board("nucleo_f446re")
    firmware = generate(graph, board, tmp_path, self_test=0)
    assert "edgeq_weights.0" in (tmp_path / "model.c").read_text("utf-8")
    (tmp_path / "link.ld").write_text(linker_script(board), encoding="utf-8")
    header = tmp_path / "runtime" / "edgeq_board.h"
    header.write_text(board_header(board), encoding="utf-8")
    result = build(firmware, "gcc")
    for constants in firmware.model.manifest.constants:
        assert is_in(symbols(result.elf)[f"{constants.layer}_filter"][0], board.flash)
    with linked(result.elf, board, "virtual") as link:
        assert verify(link, graph, [inputs_of(graph)[:2]]).is_equal


def test_build_and_profile_say_where_constants_are(edgeq_command: CommandLine) -> None:
    save_graph(product_network(), Path("net.edgeq"))
    arguments = ("net.edgeq", "--board", "nucleo_f446re")
    built = json.loads(edgeq_command("build", *arguments, "-o", "out", "--json").out)
    constants = built["kernels"]["constants"]
    assert constants == json.loads(Path("out/manifest.json").read_text("utf-8"))["constants"]
    assert {c["memory"] for c in constants} == {"flash", "sram"}
    text = edgeq_command("build", *arguments, "-o", "out").out
    for c in constants:
        assert f"{c['saved_cycles']:,}" in text
        if c["why_not"]:
            assert c["why_not"] in " ".join(text.split())
    left = sum(c["wait_cycles"] for c in constants)
    profiled = edgeq_command("profile", *arguments).out
    assert f"those left in 'flash' wait at least {left:,} cycles" in " ".join(profiled.split())

    none = edgeq_command("build", *arguments, "-o", "out", "--weights-in-ram", "none", "--json")
    rams = [json.loads(none.out)["build"]["ram_nbytes"], built["build"]["ram_nbytes"]]
    nbytes = sum(-(-c["nbytes"] // 16) * 16 for c in constants if not c["why_not"])
    assert rams[1] - rams[0] == pytest.approx(nbytes, abs=16)

    plain = edgeq_command("build", "net.edgeq", "--board", "mps2_an386", "-o", "out").out
    reason = "constants stay in flash: the board's file gives 'ssram1' no wait states"
    assert reason in " ".join(plain.split())
    asked = ("--weights-in-ram", "2000", "--json")
    done = edgeq_command("build", "net.edgeq", "--board", "mps2_an386", "-o", "out", *asked)
    taken = [
        c["nbytes"] for c in json.loads(done.out)["kernels"]["constants"] if not c["why_not"]
    ]
    assert taken
    assert sum(taken) <= 2000


@pytest.mark.parametrize("command", ["build", "verify", "profile"])
def test_an_unknown_wish_is_refused(edgeq_command: CommandLine, command: str) -> None:
    save_graph(product_network(), Path("net.edgeq"))
    more = {"build": ("-o", "out"), "verify": ("--data", "x.npy"), "profile": ()}[command]
    done = edgeq_command(
        command, "net.edgeq", "--weights-in-ram", "6k", *more, "-b", "microbit"
    )
    assert done.error() == "--weights-in-ram is '6k', must be auto, none or a number of bytes"


def test_parts_of_layers_in_one_are_copied_apart(images: Images, tmp_path: Path) -> None:
    """An expanding convolution and its depthwise one by rows have constants of their own."""
    need_compiler("gcc")
    graph, board = images.graph("vww"), load_board("nucleo_f446re")
    firmware = generate(graph, board, tmp_path, self_test=0)
    homes = {c.layer: c.memory for c in firmware.model.manifest.constants}
    fused = [layer for layer in firmware.model.manifest.layers if layer.parts]
    assert fused
    for layer in fused:
        assert layer.layer not in homes
        assert homes[f"{layer.layer}_expand"] == "sram"
        assert homes[f"{layer.layer}_depthwise"] == "flash"
    result = build(firmware, "gcc")
    check_image(firmware, result)
    with linked(result.elf, board, "virtual") as link:
        assert verify(link, graph, [images.inputs("vww")]).is_equal
