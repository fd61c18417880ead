"""Which constants of layers are copied from flash into a ram at start-up: those read most.

A layer reads its filter from end to end, `readings` times a run. A memory with wait states
fetches `read_nbytes` at a time and waits for each; what is no larger than the cache in front of
it is fetched once a run. This is the least that such reads wait: other users of the cache and
of the bus are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeq.board import Memory

ALIGNMENT = 16  # of the constants of each layer in a ram


@dataclass(frozen=True, slots=True)
class LayerConstants:
    """The constants of one layer that multiplies."""

    name: str
    nbytes: int
    readings: int  # of all of them, in a run


@dataclass(frozen=True, slots=True)
class Home:
    """Where the constants of one layer are while the model runs."""

    ram: int | None  # number of the ram; None: in flash
    wait_cycles: int  # a run, that reading them waits there
    saved_cycles: int  # a run, by the copy
    why: str  # they stay in flash; "" of a copy


@dataclass(frozen=True, slots=True)
class Wish:
    """How much ram constants may take, and for what."""

    least_a_byte: float = 0.0  # cycles a run, that a byte of ram must save
    most_nbytes: int | None = None  # in all, and for no gain too; None: as much as there is
    refusal: str = ""  # why there are no copies


def wait_cycles(constants: LayerConstants, memory: Memory) -> int:
    """Core cycles a run that reading the constants waits, if they are in this memory."""
    fetches = constants.nbytes // memory.read_nbytes  # bytes of a last one may be unread
    is_cached = constants.nbytes <= memory.cache_nbytes
    return fetches * memory.wait_states * (1 if is_cached else constants.readings)


def homes(
    layers: Sequence[LayerConstants],
    flash: Memory,
    rams: Sequence[Memory],
    free: Sequence[int],
    wish: Wish,
) -> tuple[Home, ...]:
    """A home for the constants of each layer; `free`: bytes that each ram has for them.

    The layer whose constants wait most for a byte comes first, into the first ram that waits
    less than flash and has room. Deterministic.
    """
    left = [nbytes // ALIGNMENT * ALIGNMENT for nbytes in free]
    asked = wish.most_nbytes
    waits = [wait_cycles(layer, flash) for layer in layers]

    def heat(i: int) -> tuple[float, int, int]:
        return -waits[i] / layers[i].nbytes, -layers[i].readings, i

    found: dict[int, Home] = {}
    for i in sorted(range(len(layers)), key=heat):
        nbytes = aligned(layers[i].nbytes)
        saved = [waits[i] - wait_cycles(layers[i], ram) for ram in rams]
        why = _why_not(layers[i], flash, saved, wish)
        if not why and asked is not None and nbytes > asked:
            why = f"{nbytes:,} bytes, {asked:,} of those asked for are left"
        if why:
            found[i] = Home(None, waits[i], 0, why)
            continue
        usable = [k for k in range(len(rams)) if saved[k] >= min(waits[i], 1)]
        ram = next((k for k in usable if nbytes <= left[k]), None)
        if ram is None:
            room = ", ".join(f"'{rams[k].name}' has {left[k]:,} left" for k in usable)
            found[i] = Home(None, waits[i], 0, f"{nbytes:,} bytes, {room}")
            continue
        left[ram] -= nbytes
        asked = None if asked is None else asked - nbytes
        found[i] = Home(ram, waits[i] - saved[ram], saved[ram], "")
    return tuple(found[i] for i in range(len(layers)))


def aligned(nbytes: int) -> int:
    """Bytes that so many take in a ram."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _why_not(layer: LayerConstants, flash: Memory, saved: Sequence[int], wish: Wish) -> str:
    """Why the constants are not worth a copy, whatever room there is; "" if they are."""
    if wish.refusal:
        return wish.refusal
    if wish.most_nbytes is None and not flash.wait_states:
        return f"the board's file gives '{flash.name}' no wait states"
    if max(saved) < min(flash.wait_states, 1):
        return f"no ram waits less than '{flash.name}'"
    if wish.most_nbytes is None and max(saved) < wish.least_a_byte * layer.nbytes:
        return f"a copy saves less than {wish.least_a_byte:g} cycle a run for each byte"
    return ""
