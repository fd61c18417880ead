"""The commands for the profiles of rounding: quantize --rounding, explain rounding."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli import CommandLine

import edgeq
from edgeq.data import to_input
from edgeq.digest import graph_digest
from edgeq.explain_rounding import rounding_rows


@pytest.mark.parametrize("rounding", ["single", "shift"])
def test_quantizing_and_converting_give_the_same_model(
    edgeq_command: CommandLine, rounding: str
) -> None:
    quantize = ("quantize", "float.onnx", "--calibration", "train.npz")
    done = edgeq_command(*quantize, "-o", "a.edgeq", "--rounding", rounding, "--json")
    assert json.loads(done.out)["rounding"] == rounding
    done = edgeq_command("quantize", "digits.edgeq", "-o", "b.edgeq", "--rounding", rounding)
    assert f"rounding tflm -> {rounding}" in done.out
    first, second = (edgeq.read_model(name) for name in ("a.edgeq", "b.edgeq"))
    assert graph_digest(first) == graph_digest(second)
    inspected = json.loads(edgeq_command("inspect", "b.edgeq", "--json").out)
    assert inspected["rounding"] == rounding
    assert f"rounding {rounding}" in edgeq_command("inspect", "b.edgeq").out


def test_quantize_says_what_is_missing(edgeq_command: CommandLine) -> None:
    error = edgeq_command("quantize", "float.onnx", "-o", "a.edgeq").error()
    assert error == "float.onnx: is a float model; name its samples with --data"
    error = edgeq_command("quantize", "digits.edgeq", "-o", "a.edgeq").error()
    assert "is quantized already" in error
    edgeq_command("quantize", "digits.edgeq", "-o", "s.edgeq", "--rounding", "shift")
    error = edgeq_command("quantize", "s.edgeq", "-o", "t.edgeq", "--rounding", "tflm").error()
    assert "convert the model that it came from" in error


def test_the_comparison_tells_what_the_models_do(edgeq_command: CommandLine) -> None:
    told = json.loads(
        edgeq_command("explain", "rounding", "digits.edgeq", "--data", "test.npz", "--json").out
    )
    graph = edgeq.read_model("digits.edgeq")
    with np.load("test.npz") as data:
        rows = rounding_rows(graph, to_input(graph, data["inputs"]), data["labels"])
    for row, record in zip(rows, told["roundings"], strict=True):
        assert row.evaluation is not None
        assert (record["rounding"], record["changed"], record["largest_change"]) == (
            row.rounding,
            row.difference.changed,
            row.difference.largest,
        )
        assert record["correct"] == row.evaluation.correct
    changed = {record["rounding"]: record["changed"] for record in told["roundings"]}
    assert changed["tflm"] == 0 < min(changed["single"], changed["shift"])


def test_the_table_has_accuracy_only_with_labels(edgeq_command: CommandLine) -> None:
    command = ("explain", "rounding", "digits.edgeq", "--data")
    shown = edgeq_command(*command, "test.npz", "--count", "50", "--layers").out
    assert "accuracy" in shown
    assert "50 samples" in shown
    assert "by layer" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "accuracy" not in edgeq_command(*command, "test.npy").out


def test_a_float_model_is_quantized_first(edgeq_command: CommandLine) -> None:
    command = ("explain", "rounding", "float.onnx", "--data", "test.npz", "--json")
    assert "--calibration" in edgeq_command(*command).error()
    told = json.loads(edgeq_command(*command, "--calibration", "train.npz").out)
    quantized = ("explain", "rounding", "digits.edgeq", "--data", "test.npz", "--json")
    assert told["roundings"] == json.loads(edgeq_command(*quantized).out)["roundings"]


def test_a_label_that_is_no_class_is_refused(edgeq_command: CommandLine) -> None:
    command = ("explain", "rounding", "digits.edgeq", "--data", "classes.npz")
    assert "labels reach from 5 to 14" in edgeq_command(*command).error()
