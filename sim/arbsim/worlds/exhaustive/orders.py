"""How many orders a class of equivalent orders has."""

from __future__ import annotations

from collections.abc import Sequence

from arbsim.worlds.exhaustive.steps import Step

MOST_CUTS = 50_000
"""Up to so many downward closed sets are counted; a class with more of them is too costly to count."""


def predecessors(steps: Sequence[Step]) -> list[int]:
    """For each step of a run, as bits of their places, all steps that come before it in every equivalent run."""
    before: list[int] = []
    for place, step in enumerate(steps):
        mask = 0
        for earlier in step.after:
            mask |= before[earlier] | 1 << earlier
        for earlier in range(place - 1, -1, -1):
            if not mask >> earlier & 1 and steps[earlier].meets(step):
                mask |= before[earlier] | 1 << earlier
        before.append(mask)
    return before


def count_orders(before: Sequence[int], most_cuts: int = MOST_CUTS) -> int | None:
    """The number of orders in which every step comes after its predecessors; None where counting costs too much.

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
