"""The digest of a graph: 16 bytes that say whether host and device hold the same model."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from edgeq.graph import Graph, Tensor
from edgeq.model_file import op_record

DIGEST_NBYTES = 16


def graph_digest(graph: Graph) -> bytes:
    """The first 16 bytes of the SHA-256 of everything that the graph is.

    That is: nodes with all fields of their operators, and of each tensor, by name, shape,
    type, quantization and the SHA-256 of its data (little endian), as JSON with sorted keys.
    """
    record = {
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "nodes": [
            {"op": op_record(node.op), "inputs": node.inputs, "outputs": node.outputs}
            for node in graph.nodes
        ],
        "tensors": {name: _tensor_record(t) for name, t in graph.tensors.items()},
    }
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).digest()[:DIGEST_NBYTES]


def _tensor_record(tensor: Tensor) -> dict[str, object]:
    quant = tensor.quant
    record: dict[str, object] = {
        "shape": tensor.shape,
        "dtype": tensor.dtype.name,
        "quant": None if quant is None else [quant.scale, quant.zero_point, quant.axis],
    }
    if tensor.data is not None:
        little = np.ascontiguousarray(tensor.data).astype(tensor.dtype.newbyteorder("<"))
        record["data"] = hashlib.sha256(little.tobytes()).hexdigest()
    return record
