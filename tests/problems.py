"""Problems for every operator, made by hypothesis: one strategy an operator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from draws import (
    Draw,
    clamps,
    drawn,
    filter_and_bias,
    multipliers,
    product_fields,
    scales,
    seeds,
    usual_windows,
    windows,
    zero_points,
)
from hypothesis import strategies as st
from problem import (
    FLOAT32,
    INT8,
    UINT8,
    Problem,
    activation,
    build,
    constant,
    int8_values,
)
from problems_in_one import conv_add
from problems_rows import usual_row

from edgeq.arith import Rounding
from edgeq.graph import Array, QuantParams, Shape, Tensor
from edgeq.ops import IntegerOp, Window
from edgeq.ops.add import Add
from edgeq.ops.average_pool_2d import QuantizedAveragePool2D
from edgeq.ops.concatenation import QuantizedConcatenation
from edgeq.ops.conv_2d import QuantizedConv2D
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.depthwise_conv_2d import QuantizedDepthwiseConv2D
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.fully_connected import QuantizedFullyConnected
from edgeq.ops.logistic import Logistic
from edgeq.ops.max_pool_2d import QuantizedMaxPool2D
from edgeq.ops.mean import Mean
from edgeq.ops.move import Move
from edgeq.ops.pad import QuantizedPad
from edgeq.ops.quantize import QuantizeFloat, Requantize, key_float
from edgeq.ops.relu import QuantizedRelu
from edgeq.ops.reshape import QuantizedReshape
from edgeq.ops.softmax import Softmax

channel_counts = st.sampled_from((1, 1, 2, 3, 4, 5, 8, 17))


@st.composite
def conv_2d(draw: Draw) -> Problem:
    is_first = draw(st.booleans())  # of a network: rows of 9 taps, or of one word
    window, height, width = draw(usual_windows() if is_first else windows())
    if not is_first and draw(st.sampled_from((True, False))):  # pixels stay where they are
        stride_h = draw(st.integers(1, 2))
        window, width = Window(1, 1, stride_h, 1), draw(st.sampled_from((1, 3, 6, 31)))
    channels, outputs = draw(channel_counts), draw(st.sampled_from((1, 2, 4, 5, 8)))
    is_pointwise = window == Window(1, 1) and draw(st.sampled_from((True, True, False)))
    if is_pointwise:  # as networks have it: whole groups of channels, no other clamp
        channels, outputs = draw(st.sampled_from(((4, 8), (12, 4), (36, 8))))
    if is_first:
        channels, filter_w = draw(st.sampled_from(((3, 3), (3, 3), (1, 4), (2, 2))))
        window, width = replace(window, filter_w=filter_w), width + 3
    shape = (outputs, window.filter_h, window.filter_w, channels)
    weights, bias = filter_and_bias(draw, shape, outputs)
    fields = draw(product_fields(weights.reshape(outputs, -1), bias))
    if is_pointwise:
        fields |= {"activation_min": -128, "activation_max": 127}
    x = activation((1, height, width, channels))
    inputs = (x, constant(weights), constant(bias))
    return build(
        QuantizedConv2D(window, **fields), inputs, (int8_values(draw(seeds), x.shape),)
    )


@st.composite
def depthwise_conv_2d(draw: Draw) -> Problem:
    is_usual = draw(st.booleans())
    window, height, width = draw(usual_windows() if is_usual else windows())
    channels = draw(st.sampled_from((4, 5, 8, 16, 19, 33)) if is_usual else channel_counts)
    outputs = channels * (1 if is_usual else draw(st.sampled_from((1, 1, 2, 3))))
    weights, bias = filter_and_bias(draw, (window.filter_h, window.filter_w, outputs), outputs)
    fields = draw(product_fields(weights.reshape(-1, outputs).T, bias))
    if is_usual:
        fields |= {"activation_min": -128, "activation_max": 127}
        if draw(st.booleans()):
            fields["output_zero_point"] = -128
    x = activation((1, height, width, channels))
    inputs = (x, constant(weights), constant(bias))
    op = QuantizedDepthwiseConv2D(window, **fields)
    return build(op, inputs, (int8_values(draw(seeds), x.shape),))


@st.composite
def conv_depthwise(draw: Draw) -> Problem:
    """Rows of whole words, some at once; 3 x 3 as networks have it, or any not dilated."""
    is_usual = draw(st.booleans())
    window, height, width = draw(usual_windows() if is_usual else windows())
    window = replace(window, dilation_h=1)
    channels, expanded = draw(
        st.sampled_from(((4, 8), (8, 4), (8, 12), (1, 4), (3, 8), (4, 16), (3, 20)))
    )
    width += 0 if channels % 4 == 0 else -width % 4
    outputs = expanded * (1 if is_usual else draw(st.sampled_from((1, 1, 2))))
    weights, bias = filter_and_bias(draw, (expanded, 1, 1, channels), expanded)
    fields = draw(product_fields(weights.reshape(expanded, -1), bias))
    conv = QuantizedConv2D(Window(1, 1), **fields)
    weights2, bias2 = filter_and_bias(
        draw, (window.filter_h, window.filter_w, outputs), outputs
    )
    fields = draw(product_fields(weights2.reshape(-1, outputs).T, bias2))
    if is_usual:
        fields |= {"output_zero_point": -128, "activation_min": -128, "activation_max": 127}
    x = activation((1, height, width, channels))
    inputs = (x, *(constant(data) for data in (weights, bias, weights2, bias2)))
    out_h, _ = window.output_extent(height, width)
    rows = draw(st.sampled_from([n for n in range(1, out_h + 1) if out_h % n == 0]))
    op = QuantizedConvDepthwise(conv, QuantizedDepthwiseConv2D(window, **fields), rows)
    return build(op, inputs, (int8_values(draw(seeds), x.shape),))


@st.composite
def fully_connected(draw: Draw) -> Problem:
    depth = draw(st.sampled_from((1, 5, 33, 64, 128)))
    outputs = draw(st.sampled_from((3, 8, 16, 17, 24, 8)))
    weights, bias = filter_and_bias(draw, (outputs, depth), outputs)
    fields = draw(product_fields(weights, bias))
    x = activation((1, *draw(st.sampled_from(((), (), (1,), (3,), (2, 2)))), depth))
    inputs = (x, constant(weights), constant(bias))
    return build(
        QuantizedFullyConnected(**fields), inputs, (int8_values(draw(seeds), x.shape),)
    )


@st.composite
def shapes(draw: Draw) -> Shape:
    return (1, *draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))


def broadcast_input(draw: Draw, output: Shape) -> Shape:
    """The output's shape, some extents of it 1, or fewer axes."""
    kind = draw(st.sampled_from(("same", "same", "ones", "short")))
    if kind == "ones":
        return tuple(draw(st.sampled_from((1, e))) for e in output)
    if kind == "short" and len(output) > 2:
        return (1, *output[2:])
    return output


@st.composite
def add(draw: Draw) -> Problem:
    output = draw(shapes())
    quants = [QuantParams((draw(scales()),), draw(zero_points)) for _ in range(3)]
    tensors, arrays = [], []
    for index in range(2):
        shape = broadcast_input(draw, output)
        values = int8_values(draw(seeds), shape)
        if index == 1 and draw(st.sampled_from((False, False, True))):
            tensors.append(constant(values, quants[index]))
        else:
            tensors.append(activation(shape, quant=quants[index]))
            arrays.append(values)
    shape = np.broadcast_shapes(*(t.shape for t in tensors))
    op = Add().lower(tuple(tensors), (Tensor("y", shape, INT8, quants[2]),))
    low, high = draw(clamps())
    op = replace(op, activation_min=low, activation_max=high)  # type: ignore[call-arg]
    return build(
        op, tuple(tensors), tuple(arrays), in_place=draw(st.booleans()), quant=quants[2]
    )


@st.composite
def pool(draw: Draw, kind: type[IntegerOp]) -> Problem:
    window, height, width = draw(windows())
    if draw(st.booleans()):  # the whole image
        window = Window(height, width)
    x = activation((1, height, width, draw(channel_counts)))
    op = kind(window, *draw(clamps()))  # type: ignore[call-arg]
    return build(op, (x,), (int8_values(draw(seeds), x.shape),))


@st.composite
def mean(draw: Draw) -> Problem:
    x = activation(
        (1, draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(channel_counts)),
        quant=QuantParams((draw(scales()),), draw(zero_points)),
    )
    keep_dims = draw(st.booleans())
    quant = QuantParams((draw(scales()),), draw(zero_points))
    (shape,) = Mean(keep_dims).infer_shapes(x.shape)
    op = Mean(keep_dims).lower((x,), (Tensor("y", shape, INT8, quant),))
    return build(op, (x,), (int8_values(draw(seeds), x.shape),), quant=quant)


@st.composite
def pad(draw: Draw) -> Problem:
    x = activation(draw(shapes()))
    sides = st.sampled_from((0, 0, 1, 2, 3))
    pads = ((0, 0), *((draw(sides), draw(sides)) for _ in x.shape[1:]))
    op = QuantizedPad(pads, draw(zero_points))
    return build(op, (x,), (int8_values(draw(seeds), x.shape),))


@st.composite
def concatenation(draw: Draw) -> Problem:
    base = draw(shapes())
    axis = draw(st.integers(1, len(base) - 1))
    tensors, arrays = [], []
    for index in range(draw(st.integers(1, 4))):
        shape = (*base[:axis], draw(st.integers(1, 5)), *base[axis + 1 :])
        values = int8_values(draw(seeds), shape)
        if index == 1 and draw(st.booleans()):
            tensors.append(constant(values))
        else:
            tensors.append(activation(shape))
            arrays.append(values)
    return build(QuantizedConcatenation(axis), tuple(tensors), tuple(arrays))


@st.composite
def reshape(draw: Draw) -> Problem:
    x = activation(draw(shapes()))
    target = draw(st.sampled_from(((1, math.prod(x.shape)), (1, *reversed(x.shape)))))
    return build(QuantizedReshape(target), (x,), (int8_values(draw(seeds), x.shape),))


@st.composite
def softmax(draw: Draw) -> Problem:
    x = activation(
        (1, draw(st.sampled_from((1, 3))), draw(st.sampled_from((1, 2, 5, 12, 700)))),
        quant=QuantParams((draw(scales()),), draw(zero_points)),
    )
    float_op = Softmax(draw(st.sampled_from((1.0, 1.0, 0.5, 20.0))))
    assert float_op.fixed_output is not None
    output = Tensor("y", x.shape, INT8, float_op.fixed_output)
    return build(
        float_op.lower((x,), (output,)),
        (x,),
        (int8_values(draw(seeds), x.shape),),
        in_place=draw(st.booleans()),
        quant=output.quant,
    )


@st.composite
def logistic(draw: Draw) -> Problem:
    x = activation((1, 256), quant=QuantParams((draw(scales()),), draw(zero_points)))
    float_op = Logistic()
    assert float_op.fixed_output is not None
    output = Tensor("y", x.shape, INT8, float_op.fixed_output)
    values = np.arange(-128, 128).astype(np.int8).reshape(x.shape)
    op = float_op.lower((x,), (output,))
    return build(op, (x,), (values,), in_place=draw(st.booleans()), quant=output.quant)


@st.composite
def relu(draw: Draw) -> Problem:
    low, high = draw(clamps())
    op = QuantizedRelu(
        draw(zero_points),
        draw(zero_points),
        draw(multipliers),
        draw(st.one_of(st.sampled_from((-31, 0, 22, 1)), st.integers(-12, 8))),
        low,
        high,
    )
    values = np.arange(-128, 128).astype(np.int8).reshape(1, 256)
    return build(op, (activation((1, 256)),), (values,), in_place=draw(st.booleans()))


def float_values(seed: int, op: QuantizeFloat) -> Array:
    """Floats around every threshold, ties, both zeros, denormals, infinities and NaN."""
    rng = np.random.default_rng(seed)
    keys = op.thresholds().astype(np.int64)
    near = key_float(np.concatenate([keys - 1, keys, keys + 1])).ravel()
    ties = (np.arange(-130, 130) + np.float32(0.5)).astype(np.float32) * np.float32(op.scale)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 1.1754942e-38, 3.4e38],
        np.float32,
    )
    anything = rng.integers(-(2**31), 2**31, 200).astype(np.int32).view(np.float32)
    x = np.concatenate([near, ties, special, anything]).astype(np.float32)
    return np.ascontiguousarray(x.reshape(1, -1))


@st.composite
def quantize(draw: Draw) -> Problem:
    if draw(st.booleans()):
        op = QuantizeFloat(draw(scales()), draw(zero_points))
        values = float_values(draw(seeds), op)
        return build(op, (activation(values.shape, FLOAT32, None),), (values,))
    unsigned = [draw(st.booleans()) for _ in range(2)]
    points = [draw(zero_points) + (128 if flag else 0) for flag in unsigned]
    shift = draw(st.one_of(st.sampled_from((-31, 0, 22, 1)), st.integers(-12, 8)))
    other = Requantize(points[0], points[1], draw(multipliers), shift, *unsigned)
    dtypes = [UINT8 if flag else INT8 for flag in unsigned]
    low = 0 if unsigned[0] else -128
    values = np.arange(low, low + 256).astype(dtypes[0]).reshape(1, 256)
    x = activation((1, 256), dtypes[0])
    return build(other, (x,), (values,), in_place=draw(st.booleans()), dtype=dtypes[1])


@st.composite
def dequantize(draw: Draw) -> Problem:
    unsigned = draw(st.booleans())
    op = Dequantize(draw(scales()), draw(zero_points) + (128 if unsigned else 0), unsigned)
    dtype = UINT8 if unsigned else INT8
    low = 0 if unsigned else -128
    values = np.arange(low, low + 256).astype(dtype).reshape(1, 256)
    return build(op, (activation((1, 256), dtype),), (values,), dtype=FLOAT32, quant=None)


@st.composite
def move(draw: Draw) -> Problem:
    x = activation(draw(shapes()))
    return build(Move(), (x,), (int8_values(draw(seeds), x.shape),))


PROBLEMS: Mapping[str, st.SearchStrategy[Problem]] = {
    "conv_2d": conv_2d(),
    "depthwise_conv_2d": depthwise_conv_2d(),
    "fully_connected": st.one_of(fully_connected(), usual_row()),
    "add": add(),
    "average_pool_2d": pool(QuantizedAveragePool2D),
    "max_pool_2d": pool(QuantizedMaxPool2D),
    "mean": mean(),
    "pad": pad(),
    "concatenation": concatenation(),
    "reshape": reshape(),
    "softmax": softmax(),
    "logistic": logistic(),
    "relu": relu(),
    "quantize": quantize(),
    "dequantize": dequantize(),
    "move": move(),
    "conv_depthwise": conv_depthwise(),
    "conv_add": conv_add(),
}


def make_problems(name: str, count: int, rounding: Rounding = "tflm") -> list[Problem]:
    """`count` problems of one operator, or fewer; collected first: C is compiled for many."""
    return [problem.rounded(rounding) for problem in drawn(PROBLEMS[name], count)]
