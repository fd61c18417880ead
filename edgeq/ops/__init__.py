"""The table of operators: TFLite's name, the float class, the integer classes."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.ops.add import Add, QuantizedAdd
from edgeq.ops.average_pool_2d import AveragePool2D, QuantizedAveragePool2D
from edgeq.ops.concatenation import Concatenation, QuantizedConcatenation
from edgeq.ops.conv_2d import Conv2D, QuantizedConv2D
from edgeq.ops.conv_add import QuantizedConvAdd
from edgeq.ops.conv_depthwise import QuantizedConvDepthwise
from edgeq.ops.depthwise_conv_2d import DepthwiseConv2D, QuantizedDepthwiseConv2D
from edgeq.ops.dequantize import Dequantize
from edgeq.ops.fully_connected import FullyConnected, QuantizedFullyConnected
from edgeq.ops.logistic import Logistic, QuantizedLogistic
from edgeq.ops.max_pool_2d import MaxPool2D, QuantizedMaxPool2D
from edgeq.ops.mean import Mean, QuantizedMean
from edgeq.ops.move import Move
from edgeq.ops.op import FloatOp, IntegerOp
from edgeq.ops.pad import Pad, QuantizedPad
from edgeq.ops.quantize import QuantizeFloat, Requantize
from edgeq.ops.relu import QuantizedRelu, Relu
from edgeq.ops.reshape import QuantizedReshape, Reshape
from edgeq.ops.softmax import QuantizedSoftmax, Softmax
from edgeq.ops.window import Window


@dataclass(frozen=True, slots=True)
class Operator:
    """One row: `name` is the stem of the operator's files on both sides."""

    name: str
    float_class: type[FloatOp] | None
    integer_classes: tuple[type[IntegerOp], ...]
    onnx: str  # what becomes this operator, as torch.onnx.export writes it
    note: str = ""


OPERATORS: tuple[Operator, ...] = (
    Operator("conv_2d", Conv2D, (QuantizedConv2D,), "Conv", "any stride, dilation, padding"),
    Operator(
        "depthwise_conv_2d",
        DepthwiseConv2D,
        (QuantizedDepthwiseConv2D,),
        "Conv with groups, BatchNormalization",
        "any multiplier",
    ),
    Operator(
        "fully_connected", FullyConnected, (QuantizedFullyConnected,), "Gemm, MatMul + Add"
    ),
    Operator("add", Add, (QuantizedAdd,), "Add, Sub", "with broadcasting"),
    Operator("average_pool_2d", AveragePool2D, (QuantizedAveragePool2D,), "AveragePool"),
    Operator("max_pool_2d", MaxPool2D, (QuantizedMaxPool2D,), "MaxPool, GlobalMaxPool"),
    Operator(
        "mean", Mean, (QuantizedMean,), "GlobalAveragePool, ReduceMean", "over height and width"
    ),
    Operator("pad", Pad, (QuantizedPad,), "Pad", "with zeros, any axis but the batch"),
    Operator(
        "concatenation",
        Concatenation,
        (QuantizedConcatenation,),
        "Concat",
        "any axis but the batch",
    ),
    Operator(
        "reshape", Reshape, (QuantizedReshape,), "Reshape, Flatten, Squeeze, Unsqueeze", "free"
    ),
    Operator("softmax", Softmax, (QuantizedSoftmax,), "Softmax", "last axis"),
    Operator("logistic", Logistic, (QuantizedLogistic,), "Sigmoid"),
    Operator("relu", Relu, (QuantizedRelu,), "Relu, Clip", "RELU and RELU6, fused and alone"),
    Operator("quantize", None, (QuantizeFloat, Requantize), "", "float32, int8, uint8"),
    Operator("dequantize", None, (Dequantize,), "", "to float32"),
    Operator("move", None, (Move,), "", "made by edgeq where a copy saves memory"),
    Operator(
        "conv_depthwise",
        None,
        (QuantizedConvDepthwise,),
        "",
        "made by edgeq where two in one by rows save memory",
    ),
    Operator(
        "conv_add",
        None,
        (QuantizedConvAdd,),
        "",
        "made by edgeq where two in one by rows save memory",
    ),
)

__all__ = ["OPERATORS", "FloatOp", "IntegerOp", "Operator", "Window"]
