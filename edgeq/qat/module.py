"""FakeQuantized: the module. Each forward lowers the graph with the weights of the moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from edgeq.arith import Rounding
from edgeq.calibration import Range
from edgeq.errors import DataError
from edgeq.graph import Graph, Node, QuantParams
from edgeq.graph import Tensor as GraphTensor
from edgeq.ops.op import FloatOp, IntegerOp
from edgeq.passes.products import FLOAT_PRODUCTS
from edgeq.qat.integer import INTEGER
from edgeq.qat.real import REAL
from edgeq.quantize import quantize_with_ranges
from edgeq.scheme import Scheme

MOMENTUM = 0.99  # of the ranges' moving average: Jacob et al. 2018, section 3.1


class FakeQuantized(nn.Module):
    """A float graph whose forward gives the values of its integer graph.

    Filters and biases are parameters (layouts of the graph: OHWI, HWC, OI). In training mode
    the ranges of activations follow those seen, by a moving average, until `freeze_ranges`.
    Inputs are float (N, ...) NHWC; outputs are reals on the grid of the graph's outputs.
    """

    def __init__(
        self,
        graph: Graph,
        ranges: dict[str, Range],
        scheme: Scheme,
        rounding: Rounding = "tflm",
    ) -> None:
        super().__init__()
        self.graph = graph
        self.scheme = scheme
        self.rounding: Rounding = rounding
        self.follows_ranges = True
        self._names: dict[str, str] = {}  # constant of the graph -> parameter
        for node in graph.nodes:
            if isinstance(node.op, FLOAT_PRODUCTS):
                for tensor in graph.tensors_of(node.inputs[1:]):
                    self._add_parameter(tensor)
        for name, bounds in ranges.items():
            self.register_buffer(self._buffer(name), torch.tensor([bounds.low, bounds.high]))
        self._ranged = tuple(ranges)
        self._lowered: tuple[tuple[int, ...], Graph] | None = None

    def _add_parameter(self, tensor: GraphTensor) -> None:
        if tensor.name in self._names:
            return
        assert tensor.data is not None
        name = "".join(c if c.isalnum() else "_" for c in tensor.name)
        if hasattr(self, name):
            name = f"{name}_{len(self._names)}"
        self._names[tensor.name] = name
        self.register_parameter(name, nn.Parameter(torch.from_numpy(tensor.data.copy())))

    def _buffer(self, name: str) -> str:
        return "range_of_" + "".join(c if c.isalnum() else "_" for c in name)

    def freeze_ranges(self) -> None:
        """Keep the ranges as they are: for the last epochs, so that weights settle on them."""
        self.follows_ranges = False

    def ranges(self) -> dict[str, Range]:
        """The range of each activation as it is now."""
        return {
            name: Range(*(float(v) for v in getattr(self, self._buffer(name))))
            for name in self._ranged
        }

    def float_graph(self) -> Graph:
        """The float graph with the weights as they are now."""
        tensors = dict(self.graph.tensors)
        for name, parameter in self._names.items():
            data = getattr(self, parameter).detach().cpu().numpy().astype(np.float32)
            tensors[name] = replace(tensors[name], data=data)
        g = self.graph
        return Graph.build(g.name, tensors.values(), g.nodes, g.inputs, g.outputs)

    def to_graph(self) -> Graph:
        """The integer graph of the weights and ranges as they are now: what forward computes.

        Raises:
            QuantizeError: a layer cannot be quantized, as after weights became NaN.
        """
        version = tuple(t._version for t in (*self.parameters(), *self.buffers()))
        if self._lowered is None or self._lowered[0] != version:
            quantized = quantize_with_ranges(
                self.float_graph(), self.ranges(), self.rounding, scheme=self.scheme
            )
            self._lowered = version, quantized
        return self._lowered[1]

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Float inputs (N, ...) -> outputs on their grid; a tuple if there are several.

        Raises:
            DataError: another number of inputs, or a shape that does not fit.
        """
        reals = self.activations(*inputs)
        outputs = tuple(reals[name] for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def activations(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Every activation by name, on its grid, with gradients: a loss may use the logits."""
        return self._run(inputs)[0]

    @torch.no_grad()
    def integers(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Every activation of the integer graph as int8 (N, ...), by name."""
        return {name: q.to(torch.int8) for name, q in self._run(inputs)[1].items()}

    def _run(self, inputs: tuple[Tensor, ...]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Real values with gradients, and integers, of every activation."""
        self._check(inputs)
        if self.training and self.follows_ranges:
            self._follow(inputs)
        lowered = self.to_graph()
        reals: dict[str, Tensor] = {}
        integers: dict[str, Tensor] = {}
        for name, x in zip(self.graph.inputs, inputs, strict=True):
            quant = _quant(lowered, name)
            integers[name] = _rounded(x, quant)
            reals[name] = _on_grid(x, integers[name], quant)
        floats = {node.name: node for node in self.graph.nodes}
        for node in lowered.nodes:
            quant = _quant(lowered, node.name)
            with torch.no_grad():
                operands = [_integers(lowered, integers, name) for name in node.inputs]
                assert isinstance(node.op, IntegerOp)
                integers[node.name] = INTEGER[type(node.op)](node.op, *operands)
            real = reals[node.inputs[0]]  # of a QUANTIZE, which the float graph does not have
            if node.name in floats:
                real = self._real(floats[node.name], lowered, node, reals)
            reals[node.name] = _on_grid(real, integers[node.name], quant)
        return reals, integers

    def _real(self, node: Node, lowered: Graph, twin: Node, reals: dict[str, Tensor]) -> Tensor:
        """The float operator on the rounded operands, for the gradient."""
        assert isinstance(node.op, FloatOp)
        operands = []
        for name, low in zip(node.inputs, twin.inputs, strict=False):
            if name in self._names:
                operands.append(
                    _on_its_grid(getattr(self, self._names[name]), lowered.tensors[low])
                )
            elif (data := self.graph.tensors[name].data) is not None:
                operands.append(torch.from_numpy(np.array(data)))
            else:
                operands.append(reals[low])
        return REAL[type(node.op)](node.op, *operands)

    @torch.no_grad()
    def _follow(self, inputs: tuple[Tensor, ...]) -> None:
        """Move each range towards that of the float graph on this batch."""
        values = dict(zip(self.graph.inputs, inputs, strict=True))
        for node in self.graph.nodes:
            assert isinstance(node.op, FloatOp)
            operands = [
                getattr(self, self._names[name])
                if name in self._names
                else values[name]
                if name in values
                else torch.from_numpy(np.array(self.graph.tensors[name].data))
                for name in node.inputs
            ]
            values[node.name] = REAL[type(node.op)](node.op, *operands)
        for name in self._ranged:
            seen = torch.stack([values[name].min(), values[name].max()])
            buffer = getattr(self, self._buffer(name))
            buffer.mul_(MOMENTUM).add_(seen, alpha=1 - MOMENTUM)

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs) != len(self.graph.inputs):
            raise DataError(f"{len(inputs)} inputs, must be {len(self.graph.inputs)}")
        for tensor, x in zip(self.graph.input_tensors(), inputs, strict=True):
            if tuple(x.shape[1:]) != tensor.shape[1:]:
                raise DataError(
                    f"input '{tensor.name}' is {tuple(x.shape)}, must be (N, "
                    f"{', '.join(map(str, tensor.shape[1:]))}); images are NHWC here"
                )


def _quant(graph: Graph, name: str) -> QuantParams:
    quant = graph.tensors[name].quant
    assert quant is not None
    return quant


@torch.no_grad()
def _rounded(x: Tensor, quant: QuantParams) -> Tensor:
    """round(x / scale) + zero_point in int8: weights.quantize_array."""
    scaled = (x.float() / np.float32(quant.scale[0])).double()
    q = torch.copysign(torch.floor(scaled.abs() + 0.5), scaled) + quant.zero_point
    return q.clamp(-128, 127)


def _on_grid(x: Tensor, q: Tensor, quant: QuantParams) -> Tensor:
    """The value of q; its gradient that of x where the grid reaches, else 0."""
    scale, zero_point = quant.scale[0], quant.zero_point
    inside = x.clamp(scale * (-128 - zero_point), scale * (127 - zero_point))
    value = (scale * (q - zero_point)).to(x.dtype)
    return inside + (value - inside).detach()


def _on_its_grid(parameter: Tensor, constant: GraphTensor) -> Tensor:
    """A filter or bias with the value of its integers and the gradient of the parameter."""
    quant = constant.quant
    assert quant is not None
    assert constant.data is not None
    extents = [-1 if axis == quant.axis else 1 for axis in range(constant.data.ndim)]
    scale = np.array(quant.scale).reshape(extents if quant.axis is not None else ())
    value = torch.from_numpy((constant.data * scale).astype(np.float32))
    return parameter + (value - parameter).detach()


def _integers(graph: Graph, integers: dict[str, Tensor], name: str) -> Tensor:
    data = graph.tensors[name].data
    return integers[name] if data is None else torch.from_numpy(data.astype(np.float64))
