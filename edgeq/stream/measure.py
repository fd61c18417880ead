"""Cycles of each layer on a board whose firmware counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeq.errors import LinkError
from edgeq.graph import Array, Graph
from edgeq.stream.link import Link
from edgeq.stream.verify import verify


@dataclass(frozen=True, slots=True)
class Measured:
    """Counts of one inference, the mean over all runs; by layer with code, in order."""

    kind: str  # "measured" by a core's counter, or "emulated" by that of an emulator
    counts: tuple[float, ...]
    runs: int


def measure(
    link: Link,
    graph: Graph,
    board: str,
    layers: Sequence[str],
    inputs: Sequence[Array],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Run every sample on the board behind `link`; `layers`: those that must be counted.

    Raises:
        LinkError: another board or model, firmware that does not count these layers, or outputs
            that are not the interpreter's.
    """
    if link.identity.board != board:
        raise LinkError(
            f"{link.port}: the device says it is a '{link.identity.board}', must be '{board}'"
        )
    runs = len(inputs[0])
    sums = [0] * len(layers)
    is_real = True
    for sample in range(runs):
        found = verify(link, graph, [x[sample : sample + 1] for x in inputs])
        if not found.is_equal:
            raise LinkError(
                f"{link.port}: the outputs of sample {sample} differ from the interpreter's"
            )
        is_real, cycles = link.cycles()
        if len(cycles) != len(layers):
            raise LinkError(
                f"{link.port}: the firmware has {len(cycles)} layers, this edgeq generates "
                f"{len(layers)}; build it again and flash it"
            )
        sums = [total + count for total, count in zip(sums, cycles, strict=True)]
        progress(sample + 1, runs)
    kind = "measured" if is_real else "emulated"
    return Measured(kind, tuple(total / runs for total in sums), runs)
