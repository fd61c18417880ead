"""Several memory regions: hot buffers in the fast one, the rest in the next, the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cli import CommandLine
from firmware_matrix import EmulatorName, board_of, linked
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import IntegerNetwork, inputs_of
from random_graphs import graphs
from test_memory import permitted
from test_sizes import is_in, symbols
from toolchains import COMPILERS, need_compiler

from edgeq.board import Board, Memory, load_board
from edgeq.errors import BoardError
from edgeq.graph import Graph
from edgeq.memory import ALIGNMENT, MemoryPlan, Scratch, plan_memory
from edgeq.memory.blocks import layout_of
from edgeq.memory.regions import spread
from edgeq.model_file import save_graph
from edgeq.ops import Window
from edgeq.stream.verify import verify
from firmware_gen import build, generate
from firmware_gen.arenas import capacities
from firmware_gen.linker_script import GUARD_NBYTES, STACK_NBYTES, linker_script

POINT = Window(1, 1)
HALF = Window(2, 2, 2, 2)


def check_regions(
    graph: Graph,
    plan: MemoryPlan,
    sizes: tuple[int, ...],
    exact: frozenset[str] = frozenset(),
) -> None:
    assert len(plan.arenas) <= len(sizes)
    assert all(used <= size for used, size in zip(plan.arenas, sizes, strict=False))
    names = list(plan.placements)
    for i, a in enumerate(names):
        p = plan.placements[a]
        assert p.offset % ALIGNMENT == 0
        for b in names[i + 1 :]:
            q = plan.placements[b]
            together = p.first_step <= q.last_step and q.first_step <= p.last_step
            shares = p.arena == q.arena and p.offset < q.end and q.offset < p.end
            if together and shares:
                assert permitted(graph, plan, a, b, exact), f"{a} and {b} overlap"


@settings(max_examples=80, deadline=None)
@given(graphs(), st.floats(0.2, 1.2), st.floats(0.2, 1.2), st.booleans())
def test_what_is_spread_overlaps_only_as_permitted(
    graph: Graph, first: float, second: float, slides: bool
) -> None:
    exact = frozenset(() if slides else (node.name for node in graph.nodes))
    nbytes = {node.name: 8 * (step % 2) for step, node in enumerate(graph.nodes)}
    scratch = Scratch(nbytes, exact)
    one = plan_memory(graph, scratch)
    sizes = (int(one.arena_nbytes * first), int(one.arena_nbytes * second), 300)
    plan = plan_memory(graph, scratch, sizes)
    if one.arena_nbytes <= sizes[0]:
        assert dict(plan.placements) == dict(one.placements)
    elif spread(graph, layout_of(graph, scratch), sizes) is None:
        assert plan.arenas == (one.arena_nbytes,), "one arena, which is then refused"
    else:
        check_regions(graph, plan, sizes, exact)
        assert plan.arena_nbytes == sum(plan.arenas)
    again = plan_memory(graph, scratch, sizes)
    assert dict(again.placements) == dict(plan.placements)


def wide_network(width: int = 40) -> Graph:
    """A large tensor with little work, and a smaller one with much."""
    net = IntegerNetwork((1, width, width, 4))
    x = net.conv("input", 8, POINT)
    x = net.conv(x, 16, HALF)
    x = net.conv(x, 16, Window(3, 3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1))
    net.conv(x, 2, POINT)
    return net.build()


def test_the_hottest_buffers_are_in_the_fast_region() -> None:
    graph = wide_network()
    plan = plan_memory(graph, {n.name: 64 for n in graph.nodes}, (8192, 16384))
    check_regions(graph, plan, (8192, 16384))
    where = {name: place.arena for name, place in plan.placements.items()}
    # 3 x 3 over 16 channels: 144 multiplications a byte of its input; the first layer has 8.
    assert where["conv_2d1"] == 0
    assert {where[f"{n.name}:scratch"] for n in graph.nodes} == {0}
    assert where["conv_2d0"] == 1


def test_each_region_is_as_small_as_it_gets() -> None:
    graph = wide_network()
    first = graph.nodes[0]
    plan = plan_memory(graph, {}, (4096, 1 << 20))
    slow = {n: p.nbytes for n, p in plan.placements.items() if p.arena == 1}
    assert slow == {"input": 6400, first.name: 12800, "conv_2d1": 6400, "conv_2d2": 6400}
    distance = first.op.overlap_nbytes(0, *(t.shape for t in graph.tensors_of(first.inputs)))
    # The output may begin so far below its input, though the region has room for both apart.
    assert distance + 6400 <= plan.arenas[1] < 6400 + 12800


def split_board(first: int = 12_288) -> Board:
    """An emulator's machine, its ram as two regions with a hole between them."""
    board = board_of("m4")
    rams = (
        Memory("fast", "ram", 0x2000_0000, first),
        Memory("slow", "ram", 0x2010_0000, 0x10000),
    )
    return replace(board, memories=(board.flash, *rams))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("emulator", ["virtual", "qemu"])
def test_a_model_too_large_for_one_region_runs_in_two(
    emulator: EmulatorName, compiler, tmp_path: Path
) -> None:
    need_compiler(compiler)
    graph, board = wide_network(), split_board()
    firmware = generate(graph, board, tmp_path, self_test=0)
    assert len(firmware.plan.arenas) == 2
    assert firmware.plan.arenas[0] <= capacities(board, STACK_NBYTES)[0]
    check_regions(firmware.optimized, firmware.plan, capacities(board, STACK_NBYTES))
    result = build(firmware, compiler)
    with linked(result.elf, board, emulator) as link:
        found = verify(link, graph, [inputs_of(graph)])
        assert link.identity.arena_nbytes == firmware.plan.arena_nbytes
    assert found.is_equal, found.differences
    fast, slow = board.of_kind("ram")
    named = symbols(result.elf)
    for name, memory, nbytes in zip(
        ("edgeq_arena", "edgeq_arena_1"), (fast, slow), firmware.plan.arenas, strict=True
    ):
        address, size = named[name]
        assert is_in(address, memory)
        assert size == nbytes
    taken = {row.name: row for row in result.memories}
    assert list(taken) == [board.flash.name, "fast", "slow"]
    assert taken["slow"].used_nbytes == firmware.plan.arenas[1]
    assert taken["fast"].used_nbytes == result.ram_nbytes + result.stack_nbytes
    assert taken["fast"].used_nbytes <= fast.nbytes


def test_a_real_board_uses_its_second_region(tmp_path: Path) -> None:
    need_compiler("gcc")
    board = load_board("nucleo_h743zi")
    assert [m.name for m in board.of_kind("ram")] == ["dtcm", "axi_sram", "sram123"]
    graph = wide_network(128)
    firmware = generate(graph, board, tmp_path, self_test=0)
    dtcm, axi = firmware.plan.arenas
    assert dtcm > 0
    assert axi > 0
    result = build(firmware, "gcc")
    with linked(result.elf, board, "virtual") as link:
        assert verify(link, graph, [inputs_of(graph)[:2]]).is_equal
    assert [row.name for row in result.memories] == ["flash", "dtcm", "axi_sram"]


def test_what_fits_one_region_is_as_if_there_were_one(tmp_path: Path) -> None:
    graph, several = wide_network(), split_board(first=0x10000)
    single = replace(several, memories=several.memories[:2])
    generate(graph, several, tmp_path / "several")
    generate(graph, single, tmp_path / "single")
    for name in ("model.c", "model.h", "link.ld", "Makefile"):
        texts = [(tmp_path / k / name).read_text("utf-8") for k in ("several", "single")]
        assert texts[0] == texts[1], name
    assert "ram_1" in linker_script(several, arenas=(1,))


def test_what_fits_nowhere_is_refused_with_the_bytes_of_each_region(tmp_path: Path) -> None:
    board = replace(
        split_board(),
        memories=(
            board_of("m4").flash,
            Memory("fast", "ram", 0x2000_0000, 8192),
            Memory("slow", "ram", 0x2010_0000, 4096),
        ),
    )
    with pytest.raises(BoardError) as caught:
        generate(wide_network(), board, tmp_path / "out")
    text = str(caught.value)
    assert "'fast' has 8192, 'slow' has 4096" in text
    assert f"stack {STACK_NBYTES + GUARD_NBYTES}" in text
    assert not (tmp_path / "out").exists()


def test_rams_that_are_large_enough_together_may_not_have_room_for_one_buffer(
    tmp_path: Path,
) -> None:
    board, graph = split_board(), wide_network()
    (largest,) = (t for t in graph.tensors.values() if t.shape == (1, 40, 40, 8))
    rams = tuple(
        Memory(f"ram{i}", "ram", 0x2000_0000 + 0x10_0000 * i, largest.nbytes - 4)
        for i in range(4)
    )
    with pytest.raises(BoardError, match=f"the largest is '{largest.name}', {largest.nbytes}"):
        generate(graph, replace(board, memories=(board.flash, *rams)), tmp_path / "out")


def test_the_linker_says_of_which_region_too_much_was_asked(tmp_path: Path) -> None:
    need_compiler("gcc")
    graph, board = wide_network(), split_board()
    firmware = generate(graph, board, tmp_path, self_test=0)
    fast, slow = board.of_kind("ram")
    less = replace(slow, nbytes=firmware.plan.arenas[1] - 16)
    small = replace(board, memories=(board.flash, fast, less))
    (tmp_path / "link.ld").write_text(linker_script(small, arenas=(1,)), encoding="utf-8")
    with pytest.raises(
        BoardError, match=rf"ram 'slow' has {less.nbytes} bytes, \d+ are needed"
    ):
        build(replace(firmware, board=small), "gcc")


def test_build_says_what_lies_where(edgeq_command: CommandLine) -> None:
    save_graph(wide_network(128), Path("wide.edgeq"))
    arguments = ("build", "wide.edgeq", "--board", "nucleo_h743zi", "-o", "out")
    done = edgeq_command(*arguments, "--json")
    rows = json.loads(done.out)["build"]["memories"]
    assert [row["name"] for row in rows] == ["flash", "dtcm", "axi_sram"]
    text = edgeq_command(*arguments).out
    for row in rows:
        assert row["name"] in text
        assert f"{row['used_nbytes']:,}" in text
