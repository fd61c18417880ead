"""The assembly loops of the DSP kernels, entered and left at each place, on a virtual board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from firmware_matrix import board_of, linked
from integer_networks import SAME3, IntegerNetwork, inputs_of

from edgeq.graph import Graph
from edgeq.ops.window import Window
from edgeq.stream.verify import verify
from firmware_gen import build, generate
from firmware_gen.optimize import MODES, Optimize

# The loop takes 16, 32 or 64 taps a round, by mode, after the first two.
TAPS = (*range(4, 76, 4), 124, 128, 132, 136, 196, 256, 260, 264)
HALF3 = Window(3, 3, 2, 2, pad_top=0, pad_bottom=1, pad_left=0, pad_right=1)


def kernels(folder: Path, graph: Graph, optimize: Optimize = "speed") -> set[str]:
    """The kernels of the layers, each giving the interpreter's bytes on the M4."""
    firmware = generate(graph, "mps2_an386", folder, self_test=0, optimize=optimize)
    with linked(build(firmware).elf, board_of("m4"), "virtual") as link:
        found = verify(link, graph, [inputs_of(graph, 2)])
    assert found.is_equal, [d.output for d in found.differences]
    return {layer.kernel for layer in firmware.model.manifest.layers}


@pytest.mark.parametrize("optimize", MODES)
def test_every_number_of_taps_is_multiplied_once(optimize: Optimize, tmp_path: Path) -> None:
    net = IntegerNetwork((1, 3, 3, 4), seed=1, input_zero_point=-128)
    x = "input"
    outputs = []
    for taps in TAPS[1:]:
        x = net.conv(x, taps, Window(1, 1), zero_point=-128)
        outputs.append(x)
    packed = {"dsp_pointwise_packed"} if optimize != "speed" else set()
    assert kernels(tmp_path, net.build(*outputs), optimize) == {"dsp_pointwise"} | packed


@pytest.mark.parametrize(("height", "width"), [(129, 128), (301, 219)])  # above 2**14, 2**16
def test_an_image_of_more_pixels_than_a_row_may_have_is_taken_by_rows(
    height: int, width: int, tmp_path: Path
) -> None:
    net = IntegerNetwork((1, height, width, 4), seed=3, input_zero_point=-128)
    x = net.conv("input", 5, Window(1, 1), zero_point=-128)
    assert kernels(tmp_path, net.build(x)) == {"dsp"}


@pytest.mark.parametrize("pixels", [1, 2, 3, 7])
def test_an_odd_last_pixel_is_its_own_second(pixels: int, tmp_path: Path) -> None:
    net = IntegerNetwork((1, 1, pixels, 8), seed=4, input_zero_point=-128)
    x = net.conv("input", 12, Window(1, 1), zero_point=-128)
    assert kernels(tmp_path, net.build(x)) == {"dsp_pointwise"}


@pytest.mark.parametrize("optimize", MODES)
def test_strips_of_every_size_give_the_interpreters_bytes(
    optimize: Optimize, tmp_path: Path
) -> None:
    """Lines of 2 to 13 outputs, of both parities and strides; several strips, and the last of
    each number of lines."""
    net = IntegerNetwork((1, 28, 26, 4), seed=2, input_zero_point=-128)
    outputs = []
    for lines in (24, 17, 15, 13, 12, 11, 9, 8, 7, 6, 5, 4):
        for width in {lines, min(lines, 13), lines // 2 + 1}:
            crop = Window(29 - lines, 27 - width)
            x = net.conv("input", 5, crop, zero_point=-128)
            for window in (SAME3, HALF3):
                weights = net.weights(3, 3, 5)
                outputs.append(
                    net.product("depthwise", x, weights, window=window, zero_point=-128)
                )
    row = net.conv("input", 8, Window(26, 3), zero_point=-128)  # three rows: one line of output
    for stride in (1, 2):
        window = Window(3, 3, stride, stride, pad_left=1, pad_right=1)
        outputs.append(net.product("depthwise", row, net.weights(3, 3, 8), window=window))
    assert "dsp_3x3_strips" in kernels(tmp_path, net.build(*outputs), optimize)


@pytest.mark.parametrize("optimize", MODES)
def test_few_long_lines_have_a_ring_and_many_are_strips(
    optimize: Optimize, tmp_path: Path
) -> None:
    """Rows and columns, of both parities and strides; channels of 15 bytes and of 16."""
    for lines, kernel in ((5, "dsp_3x3_plane"), (7, "dsp_3x3_strips")):
        for height, width in ((lines, 31), (30, lines), (lines, 29)):
            net = IntegerNetwork((1, height, width, 4), seed=4, input_zero_point=-128)
            x = net.conv("input", 6, Window(1, 1), zero_point=-128)
            outputs = []
            for window, bias in ((SAME3, 0), (HALF3, 30_000)):
                weights, biases = net.weights(3, 3, 6), np.array([0, bias, 0, 0, -bias, 0])
                outputs.append(
                    net.product("depthwise", x, weights, biases, window, zero_point=-128)
                )
            folder = tmp_path / f"{height}x{width}"
            found = kernels(folder, net.build(*outputs), optimize)
            source = (folder / "model.c").read_text(encoding="utf-8")
            for kind in ("COMPACT", "WIDE"):  # a large bias is no bias of 23 bits
                assert f"#define EDGEQ_CHANNELS_{kind}\n" in source
            assert found == {"dsp", kernel}
