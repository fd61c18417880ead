"""Offsets for the blocks of a layout: greedy orders, a local search, and an exact solver.

A pair of blocks that meet leaves two choices: one at least so far above the other, or the other
way round. Placing blocks in some order, each at the lowest offset that is free, can give every
optimal plan: take its blocks by ascending offset, and none ends up higher than it was there.
So the search is one over orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from edgeq.memory.blocks import ALIGNMENT, Block, Layout, aligned

TRIALS = 300  # orders that the local search tries from each start
LOOKED_AT = 1_000_000  # pairs, from each start: fewer orders of many blocks that meet
STARTS = 4  # greedy results that it starts from


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sizes, and for each block (other, below, above, exact) of every block that it meets.

    It is at least `below` bytes below the other, or at least `above` above it, or, if `exact`,
    at the same byte.
    """

    nbytes: tuple[int, ...]
    of: tuple[tuple[tuple[int, int, int, bool], ...], ...]

    @staticmethod
    def from_layout(layout: Layout) -> Pairs:
        """The pairs that constrain each other at all."""
        blocks = layout.blocks
        rows: list[list[tuple[int, int, int, bool]]] = [[] for _ in blocks]
        for i, a in enumerate(blocks):
            for j in range(i + 1, len(blocks)):
                if not a.meets(blocks[j]):
                    continue
                i_below = layout.slides.get((i, j), aligned(a.nbytes))
                j_below = layout.slides.get((j, i), aligned(blocks[j].nbytes))
                if i_below + j_below > ALIGNMENT:  # else no offset is forbidden
                    exact = (i, j) in layout.exact or (j, i) in layout.exact
                    rows[i].append((j, i_below, j_below, exact))
                    rows[j].append((i, j_below, i_below, exact))
        return Pairs(tuple(b.nbytes for b in blocks), tuple(map(tuple, rows)))


def lowest_fit(pairs: Pairs, order: Sequence[int]) -> tuple[int, list[int]]:
    """(arena size, offsets): each block in turn at the lowest offset that is free."""
    offsets = [-1] * len(pairs.nbytes)
    size = 0
    for block in order:
        forbidden = []
        for other, below, above, exact in pairs.of[block]:
            if (there := offsets[other]) < 0:
                continue
            if exact:
                forbidden += [(there - below, there), (there, there + above)]
            else:
                forbidden.append((there - below, there + above))
        forbidden.sort()
        at = 0
        for low, high in forbidden:
            if at <= low:
                break
            at = max(at, high)
        offsets[block] = at
        size = max(size, at + pairs.nbytes[block])
    return size, offsets


def find_offsets(layout: Layout, enough: int, trials: int = TRIALS) -> tuple[int, list[int]]:
    """(arena size, offsets): the best of greedy orders, then of a local search from there.

    Deterministic; stops as soon as the arena has `enough` bytes or fewer.
    """
    pairs = Pairs.from_layout(layout)
    found: list[tuple[int, list[int], list[int]]] = []
    for order in _orders(layout.blocks):
        size, offsets = lowest_fit(pairs, order)
        if size <= enough:
            return size, offsets
        found.append((size, offsets, order))
    found.sort(key=lambda f: f[0])
    best = found[0]
    for start in found[:STARTS]:
        reached = _improve(pairs, start, enough, trials)
        best = min(best, reached, key=lambda f: f[0])
        if best[0] <= enough:
            break
    return best[0], best[1]


def _improve(
    pairs: Pairs, start: tuple[int, list[int], list[int]], enough: int, trials: int
) -> tuple[int, list[int], list[int]]:
    """Moves blocks of the critical stack to other places in the order while that helps."""
    trials = min(trials, LOOKED_AT // max(sum(map(len, pairs.of)), 1))
    best = start
    best_cost = _cost(pairs, best[0], best[1])
    tried = {tuple(best[2])}
    is_better = True
    while is_better and best[0] > enough:
        is_better = False
        for order in _neighbours(pairs, best[0], best[1], best[2]):
            if tuple(order) in tried:
                continue
            if len(tried) > trials:
                return best
            tried.add(tuple(order))
            size, offsets = lowest_fit(pairs, order)
            cost = _cost(pairs, size, offsets)
            if cost < best_cost:
                best, best_cost, is_better = (size, offsets, order), cost, True
                break
    return best


def _cost(pairs: Pairs, size: int, offsets: list[int]) -> tuple[int, int, int]:
    """Size first; then fewer blocks at the top, then lower ones."""
    tops = sum(o + n == size for o, n in zip(offsets, pairs.nbytes, strict=True))
    return size, tops, sum(offsets)


def _neighbours(
    pairs: Pairs, size: int, offsets: list[int], order: list[int]
) -> Iterable[list[int]]:
    """The order with one block of the critical stack elsewhere; earlier places first."""
    for block in _critical(pairs, size, offsets):
        at = order.index(block)
        rest = order[:at] + order[at + 1 :]
        for place in (*range(at), *range(at + 1, len(order))):
            yield [*rest[:place], block, *rest[place:]]


def _critical(pairs: Pairs, size: int, offsets: list[int]) -> list[int]:
    """The blocks that end at the top, and those that hold them up, from the top down."""
    wanted = [b for b, n in enumerate(pairs.nbytes) if offsets[b] + n == size]
    stack: list[int] = []
    while wanted:
        block = wanted.pop(0)
        if block not in stack:
            stack.append(block)
            wanted += [
                other
                for other, _, above, exact in pairs.of[block]
                if offsets[other] + (0 if exact else above) == offsets[block] > 0
                or offsets[other] + above == offsets[block] > 0
            ]
    return stack


def _orders(blocks: Sequence[Block]) -> Iterable[list[int]]:
    def life(b: Block) -> int:
        return b.last_step - b.first_step

    keys: list[Callable[[Block], tuple[int, ...]]] = [
        lambda b: (-b.nbytes, -b.first_step),
        lambda b: (-b.nbytes, b.first_step),
        lambda b: (-b.first_step, -b.nbytes),
        lambda b: (-life(b), -b.nbytes, -b.first_step),
        lambda b: (-(life(b) + 1) * b.nbytes, -b.first_step),
        lambda b: (b.first_step, -b.nbytes),
        lambda b: (-b.last_step, -b.nbytes),
    ]
    for key in keys:
        yield sorted(range(len(blocks)), key=lambda i: key(blocks[i]))


def exact_size(layout: Layout, enough: int = 0) -> int:
    """The smallest arena of all, for layouts of about nine blocks.

    The least over all choices of the pairs in Layout.exact that do begin at the same byte.
    """
    pairs = Pairs.from_layout(layout)
    best = sum(map(aligned, pairs.nbytes))
    for count in range(len(layout.exact), -1, -1):
        for together in combinations(sorted(layout.exact), count):
            if (joined := _joined(pairs, together)) is not None:
                best = min(best, _branch_and_bound(joined, best, enough))
    return best


def _joined(pairs: Pairs, together: Sequence[tuple[int, int]]) -> Pairs | None:
    """Blocks that begin at one byte as one block, all others disjoint; None: impossible."""
    root = list(range(len(pairs.nbytes)))
    for a, b in together:
        root = [root[a] if r == root[b] else r for r in root]
    allowed = {frozenset(pair) for pair in together}
    kept = sorted(set(root))
    rows: list[dict[int, tuple[int, int]]] = [{} for _ in kept]
    for block, row in enumerate(pairs.of):
        for other, below, above, _ in row:
            if root[block] == root[other]:
                if frozenset((block, other)) not in allowed:
                    return None
                continue
            mine, theirs = kept.index(root[block]), kept.index(root[other])
            known = rows[mine].get(theirs, (below, above))
            rows[mine][theirs] = max(below, known[0]), max(above, known[1])
    nbytes = [max(n for n, r in zip(pairs.nbytes, root, strict=True) if r == k) for k in kept]
    return Pairs(
        tuple(nbytes),
        tuple(tuple((j, *distances, False) for j, distances in row.items()) for row in rows),
    )


def _branch_and_bound(pairs: Pairs, best: int, enough: int) -> int:
    """The smallest arena, or `best`.

    Blocks are placed by ascending offset, each as low as those below it allow: some optimal
    plan is of that kind (see above). A branch ends where a block, placed now or later, would
    reach the best size known.
    """
    count = len(pairs.nbytes)
    floor = [0] * count  # the lowest offset above all that is placed

    def place(left: int, last: int, size: int) -> None:
        nonlocal best
        if not left:
            best = min(best, size)
            return
        choices = [b for b in range(count) if left >> b & 1]
        if best <= enough or any(max(floor[b], 0) + pairs.nbytes[b] >= best for b in choices):
            return
        for block in sorted(choices, key=lambda b: floor[b]):
            at = floor[block]
            if at < last or at + pairs.nbytes[block] >= best:
                continue
            saved = [(other, floor[other]) for other, *_ in pairs.of[block]]
            for other, below, *_ in pairs.of[block]:
                if left >> other & 1:
                    floor[other] = max(floor[other], at + below)
            place(left & ~(1 << block), at, max(size, at + pairs.nbytes[block]))
            for other, value in saved:
                floor[other] = value

    place((1 << count) - 1, 0, 0)
    return best
