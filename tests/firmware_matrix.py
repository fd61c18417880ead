"""Networks x targets x compilers: what the tests of firmware build and run, each image once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from toolchains import COMPILERS, missing, need_compiler, need_program

import edgeq
from edgeq.board import Board, board_names, load_board
from edgeq.data import to_input
from edgeq.demo import demo_model_path, load_digits
from edgeq.emulator import Emulator, start
from edgeq.errors import ToolError
from edgeq.graph import Array, Graph
from edgeq.stream import Link, open_link
from firmware_gen import GeneratedFirmware, build, generate
from firmware_gen.toolchain import BuildResult, CompilerName

EmulatorName = Literal["virtual", "qemu"]

# Samples that each image runs, on every emulator.
SAMPLES = {"digits": 20, "hello_world": 64, "ad": 4, "kws": 4, "ic": 3, "vww": 2}
NETWORKS = tuple(SAMPLES)
# In microbit's 16 KB of ram and 256 KB of flash; every other target holds all networks.
FIT_MICROBIT = ("digits", "hello_world")
# The machines that emulators have for the cores. The only one with an M0 is small, so code
# built for the M0 runs on the M3 machine too: the M3 executes all of Armv6-M.
MACHINES = {
    "m0": "microbit",
    "m0-on-m3": "mps2_an385",
    "m3": "mps2_an385",
    "m4": "mps2_an386",
    "m7": "mps2_an500",
    "m33": "mps2_an505",
    "m55": "mps3_an547",
}
REAL_BOARDS = tuple(
    name for name in board_names() if name not in MACHINES.values() or name == "microbit"
)


def board_of(target: str) -> Board:
    """The board of a key of MACHINES, or of that name."""
    board = load_board(MACHINES.get(target, target))
    return replace(board, core="cortex-m0") if target == "m0-on-m3" else board


def emulators_of(board: Board) -> tuple[EmulatorName, ...]:
    """Those that have the board; unicorn has no M55."""
    virtual: tuple[EmulatorName, ...] = () if board.core == "cortex-m55" else ("virtual",)
    return (*virtual, "qemu") if board.qemu_machine else virtual


def image_parameters() -> list[object]:
    """(network, target, compiler) of every image; a worker keeps a target's images."""
    found = []
    for target in (*MACHINES, *(name for name in REAL_BOARDS if name != "microbit")):
        networks = NETWORKS if target in MACHINES else ("digits",)
        for network in FIT_MICROBIT if target == "m0" else networks:
            for compiler in COMPILERS:
                found.append(
                    pytest.param(
                        network,
                        target,
                        compiler,
                        marks=pytest.mark.xdist_group(f"firmware-{target}"),
                        id=f"{network}-{target}-{compiler}",
                    )
                )
    return found


every_image = pytest.mark.parametrize(("network", "target", "compiler"), image_parameters())


@cache
def digits() -> Graph:
    """The demo's network, quantized as the demo does it."""
    train_x, _, _, _ = load_digits()
    return edgeq.quantize(edgeq.read_model(demo_model_path()), train_x[:100])


@dataclass(frozen=True, slots=True)
class Image:
    """A generated folder and what was linked from it."""

    firmware: GeneratedFirmware
    built: BuildResult

    @property
    def graph(self) -> Graph:
        return self.firmware.graph


class Images:
    """Graphs, inputs and built images, made when first asked for."""

    def __init__(
        self, folder: Path, model_path: Callable[[str], Path], data_path: Callable[[str], Path]
    ) -> None:
        self._folder = folder
        self._model_path = model_path
        self._data_path = data_path
        self._graphs: dict[str, Graph] = {}
        self._images: dict[tuple[str, str, str], Image] = {}

    def graph(self, network: str) -> Graph:
        if network == "digits":
            return digits()
        path = self._model_path(network)  # skips where the real models are absent
        if network not in self._graphs:
            self._graphs[network] = edgeq.read_model(path)
        return self._graphs[network]

    def inputs(self, network: str, count: int | None = None) -> Array:
        """Real data where there is some, else random; int8 (count, ...)."""
        graph, count = self.graph(network), count or SAMPLES[network]
        shape = graph.input_tensors()[0].shape
        if network == "digits":
            return to_input(graph, load_digits()[2][:count])
        if network in ("ad", "hello_world"):
            rng = np.random.default_rng(17)
            return rng.integers(-128, 128, (count, *shape[1:])).astype(np.int8)
        with np.load(self._data_path(f"{network}_dev")) as data:
            return to_input(graph, data["inputs"][:count])

    def image(self, network: str, target: str, compiler: CompilerName) -> Image:
        need_compiler(compiler)
        graph = self.graph(network)
        key = (network, target, compiler)
        if key not in self._images:
            folder = self._folder / "-".join(key)
            firmware = generate(graph, board_of(target), folder, self_test=0)
            self._images[key] = Image(firmware, build(firmware, compiler))
        return self._images[key]


@contextmanager
def running(elf: Path, board: Board, emulator: EmulatorName) -> Iterator[Emulator]:
    """The image on an emulated board; a missing emulator fails in CI, else skips."""
    if emulator == "qemu":
        need_program("qemu-system-arm", "qemu-system-arm")
    try:
        machine = start(elf, board, emulator)
    except ToolError as error:
        missing(str(error))
    with machine:
        yield machine
        machine.check()


@contextmanager
def linked(elf: Path, board: Board, emulator: EmulatorName) -> Iterator[Link]:
    """A link to the image on an emulated board, through its serial port."""
    # An image of QEMU's slowest core on a loaded machine takes seconds for one inference.
    with (
        running(elf, board, emulator) as machine,
        open_link(machine.port, timeout_s=120.0) as link,
    ):
        yield link
