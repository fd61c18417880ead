"""Train the demo network on scikit-learn's handwritten digits and write edgeq/demo/.

Needs torch 2.13, onnx, onnxscript and scikit-learn, which nothing else here does. The seed is
fixed: another run gives the same data file, and weights equal up to torch's arithmetic.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from export_onnx_samples import strip
from sklearn.datasets import load_digits
from torch import Tensor, nn

SEED = 2
TEST_SAMPLES = 360
EPOCHS = 60


class DigitsCnn(nn.Module):
    """8x8 grey image in [0, 1] -> probabilities of the ten digits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.depthwise2 = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.pointwise3 = nn.Conv2d(16, 32, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(32)
        self.pool3 = nn.MaxPool2d(2)
        self.conv4 = nn.Conv2d(32, 32, 3, bias=False)
        self.bn4 = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(0.3)
        self.fc5 = nn.Linear(2 * 2 * 32, 10)

    def logits(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.depthwise2(y)))
        y = self.pool3(torch.relu(self.bn3(self.pointwise3(y))))
        y = torch.relu(self.bn4(self.conv4(y)))
        return self.fc5(self.dropout(torch.flatten(y, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.logits(x), dim=1)


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by up to one pixel, and its contrast changed a little."""
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    dy, dx = torch.randint(0, 3, (2, len(x)), generator=generator)
    moved = torch.stack(
        [p[:, a : a + 8, b : b + 8] for p, a, b in zip(padded, dy, dx, strict=True)]
    )
    return moved * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1, generator=generator)).clamp(max=1)


def train(model: DigitsCnn, x: Tensor, labels: Tensor) -> None:
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    steps = EPOCHS * -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=steps)
    loss_function = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator)
        for batch in order.split(64):
            loss = loss_function(model.logits(shifted(x[batch], generator)), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "edgeq/demo")
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    digits = load_digits()
    images = digits.images.astype(np.uint8)[..., np.newaxis]  # (1797, 8, 8, 1), 0..16
    labels = digits.target.astype(np.uint8)
    order = np.random.RandomState(SEED).permutation(len(images)).astype(np.uint16)
    test, training = order[:TEST_SAMPLES], order[TEST_SAMPLES:]
    np.savez_compressed(
        folder / "digits.npz",
        images=images,
        labels=labels,
        train_index=training,
        test_index=test,
    )

    x = torch.from_numpy(images.astype(np.float32) / 16).permute(0, 3, 1, 2)
    y = torch.from_numpy(labels.astype(np.int64))
    model = DigitsCnn()
    train(model, x[training.astype(np.int64)], y[training.astype(np.int64)])
    model.eval()
    with torch.no_grad():
        right = model(x).argmax(1) == y
    for name, index in (("train", training), ("held-out", test)):
        print(f"{name} accuracy: {right[index.astype(np.int64)].float().mean():.4f}")
    print(f"parameters: {sum(p.numel() for p in model.parameters())}")
    path = folder / "digits_cnn.onnx"
    torch.onnx.export(
        model,
        (x[:1],),
        str(path),
        dynamo=True,
        opset_version=18,
        external_data=False,
        input_names=["image"],
        output_names=["probabilities"],
        verbose=False,
    )
    strip(path)
    opset = onnx.load(path).opset_import[0].version
    print(f"{path.name}: {path.stat().st_size} bytes, opset {opset}")


if __name__ == "__main__":
    main()
