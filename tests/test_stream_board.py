"""Streams from the virtual board: nothing lost, nothing altered, and faults are told."""

from __future__ import annotations

import os
import re
import signal
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from firmware_matrix import EmulatorName, Images, board_of, digits, linked, running
from networks import FLOAT32, NetworkBuilder, samples
from stream_device import NoisyLine
from toolchains import need_compiler

import edgeq
from edgeq.digest import graph_digest
from edgeq.errors import EmulatorError, LinkError
from edgeq.graph import Array, Graph
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.window import Window
from edgeq.stream import Link, Result, open_link
from edgeq.stream.verify import verify
from firmware_gen import build, generate

SAMPLES = 61


def tiny_network(outputs: int) -> Graph:
    """A convolution and a classifier of some thousand instructions, quantized."""
    b = NetworkBuilder((1, 4, 4, 1), seed=3)
    assert b.tensors["input"].dtype == FLOAT32
    conv = b.layer(
        "conv",
        Conv2D(Window(3, 3), 0.0),
        "input",
        b.constant("conv/w", 3, 3, 3, 1),
        b.constant("conv/b", 3),
    )
    flat = b.layer("flat", Reshape((1, 12)), conv)
    weights = b.constant("fc/w", outputs, 12), b.constant("fc/b", outputs)
    graph = b.build(b.layer("fc", FullyConnected(), flat, *weights))
    return edgeq.quantize(graph, samples(graph, 50))


@dataclass(frozen=True, slots=True)
class Streaming:
    """Firmware with samples in flash, and what the interpreter makes of them."""

    graph: Graph
    x: Array
    elf: Path
    expected: list[bytes]

    def check(self, results: list[Result], count: int, first: int = 0) -> None:
        assert [r.run_id for r in results] == list(range(first, first + count))
        for result in results:
            assert result.output == self.expected[result.run_id % SAMPLES], result.run_id


def streaming(folder: Path, outputs: int) -> Streaming:
    need_compiler("zig")
    graph = tiny_network(outputs)
    rng = np.random.default_rng(outputs)
    x = rng.integers(-128, 128, (SAMPLES, 4, 4, 1)).astype(np.int8)
    firmware = generate(graph, board_of("m4"), folder, samples=x, self_test=0)
    (y,) = edgeq.Interpreter(graph).run(x)
    expected = [row.tobytes() for row in y]
    assert len(set(expected)) > SAMPLES // 2, "outputs that are equal hide a wrong order"
    return Streaming(graph, x, build(firmware, "zig").elf, expected)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Streaming:
    return streaming(tmp_path_factory.mktemp("tiny"), 5)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Streaming:
    """Each result takes three frames."""
    return streaming(tmp_path_factory.mktemp("long"), 600)


class Terminal:
    """The board's port, with a socket's methods."""

    def __init__(self, port: str) -> None:
        self._file = os.open(port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._file)

    def fileno(self) -> int:
        return self._file

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]

    def recv(self, nbytes: int) -> bytes:
        return os.read(self._file, nbytes)

    def close(self) -> None:
        os.close(self._file)


class NoisyCable(NoisyLine):
    """A noisy line whose device is the board behind another port."""

    def _start(self, program: Path) -> None:
        self._device = Terminal(str(program))  # type: ignore[assignment]

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._device.close()
        os.close(self._slave)
        os.close(self._host)


@contextmanager
def noisy_link(
    elf: Path, port: Path, rate: float, seed: int
) -> Iterator[tuple[Link, NoisyCable]]:
    with running(elf, board_of("m4"), "virtual") as machine:
        cable = NoisyCable(Path(machine.port), port, rate=rate, seed=seed)
        try:
            with open_link(str(port), timeout_s=30.0, retry_s=0.03) as link:
                yield link, cable
        finally:
            cable.close()


def test_ten_thousand_results_are_streamed_and_none_is_lost_or_altered(tiny: Streaming) -> None:
    with linked(tiny.elf, board_of("m4"), "virtual") as link:
        assert link.identity.samples == SAMPLES
        results = list(link.stream(10_000))
        statistics = link.statistics
    tiny.check(results, 10_000)
    assert statistics.frames_lost == 0
    assert statistics.bad_frames.total() == 0
    assert statistics.retries == 0


def test_results_of_several_frames_are_streamed_whole(long: Streaming) -> None:
    with linked(long.elf, board_of("m4"), "virtual") as link:
        results = list(link.stream(500, first=7))
        assert link.statistics.frames_lost == 0
    long.check(results, 500, first=7)


@pytest.mark.parametrize(("rate", "seed"), [(0.0002, 1), (0.002, 2), (0.01, 3)])
def test_no_wrong_result_comes_through_a_line_that_flips_drops_and_inserts_bytes(
    tiny: Streaming, tmp_path: Path, rate: float, seed: int
) -> None:
    with noisy_link(tiny.elf, tmp_path / "port", rate, seed) as (link, cable):
        results = list(link.stream(1000))
        found = verify(link, tiny.graph, [tiny.x])
        statistics = link.statistics
    tiny.check(results, 1000)
    assert found.is_equal
    assert found.samples == SAMPLES
    assert cable.altered > 0
    assert statistics.retries > 0
    seen = statistics.bad_frames.total() + statistics.frames_lost
    assert seen + statistics.frames_lost_by_device > 0


def test_long_results_come_whole_through_a_noisy_line(long: Streaming, tmp_path: Path) -> None:
    with noisy_link(long.elf, tmp_path / "port", 0.0003, 4) as (link, cable):
        results = list(link.stream(150))
        assert link.statistics.retries > 0
    long.check(results, 150)
    assert cable.altered > 0


def test_another_models_digest_is_refused_with_both_names(tiny: Streaming) -> None:
    other = digits()
    with linked(tiny.elf, board_of("m4"), "virtual") as link, pytest.raises(LinkError) as error:
        verify(link, other, [np.zeros((1, 8, 8, 1), np.int8)])
    text = str(error.value)
    assert f"runs model '{tiny.graph.name}' (digest {graph_digest(tiny.graph).hex()})" in text
    assert f"must be '{other.name}' (digest {graph_digest(other).hex()})" in text


@pytest.mark.parametrize("emulator", ["virtual", "qemu"])
def test_a_wait_that_ctrl_c_ends_leaves_the_board_running(
    tiny: Streaming, emulator: EmulatorName
) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with running(tiny.elf, board_of("m4"), emulator) as machine:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                machine.wait(30.0)
            assert not machine.wait(0.1)
            assert machine.returncode is None
            with open_link(machine.port) as link:
                tiny.check(list(link.stream(20)), 20)
        assert machine.wait(0.0)
        assert machine.returncode == 0
    finally:
        signal.signal(signal.SIGALRM, before)


# C of a fault, and what the virtual board says of it.
FAULTS = {
    "write": ("*(volatile uint32_t *)0xa0000000u = 1u;", "write to 0xa0000000, where nothing"),
    "undefined": ('__asm__ volatile("udf #0");', "undefined instruction"),
    "even": ("((void (*)(void))0x20000000u)();", "a branch to an even address"),
}


@pytest.fixture
def faulty_elf(images: Images, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Firmware of digits whose edgeq_model_run begins with a fault."""
    need_compiler("zig")
    firmware = generate(images.graph("digits"), board_of("m4"), tmp_path, self_test=0)
    path = tmp_path / "model.c"
    source, count = re.subn(
        r"(void edgeq_model_run\(void\) \{\n)",
        rf"\g<1>    {FAULTS[request.param][0]}\n",
        path.read_text(encoding="utf-8"),
    )
    assert count == 1
    path.write_text(source, encoding="utf-8")
    return build(firmware, "zig").elf


@pytest.mark.parametrize("faulty_elf", FAULTS, indirect=True)
def test_a_fault_on_the_virtual_board_is_told_with_place_and_reason(
    faulty_elf: Path, images: Images, request: pytest.FixtureRequest
) -> None:
    _, why = FAULTS[request.node.callspec.params["faulty_elf"]]
    board = board_of("m4")
    with (
        pytest.raises(EmulatorError, match=why) as error,
        running(faulty_elf, board, "virtual") as machine,
        open_link(machine.port, timeout_s=0.5) as link,
    ):
        verify(link, images.graph("digits"), [images.inputs("digits", 1)])
    assert str(error.value).startswith("mps2_an386: at PC 0x")


@pytest.mark.parametrize("faulty_elf", FAULTS, indirect=True)
def test_a_fault_on_qemus_board_is_told_with_its_registers(
    faulty_elf: Path, images: Images
) -> None:
    stopped = r"the program on the device stopped: fault: pc [0-9a-f]{8} lr [0-9a-f]{8}"
    with (
        pytest.raises(LinkError, match=stopped),
        linked(faulty_elf, board_of("m4"), "qemu") as link,
    ):
        verify(link, images.graph("digits"), [images.inputs("digits", 1)])
