"""Printed, planned and linked sizes are one; what does not fit is refused with both numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from firmware_matrix import Images, board_of, emulators_of, every_image, linked
from networks import samples, small_network
from toolchains import COMPILERS, need_compiler

import edgeq
from edgeq.board import Board, Memory, load_board
from edgeq.errors import BoardError
from edgeq.graph import Graph
from edgeq.memory import plan_memory
from edgeq.passes import optimize
from firmware_gen import build, generate
from firmware_gen.cores import core_of
from firmware_gen.firmware import PROGRAM_FLASH_NBYTES, PROGRAM_RAM_NBYTES
from firmware_gen.layers import arranged, choose_kernels, scratch_of
from firmware_gen.linker_script import GUARD_NBYTES, STACK_NBYTES
from firmware_gen.toolchain import CompilerName

HEAP = re.compile(r"_*(m|c|re)alloc(_r)?|_*free(_r)?|_*s?brk(_r)?|aligned_alloc|posix_memalign")
# __aeabi_ and a float's letter (Arm IHI0043E, section 4.1.2), or libgcc's names of modes.
SOFT_FLOAT = re.compile(
    r"__aeabi_(d|f|cd|cf|h)(add|sub|rsub|mul|div|cmp|neg|2)\w*"
    r"|__aeabi_\w+2[dfh]"
    r"|__\w+([sdht]f[23]|[sdht]f[sd]i|[sd]i[sdht]f)"
)


def program_headers(elf: Path) -> Iterator[tuple[int, int, int, int]]:
    """(virtual address, load address, bytes in the file, bytes in memory) of what is loaded."""
    with elf.open("rb") as stream:
        for segment in ELFFile(stream).iter_segments("PT_LOAD"):
            yield tuple(  # type: ignore[misc]
                segment[key] for key in ("p_vaddr", "p_paddr", "p_filesz", "p_memsz")
            )


def symbols(elf: Path) -> dict[str, tuple[int, int]]:
    """Name -> (address, size); a name of several objects keeps the largest."""
    found: dict[str, tuple[int, int]] = {}
    with elf.open("rb") as stream:
        for symbol in ELFFile(stream).get_section_by_name(".symtab").iter_symbols():
            entry = (symbol["st_value"], symbol["st_size"])
            if entry[1] >= found.get(symbol.name, (0, 0))[1]:
                found[symbol.name] = entry
    return found


def is_in(address: int, memory: Memory) -> bool:
    return memory.origin <= address < memory.origin + memory.nbytes


@every_image
def test_printed_sizes_are_those_of_the_elfs_program_headers(
    network: str, target: str, compiler: CompilerName, images: Images
) -> None:
    board, built = board_of(target), images.image(network, target, compiler).built
    flash_ends, ram_ends = [], []
    for virtual, load, in_file, in_memory in program_headers(built.elf):
        if in_file:
            assert is_in(load, board.flash)
            flash_ends.append(load + in_file)
        if in_memory and is_in(virtual, board.ram):
            ram_ends.append(virtual + in_memory)
    assert built.flash_nbytes == max(flash_ends) - board.flash.origin
    assert built.flash_nbytes <= board.flash.nbytes
    assert built.flash_nbytes == built.elf.with_suffix(".bin").stat().st_size
    assert built.ram_nbytes + built.stack_nbytes == max(ram_ends) - board.ram.origin
    assert built.ram_nbytes + built.stack_nbytes <= board.ram.nbytes
    named = symbols(built.elf)
    top, bottom = named["edgeq_stack_top"][0], named["edgeq_stack_bottom"][0]
    assert top == max(ram_ends)
    assert top - bottom == STACK_NBYTES
    assert built.stack_nbytes == STACK_NBYTES + GUARD_NBYTES


def arena_of(graph: Graph, board: Board) -> int:
    target = core_of(board).target
    placed = arranged(optimize(graph), target).graph
    return plan_memory(placed, scratch_of(choose_kernels(placed, target))).arena_nbytes


@every_image
def test_the_plans_peak_is_what_the_firmware_reserves_and_says(
    network: str, target: str, compiler: CompilerName, images: Images
) -> None:
    image, board = images.image(network, target, compiler), board_of(target)
    planned = arena_of(image.graph, board)
    assert planned == max(
        p.offset + p.nbytes for p in image.firmware.plan.placements.values()
    ), "the arena ends where its last tensor does"
    address, reserved = symbols(image.built.elf)["edgeq_arena"]
    assert reserved == planned
    assert is_in(address, board.ram)
    with linked(image.built.elf, board, emulators_of(board)[0]) as link:
        assert link.identity.arena_nbytes == planned
        assert link.identity.input_nbytes == sum(t.nbytes for t in image.graph.input_tensors())


@every_image
def test_no_image_allocates_or_computes_in_floating_point(
    network: str, target: str, compiler: CompilerName, images: Images
) -> None:
    named = symbols(images.image(network, target, compiler).built.elf)
    assert "edgeq_model_run" in named
    assert [name for name in named if HEAP.fullmatch(name)] == []
    assert [name for name in named if SOFT_FLOAT.fullmatch(name)] == []


def test_the_names_that_are_searched_for_are_those_of_the_compilers_libraries() -> None:
    for name in ("malloc", "_malloc_r", "free", "_sbrk", "calloc", "realloc"):
        assert HEAP.fullmatch(name), name
    for name in ("__aeabi_dadd", "__aeabi_fmul", "__aeabi_i2d", "__aeabi_d2iz", "__muldf3"):
        assert SOFT_FLOAT.fullmatch(name), name
    for name in ("__fixsfsi", "__floatsidf", "__aeabi_fcmpeq", "__aeabi_ui2f", "__ltsf2"):
        assert SOFT_FLOAT.fullmatch(name), name
    for name in ("__aeabi_idiv", "__aeabi_ldivmod", "__aeabi_lmul", "__divsi3", "freeze"):
        assert not HEAP.fullmatch(name), name
        assert not SOFT_FLOAT.fullmatch(name), name


def test_vww_is_refused_for_the_microbit_with_bytes_needed_and_bytes_there(
    images: Images, tmp_path: Path
) -> None:
    graph, board = images.graph("vww"), load_board("microbit")
    arena = arena_of(graph, board)
    with pytest.raises(BoardError) as caught:
        generate(graph, board, tmp_path / "out")
    text = str(caught.value)
    needed = arena + STACK_NBYTES + GUARD_NBYTES + PROGRAM_RAM_NBYTES
    assert text.startswith(f"microbit: {graph.name} does not fit: {needed} bytes of ram needed")
    assert f"arena {arena}" in text
    assert "'ram' has 16384" in text
    assert not (tmp_path / "out").exists(), "nothing is written before the check"


def test_a_model_larger_than_both_memories_is_told_so_of_both(
    images: Images, tmp_path: Path
) -> None:
    graph = images.graph("vww")
    board = sized(load_board("microbit"), flash=30_000)
    with pytest.raises(BoardError) as caught:
        generate(graph, board, tmp_path)
    ram, flash = str(caught.value).split("; ")
    assert re.search(r"\d+ bytes of ram needed \(arena \d+, .*'ram' has 16384$", ram)
    found = re.match(r"(\d+) bytes of flash needed \(constants (\d+), .*has 30000$", flash)
    assert found is not None
    assert int(found[1]) == int(found[2]) + PROGRAM_FLASH_NBYTES


def test_ad_is_refused_for_the_flash_of_the_microbit(images: Images, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"bytes of flash needed .* 'flash' has 262144$"):
        generate(images.graph("ad"), load_board("microbit"), tmp_path)


def test_samples_in_flash_count_towards_the_flash(tmp_path: Path) -> None:
    graph = tiny()
    board = sized(load_board("microbit"), flash=16_000)
    generate(graph, board, tmp_path, self_test=0)
    x = np.zeros((100, *graph.input_tensors()[0].shape[1:]), np.int8)
    with pytest.raises(BoardError, match="bytes of flash needed"):
        generate(graph, board, tmp_path, samples=x, self_test=0)


def tiny() -> edgeq.Graph:
    graph = small_network()
    return edgeq.quantize(graph, samples(graph, 8))


def sized(board: Board, *, flash: int = 0, ram: int = 0) -> Board:
    """The board with less flash or ram."""
    wanted = {"flash": flash, "ram": ram}
    return replace(
        board,
        memories=tuple(replace(m, nbytes=wanted[m.kind] or m.nbytes) for m in board.memories),
    )


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("kind", ["flash", "ram"])
def test_what_passes_the_estimate_but_not_the_linker_is_told_in_bytes(
    kind: str, compiler: CompilerName, tmp_path: Path
) -> None:
    need_compiler(compiler)
    graph, board = tiny(), load_board("mps2_an386")
    whole = build(generate(graph, board, tmp_path / "whole", self_test=0), compiler)
    needed = whole.flash_nbytes if kind == "flash" else whole.ram_nbytes + whole.stack_nbytes
    small = sized(board, **{kind: needed - 8})
    firmware = generate(graph, small, tmp_path / "small", self_test=0)
    name = (small.flash if kind == "flash" else small.ram).name
    with pytest.raises(BoardError) as caught:
        build(firmware, compiler)
    found = re.fullmatch(
        rf"mps2_an386: the image does not fit: {kind} '{name}' has {needed - 8} bytes, "
        r"(\d+) are needed",
        str(caught.value),
    )
    assert found is not None, caught.value
    assert needed - 8 < int(found[1]) <= needed + 64
    # LLD wants room for the alignment of .data, even if .data is empty.
    enough = sized(board, **{kind: needed + 16})
    build(generate(graph, enough, tmp_path / "enough", self_test=0), compiler)
