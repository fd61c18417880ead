"""`edgeq demo`: the whole path on handwritten digits, with nothing but what is installed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.columns import Columns
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

from edgeq.board import load_board
from edgeq.cli.output import (
    CompilerOption,
    EmulatorKind,
    EmulatorOption,
    JsonOption,
    console,
    plain,
    progress_bar,
    say,
    show,
)
from edgeq.data import to_input
from edgeq.demo import demo_model_path, load_digits
from edgeq.emulator import start
from edgeq.evaluate import evaluate, score
from edgeq.explain import multiplier_rows
from edgeq.graph import Array, Graph
from edgeq.importers import read_model
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.quantize import quantize
from edgeq.report import firmware as board_picture
from edgeq.report import model as model_picture
from edgeq.stream import open_link
from edgeq.stream.verify import verify

CALIBRATION_SAMPLES = 100


def demo_command(
    board: Annotated[
        str, typer.Option("--board", "-b", help="The board to build for and emulate.")
    ] = "nucleo_f446re",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write the firmware.")
    ] = Path("edgeq-demo"),
    emulator: EmulatorOption = EmulatorKind.virtual,
    compiler: CompilerOption = None,
    json: JsonOption = False,
) -> None:
    """Quantize, simulate, build and run a digit classifier on an emulated board."""
    target = load_board(board)
    record: dict[str, object] = {"board": board, "emulator": emulator.value}

    _step(json, 1, "A trained network and its data")
    graph = read_model(demo_model_path())
    train_x, _, test_x, test_y = load_digits()
    if not json:
        pictures = [
            Panel(board_picture.digit_picture(test_x[i]), title=str(test_y[i]), expand=False)
            for i in range(3)
        ]
        console.print(Columns(pictures))
        console.print(
            f"{len(test_x)} held-out digits of 8x8 pixels; a float CNN of {len(graph.nodes)} "
            "layers, exported from PyTorch to ONNX"
        )

    _step(json, 2, f"Quantize after training, with {CALIBRATION_SAMPLES} training images")
    with progress_bar("calibrating") as progress:
        quantized = quantize(graph, train_x[:CALIBRATION_SAMPLES], progress=progress)
    x = to_input(quantized, test_x)
    float_result = evaluate(graph, test_x, test_y)
    int8_result = evaluate(quantized, x, test_y)
    record |= {"float_accuracy": float_result.accuracy, "int8_accuracy": int8_result.accuracy}
    if not json:
        console.print(
            f"accuracy on held-out digits: float [bold]{100 * float_result.accuracy:.2f} %[/], "
            f"int8 [bold]{100 * int8_result.accuracy:.2f} %[/]"
        )
        _show_multiplier(quantized, x)

    _step(json, 3, f"Generate C firmware and build it for {target.title}")
    from firmware_gen import build, generate

    firmware = generate(quantized, target, output, samples=x[:8])
    image = build(firmware, compiler.value if compiler else None, progress=say)
    record |= {"image": image, "arena_nbytes": firmware.plan.arena_nbytes}
    if not json:
        console.print(board_picture.memory_picture(target, image.memories))
        console.print(
            f"built by {image.compiler}; C sources in {output}/, see {output}/model.h"
        )

    _step(json, 4, "Boot the board and stream the digits through its serial port")
    with start(image.elf, target, emulator.value) as machine:
        with open_link(machine.port) as link:
            if not json:
                console.print(board_picture.identity_text(link.identity, machine.port))
            with progress_bar("streaming", "digits") as progress:
                found = verify(link, quantized, [x], progress)
        machine.check()
    scores = np.stack([np.frombuffer(output, np.int8) for output in found.outputs])
    on_board = score(scores, test_y)
    mean = sum(found.ticks) / len(found.ticks)
    record |= {
        "samples": found.samples,
        "equal_samples": found.equal_samples,
        "board_accuracy": on_board.accuracy,
        "ticks_mean": mean,
        "differences": [asdict(d) for d in found.differences],
    }
    if json:
        show(json, plain(record))
    else:
        console.print(board_picture.verification_picture(found, f"{board} ({emulator.value})"))
        console.print(f"accuracy on the board: [bold]{100 * on_board.accuracy:.2f} %[/]")
        if emulator is EmulatorKind.virtual:
            console.print(f"{mean:,.0f} executed instructions an inference (emulated)")
        console.print(
            f"\nnext: edgeq emulate {image.elf} --board {board}\n"
            "      edgeq stream --port THE-PORT-IT-PRINTS\n"
            "      edgeq inspect YOUR-MODEL.tflite"
        )
    if not found.is_equal:
        raise typer.Exit(2)


def _step(json: bool, number: int, title: str) -> None:
    if not json:
        console.print(Rule(Text(f"{number}. {title}", style="bold cyan"), align="left"))


def _show_multiplier(graph: Graph, x: Array) -> None:
    """The last layer's multiplier on a real accumulator, as the lecture does it."""
    node = next(n for n in graph.nodes if isinstance(n.op, QuantizedFullyConnected))
    op = node.op
    assert isinstance(op, QuantizedFullyConnected)
    source, weights, bias = graph.tensors_of(node.inputs)
    output = graph.tensors[node.outputs[0]]
    assert weights.data is not None
    assert bias.data is not None
    assert source.quant is not None
    assert weights.quant is not None
    assert output.quant is not None
    from edgeq.interpreter import Interpreter

    value = Interpreter(graph).trace(x[:1])[source.name].reshape(-1).astype(np.int64)
    products = bias.data + weights.data.astype(np.int64) @ (value - op.input_zero_point)
    channel = int(products.argmax())
    s1, s2 = source.quant.scale[0], weights.quant.scale[channel % len(weights.quant.scale)]
    s3 = output.quant.scale[0]
    m, p = s1 * s2 / s3, int(products[channel])
    console.print(
        f"\nthe multiplier of '{node.name}', output {channel}: M = s1 * s2 / s3 = "
        f"{s1:.4g} * {s2:.4g} / {s3:.4g} = {m:.6g}; for the first digit its accumulator is {p}"
    )
    console.print(model_picture.multiplier_picture(m, p, multiplier_rows(m, p)))
