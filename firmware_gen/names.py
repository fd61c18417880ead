"""Names of layers as C identifiers: from the part of a node's name that tells most.

Converters join the names of all that was fused, each a path of scopes, as in
"model/activation/Relu;model/batch_normalization/FusedBatchNormV3;model/conv2d_1/Conv2D".
The scope that says what the operator is ("conv2d_1") is what a reader of the network knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from edgeq.graph import Graph
from firmware_gen.c_text import identifier

# What an operator's own scope is called, by the operator's name.
_TELLING: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "conv_2d": re.compile(r"(?!.*depthwise).*conv"),
        "depthwise_conv_2d": re.compile(r".*(depthwise|dw|conv)"),
        "conv_add": re.compile(r"(?!.*depthwise).*conv"),
        "conv_depthwise": re.compile(r".*(depthwise|dw|conv)"),
        "fully_connected": re.compile(r".*(dense|fc|linear|gemm|logits|classifier)"),
        "average_pool_2d": re.compile(r".*pool"),
        "max_pool_2d": re.compile(r".*pool"),
        "mean": re.compile(r".*(mean|pool)"),
        "softmax": re.compile(r".*softmax"),
    }
)
# Segments that name an operation of a framework (these have capitals), or a scope that says
# little; a converter may have put a number behind.
_GENERIC = re.compile(
    r"(Conv|Conv2D|DepthwiseConv2dNative|MatMul|Gemm|BiasAdd|Add|AddV2|Relu6?|Clip|Softmax|Sigmoid"
    r"|FusedBatchNorm(V\d)?|BatchNormalization|AvgPool|MaxPool|AveragePool|GlobalAveragePool|Mean"
    r"|Pad|PadV2|Concat|ConcatV2|Reshape|Flatten|Squeeze|ReadVariableOp|Quantize|Dequantize"
    r"|StatefulPartitionedCall|PartitionedCall|Identity|resource|depthwise|model|functional"
    r"|sequential|activation|re_lu|relu6?|batch_normalization|main_graph|tensor|output)"
    r"(_output)?(_?\d+)?(_int8)?\Z"
)
# Names of C's library and its headers, which a compiler may know or a macro may take.
_RESERVED = re.compile(
    r"edgeq\w*|EDGEQ\w*|[A-Z0-9_]+|\w+_t|(str|mem|is|to|wcs|atomic_|_)\w*|main|op|a?abs|labs|div"
    r"|exp\w?|log\w*|pow|sqrt|cbrt|sin\w*|cos\w*|tan\w*|asin\w*|acos\w*|atan\w*|floor|ceil"
    r"|round|trunc|fabs|fma|fmax|fmin|fmod|hypot|erf\w?|[ft]gamma|gamma|j[01n]|y[01n]|index"
    r"|malloc|calloc|realloc|free|exit|abort|printf|scanf|puts|putchar|getchar|rand|signal"
    r"|time|clock|read|write|remove|rename|system|alloca|bool|true|false|input_\d+"
)


def layer_names(graph: Graph, roles: Sequence[str]) -> tuple[str, ...]:
    """One C identifier for each node, unique also with each of "_<role>" behind it."""
    taken: set[str] = set()
    names = []
    for node in graph.nodes:
        constants = [t for t in node.inputs if graph.tensors[t].data is not None]
        wanted = telling_name((node.name, *constants), node.op.name)
        number, name = 0, wanted
        while any(n in taken for n in _with_roles(name, roles)):
            number += 1
            name = f"{wanted}_{number}"
        taken.update(_with_roles(name, roles))
        names.append(name)
    return tuple(names)


def telling_name(names: Sequence[str], op_name: str) -> str:
    """The segment of these names of a node and its constants that tells most.

    The operator's name if none tells.
    """
    if op_name == "quantize" and "/to/" in names[0]:  # put in between by the quantizer
        return _c_name(names[0])
    paths = [[s for s in re.split(r"[/:]", p) if s] for n in names for p in n.split(";")]
    telling = _TELLING.get(op_name, re.compile(re.escape(op_name)))
    for path in paths:
        for segment in path:
            if telling.match(segment.lower()) and not _GENERIC.match(segment):
                return _c_name(segment)
    for path in paths:
        for depth in range(len(path), 0, -1):
            segment = path[depth - 1]
            if segment.isdigit() and depth > 1 and not _GENERIC.match(path[depth - 2]):
                return _c_name(f"{path[depth - 2]}_{segment}")
            if not segment.isdigit() and not _GENERIC.match(segment):
                return _c_name(segment)
    return _c_name(op_name)


def _c_name(text: str) -> str:
    name = identifier(text)
    return f"{name}_layer" if _RESERVED.fullmatch(name) else name


def _with_roles(name: str, roles: Sequence[str]) -> list[str]:
    return [name, *(f"{name}_{role}" for role in roles)]
