"""Commands on boards: boards, emulate, stream, verify."""

from __future__ import annotations

import json as json_module
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType
from rich.live import Live

from edgeq.board import Board, board_names, load_board
from edgeq.cli.output import (
    BoardOption,
    Compiler,
    CompilerOption,
    EmulatorKind,
    EmulatorOption,
    InputScaleOption,
    JsonOption,
    ModelArgument,
    OptimizeOption,
    Purpose,
    WeightsOption,
    console,
    plain,
    progress_bar,
    say,
    show,
    weights_in_ram,
)
from edgeq.data import read_input
from edgeq.digest import graph_digest
from edgeq.emulator import start
from edgeq.errors import BoardError, DataError
from edgeq.graph import Graph
from edgeq.importers import read_model
from edgeq.passes import optimize
from edgeq.report import firmware as picture
from edgeq.report.constants import constants_picture as picture_of_constants
from edgeq.stream import Link, OutputFormat, Recorder, Result, open_link
from edgeq.stream.recorder import decode_outputs
from edgeq.stream.verify import Verification, verify

if TYPE_CHECKING:
    from firmware_gen import GeneratedFirmware
    from firmware_gen.toolchain import BuildResult

PortOption = Annotated[
    str, typer.Option("--port", "-p", help="Serial port, or socket://HOST:PORT.")
]
# What a tick of an emulated board is worth.
_PROVENANCE = {
    EmulatorKind.virtual: "emulated: one tick is one executed instruction",
    EmulatorKind.qemu: "emulated: QEMU's clock, which says nothing about speed",
}
BaudOption = Annotated[int, typer.Option(help="Baud rate of the serial port.")]


def boards_command(
    model: Annotated[
        Path | None, typer.Option(help="Say which boards this model fits.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the boards, with what emulates and what flashes them."""
    graph = optimize(quantized_model(model)) if model is not None else None
    rows = []
    for name in board_names():
        board = load_board(name)
        fit = None if graph is None else fits(graph, board)
        rows.append(picture.board_row(board, board.core != "cortex-m55", fit))
    show(json, rows, picture.boards_picture(rows))


def fits(graph: Graph, board: Board) -> str:
    """What of the board's memories an arranged integer graph lacks; "yes" if nothing."""
    from firmware_gen import check_fit
    from firmware_gen.arenas import capacities
    from firmware_gen.cores import core_of
    from firmware_gen.layers import arranged, planned
    from firmware_gen.linker_script import STACK_NBYTES
    from firmware_gen.optimize import DEFAULT

    constants = sum(t.nbytes for t in graph.tensors.values() if t.data is not None)
    try:
        target = core_of(board).target
        placed = arranged(graph, target, DEFAULT).graph
        plan, _ = planned(placed, target, DEFAULT, capacities(board, STACK_NBYTES))
        check_fit(board, graph, plan, constants, STACK_NBYTES)
    except BoardError as error:
        return str(error).split("does not fit: ", 1)[-1]
    return "yes"


def quantized_model(path: Path) -> Graph:
    """The integer graph of a file.

    Raises:
        DataError: the file holds a float graph.
    """
    graph = read_model(path)
    if not graph.is_quantized:
        raise DataError(
            f"{path}: is a float model; quantize it first: "
            f"edgeq quantize {path} --calibration SAMPLES.npz -o {path.stem}.edgeq"
        )
    return graph


def built(firmware: GeneratedFirmware, compiler: Compiler | None) -> BuildResult:
    """The image of generated firmware; progress is told on stderr."""
    from firmware_gen import build

    return build(firmware, compiler.value if compiler else None, progress=say)


def constants_picture(firmware: GeneratedFirmware) -> RenderableType:
    """Which constants are copied into a ram, and why the others are not."""
    return picture_of_constants(firmware.model.manifest.constants, firmware.board)


def emulate_command(
    elf: Annotated[Path, typer.Argument(help="The firmware's ELF file.")],
    board: BoardOption,
    emulator: EmulatorOption = EmulatorKind.virtual,
    tcp: Annotated[
        bool, typer.Option("--tcp", help="Serve a TCP port instead of a pty.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Boot an ELF on an emulated board; prints its serial port and stays until Ctrl-C."""
    with start(elf, load_board(board), emulator.value, tcp=tcp) as machine:
        record = {"port": machine.port, "elf": elf, "board": board, "emulator": emulator.value}
        if json:
            print(json_module.dumps(plain(record)), flush=True)
        else:
            console.print(f"{elf} runs on {board} ({emulator.value}); its serial port is")
            print(machine.port, flush=True)
            console.print(f"try: edgeq stream --port {machine.port}    (Ctrl-C here ends it)")
        while not machine.wait(0.5):
            pass
        machine.check()


def stream_command(
    port: PortOption,
    count: Annotated[int, typer.Option(min=0, help="How many results; 0: until Ctrl-C.")] = 0,
    model: Annotated[
        Path | None, typer.Option(help="The model, to show outputs as numbers, not bytes.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Inputs to send (needs --model); else the board's own.")
    ] = None,
    input_scale: InputScaleOption = None,
    csv: Annotated[Path | None, typer.Option(help="Write results to this CSV file.")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write results as JSON lines.")] = None,
    baud: BaudOption = 115_200,
    json: JsonOption = False,
) -> None:
    """Show a board's results live, and write them as CSV or JSON lines."""
    graph = quantized_model(model) if model is not None else None
    if data is not None and graph is None:
        raise DataError("--data needs --model: the model says how an input looks")
    formats = _formats(graph) if graph is not None else []
    with ExitStack() as stack:
        link = stack.enter_context(open_link(port, baud))
        if graph is not None:
            link.expect_digest(graph_digest(graph), graph.name)
        hz = link.identity.ticks_hz
        recorder = stack.enter_context(
            Recorder(ticks_hz=hz, csv_path=csv, jsonl_path=jsonl, formats=formats)
        )
        if data is not None and graph is not None:
            results = _sent(link, read_input(graph, data, input_scale, note=say), count)
        else:
            results = link.stream(count)
        if not json:
            console.print(picture.identity_text(link.identity, port))
        _show_stream(results, link, recorder, formats, json)


def _formats(graph: Graph) -> list[OutputFormat]:
    return [
        OutputFormat(t.name, t.shape, t.dtype.name, t.quant.scale[0], t.quant.zero_point)
        if t.quant is not None
        else OutputFormat(t.name, t.shape, t.dtype.name)
        for t in graph.output_tensors()
    ]


def _sent(link: Link, x: object, count: int) -> Iterator[Result]:
    """Results of inputs sent one by one; from the start again when `count` is larger."""
    import numpy as np

    inputs = np.asarray(x)
    total = count or len(inputs)
    for index in range(total):
        yield link.infer(np.ascontiguousarray(inputs[index % len(inputs)]).tobytes())


def _show_stream(
    results: Iterator[Result],
    link: Link,
    recorder: Recorder,
    formats: list[OutputFormat],
    json: bool,
) -> None:
    last: deque[tuple[Result, list[object]]] = deque(maxlen=8)
    began, count = time.monotonic(), 0
    if json:
        for result in results:
            print(json_module.dumps(recorder.write(result)), flush=True)
        return
    with Live(console=console, refresh_per_second=8) as live:
        for result in results:
            recorder.write(result)
            count += 1
            tensors = decode_outputs(result.output, formats) if formats else []
            last.append((result, list(tensors)))
            rate = count / max(time.monotonic() - began, 1e-9)
            live.update(
                picture.stream_picture(
                    list(last),  # type: ignore[arg-type]
                    count,
                    rate,
                    link.identity,
                    link.statistics,
                )
            )


def verify_command(
    model: ModelArgument,
    data: Annotated[Path, typer.Option(help=".npz or .npy of inputs.")],
    board: BoardOption = "",
    port: Annotated[
        str | None, typer.Option("--port", "-p", help="A board that runs the model already.")
    ] = None,
    emulator: EmulatorOption = EmulatorKind.virtual,
    compiler: CompilerOption = None,
    count: Annotated[int | None, typer.Option(min=1, help="Only the first COUNT.")] = None,
    input_scale: InputScaleOption = None,
    optimize_for: OptimizeOption = Purpose.balanced,
    weights: WeightsOption = "auto",
    baud: BaudOption = 115_200,
    json: JsonOption = False,
) -> None:
    """Send inputs to a board and compare every byte of its outputs with the interpreter."""
    wanted = weights_in_ram(weights)
    graph = quantized_model(model)
    x = read_input(graph, data, input_scale, count, say)
    if port is not None and board:
        raise DataError("verify takes --board (to emulate it) or --port, not both")
    if port is None and not board:
        raise DataError("verify needs --board (to emulate it) or --port (of a real board)")
    with ExitStack() as stack:
        where = port or f"{board} ({emulator.value})"
        if port is None:
            target = load_board(board)
            emulated = _emulated(graph, target, emulator, compiler, optimize_for, wanted)
            port = stack.enter_context(emulated)
        link = stack.enter_context(open_link(port, baud))
        with progress_bar("verifying") as progress:
            found: Verification = verify(link, graph, [x], progress)
    record = {
        "where": where,
        "samples": found.samples,
        "equal_samples": found.equal_samples,
        "equal": found.is_equal,
        "compared_nbytes": found.compared_nbytes,
        "differences": found.differences,
        "ticks_mean": sum(found.ticks) / len(found.ticks),
        "ticks_hz": found.ticks_hz,
    }
    provenance = "measured by the board"
    if board:
        provenance = _PROVENANCE[emulator]
    record["provenance"] = provenance
    show(
        json,
        record,
        picture.verification_picture(found, where),
        picture.run_time_text(found, provenance),
    )
    if not found.is_equal:
        raise typer.Exit(2)


@contextmanager
def _emulated(
    graph: Graph,
    board: Board,
    emulator: EmulatorKind,
    compiler: Compiler | None,
    optimize_for: Purpose,
    weights: Literal["auto", "none"] | int,
) -> Iterator[str]:
    """The port of an emulated board that runs the graph."""
    from firmware_gen import generate

    with tempfile.TemporaryDirectory(prefix="edgeq-verify-") as folder:
        firmware = generate(
            graph,
            board,
            folder,
            self_test=0,
            optimize=optimize_for.value,
            weights_in_ram=weights,
        )
        result = built(firmware, compiler)
        with start(result.elf, board, emulator.value) as machine:
            yield machine.port
            machine.check()
