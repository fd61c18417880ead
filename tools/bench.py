"""Speed of the interpreter beside other runtimes, measured in one run: `make bench`.

The engines take turns, a short slice each, so that whatever else the machine does hits all of
them alike; a figure is the median of its slices. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
MODELS = Path(os.environ.get("EDGEQ_SHARED", ROOT.parent / "shared")) / "models"
FILES = {
    "kws": "kws_ref_model.tflite",
    "ic": "pretrainedResnet_quant.tflite",
    "vww": "vww_96_int8.tflite",
    "ad": "ad01_int8.tflite",
}
ARENA_NBYTES = 2_000_000  # for tflite-micro, more than any of the models needs
BATCH = 256
SLICE_S = 0.03
ROUNDS = 15
EDGEQ, LITERT, TFLM = "edgeq", "ai-edge-litert", "tflite-micro"

Run = Callable[[], Any]


def edgeq_run(path: Path, x: np.ndarray, threads: int) -> Run:
    import edgeq

    interpreter = edgeq.Interpreter(edgeq.read_model(path), threads=threads)
    return lambda: interpreter.run(x)


def litert_run(path: Path, x: np.ndarray) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run() -> None:
        for sample in x:
            interpreter.set_tensor(source, sample[np.newaxis])
            interpreter.invoke()
            interpreter.get_tensor(target)

    return run


def tflm_run(path: Path, x: np.ndarray) -> Run:
    runtime = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
    interpreter = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=ARENA_NBYTES)

    def run() -> None:
        for sample in x:
            interpreter.set_input(sample[np.newaxis], 0)
            interpreter.invoke()
            interpreter.get_output(0)

    return run


def seconds(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def interleaved(runs: dict[str, Run], rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of one call of each: median over rounds in which they take turns."""
    repeats = {}
    for name, run in runs.items():
        run()
        repeats[name] = max(1, round(SLICE_S / max(seconds(run, 1), 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run, repeats[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def measure_model(path: Path) -> dict[str, dict[str, float]]:
    import edgeq

    shape = edgeq.read_model(path).input_tensors()[0].shape
    x = np.random.default_rng(0).integers(-128, 128, (BATCH, *shape[1:])).astype(np.int8)
    one = x[:1]
    latency = interleaved(
        {
            EDGEQ: edgeq_run(path, one, 1),
            LITERT: litert_run(path, one),
            TFLM: tflm_run(path, one),
        }
    )
    threads = os.cpu_count() or 1
    # tflite-micro is slow, and has no batch: its slice is short.
    few = x[: max(1, min(BATCH, round(0.1 / latency[TFLM])))]
    batch = {
        EDGEQ: (edgeq_run(path, x, 1), x),
        f"{EDGEQ}, {threads} threads": (edgeq_run(path, x, threads), x),
        LITERT: (litert_run(path, x), x),
        TFLM: (tflm_run(path, few), few),
    }
    times = interleaved({name: run for name, (run, _) in batch.items()}, rounds=5)
    return {
        "latency_ms": {name: value * 1e3 for name, value in latency.items()},
        "inferences_per_s": {name: len(batch[name][1]) / t for name, t in times.items()},
    }


# Each prints its parts in seconds; run in a fresh process, on the first argument.
START = {
    EDGEQ: """
import edgeq
import numpy as np
lap("import edgeq")
graph = edgeq.read_model(sys.argv[1])
lap("read_model")
interpreter = edgeq.Interpreter(graph, threads=1, progress=None)
lap("Interpreter")
interpreter.run(np.zeros(graph.input_tensors()[0].shape, np.int8))
lap("first run")
""",
    LITERT: """
from ai_edge_litert.interpreter import Interpreter
lap("import")
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
lap("load")
interpreter.invoke()
lap("first run")
""",
    TFLM: f"""
from tflite_micro.python.tflite_micro import runtime
lap("import")
interpreter = runtime.Interpreter.from_file(sys.argv[1], arena_size={ARENA_NBYTES})
lap("load")
interpreter.invoke()
lap("first run")
""",
}
LAPS = """
import json, sys, time
laps, last = {}, time.perf_counter()
def lap(name):
    global last
    now = time.perf_counter()
    laps[name], last = now - last, now
"""


def start(engine: str, path: Path, cache: Path) -> dict[str, float]:
    """Milliseconds from the start of Python's first line to the first result, by part."""
    code = f"{LAPS}{START[engine]}print(json.dumps(laps))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | {"EDGEQ_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    laps = json.loads(done.stdout.splitlines()[-1])
    return {name: value * 1e3 for name, value in laps.items()}


def median_start(engine: str, path: Path, cache: Path, repeats: int = 3) -> dict[str, float]:
    starts = [start(engine, path, cache) for _ in range(repeats)]
    return {name: statistics.median(s[name] for s in starts) for name in starts[0]}


def measure_starts(path: Path) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        return {
            "edgeq, cold (kernels compiled)": start(EDGEQ, path, cache),
            "edgeq, warm (kernels from the cache)": median_start(EDGEQ, path, cache),
            LITERT: median_start(LITERT, path, cache),
            TFLM: median_start(TFLM, path, cache),
        }


def ratio(slow: float, fast: float) -> str:
    return f"{slow / fast:.2f}"


def latency_table(results: dict[str, Any]) -> Table:
    table = Table(title="One inference, one thread: milliseconds (median; less is better)")
    for column in ("model", EDGEQ, LITERT, TFLM, f"{EDGEQ} ÷ litert", f"tflm ÷ {EDGEQ}"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, result in results.items():
        ms = result["latency_ms"]
        table.add_row(
            name,
            *(f"{ms[engine]:.3f}" for engine in (EDGEQ, LITERT, TFLM)),
            ratio(ms[EDGEQ], ms[LITERT]),
            ratio(ms[TFLM], ms[EDGEQ]),
        )
    return table


def throughput_table(results: dict[str, Any]) -> Table:
    engines = list(next(iter(results.values()))["inferences_per_s"])
    table = Table(
        title=f"Throughput over {BATCH} samples: inferences/s (median; more is better); "
        "one thread where none is named"
    )
    for column in ("model", *engines, f"litert ÷ {EDGEQ}", f"{EDGEQ} ÷ tflm"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, result in results.items():
        rate = result["inferences_per_s"]
        table.add_row(
            name,
            *(f"{rate[engine]:,.0f}" for engine in engines),
            ratio(rate[LITERT], rate[EDGEQ]),
            ratio(rate[EDGEQ], rate[TFLM]),
        )
    return table


def start_table(starts: dict[str, dict[str, float]]) -> Table:
    table = Table(title="Start on kws in a fresh process: milliseconds to the first result")
    for column in ("engine", "import", "load the model", "first run", "sum"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for name, laps in starts.items():
        first, *middle, last = laps.values()
        parts = (first, sum(middle), last, sum(laps.values()))
        table.add_row(name, *(f"{part:,.0f}" for part in parts))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    as_json = parser.parse_args().json
    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal:
        console.width = 120  # a log has room
    paths = {name: MODELS / file for name, file in FILES.items()}
    missing = [str(path) for path in paths.values() if not path.exists()]
    if missing:
        console.print(
            f"bench: nothing to measure: the MLPerf Tiny models are not there: {missing[0]} "
            "(EDGEQ_SHARED is the folder that holds models/)",
            soft_wrap=True,
        )
        return
    # Else two engines write notes of their own among the tables.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    results = {}
    for name, path in paths.items():
        console.print(f"bench: measuring {name}")
        results[name] = measure_model(path)
    console.print("bench: measuring starts")
    starts = measure_starts(paths["kws"])
    if as_json:
        print(json.dumps({"models": results, "start_ms": starts}, indent=2))
        return
    console.print(
        f"\nai-edge-litert runs with num_threads=1 and its default delegate, XNNPACK; "
        f"{os.cpu_count()} processors here.",
        latency_table(results),
        throughput_table(results),
        start_table(starts),
        sep="\n\n",
    )


if __name__ == "__main__":
    main()
