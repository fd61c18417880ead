"""The command profile: what each layer of a model costs on a board before it is there."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from edgeq.board import Board, load_board
from edgeq.cli.firmware import BaudOption, quantized_model
from edgeq.cli.output import (
    BoardOption,
    Compiler,
    CompilerOption,
    InputScaleOption,
    JsonOption,
    OptimizeOption,
    Purpose,
    WeightsOption,
    console,
    progress_bar,
    say,
    show,
    weights_in_ram,
)
from edgeq.data import read_array, to_input
from edgeq.emulator.cycles import cycle_model
from edgeq.errors import DataError, EmulatorError, ToolError
from edgeq.graph import Array, Graph
from edgeq.report import profile as picture
from edgeq.report.constants import waits_text
from edgeq.report.profile import ModelProfile
from edgeq.stream import open_link
from edgeq.stream.measure import measure
from edgeq.stream.verify import verify

if TYPE_CHECKING:
    from firmware_gen.manifest import ManifestConstants
    from firmware_gen.toolchain import BuildResult

_TIMEOUT_S = 60.0  # of one inference on a board
_RUN, _STACK_TOP = "edgeq_model_run", "edgeq_stack_top"


def profile_command(
    model: Annotated[
        Path | None, typer.Argument(help="A .tflite, .onnx or .edgeq file; or use --elf.")
    ] = None,
    board: BoardOption = "mps2_an386",
    compiler: CompilerOption = None,
    data: Annotated[
        Path | None, typer.Option(help=".npz or .npy of inputs; else one random input.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Mean over the first COUNT inputs.")] = 1,
    input_scale: InputScaleOption = None,
    optimize_for: OptimizeOption = Purpose.balanced,
    weights: WeightsOption = "auto",
    elf: Annotated[
        Path | None, typer.Option(help="Profile a function of this firmware instead.")
    ] = None,
    function: Annotated[
        str | None, typer.Option(help="With --elf: the function, which the firmware calls.")
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(help="Ask the board there too: its firmware built with --measured."),
    ] = None,
    baud: BaudOption = 115_200,
    json: JsonOption = False,
) -> None:
    """Show what each layer costs: instructions, estimated cycles, code, weights, memory."""
    target = load_board(board)
    if elf is not None:
        if model is not None or function is None:
            raise DataError("profile takes a model, or --elf with --function")
        _profile_function(elf, target, function, count, json)
        return
    if model is None:
        raise DataError("profile takes a model, or --elf with --function")
    graph = quantized_model(model)
    inputs = inputs_of(graph, data, count, input_scale)
    found = profile_model(
        graph, target, compiler, inputs, optimize_for, weights_in_ram(weights)
    )
    if port is not None:
        with open_link(port, baud, _TIMEOUT_S) as link, progress_bar("measuring") as progress:
            counted = measure(link, graph, target.name, found.called, inputs, progress)
        counts = dict(zip(found.called, counted.counts, strict=True))
        profile = picture.with_counts(found.profile, counted.kind, counts, counted.runs)
        found = replace(found, profile=profile)
    record = {
        "profile": found.profile,
        "build": found.build,
        "equal": found.is_equal,
        "constants": found.constants,
    }
    show(
        json,
        record,
        picture.profile_table(found.profile, console.width),
        picture.profile_bars(found.profile),
        picture.profile_notes(found.profile),
        waits_text(found.constants, target),
    )
    if not found.is_equal:
        raise EmulatorError(f"{graph.name}: the outputs differ from the interpreter's")


def _profile_function(elf: Path, board: Board, function: str, count: int, json: bool) -> None:
    from edgeq.emulator.profile import profile_function

    found = profile_function(elf, board, function, runs=count)
    record = {
        "profile": found,
        "instructions": found.instructions,
        "cycles": found.cycles,
        "stack_nbytes": found.stack_nbytes,
    }
    show(json, record, picture.function_picture(found))


@dataclass(frozen=True, slots=True)
class Profiled:
    """A profile, the firmware it is of, and whether its outputs are the interpreter's."""

    profile: ModelProfile
    build: BuildResult
    is_equal: bool
    ticks: tuple[int, ...]  # of the firmware's own clock, by input
    called: tuple[str, ...]  # C names of the layers with code, in order
    constants: tuple[ManifestConstants, ...]  # where they are


def inputs_of(
    graph: Graph, data: Path | None, count: int, input_scale: float | None = None
) -> list[Array]:
    """One array for each input of the graph: the first samples of a file, else random ones."""
    if data is not None:
        return [to_input(graph, read_array(data)[:count], input_scale)]
    rng = np.random.default_rng(0)
    found = []
    for tensor in graph.input_tensors():
        if tensor.dtype.kind == "f":
            floats = rng.standard_normal((count, *tensor.shape[1:]))
            found.append(floats.astype(tensor.dtype))
            continue
        limits = np.iinfo(tensor.dtype)
        shape = (count, *tensor.shape[1:])
        values = rng.integers(limits.min, limits.max, shape, endpoint=True)
        found.append(values.astype(tensor.dtype))
    return found


def profile_model(
    graph: Graph,
    board: Board,
    compiler: Compiler | None,
    inputs: Sequence[Array],
    optimize_for: Purpose = Purpose.balanced,
    weights_in_ram: Literal["auto", "none"] | int = "auto",
) -> Profiled:
    """Build a graph's firmware, run it on the virtual board, and measure each inference.

    Raises:
        EmulatorError: the firmware stops, or the board's core is not emulated.
        ToolError: unicorn, capstone or a compiler is missing.
    """
    cycle_model(board.core)  # refuse before anything is built
    try:
        from edgeq.emulator.profile import profile_of
        from edgeq.emulator.virtual import VirtualBoard
        from edgeq.emulator.watch import Watch
    except ModuleNotFoundError as error:
        if error.name not in ("unicorn", "capstone"):
            raise
        raise ToolError(
            f"profiles need the package {error.name}: pip install 'edgeq[board]'"
        ) from error
    from edgeq.emulator.image import read_image
    from edgeq.emulator.stack import firmware_bounds
    from firmware_gen import build, generate
    from firmware_gen.image import read_symbols

    with tempfile.TemporaryDirectory(prefix="edgeq-profile-") as folder:
        firmware = generate(
            graph,
            board,
            folder,
            self_test=0,
            optimize=optimize_for.value,
            weights_in_ram=weights_in_ram,
        )
        result = build(firmware, compiler.value if compiler else None, progress=say)
        image = read_image(result.elf)
        code = firmware.model
        watch = Watch(image.function(_RUN), calls=len(code.called), runs=len(inputs[0]))
        with VirtualBoard(result.elf, board, watch=watch) as machine:
            with open_link(machine.port) as link, progress_bar("profiling") as progress:
                found = verify(link, graph, inputs, progress)
            machine.check()
        (stack_top,) = (s.address for s in read_symbols(result.elf) if s.name == _STACK_TOP)
        counts = profile_of(watch, code.called, board, image, machine.read_memory)
    profile = picture.model_profile(
        counts,
        firmware.optimized,
        firmware.plan,
        code.layers,
        code.layer_nbytes,
        {f.name: f.nbytes for f in image.functions},
        board.name,
        stack_top,
        firmware_bounds(image, board.core),
    )
    constants = code.manifest.constants
    return Profiled(profile, result, found.is_equal, found.ticks, code.called, constants)
