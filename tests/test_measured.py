"""Cycles by layer, counted by the board: its C on the host, on emulators, and in the table."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from firmware_matrix import board_of, digits, linked, running
from rich.console import Console
from stream_device import Device, build_device
from toolchains import need_compiler
from typer.testing import CliRunner

from edgeq.cli import app
from edgeq.cli.profile import inputs_of, profile_model
from edgeq.emulator.dwt import Dwt
from edgeq.emulator.peripherals import NotModelledError
from edgeq.errors import BoardError, LinkError
from edgeq.model_file import save_graph
from edgeq.report.profile import ModelProfile, profile_table, with_counts
from edgeq.stream import Link, open_link
from edgeq.stream.measure import measure
from firmware_gen import build, generate

LAYERS = 70  # two frames
READING = 24  # instructions at most: a layer's call, the reading of the counter, its storing


@contextmanager
def device(folder: Path, *defines: str) -> Iterator[Link]:
    """The device's C on the host."""
    running_device = Device(build_device(folder, *defines), folder / "port")
    try:
        with open_link(str(folder / "port")) as link:
            yield link
    finally:
        running_device.close()


@pytest.mark.parametrize("is_real", [False, True])
def test_the_cycles_of_all_layers_come(tmp_path: Path, is_real: bool) -> None:
    counter = ("COUNTS=1", f"IS_REAL={int(is_real)}")
    with device(tmp_path, f"EDGEQ_MODEL_LAYER_COUNT={LAYERS}", *counter) as link:
        link.infer(bytes(32))
        found = link.cycles()
    assert found == (is_real, tuple(0xFFFFFFF0 - 3 * i for i in range(LAYERS)))


def test_without_a_run_there_is_nothing_to_tell(tmp_path: Path) -> None:
    defines = (f"EDGEQ_MODEL_LAYER_COUNT={LAYERS}", "COUNTS=1", "IS_REAL=1")
    with (
        device(tmp_path, *defines) as link,
        pytest.raises(LinkError, match="no run has finish"),
    ):
        link.cycles()


def test_a_counter_that_stands_still_is_told(tmp_path: Path) -> None:
    with device(tmp_path, "EDGEQ_MODEL_LAYER_COUNT=1", "COUNTS=0", "IS_REAL=1") as link:
        link.infer(bytes(32))
        with pytest.raises(LinkError, match="cycle counter does not count"):
            link.cycles()


def test_other_firmware_is_told_how_to_measure(tmp_path: Path) -> None:
    with device(tmp_path) as link, pytest.raises(LinkError, match=r"edgeq build .* --measured"):
        link.cycles()


def measured_elf(folder: Path, target: str) -> Path:
    need_compiler("gcc")
    return build(generate(digits(), board_of(target), folder, self_test=0, measured=True)).elf


@pytest.mark.parametrize("target", ["m3", "m4", "m33", "m7"])
def test_the_virtual_board_counts_each_layers_instructions(target: str, tmp_path: Path) -> None:
    graph, board = digits(), board_of(target)
    inputs = inputs_of(graph, None, 2)
    expected = profile_model(graph, board, None, inputs)
    names = {row.name: row.instructions for row in expected.profile.layers}
    with linked(measured_elf(tmp_path, target), board, "virtual") as link:
        found = measure(link, graph, board.name, expected.called, inputs)
    assert (found.kind, found.runs) == ("emulated", 2)
    for name, count in zip(expected.called, found.counts, strict=True):
        assert 0 < count - names[name] <= READING, name


def test_qemu_has_no_counter(tmp_path: Path) -> None:
    graph = digits()
    with linked(measured_elf(tmp_path, "m4"), board_of("m4"), "qemu") as link:
        link.infer([x[0].tobytes() for x in inputs_of(graph, None, 1)])
        with pytest.raises(LinkError, match="cycle counter does not count"):
            link.cycles()


def test_what_does_not_belong_to_the_board_is_refused(tmp_path: Path) -> None:
    graph, board = digits(), board_of("m4")
    inputs = inputs_of(graph, None, 1)
    with linked(measured_elf(tmp_path, "m4"), board, "virtual") as link:
        with pytest.raises(LinkError, match="says it is a 'mps2_an386', must be 'mps2_an385'"):
            measure(link, graph, "mps2_an385", (), inputs)
        with pytest.raises(LinkError, match=r"has \d+ layers, this edgeq generates 1; build"):
            measure(link, graph, board.name, ("layer",), inputs)


@pytest.mark.parametrize("target", ["m0", "nucleo_g0b1re"])
def test_a_core_without_a_counter_is_refused(target: str, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"cortex-m0\w* has no cycle counter"):
        generate(digits(), board_of(target), tmp_path, measured=True)


def test_measuring_changes_no_other_firmware(tmp_path: Path) -> None:
    graph = digits()
    plain = generate(graph, "mps2_an386", tmp_path / "a", self_test=0).model
    measured = generate(graph, "mps2_an386", tmp_path / "b", self_test=0, measured=True).model
    assert "cycles" not in plain.source + plain.header
    assert f"EDGEQ_MODEL_LAYER_COUNT {len(measured.called)}" in measured.header
    head = plain.source.split("void edgeq_model_run")[0]
    assert measured.source.replace('#include "edgeq_cycles.h"\n', "").startswith(head)


def test_the_command_shows_a_column_of_its_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    save_graph(digits(), tmp_path / "digits.edgeq")
    board = board_of("m4")
    with running(measured_elf(tmp_path / "c", "m4"), board, "virtual") as machine:
        arguments = ["profile", str(tmp_path / "digits.edgeq"), "--board", board.name]
        arguments += ["--port", machine.port]
        shown = CliRunner().invoke(app, arguments)
        told = CliRunner().invoke(app, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    heads = next(line for line in shown.output.splitlines() if "estimated" in line)
    assert heads.split()[:5] == ["layer", "k", "instr.", "estimated", "emulated"]
    assert "measured" not in heads
    assert "counts instructions" in shown.output
    profile = json.loads(told.stdout[told.stdout.index("{") :])["profile"]
    assert profile["counted_are"] == "emulated"
    assert sum(row["counted"] or 0 for row in profile["layers"]) == profile["counted"] > 0
    assert profile["cycles"] != profile["counted"]


def test_a_real_boards_column_fits_80_columns() -> None:
    graph = digits()
    found = profile_model(graph, board_of("m4"), None, inputs_of(graph, None, 1))
    counts = dict.fromkeys(found.called, 1_234_567.0)
    profile = with_counts(found.profile, "measured", counts, 1)
    text = table_text(profile)
    assert "measured" in text
    rows = [line for line in text.splitlines() if "1,234.6" in line]
    stacks = [row.stack_nbytes for row in profile.layers if row.counted is not None]
    assert [int(line.split()[-1]) for line in rows] == stacks
    plain = table_text(replace(profile, counted_are=None))
    assert "1,234.6" not in plain
    assert "/MAC" in plain


def table_text(profile: ModelProfile) -> str:
    """As a terminal of 80 columns has it."""
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(profile_table(profile, console.width))
    return console.export_text()


class Clock:
    """A time that a test sets."""

    now = 100
    traced = True


def test_the_counter_runs_only_while_it_is_let() -> None:
    clock = Clock()
    dwt = Dwt(lambda: clock.now, lambda: clock.traced)
    dwt.write(0, 4, 1)
    clock.now += 7
    assert dwt.read(4, 4) == 7
    dwt.write(0, 4, 0)
    clock.now += 5
    assert dwt.read(4, 4) == 7
    dwt.write(4, 4, 0xFFFFFFFE)
    dwt.write(0, 4, 1)
    clock.now += 3
    assert dwt.read(4, 4) == 1
    clock.traced = False
    assert dwt.read(4, 4) == 0
    clock.traced = True
    dwt.reset()
    assert (dwt.read(0, 4), dwt.read(4, 4)) == (0, 0)
    with pytest.raises(NotModelledError):
        dwt.read(0x20, 4)


def test_several_inputs_give_the_mean(tmp_path: Path) -> None:
    graph, board = digits(), board_of("m4")
    (x,) = inputs_of(graph, None, 3)
    called = profile_model(graph, board, None, [x[:1]]).called
    with linked(measured_elf(tmp_path, "m4"), board, "virtual") as link:
        whole = measure(link, graph, board.name, called, [x])
        parts = [measure(link, graph, board.name, called, [x[i : i + 1]]) for i in range(3)]
    means = np.mean([part.counts for part in parts], axis=0)
    assert np.allclose(whole.counts, means, rtol=1e-12)
