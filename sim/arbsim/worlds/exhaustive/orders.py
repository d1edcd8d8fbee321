"""How many orders a class of equivalent orders has."""

from __future__ import annotations

from collections.abc import Sequence

from arbsim.worlds.exhaustive.steps import Names, Step

MOST_CUTS = 50_000
"""Up to so many downward closed sets are counted; a class with more of them is too costly to count."""


def count_orders(before: Sequence[int], most_cuts: int = MOST_CUTS) -> int | None:
    """The number of orders in which every step comes after its predecessors; None where counting costs too much.

    ``before``: the predecessors of each step, as bits of their places.

    Counts paths through the downward closed sets, level by level.
    """
    steps = [(1 << place, needed) for place, needed in enumerate(before)]
    level = {0: 1}
    cuts = 0
    for _ in steps:
        following: dict[int, int] = {}
        for done, paths in level.items():
            left = ~done
            for step, needed in steps:
                if step & left and not needed & left:
                    following[done | step] = following.get(done | step, 0) + paths
        level = following
        cuts += len(level)
        if cuts > most_cuts:
            return None
    return sum(level.values())


def least_changes(steps: Sequence[Step], before: Sequence[int], names: Names) -> list[int]:
    """The places of a run's steps in that order of its class that keeps to one chain of steps as long as it can.

    Where there is a choice the step that was made first comes first: it is the same for every run of the class.
    """
    ways = [names.way(step.name) for step in steps]
    order: list[int] = []
    done, left = 0, list(range(len(steps)))
    while left:
        free = [place for place in left if before[place] & ~done == 0]
        last = order[-1] if order else -1
        chosen = min(free, key=lambda place: (last not in steps[place].after, ways[place]))
        order.append(chosen)
        left.remove(chosen)
        done |= 1 << chosen
    return order
