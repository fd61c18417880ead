"""Quantization-aware training: a float graph as a PyTorch module that rounds as integers do.

    module = fake_quantized(graph, samples, scheme=Scheme(weight_bits=4))
    ... your own training loop over module(x) ...
    quantized = module.to_graph()

The forward values are those of the integer graph, element for element; the gradients are those
of the float operators, straight through the rounding (Bengio et al. 2013), and zero where a
value is clamped. Needs `pip install 'edgeq[torch]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeq.arith import Rounding
from edgeq.calibrate import calibrate
from edgeq.errors import ToolError
from edgeq.graph import Graph
from edgeq.passes import run_passes
from edgeq.samples import Samples
from edgeq.scheme import Scheme

if TYPE_CHECKING:
    from edgeq.qat.module import FakeQuantized


def fake_quantized(
    graph: Graph,
    samples: Samples,
    *,
    scheme: Scheme | None = None,
    method: str = "minmax",
    rounding: Rounding = "tflm",
) -> FakeQuantized:
    """The float `graph` as a module to be trained; its ranges start as calibrated on `samples`.

    `method`: min/max is what the ranges then follow while training. `rounding`: the profile of
    requantization (docs/numerics.md).

    Raises:
        ToolError: PyTorch is missing.
        DataError: the samples do not fit the graph's inputs.
        QuantizeError: the graph cannot be quantized; names the layer.
    """
    try:
        from edgeq.qat.module import FakeQuantized
    except ImportError as error:
        if error.name != "torch":
            raise
        raise ToolError(
            f"{graph.name}: training needs PyTorch: pip install 'edgeq[torch]'"
        ) from None
    scheme = scheme or Scheme()
    prepared = run_passes(graph)
    ranges = calibrate(prepared, samples, method=method, symmetric=scheme.is_symmetric)
    return FakeQuantized(prepared, ranges, scheme, rounding)


__all__ = ["fake_quantized"]
