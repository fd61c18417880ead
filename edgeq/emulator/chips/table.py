"""Which chip model stands for which microcontroller, by how its name begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeq.emulator.chips import Chip, Context

CHIPS: Mapping[str, Callable[[Context], Chip]] = {}
