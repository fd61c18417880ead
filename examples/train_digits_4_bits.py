"""Quantization-aware training of the demo's digits network, before and after some epochs.

    pip install 'edgeq[torch]'
    python examples/train_digits_4_bits.py [--bits 4] [--epochs 4] [-o digits.edgeq]

Prints how many of 360 test digits are right in float, after plain quantization, after
quantization with corrections, and after training, and in how many elements the integer
interpreter's outputs differ from those that training saw: none.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import edgeq
from edgeq.demo import demo_model_path, load_digits
from edgeq.evaluate import run_in_reals
from edgeq.graph import Graph
from edgeq.model_file import save_graph
from edgeq.qat import fake_quantized
from edgeq.qat.module import FakeQuantized
from edgeq.scheme import Scheme

LOGITS = "fc5"  # what goes into the network's SOFTMAX
LEARNING_RATE = 1e-3
BATCH = 64
CALIBRATION = 100  # training digits that the ranges start from


@dataclass(frozen=True, slots=True)
class Result:
    """Right of `of` test digits, and how far training and integers are apart."""

    exact: int  # in float
    plain: int
    corrected: int  # after training: rounding and bias correction
    trained: int
    of: int
    differing: int  # elements of the integer outputs that training saw otherwise
    graph: Graph  # the trained integer graph


def trained(bits: int, epochs: int) -> FakeQuantized:
    """The demo's network after some epochs; one scale a filter, so that few bits are felt."""
    x, labels = (torch.from_numpy(part) for part in load_digits()[:2])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = fake_quantized(
        edgeq.read_model(demo_model_path()), x[:CALIBRATION].numpy(), scheme=scheme_of(bits)
    )
    optimizer = torch.optim.Adam(module.parameters(), LEARNING_RATE)
    module.train()
    for epoch in range(epochs):
        if epoch == epochs - 1:
            module.freeze_ranges()
        for batch in torch.randperm(len(x)).split(BATCH):
            logits = module.activations(x[batch])[LOGITS]
            loss = torch.nn.functional.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return module.eval()


def scheme_of(bits: int) -> Scheme:
    return Scheme(weights="per-tensor", weight_bits=bits)


def run(bits: int, epochs: int) -> Result:
    """Quantize after training and with training, and count."""
    train_x, _, test_x, test_y = load_digits()
    some, scheme = train_x[:CALIBRATION], scheme_of(bits)
    graph = edgeq.read_model(demo_model_path())
    module = trained(bits, epochs)
    integers = module.to_graph()
    with torch.no_grad():
        seen = module(torch.from_numpy(test_x)).numpy()

    def right(made: Graph) -> int:
        return int((run_in_reals(made, test_x)[0].argmax(1) == test_y).sum())

    return Result(
        exact=right(graph),
        plain=right(edgeq.quantize(graph, some, method="minmax", scheme=scheme, correct=())),
        corrected=right(edgeq.quantize(graph, some, scheme=scheme, correct="rounding,bias")),
        trained=right(integers),
        of=len(test_y),
        differing=int(np.count_nonzero(seen != run_in_reals(integers, test_x)[0])),
        graph=integers,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bits", type=int, default=4, help="of a weight, 2 to 8")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("-o", "--output", type=Path, help="the .edgeq file to write")
    arguments = parser.parse_args()
    result = run(arguments.bits, arguments.epochs)
    for what, count in (
        ("float", result.exact),
        (f"{arguments.bits}-bit weights, plain", result.plain),
        (f"{arguments.bits}-bit weights, rounding and bias corrected", result.corrected),
        (f"{arguments.bits}-bit weights, {arguments.epochs} epochs", result.trained),
    ):
        print(f"{what}: {count} of {result.of} right")
    print(f"elements of the outputs that differ from what training saw: {result.differing}")
    if arguments.output is not None:
        save_graph(result.graph, arguments.output)
        print(f"{arguments.output}: written")


if __name__ == "__main__":
    main()
