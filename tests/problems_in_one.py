"""Problems of CONV_ADD: a convolution and ADD, some rows at a time."""

from __future__ import annotations

from dataclasses import replace

from draws import (
    Draw,
    clamps,
    filter_and_bias,
    product_fields,
    scales,
    seeds,
    usual_windows,
    windows,
    zero_points,
)
from hypothesis import assume
from hypothesis import strategies as st
from problem import INT8, Problem, activation, build, constant, int8_values

from edgeq.errors import GraphError
from edgeq.graph import QuantParams, Shape, Tensor
from edgeq.ops import Window
from edgeq.ops.add import Add, QuantizedAdd
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.conv_add import QuantizedConvAdd


@st.composite
def conv_add(draw: Draw) -> Problem:
    """Rows of whole words; 3 x 3 as networks have it, 1 x 1 as they have it and otherwise, or
    any window.
    """
    kind = draw(st.sampled_from(("usual", "point", "plain", "plain", "any", "any")))
    window, height, width = draw(usual_windows() if kind == "usual" else windows())
    if kind == "point":
        window = Window(1, 1, draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    if kind == "plain":
        window = Window(1, 1)
    height += draw(st.sampled_from((0, 2, 4)))
    channels = draw(st.sampled_from((4, 8, 3, 1, 17)))
    outputs = draw(st.sampled_from((4, 8, 12, 4, 5)))
    if kind == "plain":
        channels, outputs = draw(st.sampled_from(((4, 8), (8, 4), (12, 12))))
    width += 0 if channels % 4 == 0 else -width % 4
    shape = (outputs, window.filter_h, window.filter_w, channels)
    weights, bias = filter_and_bias(draw, shape, outputs)
    fields = draw(product_fields(weights.reshape(outputs, -1), bias))
    if kind == "plain":
        fields |= {"activation_min": -128, "activation_max": 127}
    conv = QuantizedConv2D(window, **fields)
    x = activation((1, height, width, channels))
    quants = [QuantParams((draw(scales()),), draw(zero_points)) for _ in range(3)]
    add = draw(adds(quants))
    inputs = (x, constant(weights), constant(bias))
    (made,) = conv.infer_shapes(*(t.shape for t in inputs))
    y = activation(made, quant=quants[1])
    rows = rows_of(conv, add, inputs, made)
    return build(
        QuantizedConvAdd(conv, add, draw(st.sampled_from((rows[0], rows[0], *rows)))),
        (*inputs, y),
        (int8_values(draw(seeds), x.shape), int8_values(draw(seeds), made)),
        in_place=draw(st.booleans()),
        quant=quants[2],
    )


@st.composite
def adds(draw: Draw, quants: list[QuantParams]) -> QuantizedAdd:
    a, b, out = (Tensor("t", (1, 1), INT8, quant) for quant in quants)
    low, high = draw(clamps())
    op = Add().lower((a, b), (out,))
    assert isinstance(op, QuantizedAdd)
    return replace(op, activation_min=low, activation_max=high)


def rows_of(
    conv: QuantizedConv2D, add: QuantizedAdd, inputs: tuple[Tensor, ...], made: Shape
) -> list[int]:
    """The numbers of rows that can be made at once."""
    found = []
    for rows in range(1, made[1] + 1):
        try:
            op = QuantizedConvAdd(conv, add, rows)
            op.infer_shapes(*(t.shape for t in inputs), made)
        except GraphError:
            continue
        found.append(rows)
    assume(found)
    return found
