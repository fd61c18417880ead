"""Run a float graph with numpy: every tensor, for calibration and to measure accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeq.errors import GraphError
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
        values.update(zip(node.outputs, node.op.run(*operands), strict=True))
    return values
