"""`edgeq quantize` and `check-data`: every option reaches the integers, errors are lines."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeq.auto_quantize import Try
from edgeq.cli.output import plain
from edgeq.demo import load_digits
from edgeq.model_file import load_graph

QUANTIZE = ("quantize", "float.onnx", "--data", "train.npz", "-o", "out.edgeq")


def test_options_reach_the_integers(edgeq_command) -> None:
    options = ("--weights", "per-tensor", "--weight-bits", 4, "--activations", "symmetric")
    methods = ("--calibrate", "percentile:99.9", "--calibrate", "image*=minmax")
    done = edgeq_command(
        *QUANTIZE, *options, "--calibrate", "mse", "--correct", "equalize,rounding,bias"
    )
    assert done.status == 0, done.err
    assert "equalize: " in done.err
    graph = load_graph("out.edgeq")
    filters = [t for t in graph.tensors.values() if t.data is not None and t.data.ndim > 1]
    assert {len(t.quant.scale) for t in filters} == {1}
    assert max(np.abs(t.data).max() for t in filters) == 7
    assert graph.input_tensors()[0].quant.zero_point == 0
    assert edgeq_command(*QUANTIZE, *methods, "--correct", "none").status == 0


def test_auto_says_what_it_chose_and_why(edgeq_command) -> None:
    done = edgeq_command(*QUANTIZE, "--method", "auto", "--budget", "0.001", "--json")
    assert done.status == 0, done.err
    record = json.loads(done.out)
    assert record["best"]["method"] == "mse"
    assert [t["correct"] for t in record["tries"]] == [["bias-analytic"]]
    assert len(record["untried"]) == 59
    assert "auto: mse + bias-analytic: " in done.err
    assert "auto: no time in 0.001 s for mse + rounding + bias, " in done.err
    done = edgeq_command(*QUANTIZE, "--method", "auto", "--budget", "0.001")
    assert "held out" in done.out


def test_one_sample_and_a_constant_set_are_noted(edgeq_command) -> None:
    done = edgeq_command(*QUANTIZE, "--count", 1)
    assert done.status == 0
    assert "calibrated on one sample: its ranges stand for no other" in done.err
    np.save("zeros.npy", np.zeros((4, 8, 8, 1), np.float32))
    done = edgeq_command("quantize", "float.onnx", "--data", "zeros.npy", "-o", "out.edgeq")
    assert done.status == 0
    assert "constant over all samples: 'image'" in done.err


def test_json_has_no_numbers_that_json_does_not_know() -> None:
    """A try that fails has no figure: -inf dB."""
    failed = Try("mse", ("bias",), -np.inf, np.float64(-np.inf), 0.1, "why")
    record = json.loads(json.dumps(plain([failed, np.array([np.nan, 1.0])]), allow_nan=False))
    assert record[0]["fitted_db"] is None
    assert record[0]["held_out_db"] is None
    assert record[1] == [None, 1.0]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--weight-bits", 1), "weight bits: 1, must be 2 to 8"),
        (("--weight-bits", 9), "weight bits: 9, must be 2 to 8"),
        (("--calibrate", "best"), "calibration 'best': must be METHOD or PATTERN=METHOD"),
        (("--correct", "bais"), "correction 'bais': must be of equalize, absorb, rounding"),
        (("--method", "auto", "--correct", "bias"), "--method auto chooses methods and"),
        (("--method", "auto", "--budget", 0), "budget: 0 seconds, must be > 0"),
        (("--method", "auto", "--count", 3), "3 samples, must be at least 5 to hold some out"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, part: str, edgeq_command) -> None:
    assert part in edgeq_command(*QUANTIZE, *arguments).error()


def test_check_data_names_activations_that_other_data_leave(edgeq_command) -> None:
    check = ("check-data", "float.onnx", "--data", "train.npz")
    done = edgeq_command(*check, "--against", "train.npz", "--json")
    assert json.loads(done.out)["left"] == []
    np.save("bright.npy", 3 * load_digits()[2][:20])
    done = edgeq_command(*check, "--against", "bright.npy")
    assert done.status == 0
    assert "'image': " in done.err
    assert "of the other data's values leave [0, 1]" in done.err
    assert "every range had 99 % of its width after" in done.out
    assert (
        "is quantized already, must be the float network"
        in edgeq_command("check-data", "digits.edgeq", "--data", "train.npz").error()
    )
