"""Run a float graph with numpy: every tensor, for calibration and to measure accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeq.errors import DataError, GraphError
from edgeq.graph import Array, Graph
from edgeq.ops.op import FloatOp


def run_float(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every activation by name; `inputs` may have more samples on the first axis.

    Raises:
        GraphError: the graph holds integer operators.
    """
    values = {name: np.asarray(x, np.float32) for name, x in inputs.items()}
    for node in graph.nodes:
        if not isinstance(node.op, FloatOp):
            raise GraphError(f"{node.name}: is an integer operator, the graph must be float")
        operands = []
        for name in node.inputs:
            data = graph.tensors[name].data
            operands.append(values[name] if data is None else data)
        with np.errstate(over="ignore", invalid="ignore"):  # run_finite says it in a sentence
            values.update(zip(node.outputs, node.op.run(*operands), strict=True))
    return values


def run_finite(graph: Graph, inputs: Mapping[str, Array], first: int) -> dict[str, Array]:
    """run_float of a batch whose first sample is number `first` of a set.

    Raises:
        DataError: an activation becomes NaN or infinite; names it and the samples.
        GraphError: as run_float.
    """
    values = run_float(graph, inputs)
    for name, x in values.items():
        if not (np.isfinite(x.min()) and np.isfinite(x.max())):
            raise DataError(
                f"'{name}' becomes NaN or infinite on samples {first} to "
                f"{first + x.shape[0] - 1}: values or weights are too large for float32"
            )
    return values
