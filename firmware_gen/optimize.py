"""What `--optimize` means: which kernels layers share, and what code is worth its bytes.

The bytes that a network gives are the same in every mode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from firmware_gen.toolchain import Levels

Optimize = Literal["speed", "size", "balanced"]
DEFAULT: Optimize = "balanced"


@dataclass(frozen=True, slots=True)
class Mode:
    """How code is generated and compiled in one mode."""

    levels: Levels  # the compiler's
    # Layers of more than so many kinds (of parameters) share one copy of their kernel, which
    # reads them; None: they never do. A copy that reads parameters is as long as a few that
    # know theirs, and longer and slower where a kernel's loops are special to a layer.
    few: int | None
    few_of_special: int | None  # where Variant.is_shared is false
    # Code must save so much of the network's multiplications for each of its bytes, or a
    # smaller kernel is taken.
    macs_a_byte: float
    # A layer's function is compiled for size if the layer does at most so much of the work.
    cold_share: float
    # What model.c defines for kernels whose code is longer to be faster: EDGEQ_FOR_SPEED
    # or EDGEQ_FOR_SIZE. They give the same bytes.
    define: str | None = None
    # Constants are copied to a ram where that saves so many cycles a run for each byte of it;
    # None: nowhere.
    cycles_a_byte: float | None = None
    # Constants are packed, and unpacked into scratch in each run, where at most so many bytes
    # of scratch save one of flash; None: nowhere.
    unpacked_a_byte: float | None = None


# Of a network's multiplications, as a share: 950 bytes must do 0.1 % of them, or 1 %.
MODES: Mapping[Optimize, Mode] = MappingProxyType(
    {
        "speed": Mode(Levels("-O2", "-O2"), None, None, 0.0, 0.0, "EDGEQ_FOR_SPEED", 0.0),
        "balanced": Mode(Levels("-O2", "-Os"), 2, None, 1e-6, 0.01, None, 1.0, 30.0),
        "size": Mode(Levels("-Os", "-Os"), 2, 4, 1e-5, 0.01, "EDGEQ_FOR_SIZE", None, math.inf),
    }
)
