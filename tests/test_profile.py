"""Profiles: cycle tables by hand-counted loops, calls, stack, and QEMU as independent count."""

from __future__ import annotations

import json

import numpy as np
import pytest
from emulated import ANSWER_S, Client, build_probe, remove_builds
from loops import BOARDS, loops, remove_loops
from toolchains import COMPILERS, need_compiler, need_program
from typer.testing import CliRunner

from edgeq.board import load_board
from edgeq.cli import app
from edgeq.cli.output import Compiler
from edgeq.cli.profile import inputs_of, profile_model
from edgeq.emulator.cycles import MODELS, cycle_model
from edgeq.emulator.decode import Decoder
from edgeq.emulator.image import read_image
from edgeq.emulator.profile import Profile, profile_function, profile_of
from edgeq.emulator.qemu import QemuBoard
from edgeq.emulator.virtual import VirtualBoard
from edgeq.emulator.watch import Watch
from edgeq.errors import DataError, EmulatorError
from edgeq.graph import Graph, Node, QuantParams, Tensor
from edgeq.importers import read_model
from edgeq.ops.quantize import QuantizeFloat
from edgeq.ops.reshape import QuantizedReshape
from edgeq.stream import open_link
from edgeq.stream.verify import verify
from firmware_gen import build, generate


@pytest.fixture(scope="module", autouse=True)
def _builds_are_removed():
    yield
    remove_loops()
    remove_builds()


def profile(core: str, function: str, runs: int = 1) -> Profile:
    elf = loops(core)
    return profile_function(elf, load_board(BOARDS[core]), function, runs=runs, timeout_s=60)


def called(core: str, function: str, calls: tuple[str, ...]) -> Profile:
    """A profile of a function with its calls kept apart."""
    board, image = load_board(BOARDS[core]), read_image(loops(core))
    watch = Watch(image.function(function), calls=len(calls))
    with VirtualBoard(loops(core), board, watch=watch) as machine:
        while not watch.is_over and not machine.wait(0.01):
            pass
        machine.check()
    return profile_of(watch, calls, board, image, machine.read_memory)


def test_each_emulated_core_has_a_model_with_its_source() -> None:
    assert set(MODELS) == set(BOARDS)
    assert {c for c, m in MODELS.items() if m.sureness == "rough"} == {
        "cortex-m33",
        "cortex-m7",
    }
    with pytest.raises(EmulatorError, match="cortex-m55: has no cycle model"):
        cycle_model("cortex-m55")


# MOVS; ten SUBS; nine BNE taken and one not; BX.
@pytest.mark.parametrize(
    ("core", "cycles"),
    [
        ("cortex-m0", 1 + 10 + 9 * 3 + 1 + 3),
        ("cortex-m0plus", 1 + 10 + 9 * 2 + 1 + 2),
        ("cortex-m3", 1 + 10 + 9 * 3 + 1 + 3),
        ("cortex-m4", 1 + 10 + 9 * 3 + 1 + 3),
        ("cortex-m33", 1 + 10 + 9 * 3 + 1 + 3),
        # The first SUBS needs MOVS and goes with BNE: 2 and 1 for the jump. Then SUBS and BNE
        # go together: 1 and 1, and 1 when not taken. BX: 1 and 1.
        ("cortex-m7", 3 + 8 * 2 + 1 + 2),
    ],
)
def test_a_loop_takes_the_cycles_counted_by_hand(core: str, cycles: int) -> None:
    found = profile(core, "count_down", runs=2)
    assert found.runs == 2
    assert found.instructions == 1 + 2 * 10 + 1
    assert found.cycles == cycles
    assert found.stack_nbytes == 0


# PUSH, MOVS, SUB, MOV, STR, four LDR, two STR with a register as offset, MULS, ADD, POP
@pytest.mark.parametrize(
    ("core", "cycles"),
    [
        ("cortex-m0", 3 + 1 + 1 + 1 + 2 + 4 * 2 + 2 * 2 + 1 + 1 + 6),
        ("cortex-m0plus", 3 + 1 + 1 + 1 + 2 + 4 * 2 + 2 * 2 + 1 + 1 + 5),
        # The last LDR does not use what the one before it gave; the first STR follows a load.
        ("cortex-m3", 3 + 1 + 1 + 1 + 1 + (2 + 2 + 2 + 1) + (1 + 2) + 1 + 1 + 5),
        ("cortex-m4", 3 + 1 + 1 + 1 + 1 + (2 + 2 + 2 + 1) + (1 + 2) + 1 + 1 + 5),
        # A load whose value the next instruction uses: 1 more, for the second and third LDR.
        ("cortex-m33", 2 + 1 + 1 + 1 + 1 + (1 + 2 + 2 + 1) + 2 + 1 + 1 + 4),
    ],
)
def test_loads_and_stores_take_the_cycles_counted_by_hand(core: str, cycles: int) -> None:
    found = profile(core, "chase")
    assert found.instructions == 14
    assert found.cycles == cycles
    assert found.stack_nbytes == 16


@pytest.mark.parametrize(
    ("core", "cycles"),
    [
        # MOV; three turns of MOV, LDR with writeback 2, LDR after it 2, LDR 1, LDRD 3, LDM 4,
        # SUBS, BNE; BX
        ("cortex-m3", 1 + 3 * (1 + 2 + 2 + 1 + 3 + 4 + 1) + 2 * 3 + 1 + 3),
        ("cortex-m4", 1 + 3 * (1 + 2 + 2 + 1 + 3 + 4 + 1) + 2 * 3 + 1 + 3),
        # LDRD 2, LDM 3
        ("cortex-m33", 1 + 3 * (1 + 1 + 1 + 1 + 2 + 3 + 1) + 2 * 3 + 1 + 3),
    ],
)
def test_loads_of_several_registers_take_the_cycles_counted_by_hand(
    core: str, cycles: int
) -> None:
    found = profile(core, "wide_loads")
    assert found.instructions == 1 + 3 * 8 + 1
    assert found.cycles == cycles


@pytest.mark.parametrize(
    ("core", "cycles"),
    [
        # MOV, MOV, MUL, MLA, SMULL, SMLAL, UDIV, SSAT, BX
        ("cortex-m3", 1 + 1 + 1 + 2 + 4 + 5 + 7 + 1 + 3),
        ("cortex-m4", 1 + 1 + 1 + 1 + 1 + 1 + 7 + 1 + 3),
        ("cortex-m33", 1 + 1 + 1 + 1 + 1 + 1 + 7 + 1 + 3),
        # The two MOV go together (0); MUL at 1; MLA adds to it at 2; SMULL at 3; SMLAL adds at
        # 4; UDIV writes what SMLAL reads, and goes alone from 5 to 11; SSAT waits for it, at
        # 12; BX goes with it; 1 for the jump.
        ("cortex-m7", 13 + 1),
    ],
)
def test_arithmetic_takes_the_cycles_counted_by_hand(core: str, cycles: int) -> None:
    found = profile(core, "arithmetic")
    assert found.instructions == 9
    assert found.cycles == cycles


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "cortex-m33"])
def test_what_an_it_block_skips_counts_one(core: str) -> None:
    found = profile(core, "skipped")
    # MOVS, CMP, ITE, MOVEQ (skipped), MOVNE, CBZ taken over a NOP, CBNZ not taken, NOP, BX
    assert found.instructions == 9
    assert found.cycles == 1 + 1 + 1 + 1 + 1 + 3 + 1 + 1 + 3


@pytest.mark.parametrize(
    ("core", "cycles"),
    [
        ("cortex-m0plus", 700 * 2 + 2),
        ("cortex-m3", 2 + 699 + 3),
        ("cortex-m4", 2 + 699 + 3),
        ("cortex-m33", 700 + 3),
    ],
)
def test_where_the_emulator_splits_code_loads_still_overlap(core: str, cycles: int) -> None:
    found = profile(core, "straight", runs=2)
    assert found.instructions == 701
    assert found.cycles == cycles


def test_bytes_that_are_no_instruction_are_refused() -> None:
    with pytest.raises(EmulatorError, match="0x00000102: capstone knows no such instruction"):
        Decoder().decode(0x100, bytes.fromhex("00bf ffff ffff"))


@pytest.mark.parametrize("core", BOARDS)
def test_the_calls_of_a_function_add_up_to_it(core: str) -> None:
    calls = ("count_down", "chase", "leaf")
    found = called(core, "three_calls", calls)
    assert [part.name for part in found.parts] == ["three_calls", *calls]
    assert [part.instructions for part in found.parts] == [5, 22, 14, 3]
    assert found.instructions == 5 + 22 + 14 + 3
    assert [part.stack_nbytes for part in found.parts] == [8, 8, 8 + 16, 8 + 16]
    assert found.stack_nbytes == 24
    for part, name in zip(found.parts[1:], calls, strict=True):
        assert part.functions == {name: part.instructions}
        assert part.cycles == profile(core, name).cycles


def test_a_function_that_two_calls_share_counts_for_each_and_the_last_may_be_a_jump() -> None:
    found = called("cortex-m4", "ends_in_call", ("first", "second"))
    assert [part.instructions for part in found.parts] == [5, 3, 3]
    assert [dict(part.functions) for part in found.parts[1:]] == [{"leaf": 3}] * 2
    assert found.parts[0].cycles == 3 + 3 + 3 + 1 + 3
    assert [part.cycles for part in found.parts[1:]] == [5 + 5 + 3] * 2


def test_other_calls_than_expected_are_refused() -> None:
    with pytest.raises(EmulatorError, match="has made 3 calls, must be 4"):
        called("cortex-m4", "three_calls", ("a", "b", "c", "d"))


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_interrupts_are_counted_apart(core: str) -> None:
    found = profile(core, "long_count")
    assert found.instructions == 2 + 3 * 7_000_000 + 1
    assert 0 < found.exception_instructions < 200


def test_a_function_that_does_not_run_or_does_not_exist_is_named() -> None:
    board, elf = load_board("mps2_an386"), loops("cortex-m4")
    with pytest.raises(EmulatorError, match="never_called has run 0 times, must 1"):
        profile_function(elf, board, "never_called")
    with pytest.raises(EmulatorError, match="no function 'cout_down'; nearest: count_down"):
        profile_function(elf, board, "cout_down")


def test_the_command_says_what_it_takes() -> None:
    for arguments in (
        ["profile"],
        ["profile", "--elf", "x.elf"],
        ["profile", "m", "--elf", "x"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, DataError)
        assert "takes a model, or --elf with --function" in str(result.exception)


def test_the_command_profiles_a_function_of_any_elf() -> None:
    elf = loops("cortex-m4")
    arguments = ["profile", "--elf", str(elf), "--function", "chase", "--count", "2"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "chase" in shown.output
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert told["instructions"] == 14
    assert told["profile"]["runs"] == 2


@pytest.mark.parametrize("name", ["mps2_an385", "mps2_an386", "mps2_an505", "mps3_an547"])
def test_a_counting_qemu_takes_one_nanosecond_an_instruction(name: str) -> None:
    need_compiler("gcc")
    need_program("qemu-system-arm", "qemu-system-arm")
    board = load_board(name)
    with QemuBoard(build_probe(name, "gcc"), board, tcp=True, counting=True) as machine:
        client = Client(machine.port)
        client.serial.timeout = 0.5
        while not client.echo(b"x"):
            pass
        client.serial.timeout = ANSWER_S
        few, many = (client.number(b"L", turns) for turns in (1000, 10_001_000))
        client.serial.close()
    instructions = (many - few) * 1e9 / board.clock.core_hz
    assert instructions == pytest.approx(3 * 10_000_000, rel=1e-5)


def test_random_inputs_are_of_the_graphs_types_and_the_same_each_time() -> None:
    quant = QuantParams((0.5,), 0)
    for dtype, op, shape in (
        (np.int8, QuantizedReshape((1, 12)), (1, 12)),
        (np.float32, QuantizeFloat(0.5, 0), (1, 2, 2, 3)),
    ):
        source = Tensor("x", (1, 2, 2, 3), np.dtype(dtype), quant if dtype is np.int8 else None)
        output = Tensor("y", shape, np.dtype(np.int8), quant)
        graph = Graph.build("g", [source, output], [Node(op, ("x",), ("y",))], ["x"], ["y"])
        (x,) = inputs_of(graph, None, 4)
        (again,) = inputs_of(graph, None, 4)
        assert (x.shape, x.dtype) == ((4, 2, 2, 3), dtype)
        assert (x == again).all()
        assert len(np.unique(x)) > 1


def quantized(model_path, name: str):
    return read_model(model_path(name))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["kws", "vww", "ad"])
def test_qemu_counts_the_same_instructions(model_path, tmp_path, name: str, compiler) -> None:
    need_compiler(compiler)
    need_program("qemu-system-arm", "qemu-system-arm")
    graph, board = quantized(model_path, name), load_board("mps2_an386")
    inputs = inputs_of(graph, None, 1)
    found = profile_model(graph, board, Compiler(compiler), inputs)
    assert found.is_equal
    layers = found.profile.layers
    assert sum(r.instructions for r in layers) + found.profile.own_instructions == (
        found.profile.instructions
    )
    assert sum(r.cycles for r in layers) + found.profile.own_cycles == found.profile.cycles
    assert found.profile.stack_bound_nbytes is not None
    assert found.profile.stack_nbytes <= found.profile.stack_bound_nbytes
    # The two readings of the clock around the run take some instructions themselves.
    elf = build(generate(graph, board, tmp_path, self_test=0), compiler).elf
    with (
        QemuBoard(elf, board, tcp=True, counting=True) as machine,
        open_link(machine.port) as link,
    ):
        (ticks,) = verify(link, graph, inputs).ticks
    counted = ticks * 1e9 / board.clock.core_hz
    assert counted == pytest.approx(found.profile.instructions, rel=1e-3)


def test_the_command_shows_and_tells_the_layers(model_path) -> None:
    need_compiler("gcc")
    path = str(model_path("hello_world"))
    shown = CliRunner().invoke(app, ["profile", path, "-b", "mps2_an505"])
    assert shown.exit_code == 0, shown.output
    assert "rough" in shown.output
    result = CliRunner().invoke(app, ["profile", path, "-b", "nucleo_g0b1re", "--json"])
    told = json.loads(result.stdout)
    graph = quantized(model_path, "hello_world")
    assert len(told["profile"]["layers"]) == len(graph.nodes)
    assert told["profile"]["macs"] == sum(r["macs"] for r in told["profile"]["layers"]) > 0
    assert told["equal"] is True
    assert told["profile"]["cycles_are"] == "documented"
