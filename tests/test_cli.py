"""Every command does its work, for people and as JSON, and ends well on Ctrl-C."""

from __future__ import annotations

import csv
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli import CommandLine, Done, process
from firmware_matrix import digits
from toolchains import COMPILERS, need_compiler, need_program

import edgeq
from edgeq.board import board_names
from edgeq.data import to_input
from edgeq.demo import load_digits
from edgeq.digest import graph_digest
from edgeq.memory import plan_memory
from edgeq.passes import optimize
from edgeq.passes.arrange import arrange_for_device
from firmware_gen.image import memory_use

BOARD = ("--board", "mps2_an386")
DIGITS = "digits.edgeq"


def record(done: Done) -> dict:
    """What a command printed as JSON, which must be all that it printed."""
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert isinstance(found, dict)
    return found


def outputs(count: int) -> np.ndarray:
    graph = digits()
    (y,) = edgeq.Interpreter(graph).run(to_input(graph, load_digits()[2][:count]))
    return y


def test_inspect_shows_layers_and_memory(edgeq_command: CommandLine) -> None:
    found = record(edgeq_command("inspect", DIGITS, "--json"))
    plan = plan_memory(arrange_for_device(optimize(digits())))
    assert found["quantized"] is True
    assert found["arena_nbytes"] == plan.arena_nbytes
    assert found["lower_bound_nbytes"] == plan.lower_bound_nbytes
    assert len(found["layers"]) == len(digits().nodes)
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"]) > 50_000
    assert found["live_macs"] == sum(layer["live_macs"] for layer in found["layers"])
    assert 0 < found["live_macs"] <= found["macs"]
    assert 0 < found["live_weight_nbytes"] <= found["weight_nbytes"]
    text = edgeq_command("inspect", DIGITS)
    assert text.status == 0
    for node in digits().nodes:
        assert node.name in text.out
    assert record(edgeq_command("inspect", "float.onnx", "--json"))["quantized"] is False
    assert edgeq_command("inspect", "float.onnx").status == 0


def test_quantize_run_and_evaluate_agree_with_the_library(edgeq_command: CommandLine) -> None:
    arguments = ("quantize", "float.onnx", "--calibration", "train.npz", "-o", "own.edgeq")
    found = record(edgeq_command(*arguments, "--json"))
    assert found["samples"] == 100
    assert (
        found["arena_nbytes"]
        == plan_memory(arrange_for_device(optimize(digits()))).arena_nbytes
    )
    assert found["float_weight_nbytes"] > 3 * found["weight_nbytes"]
    assert graph_digest(edgeq.read_model("own.edgeq")) != b""

    found = record(edgeq_command("run", DIGITS, "-i", "test.npy", "-o", "y.npy", "--json"))
    assert (found["samples"], found["shape"], found["dtype"]) == (5, [5, 10], "int8")
    np.testing.assert_array_equal(np.load("y.npy"), outputs(5))
    np.testing.assert_array_equal(np.load("y.npy").argmax(1), load_digits()[3][:5])

    found = record(edgeq_command("evaluate", DIGITS, "--data", "test.npz", "--json"))
    labels = load_digits()[3]
    correct = int((outputs(len(labels)).argmax(1) == labels).sum())
    assert (found["samples"], found["correct"]) == (len(labels), correct)
    assert found["accuracy"] == pytest.approx(correct / len(labels))
    assert found["accuracy"] > 0.97
    assert np.array(found["confusion"]).sum() == len(labels)
    assert np.trace(np.array(found["confusion"])) == correct
    as_text = edgeq_command("evaluate", DIGITS, "--data", "test.npz")
    assert f"{100 * correct / len(labels):.2f}" in as_text.out
    assert as_text.err == ""


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_export_writes_what_is_read_back(suffix: str, edgeq_command: CommandLine) -> None:
    done = edgeq_command("export", "digits.edgeq", "-o", f"out.{suffix}", "--json")
    assert record(done)["nbytes"] == Path(f"out.{suffix}").stat().st_size
    for model, result in (("digits.edgeq", "a.npy"), (f"out.{suffix}", "b.npy")):
        edgeq_command("run", model, "-i", "test.npy", "-o", result)
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))


def test_count_takes_the_first_samples_only(edgeq_command: CommandLine) -> None:
    arguments = ("quantize", "float.onnx", "--calibration", "train.npz", "-o", "own.edgeq")
    assert record(edgeq_command(*arguments, "--count", "7", "--json"))["samples"] == 7
    # One sample without the axis of samples: COUNT does not cut its height.
    np.save("one.npy", load_digits()[0][0])
    arguments = ("quantize", "float.onnx", "--calibration", "one.npy", "-o", "own.edgeq")
    assert record(edgeq_command(*arguments, "--count", "7", "--json"))["samples"] == 1


def test_boards_lists_all_and_says_where_a_model_fits(edgeq_command: CommandLine) -> None:
    done = edgeq_command("boards", "--model", DIGITS, "--json")
    assert done.status == 0
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert sorted(rows) == board_names()
    assert "yes" in {row["fits"] for row in rows.values()}
    text = edgeq_command("boards")
    for name in board_names():
        assert name in text.out


def test_generate_writes_the_folder(edgeq_command: CommandLine) -> None:
    found = record(edgeq_command("generate", DIGITS, *BOARD, "-o", "out", "--json"))
    assert found["digest"] == graph_digest(digits()).hex()
    header = Path("out/model.h").read_text(encoding="utf-8")
    assert f"#define EDGEQ_MODEL_ARENA_NBYTES {found['arena_nbytes']}u" in header
    assert {"model.c", "model.h", "Makefile", "link.ld"} <= set(found["files"])
    assert all((Path("out") / name).is_file() for name in found["files"])
    assert "make -C out" in edgeq_command("generate", DIGITS, *BOARD, "-o", "out").out


@pytest.mark.parametrize("compiler", COMPILERS)
def test_build_prints_the_elfs_sizes(edgeq_command: CommandLine, compiler) -> None:
    need_compiler(compiler)
    arguments = ("build", DIGITS, *BOARD, "-o", "out", "--compiler", compiler)
    found = record(edgeq_command(*arguments, "--json"))["build"]
    use = memory_use(Path(found["elf"]))
    assert found["compiler"].startswith(compiler)
    assert found["flash_nbytes"] == use.flash_nbytes
    assert found["ram_nbytes"] == use.ram_nbytes
    text = edgeq_command(*arguments).out
    assert f"{use.flash_nbytes:,}" in text
    assert f"{use.ram_nbytes + use.stack_nbytes:,}" in text


@pytest.mark.parametrize("emulator", ["virtual", "qemu"])
def test_verify_compares_on_an_emulated_board(
    edgeq_command: CommandLine, emulator: str
) -> None:
    if emulator == "qemu":
        need_program("qemu-system-arm", "qemu-system-arm")
    arguments = ("verify", DIGITS, "--data", "test.npz", *BOARD, "--emulator", emulator)
    found = record(edgeq_command(*arguments, "--count", "9", "--json"))
    assert (found["samples"], found["equal_samples"], found["equal"]) == (9, 9, True)
    assert found["compared_nbytes"] == 90
    assert found["differences"] == []
    assert found["provenance"].startswith("emulated")
    assert "all 4 samples equal" in edgeq_command(*arguments, "--count", "4").out


def test_explain_multiplier_marks_the_first_n_within_one(edgeq_command: CommandLine) -> None:
    for m, p in ((0.03527, 7091), (0.0072, 190)):
        arguments = ("explain", "multiplier", "--m", m, "--p", p)
        found = record(edgeq_command(*arguments, "--json"))
        rows = found["rows"]
        assert [row["n"] for row in rows] == list(range(1, 17))
        for row in rows:
            assert row["m0"] == int(m * 2 ** row["n"] + 0.5)
            assert row["result"] == (row["m0"] * p) >> row["n"]
            assert row["error"] == pytest.approx(row["result"] - m * p)
        marked = [row["n"] for row in rows if row["is_first_within_one"]]
        assert marked == [row["n"] for row in rows if abs(row["error"]) < 1][:1]
        assert "first within one" in edgeq_command(*arguments).out
        if m == 0.03527:  # the example of the documentation
            assert (marked, rows[12]["m0"]) == ([13], 289)


def test_demo_shows_the_whole_path(edgeq_command: CommandLine) -> None:
    found = record(edgeq_command("demo", "--json", "-o", "demo"))
    assert found["samples"] == found["equal_samples"] == len(load_digits()[3])
    assert found["differences"] == []
    assert found["int8_accuracy"] == found["board_accuracy"] > 0.97
    text = edgeq_command("demo", "-o", "demo")
    assert text.status == 0
    assert f"all {found['samples']} samples equal the interpreter" in text.out
    assert Path("demo/model.c").is_file()


@pytest.fixture(params=["pty", "tcp"])
def emulated(
    edgeq_command: CommandLine, request: pytest.FixtureRequest
) -> Iterator[tuple[str, object]]:
    """(port, process) of `edgeq emulate` with digits, ten samples in its flash."""
    np.save("ten.npy", load_digits()[2][:10])
    arguments = ("build", DIGITS, *BOARD, "-o", "out", "--samples", "ten.npy", "--json")
    elf = record(edgeq_command(*arguments))["build"]["elf"]
    extra = ["--tcp", "--json"] if request.param == "tcp" else []
    with process("emulate", elf, *BOARD, *extra) as running:
        assert running.stdout is not None
        if request.param == "tcp":
            port = json.loads(running.stdout.readline())["port"]
        else:
            lines = [running.stdout.readline() for _ in range(3)]
            port = lines[1].strip()
            assert port in lines[2]
        assert re.fullmatch(r"/dev/pts/\d+|/dev/ttys\d+|socket://127\.0\.0\.1:\d+", port)
        yield port, running


def test_emulate_stream_verify_and_ctrl_c(emulated, edgeq_command: CommandLine) -> None:
    port, running = emulated
    stream = ("stream", "--port", port, "--count", "25")
    files = ("--csv", "out.csv", "--jsonl", "out.jsonl")
    done = edgeq_command(*stream, "--model", DIGITS, *files, "--json")
    assert done.status == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["run_id"] for row in rows] == list(range(25))
    quant = digits().output_tensors()[0].quant
    assert quant is not None
    reals = quant.scale[0] * (outputs(10).astype(np.float64) - quant.zero_point)
    for row in rows:
        (values,) = row["outputs"].values()
        np.testing.assert_allclose(np.ravel(values), reals[row["run_id"] % 10], rtol=1e-12)
        assert row["top_class"] == reals[row["run_id"] % 10].argmax()
    written = Path("out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in written] == rows
    with Path("out.csv").open(newline="", encoding="utf-8") as file:
        assert [int(row["run_id"]) for row in csv.DictReader(file)] == list(range(25))

    raw = edgeq_command(*stream, "--json")
    found = [bytes.fromhex(json.loads(line)["output_hex"]) for line in raw.out.splitlines()]
    assert found == [outputs(10)[i % 10].tobytes() for i in range(25)]
    assert "'digits_cnn' on mps2_an386" in edgeq_command(*stream).out

    sent = ("stream", "--port", port, "--model", DIGITS, "--data", "test.npz", "--count", "3")
    done = edgeq_command(*sent, "--json")
    classes = [json.loads(line)["top_class"] for line in done.out.splitlines()]
    assert classes == outputs(3).argmax(1).tolist()

    verify = ("verify", DIGITS, "--data", "test.npz", "--count", "6", "--port", port)
    found = record(edgeq_command(*verify, "--json"))
    assert (found["where"], found["equal_samples"], found["equal"]) == (port, 6, True)
    assert edgeq_command(*verify).status == 0

    calibration = ("--calibration", "train.npz", "--count", "3", "-o", "other.edgeq")
    assert edgeq_command("quantize", "float.onnx", *calibration).status == 0
    line = edgeq_command("verify", "other.edgeq", "--data", "test.npz", "--port", port).error()
    assert f"runs model 'digits_cnn' (digest {graph_digest(digits()).hex()})" in line
    assert graph_digest(edgeq.read_model("other.edgeq")).hex() in line

    with process("stream", "--port", port, "--json") as endless:
        assert endless.stdout is not None
        for number in range(30):
            assert json.loads(endless.stdout.readline())["run_id"] == number
        endless.send_signal(signal.SIGINT)
        _, err = endless.communicate(timeout=30)
    assert endless.returncode == 130
    assert "Traceback" not in err, err

    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in err, err
