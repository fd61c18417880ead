"""Constants of layers in rams: how often kernels read their filters, and how much is asked for.

A filter and the numbers of its channels go together. What is copied has the section
`.edgeq_weights.<number of the ram>`; a linker script that does not know it leaves the bytes in
flash. Tables of activations and layers without a filter stay in flash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from edgeq.board import Memory
from edgeq.memory.constants import Home, LayerConstants, Wish, homes
from firmware_gen.kernels import mve
from firmware_gen.kernels.kernel import LayerCode
from firmware_gen.layers import Choice
from firmware_gen.optimize import MODES, Optimize

# "auto": what saves time worth its ram; "none"; or at most so many bytes, the hottest first.
WeightsInRam: TypeAlias = Literal["auto", "none"] | int

# Output pixels that a kernel, by its header, computes while it reads the filter once. All
# others read it once a run, or so often that it is not known: they are taken to read it once.
PIXELS_A_READING: Mapping[str, int] = MappingProxyType(
    {
        "conv_2d.h": 1,
        "conv_2d_dsp.h": 2,
        "conv_2d_lanes.h": 4,
        "conv_2d_mve.h": mve.PIXELS,
        "conv_2d_pointwise.h": 2,
        "depthwise_conv_2d.h": 1,
        "depthwise_conv_2d_block.h": 4,
        "fully_connected.h": 1,
    }
)


@dataclass(frozen=True, slots=True)
class Room:
    """A board's memories, and what of its rams constants may have."""

    flash: Memory
    rams: tuple[Memory, ...]
    free: tuple[int, ...]  # bytes of each ram
    wanted: WeightsInRam = "auto"


@dataclass(frozen=True, slots=True)
class Copied:
    """Where the constants of one function of model.c are while it runs."""

    function: str
    nbytes: int
    readings: int  # of all of them in a run, estimated
    memory: str  # its name in the board's file
    home: Home


def section(ram: int) -> str:
    """The section of constants that are copied into a ram."""
    return f".edgeq_weights.{ram}"


def place_constants(
    choices: Sequence[Choice], code: Sequence[LayerCode], room: Room, optimize: Optimize
) -> tuple[Copied, ...]:
    """Where the constants of each layer, and of each part of one, are while the model runs."""
    layers = [
        found
        for choice, parts in zip(choices, code, strict=True)
        for found in _constants_of(choice.layer.name, (choice,), parts)
    ]
    found = homes(layers, room.flash, room.rams, room.free, _wish(room.wanted, optimize))
    return tuple(
        Copied(
            layer.name,
            layer.nbytes,
            layer.readings,
            (room.flash if home.ram is None else room.rams[home.ram]).name,
            home,
        )
        for layer, home in zip(layers, found, strict=True)
    )


def _constants_of(
    name: str, choices: Sequence[Choice], code: LayerCode
) -> list[LayerConstants]:
    """Of a layer or a part; the first of `choices` has them, the others read them too."""
    found = []
    parts = choices[0].parts
    for role in parts:
        others = [parts[r] for r, other in code.parts.items() if other.constants_of == role]
        found += _constants_of(f"{name}_{role}", (parts[role], *others), code.parts[role])
    nbytes = sum(c.values.nbytes for c in code.constants)
    if choices[0].macs and nbytes:
        found.append(LayerConstants(name, nbytes, sum(map(_readings, choices))))
    return found


def _readings(choice: Choice) -> int:
    """How often a kernel reads its filter in a run, from its multiplications."""
    pixels = PIXELS_A_READING.get(choice.header or "")
    weights = choice.layer.inputs[1].data
    if choice.unpacks or pixels is None or weights is None:
        return 1
    return max(1, choice.macs // weights.size // pixels)


def _wish(wanted: WeightsInRam, optimize: Optimize) -> Wish:
    if wanted == "none":
        return Wish(refusal="--weights-in-ram none")
    if wanted != "auto":
        return Wish(most_nbytes=wanted)
    least = MODES[optimize].cycles_a_byte
    if least is None:
        return Wish(refusal=f"--optimize {optimize} spends no ram on speed")
    return Wish(least)
