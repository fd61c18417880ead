"""Problems of FULLY_CONNECTED as networks have them: one row, small weights, one multiplier."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from problem import Problem, activation, build, constant, int8_values

from edgeq.ops.fully_connected import QuantizedFullyConnected

seeds = st.integers(0, 2**32 - 1)


@st.composite
def usual_row(draw: st.DrawFn) -> Problem:
    """Outputs of all values; with starts of one word and of two, clamps, odd channels."""
    depth = draw(st.sampled_from((5, 8, 64, 72, 128, 200)))
    outputs = draw(st.sampled_from((1, 2, 6, 7, 8, 12, 17)))
    rng = np.random.default_rng(draw(seeds))
    spread = draw(st.sampled_from((3, 20, 20, 60)))
    weights = np.clip(rng.normal(0, spread, (outputs, depth)).round(), -127, 127)
    usual = 40 * spread * math.sqrt(depth)  # what an accumulator is about
    largest = draw(st.sampled_from((0.5, 3.0, 3.0))) * usual
    bias = rng.uniform(-largest, largest, outputs).astype(np.int32)
    output_zero_point = draw(st.sampled_from((-128, -128, 0, 96, -5)))
    x = activation((1, depth))
    tensors = (x, constant(weights.astype(np.int8)), constant(bias))
    op = QuantizedFullyConnected(
        input_zero_point=draw(st.sampled_from((-128, 0, 89, 127))),
        output_zero_point=output_zero_point,
        activation_min=draw(st.sampled_from((-128, output_zero_point))),
        activation_max=draw(st.sampled_from((127, 127, 100))),
        multiplier=(draw(st.integers(2**30, 2**31 - 1)),),
        shift=(-max(1, round(math.log2(usual / 50))),),
    )
    return build(op, tensors, (int8_values(draw(seeds), x.shape),))
