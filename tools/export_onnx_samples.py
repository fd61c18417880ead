"""Write the small networks of tests/data/onnx/, each as torch.onnx.export writes it.

Needs torch 2.13 and onnxscript, which the tests do not: run it only to make the files anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn


def conv_bn(
    inputs: int, outputs: int, stride: int = 1, groups: int = 1, size: int = 3
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class CnnBnRelu6(nn.Module):
    shape = (3, 12, 10)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_bn(3, 8), conv_bn(8, 12, 2), nn.MaxPool2d(2))
        self.classifier = nn.Linear(12 * 3 * 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.flatten(self.features(x), 1)
        return torch.softmax(self.classifier(y), dim=1)


class MobileNetLike(nn.Module):
    """Inverted residual blocks: expand, depthwise, project, add."""

    shape = (3, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, 2)
        self.block1 = nn.Sequential(
            conv_bn(8, 16, size=1),
            conv_bn(16, 16, groups=16),
            nn.Conv2d(16, 8, 1, bias=False),
            nn.BatchNorm2d(8),
        )
        self.block2 = nn.Sequential(conv_bn(8, 16, 2, groups=8), conv_bn(16, 12, size=1))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = self.block2(y + self.block1(y))
        return self.head(y.mean([2, 3]))


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNetLike(nn.Module):
    shape = (3, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 12, 2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer1(y)), 1))


class InceptionLike(nn.Module):
    """Branches joined along the channels; average pooling that counts its padding."""

    shape = (2, 9, 11)

    def __init__(self) -> None:
        super().__init__()
        self.branch1 = nn.Conv2d(2, 4, 1)
        self.branch3 = nn.Sequential(
            nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 5, 3, padding=1)
        )
        self.branch_pool = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(2, 3, 1))
        self.reduce = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
        self.fc = nn.Linear(12 * 5 * 6, 7)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.branch1(x), self.branch3(x), self.branch_pool(x)], dim=1)
        y = self.reduce(torch.relu(y))
        return torch.sigmoid(self.fc(y.view(y.size(0), -1)))


class ViewAndPad(nn.Module):
    """Explicit padding, dilation, a normalization of the input, and shapes taken apart."""

    shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((1, 2, 0, 1))
        self.conv = nn.Conv2d(1, 6, 3, dilation=2)
        self.act = nn.Hardtanh(-0.5, 1.5)
        self.bn = nn.BatchNorm1d(6 * 5 * 7)
        self.fc1 = nn.Linear(6 * 5 * 7, 8, bias=False)
        self.bn1 = nn.BatchNorm1d(8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.conv(self.pad((x - 0.13) / 0.31)))
        n, c, h, w = y.shape
        y = self.bn(y.reshape(n, c * h * w))
        return self.fc2(torch.relu(self.bn1(self.fc1(y))))


class ChannelShuffle(nn.Module):
    """ShuffleNet's shuffle before a convolution, and a matrix product on the last axis."""

    shape = (4, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.mix = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        shuffled = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        y = self.conv(shuffled)
        return self.mix(y.flatten(2).transpose(1, 2)).mean(1)


MODELS = (CnnBnRelu6, MobileNetLike, ResNetLike, InceptionLike, ViewAndPad, ChannelShuffle)


def randomize(model: nn.Module) -> None:
    """Statistics and scales that an untrained BatchNorm does not have."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)


def export(model: nn.Module, shape: tuple[int, ...], stem: Path) -> None:
    x = torch.randn(1, *shape)
    torch.onnx.export(
        model,
        (x,),
        str(stem.with_name(f"{stem.name}_torchscript.onnx")),
        dynamo=False,
        opset_version=13,
        input_names=["image"],
        output_names=["scores"],
        dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
    )
    torch.onnx.export(
        model,
        (x,),
        str(stem.with_name(f"{stem.name}_dynamo.onnx")),
        dynamo=True,
        opset_version=20,
        external_data=False,
    )


def strip(path: Path) -> None:
    """Take out stack traces, which hold this machine's paths and outweigh the weights."""
    import onnx

    model = onnx.load(path)
    keep = "pkg.torch.onnx.name_scopes"
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info):
        if hasattr(holder, "metadata_props"):
            kept = [p for p in holder.metadata_props if p.key == keep]
            del holder.metadata_props[:]
            holder.metadata_props.extend(kept)
    for holder in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del holder.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.save(model, path)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/data/onnx")
    folder.mkdir(parents=True, exist_ok=True)
    for model_class in MODELS:
        torch.manual_seed(7)
        model = model_class()
        randomize(model)
        export(model.eval(), model_class.shape, folder / model_class.__name__.lower())
    for path in sorted(folder.glob("*.onnx")):
        strip(path)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
