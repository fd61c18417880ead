"""The three profiles of rounding: their meaning, the bound of the short product, conversion."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from integer_networks import SAME3, IntegerNetwork, inputs_of
from networks import small_network
from test_arith import int32, multipliers, nearest
from test_c_arith import VARIANTS, c_results, interesting, random_int32

import edgeq
from edgeq import arith, arith_jit
from edgeq.arith import INT32_MAX, INT32_MIN, ROUNDINGS, Rounding
from edgeq.digest import graph_digest
from edgeq.errors import GraphError, ImportFailure
from edgeq.explain_rounding import layer_differences, rounding_rows
from edgeq.graph import Graph, Node
from edgeq.interpreter import Interpreter
from edgeq.model_file import load_graph, save_graph
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.passes import optimize
from edgeq.passes.prove_accumulators import prove_accumulators
from edgeq.passes.round_as import round_as
from firmware_gen import generate
from firmware_gen.cores import Target
from firmware_gen.kernels import kernel_of
from firmware_gen.layers import choose_kernels

others = pytest.mark.parametrize("rounding", ["single", "shift"])


def upward(below: int) -> int:
    return below + 1


def short_product(acc: int, bits: int, shift: int) -> tuple[int, int, int]:
    """An acc, a multiplier of some bits and a shift whose product and half step fit."""
    multiplier = (1 << bits) - 1 if bits % 2 else 1 << bits
    room = (INT32_MAX - ((1 << -shift) >> 1)) // multiplier
    return max(min(acc, room), -room), multiplier, shift


@given(int32, multipliers, st.integers(-31, 31))
def test_single_is_the_product_rounded_once_with_ties_upward(
    acc: int, multiplier: int, shift: int
) -> None:
    acc >>= max(shift, 0)
    exact = Fraction(acc * multiplier) * Fraction(2) ** (shift - 31)
    expected = nearest(exact, upward)
    assert arith.requantize_single(acc, multiplier, shift) == expected
    assert arith_jit.requantize_single(acc, multiplier, shift) == expected


@given(int32, multipliers, st.integers(0, 31))
def test_single_is_tflm_where_nothing_is_shifted_to_the_right(
    acc: int, multiplier: int, shift: int
) -> None:
    acc >>= shift
    assert arith.requantize_single(acc, multiplier, shift) == arith.requantize(
        acc, multiplier, shift
    )


@given(int32, st.integers(0, 29), st.integers(-31, 0))
def test_shift_is_the_short_product_rounded_once_with_ties_upward(
    acc: int, bits: int, shift: int
) -> None:
    acc, multiplier, shift = short_product(acc, bits, shift)
    expected = nearest(Fraction(acc * multiplier, 2**-shift), upward)
    assert arith.requantize_shift(acc, multiplier, shift) == expected
    assert arith_jit.requantize_shift(acc, multiplier, shift) == expected


def test_single_and_shift_meet_every_tie_of_small_numbers() -> None:
    """M = 2**-n of every acc of twelve bits: half of a step goes up, also below zero."""
    for n in range(1, 12):
        for acc in range(-2048, 2048):
            expected = nearest(Fraction(acc, 2**n), upward)
            assert arith.requantize_single(acc, 2**30, 1 - n) == expected
            assert arith.requantize_shift(acc, 1, -n) == expected


@pytest.mark.parametrize(
    ("rounding", "acc", "multiplier", "shift", "expected"),
    [
        # -0.5: the second of two roundings goes away from zero, a single one up.
        ("tflm", -2, 2**30, -1, -1),
        ("single", -2, 2**30, -1, 0),
        ("shift", -1, 1, -1, 0),
        # 0.499...: the first of two roundings makes it 0.5, the second 1.
        ("tflm", 1, 2**31 - 1, -1, 1),
        ("single", 1, 2**31 - 1, -1, 0),
        # The lecture's M = 0.03527 with n = 13.
        ("shift", 7091, 289, -13, 250),
    ],
)
def test_where_the_profiles_differ(
    rounding: Rounding, acc: int, multiplier: int, shift: int, expected: int
) -> None:
    assert arith.requantize_by(rounding, acc, multiplier, shift) == expected
    code = arith_jit.code_of(rounding)
    assert arith_jit.requantize_by(code, acc, multiplier, shift) == expected


@pytest.mark.parametrize("options", VARIANTS)
def test_single_in_c(tmp_path: Path, options: tuple[str, ...]) -> None:
    rng = np.random.default_rng(4)
    chosen = [0, 2**30, 2**30 + 1, 2**31 - 1, *rng.integers(2**30, 2**31, 12).tolist()]
    rows = [
        (acc, multiplier, shift)
        for acc in [*interesting(), *random_int32(60, 5)]
        for multiplier in chosen
        for shift in range(-31, 31)
        if INT32_MIN <= acc << max(shift, 0) <= INT32_MAX
    ]
    got = c_results(tmp_path, "edgeq_requantize_single(v[0], v[1], v[2])", rows, options)
    assert got == [arith.requantize_single(*row) for row in rows]


def test_shift_in_c(tmp_path: Path) -> None:
    rows = [
        short_product(acc, bits, -n)
        for acc in [*interesting(), *random_int32(60, 6)]
        for bits in range(30)
        for n in range(32)
    ]
    got = c_results(tmp_path, "edgeq_requantize_shift(v[0], v[1], v[2])", rows, ())
    assert got == [arith.requantize_shift(*row) for row in rows]


@given(st.lists(st.tuples(multipliers, st.integers(-31, 0), int32), min_size=1, max_size=3))
def test_short_multipliers_have_as_many_bits_as_the_sum_leaves(
    wanted: list[tuple[int, int, int]],
) -> None:
    terms = [(m, s - 31, abs(acc) >> 2) for m, s, acc in wanted]
    short, shift = arith.short_multipliers(terms)

    def total(n: int, multipliers: tuple[int, ...]) -> int:
        products = (m * peak for m, (_, _, peak) in zip(multipliers, terms, strict=True))
        return sum(products) + (1 << n >> 1)

    assert total(-shift, short) <= INT32_MAX
    if not any(short):
        assert shift == 0
        return
    exact = [Fraction(m) * Fraction(2) ** e for m, e, _ in terms]
    for m, real in zip(short, exact, strict=True):
        assert abs(m - real * 2**-shift) <= Fraction(1, 2)
    if shift > -31:
        longer = tuple(nearest(real * 2 ** (1 - shift), upward) for real in exact)
        assert total(1 - shift, longer) > INT32_MAX or max(longer) > INT32_MAX


def network() -> Graph:
    """Every operator that requantizes, with filters of one and of several multipliers."""
    net = IntegerNetwork()
    x = net.conv(
        "input", 4, fields=((2**30, 2**31 - 1, 2**30 + 7, 3 * 2**29), (-6, -7, -5, -6))
    )
    x = net.product("depthwise", x, net.weights(3, 3, 4), window=SAME3, zero_point=-128)
    y = net.conv(x, 4, fields=((1518500249,), (-7,)))
    x = net.add(x, y, zero_point=5, scale=0.7)
    x = net.product("fully_connected", x, net.weights(6, 4), fields=((1367130551,), (-6,)))
    for step in ("relu", "requantize", "mean"):
        x = append(net, step, x)
    return net.build(x)


def append(net: IntegerNetwork, step: str, x: str) -> str:
    from edgeq.ops.mean import QuantizedMean
    from edgeq.ops.quantize import Requantize
    from edgeq.ops.relu import QuantizedRelu

    if step == "relu":
        return net.layer(QuantizedRelu(0, 3, 5 * 2**28, -1, 3, 100), x, zero_point=3)
    if step == "requantize":
        return net.layer(Requantize(3, -7, 6 * 2**28, 1, False, False), x, zero_point=-7)
    return net.layer(QuantizedMean(True, -7, 0, 2**30 + 99, -4), x)


@others
def test_a_network_gives_its_references_bytes_with_and_without_dead_work(rounding) -> None:
    graph = round_as(network(), rounding)
    assert {n.op.rounding for n in graph.nodes} == {rounding}
    x = inputs_of(graph, 3)
    (found,) = Interpreter(graph, threads=1, progress=None).run(x)
    (optimized,) = Interpreter(optimize(graph), threads=1, progress=None).run(x)
    for sample, got, without in zip(x, found, optimized, strict=True):
        values = {"input": sample[np.newaxis]}
        for node in graph.nodes:
            inputs = [
                values[n] if graph.tensors[n].data is None else graph.tensors[n].data
                for n in node.inputs
            ]
            (values[node.name],) = node.op.reference(*inputs)
        want = values[graph.outputs[0]][0]
        assert np.array_equal(got, want)
        assert np.array_equal(without, want)


def test_the_profiles_are_three_different_networks() -> None:
    graphs = [round_as(network(), rounding) for rounding in ROUNDINGS]
    assert len({graph_digest(graph) for graph in graphs}) == 3
    x = inputs_of(graphs[0], 200)
    outputs = [Interpreter(g, threads=1, progress=None).run(x)[0].tobytes() for g in graphs]
    assert len(set(outputs)) == 3


def test_rounding_once_and_back_is_the_same_network() -> None:
    graph = network()
    again = round_as(round_as(graph, "single"), "tflm")
    assert graph_digest(again) == graph_digest(graph)


def test_nothing_is_made_of_short_multipliers() -> None:
    short = round_as(network(), "shift")
    assert round_as(short, "shift") is short
    with pytest.raises(GraphError, match=r"conv_2d0: .*convert the model that it came from"):
        round_as(short, "tflm")


def test_profiles_are_not_mixed() -> None:
    graph = network()
    nodes = list(graph.nodes)
    nodes[2] = replace(nodes[2], op=replace(nodes[2].op, rounding="single"))  # type: ignore[type-var]
    with pytest.raises(
        GraphError, match="rounds by 'tflm' in conv_2d0 and 'single' in conv_2d2"
    ):
        Graph.build("mixed", graph.tensors.values(), nodes, graph.inputs, graph.outputs)


def test_quantizing_in_a_profile_is_converting_to_it() -> None:
    samples = np.random.default_rng(1).normal(0, 1, (8, 8, 6, 3)).astype(np.float32)
    graph = small_network()
    default = edgeq.quantize(graph, samples)
    assert default.rounding == "tflm"
    for rounding in ROUNDINGS:
        quantized = edgeq.quantize(graph, samples, rounding=rounding)
        assert quantized.rounding == rounding
        assert graph_digest(quantized) == graph_digest(round_as(default, rounding))


def extreme_conv(multiplier: int, shift: int, rounding: Rounding = "shift") -> Graph:
    """One channel whose accumulator reaches 2 * 127 * 255 + 1000 and no more."""
    net = IntegerNetwork((1, 1, 1, 2), input_zero_point=-128)
    weights = np.full((1, 1, 1, 2), 127, np.int8)
    net.product("conv", "input", weights, np.array([1000]), fields=((2**30,), (-8,)))
    (node,) = net.nodes
    op = replace(node.op, multiplier=(multiplier,), shift=(shift,), rounding=rounding)  # type: ignore[type-var]
    return Graph.build(
        "n", net.tensors.values(), [Node(op, node.inputs, node.outputs)], ["input"], [node.name]
    )


def test_the_proof_is_of_the_product_that_occurs() -> None:
    peak = 2 * 127 * 255 + 1000
    largest = (INT32_MAX - 2**9) // peak
    graph = prove_accumulators(extreme_conv(largest, -10))
    x = np.full((1, 1, 1, 2), 127, np.int8)
    acc = 1000 + 127 * int((x.astype(int) + 128).sum())
    assert acc == peak
    op = graph.nodes[0].op
    assert isinstance(op, QuantizedConv2D)
    assert INT32_MAX - peak < acc * op.multiplier[0] + 2**9 <= INT32_MAX
    with pytest.raises(GraphError, match=r"conv_2d0: channel 0: a product could reach \d+"):
        prove_accumulators(extreme_conv(largest + 1, -10))
    with pytest.raises(GraphError, match="channel 0: multiplier is 7, shift 1"):
        prove_accumulators(extreme_conv(7, 1))


def test_short_multipliers_of_a_layer_use_the_accumulators_that_it_has() -> None:
    graph = round_as(extreme_conv(2**30 + 12345, -8, "tflm"), "shift")
    op = graph.nodes[0].op
    assert isinstance(op, QuantizedConv2D)
    peak = 2 * 127 * 255 + 1000
    half = 1 << -op.shift[0] >> 1
    assert peak * op.multiplier[0] + half <= INT32_MAX < peak * (2 * op.multiplier[0] - 1)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_file_keeps_the_profile(tmp_path: Path, rounding: Rounding) -> None:
    graph = round_as(network(), rounding)
    save_graph(graph, tmp_path / "a.edgeq")
    loaded = load_graph(tmp_path / "a.edgeq")
    assert loaded.rounding == rounding
    assert graph_digest(loaded) == graph_digest(graph)
    with zipfile.ZipFile(tmp_path / "a.edgeq") as archive:
        header = json.loads(archive.read("graph.json"))
    # A file of before there were profiles has no such field.
    named = {node["op"].get("rounding") for node in header["nodes"]}
    assert named == ({None} if rounding == "tflm" else {rounding})


def test_a_profile_that_is_not_known_is_refused(tmp_path: Path) -> None:
    save_graph(round_as(network(), "single"), tmp_path / "a.edgeq")
    with zipfile.ZipFile(tmp_path / "a.edgeq") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["graph.json"] = parts["graph.json"].replace(b'"single"', b'"double"')
    with zipfile.ZipFile(tmp_path / "b.edgeq", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(ImportFailure, match="'double' is none of tflm, single, shift"):
        load_graph(tmp_path / "b.edgeq")


@others
def test_no_kernel_serves_a_profile_that_it_does_not_know(rounding: Rounding) -> None:
    graph = network()
    dsp = Target(has_dsp=True)
    special = {c.variant for c in choose_kernels(graph, dsp)} - {"portable"}
    assert special
    for node, choice in zip(
        graph.nodes, choose_kernels(round_as(graph, rounding), dsp), strict=True
    ):
        knows = {v.name for v in kernel_of(node.op).variants if rounding in v.roundings}
        assert choice.variant in knows | {"portable"}
        for name, reason in choice.why_not.items():
            if name not in knows:
                assert reason == f"the layer rounds by '{rounding}', the kernel does not"


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_the_manifest_names_the_profile(tmp_path: Path, rounding: Rounding) -> None:
    generate(round_as(network(), rounding), "mps2_an386", tmp_path, self_test=0)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["rounding"] == rounding


def test_the_comparison_counts_what_differs() -> None:
    graph = network()
    x = inputs_of(graph, 100)
    rows = {row.rounding: row for row in rounding_rows(graph, x)}
    (expected,) = Interpreter(graph, threads=1, progress=None).run(x)
    for rounding, row in rows.items():
        (found,) = Interpreter(round_as(graph, rounding), threads=1, progress=None).run(x)
        steps = np.abs(found.astype(int) - expected)
        assert (row.difference.values, row.difference.changed, row.difference.largest) == (
            steps.size,
            np.count_nonzero(steps),
            steps.max(),
        )
        assert row.evaluation is None
    assert rows["tflm"].difference.changed == 0 < rows["single"].difference.changed
    assert rows["tflm"].multiplier_bits == (31, 31)
    assert rows["shift"].multiplier_bits[1] < 31
    labels = np.zeros(len(x), np.int64)
    evaluation = rounding_rows(graph, x, labels)[0].evaluation
    assert evaluation is not None
    assert evaluation.correct == (expected.reshape(len(x), -1).argmax(1) == 0).sum()


def test_the_comparison_by_layer_ends_with_the_outputs() -> None:
    graph = network()
    x = inputs_of(graph, 10)
    layers = layer_differences(graph, x)
    assert [row.name for row in layers] == [node.name for node in graph.nodes]
    for row in rounding_rows(graph, x):
        if row.rounding != "tflm":
            assert layers[-1].differences[row.rounding] == row.difference
