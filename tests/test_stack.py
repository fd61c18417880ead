"""The bound of the stack from the code, beside what runs on the virtual board take."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from loops import BOARDS, loops, remove_loops
from test_firmware import quantized_network
from toolchains import COMPILERS, need_compiler

from edgeq.board import load_board
from edgeq.cli.output import Compiler
from edgeq.cli.profile import inputs_of, profile_model
from edgeq.emulator.image import read_image
from edgeq.emulator.stack import StackAnalysis, firmware_bounds
from firmware_gen import build, generate


@pytest.fixture(scope="module", autouse=True)
def _builds_are_removed():
    yield
    remove_loops()


@pytest.mark.parametrize("core", BOARDS)
def test_the_bound_is_the_one_counted_by_hand(core: str) -> None:
    analysis = StackAnalysis(read_image(loops(core)))
    expected = {
        "count_down": (0, ("count_down",)),
        "chase": (8 + 8, ("chase",)),
        "leaf": (16, ("leaf",)),
        "three_calls": (8 + 16, ("three_calls", "chase")),
        "ends_in_call": (8 + 16, ("ends_in_call", "leaf")),
        "jumps": (8 + 12, ("jumps",)),
        "jumps_far": (8 + 4, ("jumps_far",)),
    }
    if core not in ("cortex-m0", "cortex-m0plus"):
        expected["pops_perhaps"] = (8 + 8, ("pops_perhaps",))
    found = {name: analysis.bound(name) for name in expected}
    assert {n: (b.nbytes, b.path) for n, b in found.items()} == expected
    assert all(b.unresolved == () for b in found.values())


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_what_has_no_bound_is_named(core: str) -> None:
    analysis = StackAnalysis(read_image(loops(core)))
    assert analysis.bound("calls_itself").unresolved == ("calls_itself: calls itself",)
    for name, why in (
        ("calls_a_register", "calls_a_register+0x2: calls through a register: 'blx r4'"),
        ("sets_the_stack", "sets_the_stack+0x2: sets the stack pointer by 'mov sp, r3'"),
    ):
        bound = analysis.bound(name)
        assert bound.unresolved == (why,)
        assert bound.known_nbytes is None
    assert len(analysis.bound("Reset_Handler").unresolved) == 3  # main calls them all


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["nucleo_g0b1re", "mps2_an386", "mps2_an505", "mps2_an500"])
def test_no_run_takes_more_stack_than_the_bound(name: str, compiler) -> None:
    need_compiler(compiler)
    graph = quantized_network()
    inputs = inputs_of(graph, None, 2)
    found = profile_model(graph, load_board(name), Compiler(compiler), inputs)
    profile = found.profile
    assert profile.stack_unresolved == ()
    assert profile.stack_bound_nbytes is not None
    assert profile.whole_stack_bound_nbytes is not None
    assert 0 < profile.stack_nbytes <= profile.stack_bound_nbytes
    assert profile.stack_nbytes < profile.whole_stack_nbytes
    assert profile.whole_stack_nbytes <= profile.whole_stack_bound_nbytes
    assert profile.whole_stack_bound_nbytes <= found.build.stack_nbytes


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_bound_is_known_for_helium_code_too(tmp_path: Path, compiler) -> None:
    need_compiler(compiler)
    board = load_board("mps3_an547")
    firmware = generate(quantized_network(), board, tmp_path, self_test=0)
    bounds = firmware_bounds(read_image(build(firmware, compiler).elf), board.core)
    assert [bound.unresolved for bound in bounds] == [(), ()]
    assert 0 < bounds[0].nbytes < bounds[1].nbytes


# A loop that ends with a branch back, before a jump through a register.
JUMP = """
.syntax unified
.thumb
.global vectors
.type vectors, %function
vectors:
    push {lr}
    bl turns
    push {r0-r3}
    add sp, sp, #16
    pop {pc}
.size vectors, . - vectors
.type turns, %function
turns:
    push {r4, lr}
1:
    cmp r0, #0
    beq 1b
    bx r3
    pop {r4, pc}
.size turns, . - turns
"""


def analysis_of(folder: Path, text: str, core: str, *more: str) -> StackAnalysis:
    """The analysis of an assembly program."""
    source, elf = folder / "code.S", folder / "code.elf"
    source.write_text(text, encoding="utf-8")
    command = ["arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb", *more]
    options = ["-nostdlib", "-Wl,--entry=vectors", "-Wl,-Ttext=0x100"]
    subprocess.run([*command, *options, str(source), "-o", str(elf)], check=True)
    return StackAnalysis(read_image(elf))


def test_what_is_behind_a_jump_is_followed_though_a_loop_was_met_last(tmp_path: Path) -> None:
    need_compiler("gcc")
    analysis = analysis_of(tmp_path, JUMP, "cortex-m4")
    bound = analysis.bound("vectors")
    assert (bound.nbytes, bound.unresolved) == (4 + 16, ())


# Constants behind a no-operation that fills up to them: as code, `sub sp, sp, #448` twice.
FILLED = """
.syntax unified
.thumb
.global vectors
.type vectors, %function
vectors:
    push {r4, lr}
    ldr pc, [r1, r3, lsl #2]
    pop {r4, pc}
    nop
    .word 0xb0f0b0f0
2:
    pop {r4, pc}
.size vectors, . - vectors
"""


def test_what_fills_up_to_constants_leads_nowhere(tmp_path: Path) -> None:
    need_compiler("gcc")
    bound = analysis_of(tmp_path, FILLED, "cortex-m4").bound("vectors")
    assert (bound.nbytes, bound.unresolved) == (8, ())


# An M55 loop over a vector (WLSTP, VLDRB, LETP) with a function behind its end, by hand.
LOOP = """
.syntax unified
.thumb
.global vectors, moves_the_stack
.type vectors, %function
vectors:
    push {r4, lr}
    wlstp.8 lr, r1, 2f
1:
    vldrb.u8 q0, [r0], #16
    letp lr, 1b
    pop {r4, pc}
2:
    push {r0-r3}
    add sp, sp, #16
    pop {r4, pc}
.size vectors, . - vectors
.type moves_the_stack, %function
moves_the_stack:
    vldrb.u8 q0, [sp], #16
    bx lr
.size moves_the_stack, . - moves_the_stack
"""


def test_helium_loops_are_followed_and_vector_loads_from_the_stack_are_named(
    tmp_path: Path,
) -> None:
    need_compiler("gcc")
    analysis = analysis_of(tmp_path, LOOP, "cortex-m55", "-mfloat-abi=hard")
    bound = analysis.bound("vectors")
    assert (bound.nbytes, bound.unresolved) == (8 + 16, ())
    assert "moves_the_stack+0x0: sets the stack pointer" in str(
        analysis.bound("moves_the_stack").unresolved
    )
