"""How many orders a class of equivalent orders has."""

from __future__ import annotations

from collections.abc import Sequence

MOST_CUTS = 50_000
"""Up to so many downward closed sets are counted; a class with more of them is too costly to count."""


def count_orders(before: Sequence[int], most_cuts: int = MOST_CUTS) -> int | None:
    """The number of orders in which every step comes after its predecessors; None where counting costs too much.

    ``before``: the predecessors of each step, as bits of their places.

    Counts paths through the downward closed sets, level by level.
    """
    level = {0: 1}
    cuts = 0
    for _ in before:
        following: dict[int, int] = {}
        for done, paths in level.items():
            for place, needed in enumerate(before):
                bit = 1 << place
                if not done & bit and needed & ~done == 0:
                    following[done | bit] = following.get(done | bit, 0) + paths
        level = following
        cuts += len(level)
        if cuts > most_cuts:
            return None
    return sum(level.values())
