"""Dead work in the real models: how much goes, and that no byte of an output changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from host_c import planned, run_model
from integer_networks import inputs_of
from test_dead_work import assert_same_function, macs, outputs_of
from test_generated_c import tiny_network

import edgeq
from edgeq.board import load_board
from edgeq.data import to_input
from edgeq.digest import graph_digest
from edgeq.graph import Array, Graph
from edgeq.memory import plan_memory
from edgeq.passes import fold_constants, optimize
from edgeq.passes.channels import read_channels
from edgeq.passes.products import CHANNEL_AXIS, PRODUCTS
from edgeq.passes.value_ranges import value_ranges
from edgeq.report.model import layer_rows
from firmware_gen import generate

PathOf = Callable[[str], Path]
# (MACs, bytes of filters) before and after.
WORK = {
    "kws": ((2_656_768, 22_016), (2_656_768, 22_016)),
    "ic": ((12_501_632, 77_360), (12_501_632, 77_360)),
    "vww": ((7_489_664, 208_112), (3_727_313, 29_066)),
    "ad": ((264_192, 264_192), (264_192, 264_192)),
}


def filter_nbytes(graph: Graph) -> int:
    nodes = [node for node in graph.nodes if isinstance(node.op, PRODUCTS)]
    return sum(graph.tensors[node.inputs[1]].nbytes for node in nodes)


def inputs(name: str, graph: Graph, data_path: PathOf) -> Array:
    """300 random inputs, ends and single values, and what real data there is."""
    x = inputs_of(graph, 300)
    if name == "ad":
        return x
    with np.load(data_path(f"{name}_dev")) as data:
        return np.concatenate([x, to_input(graph, data["inputs"])])


@pytest.mark.parametrize("name", WORK)
def test_a_real_model_keeps_its_bytes_without_its_dead_work(
    name: str, model_path: PathOf, data_path: PathOf
) -> None:
    graph = edgeq.read_model(model_path(name))
    after = optimize(graph)
    assert ((macs(graph), filter_nbytes(graph)), (macs(after), filter_nbytes(after))) == WORK[
        name
    ]
    assert optimize(after) is after
    x = inputs(name, graph, data_path)
    assert len(x) >= 300
    assert_same_function(graph, after, x)


def with_noise(graph: Graph, rows: dict[str, Array], columns: dict[str, Array]) -> Graph:
    """The graph with random weights in these output and input channels, by layer."""
    rng = np.random.default_rng(13)
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        if not isinstance(node.op, PRODUCTS):
            continue
        old = tensors[node.inputs[1]]
        assert old.data is not None
        noise = rng.integers(-127, 128, old.shape).astype(np.int8)
        axis = CHANNEL_AXIS[type(node.op)]
        chosen = np.zeros(old.shape, np.bool_)
        np.moveaxis(chosen, axis, -1)[..., rows[node.name]] = True
        if axis == 0:
            chosen[..., columns[node.name]] = True
        tensors[old.name] = replace(old, data=np.where(chosen, noise, old.data))
        bias = tensors[node.inputs[2]]
        assert bias.data is not None
        data = bias.data + rows[node.name] * rng.integers(-9999, 10_000, bias.shape)
        tensors[bias.name] = replace(bias, data=data.astype(np.int32))
    return Graph.build(graph.name, tensors.values(), graph.nodes, graph.inputs, graph.outputs)


@pytest.mark.parametrize(
    ("is_folded", "where", "least"),
    [(False, "rows", 100_000), (True, "rows", 100_000), (False, "columns", 100_000)],
)
def test_noise_in_the_weights_that_go_changes_nothing(
    is_folded: bool, where: str, least: int, model_path: PathOf, data_path: PathOf
) -> None:
    graph = edgeq.read_model(model_path("vww"))
    source = fold_constants(graph) if is_folded else graph
    read, ranges = read_channels(source), value_ranges(source)
    rows, columns = {}, {}
    for node in source.nodes:
        if isinstance(node.op, PRODUCTS):
            rows[node.name] = ~read[node.name] & (where == "rows")
            is_constant, value = ranges[node.inputs[0]].constant_channels()
            # A weight for the zero point counts nothing, in the padding or beside it.
            is_nothing = is_constant & (value == node.op.input_zero_point)
            columns[node.name] = is_nothing & (where == "columns")
    noisy = with_noise(source, rows, columns)
    changed = sum(
        int((noisy.tensors[t.name].data != t.data).sum())
        for t in source.tensors.values()
        if t.data is not None
    )
    assert changed > least, changed
    x = inputs("vww", graph, data_path)[:400]
    assert outputs_of(noisy, x) == outputs_of(graph, x)


def test_noise_in_a_weight_that_stays_is_seen(model_path: PathOf) -> None:
    graph = edgeq.read_model(model_path("vww"))
    after = optimize(graph)
    products = [node for node in after.nodes if isinstance(node.op, PRODUCTS)]
    rows = {n.name: np.zeros(after.tensors[n.name].shape[-1], np.bool_) for n in products}
    columns = {
        n.name: np.zeros(after.tensors[n.inputs[0]].shape[-1], np.bool_) for n in products
    }
    rows[products[-3].name][0] = True
    x = inputs_of(graph, 100)
    assert outputs_of(with_noise(after, rows, columns), x) != outputs_of(graph, x)


def constants_of(graph: Graph) -> dict[str, bytes]:
    return {t.name: t.data.tobytes() for t in graph.tensors.values() if t.data is not None}


def test_the_firmware_runs_the_optimized_graph_under_the_digest_of_the_given(
    model_path: PathOf, tmp_path: Path
) -> None:
    graph = edgeq.read_model(model_path("vww"))
    firmware = generate(graph, load_board("mps2_an386"), tmp_path / "a", self_test=0)
    whole = generate(
        graph, load_board("mps2_an386"), tmp_path / "b", self_test=0, optimize_graph=False
    )
    assert firmware.graph is whole.graph is graph
    assert (
        constants_of(whole.optimized) == constants_of(graph) != constants_of(firmware.optimized)
    )
    assert firmware.digest == whole.digest == graph_digest(graph)
    activations = {
        t.name: t.nbytes for t in firmware.optimized.tensors.values() if t.data is None
    }
    placed = {name: place.nbytes for name, place in firmware.plan.placements.items()}
    assert {name: placed[name] for name in activations} == activations
    assert firmware.model.constant_nbytes < whole.model.constant_nbytes / 4
    header = (tmp_path / "a" / "model.h").read_text(encoding="utf-8")
    assert ", ".join(f"0x{b:02x}" for b in firmware.digest[:8]) in header


def test_the_c_of_the_optimized_graph_gives_the_bytes_of_the_given(
    model_path: PathOf, tmp_path: Path
) -> None:
    graph = edgeq.read_model(model_path("vww"))
    after = optimize(graph)
    x = inputs_of(graph, 4)
    got = run_model(tmp_path, after, planned(after), [[row] for row in x], ("-O2",))
    (expected,) = edgeq.Interpreter(graph).run(x)
    assert [row[0] for row in got] == [row.tobytes() for row in expected]


def test_a_table_of_layers_says_what_is_live(model_path: PathOf) -> None:
    graph = edgeq.read_model(model_path("vww"))
    after = optimize(graph)
    rows = layer_rows(graph, after, plan_memory(after))
    assert [row.name for row in rows] == [node.name for node in graph.nodes]
    assert sum(row.macs for row in rows) == macs(graph)
    assert sum(row.live_macs for row in rows) == macs(after)
    tiny = tiny_network()
    rest = Graph.build(
        "rest", tiny.tensors.values(), tiny.nodes[:2], ["input"], [tiny.nodes[1].name]
    )
    left_out = layer_rows(tiny, rest, plan_memory(rest))[-1]
    assert (left_out.macs, left_out.live_macs, left_out.live_nbytes) == (24, 0, None)
