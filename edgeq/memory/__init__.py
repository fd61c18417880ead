"""Where each activation and each kernel's scratch lives in the one arena.

`blocks` says what lives when and which pairs may overlap how far, `search` finds offsets,
`plan` gives the MemoryPlan of a graph. passes/arrange.py prepares a graph for it.
"""

from edgeq.memory.blocks import ALIGNMENT, Scratch, scratch_name
from edgeq.memory.plan import MemoryPlan, Overlap, Placement, plan_memory

__all__ = [
    "ALIGNMENT",
    "MemoryPlan",
    "Overlap",
    "Placement",
    "Scratch",
    "plan_memory",
    "scratch_name",
]
