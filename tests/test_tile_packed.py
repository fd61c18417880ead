"""Weights of single pixels that a run unpacks: the same outputs, in what the arena has free."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from firmware_matrix import board_of, linked
from host_c import build as build_host
from host_c import run, run_model
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from integer_networks import IntegerNetwork, inputs_of
from random_graphs import graphs
from toolchains import COMPILERS, need_compiler

from edgeq import Interpreter, emulator
from edgeq.arith import Rounding
from edgeq.board import load_board
from edgeq.graph import Graph
from edgeq.memory import Scratch, plan_memory, scratch_name
from edgeq.memory.holes import holes, with_scratch
from edgeq.ops.window import Window
from edgeq.stream.verify import verify
from firmware_gen import build, generate
from firmware_gen.cores import Target
from firmware_gen.kernels import headers_with_includes, kernels_folder
from firmware_gen.kernels.steps import Channel, Step
from firmware_gen.kernels.tile import tile_rows, tile_words
from firmware_gen.kernels.tile_packed import (
    LEAST_LENGTHS,
    MORE_F_BITS,
    Form,
    PackedTile,
    packed_tile,
)
from firmware_gen.layers import arranged, choose_kernels, planned
from firmware_gen.optimize import Optimize
from firmware_gen.project import build_project, write_project

DSP = Target(has_dsp=True)
PACKED = "dsp_pointwise_packed"
POINTWISE = Window(1, 1)
# Of the last four channels one to four; networks have them filled up to four if they are more
# than eleven. What is left of the taps is what was left of the channels before.
CHANNELS = (13, 14, 15, 16, 30, 29, 27, 20)


def packed_network(pixels: int = 3, seed: int = 5) -> Graph:
    """1x1 convolutions from one number of channels to the next, some channels constant; before
    them one of many bytes, so that the arena has room.
    """
    net = IntegerNetwork((1, 2, pixels, 700), seed, input_zero_point=-128)
    x = net.conv("input", 12, POINTWISE, zero_point=-128)
    for count in CHANNELS:
        weights = net.weights(count, 1, 1, net.channels(x))
        bias = net.rng.integers(-3000, 3000, count)
        bias[[1, 4]] = 10**6, -(10**6)  # 127 and -128 for every input
        multipliers = net.rng.integers(2**30, 2**31, count).tolist()
        shifts = net.rng.integers(-9, -6, count).tolist()
        fields = tuple(multipliers), tuple(shifts)
        x = net.product("conv", x, weights, bias, POINTWISE, zero_point=-128, fields=fields)
    return net.build(x)


@pytest.mark.parametrize("optimize", ["size", "balanced"])
@pytest.mark.parametrize("target", ["m4", "m33"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_taps_and_channels_that_fill_up_fours_are_unpacked_on_a_board(
    compiler, target: str, optimize: Optimize, tmp_path: Path
) -> None:
    need_compiler(compiler)
    graph, board = packed_network(), board_of(target)
    firmware = generate(
        graph, board, tmp_path, self_test=0, optimize=optimize, optimize_graph=False
    )
    found = [layer.kernel for layer in firmware.model.manifest.layers]
    assert found.count(PACKED) >= len(CHANNELS) - 1
    with linked(build(firmware, compiler).elf, board, "virtual") as link:
        same = verify(link, graph, [inputs_of(graph, 4)])
    assert same.is_equal, [d.output for d in same.differences]


_UNPACK = """
#include <stdint.h>
#ifdef HOST
#include <stdio.h>
#define PUT(byte) putchar(byte)
#else
#include "edgeq_board.h"
#include "edgeq_platform.h"
#define PUT(byte) edgeq_uart_write((uint8_t)(byte))
#endif
#include "edgeq_tile_packed.h"

static const int32_t packed[] = {{{packed}}};
static uint32_t words[{count}];

int main(void) {{
#ifndef HOST
    edgeq_platform_init();
    while (edgeq_uart_read() < 0) {{
    }}
#endif
    edgeq_tile_unpack(packed, words, {taps}u, {channels}u, {how}u);
    for (uint32_t i = 0; i < 4u * {count}u; ++i) {{
        PUT((words[i / 4u] >> 8u * (i % 4u)) & 0xffu);
    }}
#ifdef HOST
    return 0;
#else
    for (;;) {{
    }}
#endif
}}
"""


@pytest.mark.parametrize("where", ["host", "mps2_an386", "mps2_an505"])
@pytest.mark.parametrize("layer", range(1, len(CHANNELS) + 1))
def test_what_is_unpacked_is_what_the_tile_reads(
    layer: int, where: str, tmp_path: Path
) -> None:
    graph = arranged(packed_network(), DSP, "size").graph
    node = graph.nodes[layer]
    weights, bias = (graph.tensors[name].data for name in node.inputs[1:])
    tile = packed_tile(node.op, weights.reshape(len(weights), -1), bias)
    assert not isinstance(tile, str), tile
    rows = tile_rows(node.op, weights.reshape(len(weights), -1), bias)
    numbers = [Form(tile.how % 16, 32 - tile.how // 16).step(bits) for bits in bits_of(tile)]
    more = len(weights) - len(numbers)
    numbers += [(0, Step(0, 0, 0))] * more
    folded = np.array([found for found, _ in numbers])
    want = tile_words(rows.rows, folded, [step for _, step in numbers], [])
    text = _UNPACK.format(
        packed=", ".join(f"(int32_t){v & 0xFFFFFFFF:#x}u" for v in tile.words.tolist()),
        count=want.size,
        taps=tile.taps,
        channels=tile.channels,
        how=tile.how,
    )
    (tmp_path / "main.c").write_text(text, encoding="utf-8")
    got = np.frombuffer(printed(tmp_path, where, 4 * want.size), "<i4").reshape(want.shape)
    if more:
        got, want = got[:, : got.shape[1] - more], want[:, : want.shape[1] - more]
    assert got.tolist() == want.tolist()


def bits_of(tile: PackedTile) -> list[int]:
    """The 48 bits of each channel in the words."""
    words = tile.words.view(np.uint32).tolist()
    found: list[int] = []
    at = 0
    while len(found) < tile.channels:
        count = min(4, tile.channels - len(found))
        halves = [
            w >> 16 * i & 0xFFFF for w in words[at + count :][: count // 2] for i in (0, 1)
        ]
        found += [w << 16 | h for w, h in zip(words[at : at + count], halves, strict=True)]
        whole = tile.taps if count == 4 else -(-tile.taps // 4) * 2
        at += count + count // 2 + whole
    return found


def printed(folder: Path, where: str, nbytes: int) -> bytes:
    """The bytes that main.c in the folder writes."""
    if where == "host":
        return run(build_host(folder, ("main.c",), ("-DHOST", "-O1")), b"")
    need_compiler("gcc")
    for name in headers_with_includes(["edgeq_tile_packed.h"]):
        shutil.copy(kernels_folder() / name, folder / name)
    board = load_board(where)
    write_project(board, folder, ["main.c"])
    elf = build_project(board, folder, ["main.c"], compiler="gcc").elf
    with emulator.start(elf, board, "virtual") as machine:
        port = serial.serial_for_url(machine.port, timeout=20.0)
        port.write(b"?")  # what was sent before the port was open is lost
        found = port.read(nbytes)
        port.close()
    return bytes(found)


@pytest.mark.parametrize("pixels", [2, 3])
def test_c_without_the_extension_unpacks_the_same(pixels: int, tmp_path: Path) -> None:
    graph = arranged(packed_network(pixels, pixels), DSP, "size").graph
    rooms = {node.name: 1 << 16 for node in graph.nodes}
    choices = choose_kernels(graph, DSP, "size", rooms=rooms)
    assert [c.variant for c in choices].count(PACKED) >= len(CHANNELS) - 1
    scratch = Scratch({c.node: c.scratch_nbytes for c in choices})
    x = inputs_of(graph, 4)
    samples = [[row[None]] for row in x]
    plan = plan_memory(graph, scratch)
    found = run_model(tmp_path, graph, plan, samples, ("-O1",), DSP, "size", choices)
    want = Interpreter(graph).run(x)[0]
    assert [row for (row,) in found] == [row.tobytes() for row in want]


def channels() -> st.SearchStrategy[Channel]:
    """Channels as convolutions have them, from few outputs to all."""
    return st.builds(
        lambda multiplier, right, zero_point, low, high: Channel(
            multiplier, right, zero_point, -128, 127, -low, high
        ),
        st.integers(2**30, 2**31 - 1),
        st.integers(4, 12),
        st.sampled_from((-128, -128, -120, 0)),
        st.integers(0, 2**19),
        st.integers(0, 2**19),
    )


@settings(max_examples=300, deadline=None)
@given(
    channels(),
    st.integers(-(2**17), 2**17 - 1),
    st.sampled_from(MORE_F_BITS),
    st.sampled_from(LEAST_LENGTHS),
    st.booleans(),
)
def test_the_bits_of_a_channel_are_numbers_that_give_its_outputs(
    channel: Channel, folded: int, more: int, least_length: int, borrows: bool
) -> None:
    form = Form(more, least_length)
    assume(channel.output(channel.low) != channel.output(channel.high))
    bits = form.bits(channel, folded, borrows=borrows)
    assume(bits is not None)
    assert 0 <= bits < 1 << 48
    bias, step = form.step(bits)
    assert bias == folded
    half = 2 * channel.zero_point + 1 << 11
    for acc in accumulators(channel):
        p = 256 * acc + step.fraction
        p -= borrows and p < 0
        y = (p * step.factor >> 32) + half >> 12
        assert min(max(y, -128), 127) == channel.output(acc), acc


def accumulators(channel: Channel) -> set[int]:
    """The ends, and those around each step of the outputs, found by halving."""
    found = {channel.low, channel.high}

    def look(low: int, high: int) -> None:
        if channel.output(low) != channel.output(high):
            if high - low == 1:
                found.update((low, high))
            else:
                middle = (low + high) // 2
                look(low, middle)
                look(middle, high)

    look(channel.low, channel.high)
    return found


@pytest.mark.parametrize("least_length", LEAST_LENGTHS)
@pytest.mark.parametrize("more", MORE_F_BITS)
def test_a_constant_channel_has_its_one_output(more: int, least_length: int) -> None:
    form = Form(more, least_length)
    for above in range(256):
        bias, step = form.step(form.constant_bits(above))
        p = 256 * bias + step.fraction
        assert p >= 0
        assert (p * step.factor >> 32) + 2048 - 128 * 4096 >> 12 == above - 128


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(0, 2**16))
def test_more_scratch_lies_where_nothing_lives_and_no_arena_grows(
    graph: Graph, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scratch = {node.name: int(rng.integers(0, 20)) for node in graph.nodes}
    plan = plan_memory(graph, scratch)
    room = holes(graph, plan)
    more = {
        name: room[name].nbytes if rng.random() < 0.5 else nbytes
        for name, nbytes in scratch.items()
    }
    found = with_scratch(graph, plan, room, more)
    assert found.arenas == plan.arenas
    for step, node in enumerate(graph.nodes):
        own = found.placements.get(scratch_name(node))
        assert (own.nbytes if own else 0) == more[node.name] >= 0
        for other in found.live_at(step):
            place = found.placements[other]
            if own and other != scratch_name(node) and place.arena == own.arena:
                assert place.end <= own.offset or own.end <= place.offset
        if own:
            assert own.end <= found.arenas[own.arena]
    others = {n: p for n, p in plan.placements.items() if not n.endswith(":scratch")}
    assert others.items() <= found.placements.items()


def test_what_is_not_unpacked_says_why() -> None:
    graph = arranged(packed_network(), DSP, "size").graph
    cases: dict[Optimize, str] = {
        "speed": "`--optimize speed` does not unpack constants in each run",
        "size": "bytes of scratch to unpack to, the arena has room for 0",
    }
    for optimize, why in cases.items():
        for choice in choose_kernels(graph, DSP, optimize):
            assert why in choice.why_not[PACKED]
    rooms = {node.name: 1 << 16 for node in graph.nodes}
    for rounding in ("single", "shift"):
        rounded = replace_rounding(graph, rounding)
        for choice in choose_kernels(rounded, DSP, "size", rooms=rooms):
            assert f"the layer rounds by '{rounding}'" in choice.why_not[PACKED]


def replace_rounding(graph: Graph, rounding: Rounding) -> Graph:
    nodes = [replace(n, op=replace(n.op, rounding=rounding)) for n in graph.nodes]
    return Graph.build(graph.name, graph.tensors.values(), nodes, graph.inputs, graph.outputs)


def test_unpacking_takes_flash_away_and_no_arena(tmp_path: Path) -> None:
    graph = arranged(packed_network(), DSP, "size").graph
    plan, choices = planned(graph, DSP, "size")
    plain = choose_kernels(graph, DSP, "size")
    assert (
        plan.arena_nbytes
        == plan_memory(graph, Scratch({c.node: c.scratch_nbytes for c in plain})).arena_nbytes
    )
    for node, packed, other in zip(graph.nodes, choices, plain, strict=True):
        if packed.variant == PACKED:
            nbytes = [c.emit(node.op, c.layer).constant_nbytes() for c in (packed, other)]
            assert nbytes[0] < nbytes[1]
