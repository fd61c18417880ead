"""Small ONNX models made by hand, and their outputs by onnxruntime and by us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeq.float_run import run_float
from edgeq.graph import Array, Graph
from edgeq.importers.onnx import read_onnx
from edgeq.passes import run_passes

Extents = Sequence[int | str]


def node(op_type: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    """A node with space-separated inputs ("-" leaves one out), named after its output."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op_type, names, output.split(), name=f"n_{output}", **attributes)


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Extents],
    outputs: Mapping[str, Extents | None],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A float model."""
    graph = helper.make_graph(
        list(nodes),
        "handmade",
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s))
            for n, s in inputs.items()
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    ir_version = 8 if opset < 19 else 10
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "handmade.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def random_inputs(path: Path, seed: int = 0) -> dict[str, Array]:
    """Normal samples of the shapes that the file asks for, as ONNX lays them out; batch 1."""
    rng = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(path)
    return {
        i.name: rng.normal(size=[d if isinstance(d, int) else 1 for d in i.shape]).astype(
            np.float32
        )
        for i in session.get_inputs()
    }


def run_onnxruntime(path: Path, inputs: Mapping[str, Array]) -> list[Array]:
    return list(onnxruntime.InferenceSession(path).run(None, dict(inputs)))


def to_graph_layout(x: Array, shape: tuple[int, ...]) -> Array:
    """NCHW as NHWC where the graph wants that."""
    if x.ndim == 4 and x.shape[1:] != shape[1:]:
        return x.transpose(0, 2, 3, 1)
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).shape[1:] == shape[1:]:
        return x.transpose(0, 2, 3, 1)
    return x


def run_graph(graph: Graph, inputs: Mapping[str, Array]) -> list[Array]:
    given = {
        t.name: to_graph_layout(x, t.shape)
        for t, x in zip(graph.input_tensors(), inputs.values(), strict=True)
    }
    values = run_float(graph, given)
    return [values[name] for name in graph.outputs]


def assert_like_onnxruntime(path: Path, *, seeds: int = 3) -> Graph:
    """Import, run, and compare every output with onnxruntime's; also after the passes.

    An image comes out NHWC. The bound is 1e-4 of the output's largest value.
    """
    graph = read_onnx(path)
    for seed in range(seeds):
        inputs = random_inputs(path, seed)
        for expected, *outputs in zip(
            run_onnxruntime(path, inputs),
            run_graph(graph, inputs),
            run_graph(run_passes(graph), inputs),
            strict=True,
        ):
            wanted = to_graph_layout(expected, outputs[0].shape)
            for output in outputs:
                assert output.shape == wanted.shape
                tolerance = 1e-4 * max(float(np.abs(wanted).max()), 1e-3)
                np.testing.assert_allclose(output, wanted, rtol=0, atol=tolerance)
    return graph


_RNG = np.random.default_rng(9)


def _floats(*shape: int) -> np.ndarray:
    return _RNG.normal(size=shape).astype(np.float32)


def normalization(channels: int) -> dict[str, np.ndarray]:
    return {
        "s": _floats(channels),
        "o": _floats(channels),
        "m": _floats(channels),
        "v": _RNG.uniform(0.5, 2, channels).astype(np.float32),
    }
