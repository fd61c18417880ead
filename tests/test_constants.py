"""Constants of layers in rams: the hottest are copied where flash is slow, the same bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from firmware_matrix import board_of
from integer_networks import IntegerNetwork, inputs_of
from test_sizes import symbols
from toolchains import need_compiler
from unicorn import unicorn_const as const

from edgeq.board import Board, Memory, load_board
from edgeq.emulator.virtual import VirtualBoard
from edgeq.graph import Graph
from edgeq.memory.constants import Home, LayerConstants, Wish, homes, wait_cycles
from edgeq.ops import Window
from edgeq.stream import open_link
from edgeq.stream.verify import verify
from firmware_gen import GeneratedFirmware, build, generate
from firmware_gen.kernels import kernels_folder
from firmware_gen.toolchain import BuildResult
from firmware_gen.weights import PIXELS_A_READING, WeightsInRam

FLASH = Memory("flash", "flash", 0, 1 << 20, wait_states=5, read_nbytes=16, cache_nbytes=128)
FAST = Memory("fast", "ram", 0x2000_0000, 4096)
SLOW = Memory("slow", "ram", 0x2010_0000, 8192, wait_states=2, read_nbytes=16)


def homes_of(
    layers: list[LayerConstants],
    free: tuple[int, ...] = (4096, 8192),
    wish: Wish = Wish(),  # noqa: B008 - a frozen value
    flash: Memory = FLASH,
    rams: tuple[Memory, ...] = (FAST, SLOW),
) -> dict[str, Home]:
    found = homes(layers, flash, rams[: len(free)], free, wish)
    return {layer.name: home for layer, home in zip(layers, found, strict=True)}


def test_waits_are_those_of_each_fetch_but_once_a_run_from_a_cache() -> None:
    assert wait_cycles(LayerConstants("large", 160, 7), FLASH) == 10 * 5 * 7
    assert wait_cycles(LayerConstants("odd", 175, 7), FLASH) == 10 * 5 * 7  # whole fetches
    assert wait_cycles(LayerConstants("cached", 128, 7), FLASH) == 8 * 5
    assert wait_cycles(LayerConstants("large", 160, 7), FAST) == 0


def test_the_hottest_constants_come_first_into_the_fastest_ram() -> None:
    layers = [
        LayerConstants("warm", 3000, 10),
        LayerConstants("cold", 3000, 1),
        LayerConstants("hot", 3000, 100),
        LayerConstants("small", 500, 2),
    ]
    found = homes_of(layers)
    assert {name: home.ram for name, home in found.items()} == {
        "hot": 0,
        "warm": 1,  # 1,096 bytes are left in the first
        "small": 0,
        "cold": 1,
    }
    assert found["hot"] == Home(0, 0, 187 * 5 * 100, "")
    assert found["warm"] == Home(1, 187 * 2 * 10, 187 * 3 * 10, "")


def test_what_has_no_room_stays_in_flash_and_says_so() -> None:
    layers = [LayerConstants("large", 9000, 100), LayerConstants("small", 1000, 1)]
    found = homes_of(layers)
    assert found["small"].ram == 0
    assert found["large"].ram is None
    assert found["large"].wait_cycles == wait_cycles(layers[0], FLASH)
    assert found["large"].why == "9,008 bytes, 'fast' has 4,096 left, 'slow' has 8,192 left"
    assert homes_of(layers, (0, 0))["small"].why.endswith(
        "'fast' has 0 left, 'slow' has 0 left"
    )


def test_a_ram_that_waits_as_long_as_flash_gets_nothing() -> None:
    slow = replace(SLOW, wait_states=5)
    layers = [LayerConstants("hot", 1000, 100)]
    for wish in (Wish(), Wish(most_nbytes=2000)):
        (home,) = homes_of(layers, (8192,), wish, rams=(slow,)).values()
        assert home.why == "no ram waits less than 'flash'"
        assert homes_of(layers, (900, 8192), wish, rams=(FAST, slow))["hot"].ram is None


def test_the_gain_must_be_worth_the_ram() -> None:
    layers = [LayerConstants("hot", 160, 4), LayerConstants("cold", 160, 3)]
    found = homes_of(layers, wish=Wish(1.0))  # five cycles for 16 bytes: 1.25 and 0.94
    assert found["hot"].ram == 0
    assert found["cold"].why == "a copy saves less than 1 cycle a run for each byte"


def test_without_wait_states_only_what_is_asked_for_is_copied() -> None:
    flash = Memory("flash", "flash", 0, 1 << 20)
    layers = [LayerConstants("cold", 1000, 1), LayerConstants("hot", 2000, 50)]
    found = homes_of(layers, flash=flash)
    assert {home.why for home in found.values()} == {
        "the board's file gives 'flash' no wait states"
    }
    found = homes_of(layers, wish=Wish(most_nbytes=2500), flash=flash)
    assert found["hot"] == Home(0, 0, 0, "")
    assert found["cold"].why == "1,008 bytes, 500 of those asked for are left"


def product_network(width: int = 10) -> Graph:
    """Convolutions of all kinds, none with padding, of `width` x `width` outputs and less."""
    net = IntegerNetwork((1, width, width, 8))
    x = net.conv("input", 16, Window(1, 1), zero_point=-128)
    x = net.product("depthwise", x, net.weights(3, 3, 16), zero_point=-128)
    x = net.conv(x, 24, Window(3, 3))
    x = net.conv(x, 8, Window(1, 1))
    net.product("fully_connected", x, net.weights(40, 8))
    return net.build()


def as_portable(graph: Graph) -> Graph:
    """The same with a rounding that only portable kernels have."""
    nodes = [replace(node, op=replace(node.op, rounding="single")) for node in graph.nodes]
    return Graph.build(graph.name, graph.tensors.values(), nodes, graph.inputs, graph.outputs)


class WatchedBoard(VirtualBoard):
    """Notes each read of data from a range of addresses, in order: (address, bytes)."""

    def __init__(self, elf: Path, board: Board, first: int, last: int) -> None:
        self.range = first, last
        self.reads: list[tuple[int, int]] = []
        super().__init__(elf, board)

    def _map(self) -> None:
        super()._map()
        first, last = self.range

        def on_read(_core, _access, address, nbytes, _value, _data) -> None:
            self.reads.append((address, nbytes))

        self._machine.uc.hook_add(const.UC_HOOK_MEM_READ, on_read, None, first, last)


@contextmanager
def one_run(firmware: GeneratedFirmware, result: BuildResult) -> Iterator[WatchedBoard]:
    """Reads of flash while a board runs one inference, which gives the interpreter's bytes."""
    flash = firmware.board.flash
    last = flash.origin + result.flash_nbytes - 1
    with WatchedBoard(result.elf, firmware.board, flash.origin, last) as machine:
        with open_link(machine.port, timeout_s=120.0) as link:
            machine.reads.clear()
            found = verify(link, firmware.graph, [inputs_of(firmware.graph)[:1]])
        machine.check()
        assert found.is_equal, found.differences
        yield machine


@pytest.mark.parametrize("is_portable", [False, True])
@pytest.mark.parametrize("target", ["m0", "m3", "m4"])
def test_a_filter_is_read_as_often_as_is_reckoned(
    target: str, is_portable: bool, tmp_path: Path
) -> None:
    """Exactly so often by kernels in PIXELS_A_READING (nothing is padded), else at least."""
    need_compiler("gcc")
    graph, board = product_network(), board_of("m0-on-m3" if target == "m0" else target)
    graph = as_portable(graph) if is_portable else graph
    firmware = generate(graph, board, tmp_path, self_test=0)
    result = build(firmware, "gcc")
    with one_run(firmware, result) as machine:
        reads = machine.reads
    named = symbols(result.elf)
    headers = {layer.layer: layer.header for layer in firmware.model.manifest.layers}
    checked = 0
    for constants in firmware.model.manifest.constants:
        start, nbytes = named[f"{constants.layer}_filter"]
        read = sum(size for address, size in reads if start <= address < start + nbytes)
        header = headers[constants.layer]
        readings = round(read / nbytes)  # a byte that only fills up a group is never read
        assert readings >= constants.readings, (constants, header)
        if header in PIXELS_A_READING:
            assert readings == constants.readings, (constants, header)
            checked += 1
    assert checked, headers


def test_the_table_of_readings_knows_only_kernels_that_there_are() -> None:
    missing = [name for name in PIXELS_A_READING if not (kernels_folder() / name).is_file()]
    assert not missing


def waits_of(reads: list[tuple[int, int]], flash: Memory) -> list[tuple[int, int]]:
    """(address, cycles) of reads that wait; the cache drops the line not used for longest."""
    lines: OrderedDict[int, None] = OrderedDict()
    waits = []
    for address, _ in reads:
        line = address // flash.read_nbytes
        if line in lines:
            lines.move_to_end(line)
            continue
        waits.append((address, flash.wait_states))
        lines[line] = None
        if len(lines) * flash.read_nbytes > flash.cache_nbytes:
            lines.popitem(last=False)
    return waits


@pytest.mark.parametrize("name", ["nucleo_f446re", "nucleo_l4r5zi"])
def test_the_copies_save_at_least_the_waits_that_are_told(name: str, tmp_path: Path) -> None:
    """All reads of flash, run through a model of its cache, with copies and without. What else
    is read waits a line more or less by where the linker puts it; copied constants do not.
    """
    need_compiler("gcc")
    graph, board = product_network(), load_board(name)
    waits: dict[WeightsInRam, dict[str, int]] = {}
    for wanted in ("none", "auto"):
        firmware = generate(graph, board, tmp_path, self_test=0, weights_in_ram=wanted)
        result = build(firmware, "gcc")
        with one_run(firmware, result) as machine:
            found = waits_of(machine.reads, board.flash)
        told = firmware.model.manifest.constants
        assert sum(cycles for _, cycles in found) >= sum(c.wait_cycles for c in told)
        named = symbols(result.elf)
        waits[wanted] = {}
        for c in told:
            places = [place for name, place in named.items() if name.startswith(f"{c.layer}_")]
            waits[wanted][c.layer] = sum(
                cycles
                for address, cycles in found
                if any(start <= address < start + nbytes for start, nbytes in places)
            )
    copied = [c for c in told if not c.why_not]
    assert copied
    for c in copied:
        assert waits["none"][c.layer] - waits["auto"][c.layer] >= c.saved_cycles > 0
