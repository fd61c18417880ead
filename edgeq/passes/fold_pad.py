"""Zero padding of height and width goes into the window of the convolutions after it.

Not into that of a pool: there, padding is not zeros but no pixel at all.
"""

from __future__ import annotations

from dataclasses import replace

from edgeq.graph import Graph, Node
from edgeq.ops.conv_2d import Conv2D
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D
from edgeq.ops.pad import Pad
from edgeq.ops.window import Window
from edgeq.passes.rewrite import rebuilt


def fold_pad(graph: Graph) -> Graph:
    """The same function without each Pad that only convolutions read."""
    while (found := _find(graph)) is not None:
        graph = _fold(graph, found)
    return graph


def _find(graph: Graph) -> Node | None:
    """The last Pad that can go; a chain of them is taken from its end."""
    for node in reversed(graph.nodes):
        if not isinstance(node.op, Pad) or node.name in graph.outputs:
            continue
        is_spatial = len(node.op.pads) == 4 and node.op.pads[0] == node.op.pads[3] == (0, 0)
        readers = graph.consumers(node.name)
        if is_spatial and readers and all(_takes_padding(r, node.name) for r in readers):
            return node
    return None


def _takes_padding(node: Node, tensor: str) -> bool:
    is_convolution = isinstance(node.op, Conv2D | DepthwiseConv2D)
    return is_convolution and tensor not in node.inputs[1:]


def _fold(graph: Graph, pad: Node) -> Graph:
    assert isinstance(pad.op, Pad)
    replaced: dict[str, Node | None] = {pad.name: None}
    for node in graph.consumers(pad.name):
        assert isinstance(node.op, Conv2D | DepthwiseConv2D)
        op = replace(node.op, window=_padded(node.op.window, pad.op))
        replaced[node.name] = replace(node, op=op)
    return rebuilt(graph, replaced, {pad.name: pad.inputs[0]})


def _padded(window: Window, pad: Pad) -> Window:
    _, (top, bottom), (left, right), _ = pad.pads
    return replace(
        window,
        pad_top=window.pad_top + top,
        pad_bottom=window.pad_bottom + bottom,
        pad_left=window.pad_left + left,
        pad_right=window.pad_right + right,
    )
