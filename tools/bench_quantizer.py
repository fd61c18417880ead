"""Quantizers side by side, in one run and on the same samples: `make bench-quantizer`.

Each quantizer gets the float network and 100 samples spread over a set, and is judged on the
rest: top-1 correct, and the signal-to-quantization-noise ratio of its outputs (before a final
SOFTMAX) beside the float network's. ours: the integer network in edgeq's interpreter;
onnxruntime: its static quantizer, QDQ, per channel; ai-edge-quantizer: run by ai-edge-litert.
A quantizer that is not installed, or fails, says so in its row. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Of numpy's BLAS, before it is loaded: more threads than idle cores cost more than they bring.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

import edgeq
from edgeq.auto_quantize import quantize_auto, without_last_curve
from edgeq.demo import demo_model_path, load_digits
from edgeq.evaluate import run_in_reals, sqnr_db
from edgeq.graph import Array, Graph
from edgeq.passes import run_passes
from edgeq.quantize import quantize
from edgeq.scheme import Scheme

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("EDGEQ_SHARED", ROOT.parent / "shared"))
SAMPLES = 100
OURS, ORT, AEQ = "edgeq", "onnxruntime", "ai-edge-quantizer"
# (method, corrections) of ours, by bits of the filters
METHODS = ("minmax", "moving-average", "percentile", "mse", "entropy")
CORRECTED = (
    ("mse", "bias"),
    ("mse", "bias-analytic"),
    ("mse", "rounding"),
    ("mse", "rounding,bias"),
    ("mse", "equalize,absorb,rounding,bias"),
)
ORT_METHODS = ("MinMax", "MinMax moving", "Percentile", "Entropy")
SIGNATURE, INPUT = "serving_default", "input"
AEQ_ALGORITHMS = ("min_max_uniform_quantize", "MSE", "OCTAV", "GPTQ")


@dataclass(frozen=True, slots=True)
class Task:
    """A float network with samples to calibrate and others to judge on."""

    name: str
    graph: Graph  # without a final SOFTMAX
    tflite: Path | None
    calibration: Array
    inputs: Array
    labels: Array


@dataclass(frozen=True, slots=True)
class Row:
    """One quantizer on one task."""

    task: str
    bits: int
    quantizer: str
    method: str
    correct: int | None
    of: int
    sqnr_db: float | None
    seconds: float
    note: str = ""


def spread(count: int, samples: int) -> Array:
    """A mask of `samples` of `count`, evenly spaced."""
    mask = np.zeros(count, bool)
    mask[np.linspace(0, count - 1, samples).round().astype(int)] = True
    return mask


def tasks(names: list[str]) -> Iterator[Task]:
    files = {
        "ic": ("pretrainedResnet.tflite", "ic_dev.npz", 1.0),
        "vww": ("vww_96_float.tflite", "vww_dev.npz", 1 / 255),
    }
    for name in names:
        if name == "digits":
            train_x, _, test_x, test_y = load_digits()
            graph = prepared(edgeq.read_model(demo_model_path()))
            chosen = spread(len(train_x), SAMPLES)
            yield Task(name, graph, None, train_x[chosen], test_x, test_y)
            continue
        model, data, unit = files[name]
        if not (SHARED / "models" / model).exists():
            print(f"{name}: not there: {SHARED / 'models' / model} (set EDGEQ_SHARED)")
            continue
        archive = np.load(SHARED / "data" / data)
        x = archive["inputs"].astype(np.float32) * np.float32(unit)
        chosen = spread(len(x), SAMPLES)
        graph = prepared(edgeq.read_model(SHARED / "models" / model))
        path = SHARED / "models" / model
        yield Task(name, graph, path, x[chosen], x[~chosen], archive["labels"][~chosen])


def prepared(graph: Graph) -> Graph:
    return run_passes(without_last_curve(graph))


def judged(
    task: Task,
    bits: int,
    quantizer: str,
    method: str,
    make: Callable[[], Callable[[Array], Array]],
) -> Row:
    """Make the integer network, run it on the samples held back, compare with float."""
    start = time.perf_counter()
    count = len(task.labels)
    try:
        with quiet():
            run = make()
            seconds = time.perf_counter() - start
            y = run(task.inputs).reshape(count, -1)
    except ImportError as error:
        missing = f"not installed ({error.name})"
        return Row(task.name, bits, quantizer, method, None, count, None, 0.0, missing)
    except Exception as error:  # what another quantizer raises is its row
        text = str(error).strip().splitlines() or [type(error).__name__]
        return Row(task.name, bits, quantizer, method, None, count, None, 0.0, text[0][:70])
    exact = run_in_reals(task.graph, task.inputs)[0].reshape(count, -1)
    correct = int((y.argmax(1) == task.labels).sum())
    return Row(task.name, bits, quantizer, method, correct, count, sqnr_db(exact, y), seconds)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Others print and log much."""
    logging.disable(logging.CRITICAL)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def ours(task: Task, bits: int, method: str, correct: str) -> Callable[[Array], Array]:
    made = quantize(
        task.graph,
        task.calibration,
        method=method,
        scheme=Scheme(weight_bits=bits),
        correct=correct,
    )
    return lambda x: run_in_reals(made, x)[0]


def ours_auto(task: Task, bits: int, budget_s: float) -> Callable[[Array], Array]:
    found = quantize_auto(
        task.graph, task.calibration, budget_s=budget_s, scheme=Scheme(weight_bits=bits)
    )
    return lambda x: run_in_reals(found.graph, x)[0]


def onnxruntime_run(task: Task, bits: int, method: str) -> Callable[[Array], Array]:
    import onnx
    import onnxruntime
    from float_onnx import OnnxWriter
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(task.calibration)

        def get_next(self) -> dict[str, Array] | None:
            x = next(self.left, None)
            return None if x is None else {"input": x[np.newaxis]}

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int.onnx")
        onnx.save(OnnxWriter(task.graph).model(), source)
        ort.quantize_static(
            source,
            target,
            Reader(),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=True,
            activation_type=ort.QuantType.QInt8,
            weight_type=ort.QuantType.QInt8 if bits == 8 else ort.QuantType.QInt4,
            calibrate_method=getattr(ort.CalibrationMethod, method.split()[0]),
            extra_options={"CalibMovingAverage": method.endswith("moving")},
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            target.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    return lambda x: np.asarray(session.run(None, {"input": x})[0])


def ai_edge_run(task: Task, bits: int, algorithm: str) -> Callable[[Array], Array]:
    if task.tflite is None:
        raise ValueError("reads .tflite only")
    quantizer = importlib.import_module("ai_edge_quantizer.quantizer")
    manager = importlib.import_module("ai_edge_quantizer.recipe_manager")
    types = importlib.import_module("ai_edge_quantizer.qtyping")
    algorithms = importlib.import_module("ai_edge_quantizer.algorithm_manager").AlgorithmName
    litert = importlib.import_module("ai_edge_litert.interpreter")
    recipe = manager.RecipeManager()
    recipe.add_static_config(
        regex=".*",
        operation_name=types.TFLOperationName.ALL_SUPPORTED,
        activation_num_bits=8,
        weight_num_bits=bits,
        algorithm_key=algorithms(algorithm),
    )
    made = quantizer.Quantizer(with_signature(task.tflite), recipe.get_quantization_recipe())
    samples = [{INPUT: x[np.newaxis]} for x in task.calibration]
    calibrated = made.calibrate({SIGNATURE: samples})
    content = bytes(made.quantize(calibrated).quantized_model)
    return lambda x: litert_logits(litert, content, x)


def with_signature(path: Path) -> bytes:
    """The model with a named signature, without which ai-edge-quantizer cannot calibrate."""
    import flatbuffers

    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    ends = (model.subgraphs[0].inputs[0], INPUT), (model.subgraphs[0].outputs[0], "output")
    maps = []
    for tensor, name in ends:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), int(tensor)
        maps.append([entry])
    signature.inputs, signature.outputs = maps
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def litert_logits(litert: Any, content: bytes, x: Array) -> Array:
    """What goes into the last SOFTMAX, or the output, in reals."""
    interpreter = litert.Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]["index"]
    for op in interpreter._get_ops_details():
        if op["op_name"] == "SOFTMAX":
            target = int(op["inputs"][0])
    details = {t["index"]: t for t in interpreter.get_tensor_details()}[target]
    rows = []
    for sample in x:
        scale, zero_point = source["quantization"]
        if source["dtype"] == np.int8:
            q = np.clip(np.rint(sample / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(
            source["index"], (q if source["dtype"] == np.int8 else sample)[np.newaxis]
        )
        interpreter.invoke()
        y = np.asarray(interpreter.get_tensor(target))
        if y.dtype == np.int8:
            scale, zero_point = details["quantization"]
            y = (y.astype(np.float32) - zero_point) * scale
        rows.append(y)
    return np.concatenate(rows)


def rows_of(task: Task, bits: int, budget_s: float) -> Iterator[Row]:
    count = len(task.labels)
    y = run_in_reals(task.graph, task.inputs)[0].reshape(count, -1)
    correct = int((y.argmax(1) == task.labels).sum())
    yield Row(task.name, bits, "float", "", correct, count, None, 0.0)
    for method, names in (*((m, "none") for m in METHODS), *CORRECTED):
        corrections = "" if names == "none" else names
        yield judged(
            task,
            bits,
            OURS,
            f"{method} {corrections}".strip(),
            lambda m=method, c=corrections: ours(task, bits, m, c),  # type: ignore[misc]
        )
    yield judged(
        task, bits, OURS, f"auto {budget_s:g} s", lambda: ours_auto(task, bits, budget_s)
    )
    for method in ORT_METHODS:
        yield judged(
            task,
            bits,
            ORT,
            method,
            lambda m=method: onnxruntime_run(task, bits, m),  # type: ignore[misc]
        )
    for algorithm in AEQ_ALGORITHMS:
        yield judged(
            task,
            bits,
            AEQ,
            algorithm,
            lambda a=algorithm: ai_edge_run(task, bits, a),  # type: ignore[misc]
        )


def table(task: Task, bits: int, rows: list[Row]) -> Table:
    count = len(task.labels)
    shown = Table(
        title=f"{task.name}, {bits}-bit filters: {len(task.calibration)} samples to calibrate, "
        f"{count} others to judge"
    )
    shown.add_column("quantizer")
    shown.add_column("method", overflow="fold")
    for column in ("top-1", "SQNR", "time"):
        shown.add_column(column, justify="right")
    known = [r.sqnr_db for r in rows if r.sqnr_db is not None]
    for row in rows:
        style = "bold" if row.sqnr_db is not None and row.sqnr_db == max(known) else ""
        shown.add_row(
            row.quantizer,
            row.method,
            row.note or f"{row.correct}/{row.of}",
            "" if row.sqnr_db is None else f"{row.sqnr_db:.1f} dB",
            f"{row.seconds:.1f} s" if row.sqnr_db is not None else "",
            style=style,
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", action="append", choices=("ic", "vww", "digits"))
    parser.add_argument("--bits", action="append", type=int, choices=(4, 8))
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of each auto")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    console = Console()
    everything: list[Row] = []
    for task in tasks(arguments.task or ["ic", "vww", "digits"]):
        for bits in arguments.bits or [8, 4]:
            print(f"{task.name}, {bits} bits ...", file=sys.stderr, flush=True)
            rows = list(rows_of(task, bits, arguments.budget))
            everything += rows
            if not arguments.json:
                console.print(table(task, bits, rows))
    if arguments.json:
        print(json.dumps([asdict(row) for row in everything], indent=2))


if __name__ == "__main__":
    main()
