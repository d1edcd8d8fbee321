"""One search in parts that can be taken on in any order, by anybody.

A part are the runs that begin with some choices. What it leaves over after a while are branches: states with something
left to try. It also tells which choices must be tried at the states on its own path, for that is where its races are
reversed. The branches make up one tree, and anybody can go on from any of them.

At one state a choice is handed out when the first step of the one before is known: that is asleep then, whether or not
its runs are done. So no class of equivalent orders is run twice, and none is left out, whoever runs which part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from arbsim.worlds.exhaustive.search import Branch, add_one, awake, put_to_sleep
from arbsim.worlds.exhaustive.steps import Choice, Step


@dataclass(frozen=True, slots=True)
class Part:
    """The runs that begin with some choices. ``sleeping``: what is asleep where the last of them is made."""

    path: tuple[Choice, ...]
    sleeping: dict[Choice, Step]
    weight: float = 1.0
    """Its share of the search, as an estimate."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a part leaves over, and what it found out about the states on its path."""

    first_step: Step
    branches: list[Branch]
    reversals: Iterable[tuple[int, tuple[int, ...]]]


class Tree:
    """All states with something left to try, or on the path of somebody who is at work."""

    def __init__(self, reduced: bool, branches: list[Branch]) -> None:
        self._reduced = reduced
        self._branches: dict[tuple[Choice, ...], Branch] = {}
        self._open: deque[Branch] = deque()
        self._at_work: set[tuple[Choice, ...]] = set()
        self._weights: dict[tuple[Choice, ...], float] = {}  # of each alternative at a state
        self._left = 1.0
        self._done = 0.0
        self._enter(branches, 1.0)

    def _enter(self, branches: list[Branch], weight: float) -> None:
        """Take over the states on one way through the tree, the first one first, which is so much of the search."""
        self._left -= weight
        for branch in branches:
            weight /= len(branch.to_try)
            self._branches[branch.path] = branch
            self._weights[branch.path] = weight
            self._open.append(branch)
            self._left += weight * (len(branch.to_try) - branch.tried)
            self._done += weight * (branch.tried - 1)
        self._done += weight

    @property
    def share_done(self) -> float:
        """An estimate of how much of the search lies behind.

        The alternatives at a state count alike; those that are found later count as much as those before.
        """
        return self._done / (self._done + self._left)

    def next_part(self) -> Part | None:
        """Hand out a choice that is not tried yet; None where there is none now."""
        while self._open:
            branch = self._open[0]
            if branch.path not in self._at_work or not self._reduced:
                while branch.tried < len(branch.to_try):
                    chosen = awake(branch.to_try[branch.tried], branch.sleeping)
                    branch.tried += 1
                    weight = self._weights[branch.path]
                    if chosen is not None:
                        self._at_work.add(branch.path)
                        return Part((*branch.path, chosen), dict(branch.sleeping), weight)
                    self._left -= weight
                    self._done += weight
            self._open.popleft()
        return None

    def add(self, part: Part, left: Left) -> None:
        """Take over what a part left."""
        path = part.path[:-1]
        self._at_work.discard(path)
        branch = self._branches[path]
        if self._reduced:
            known = len(branch.to_try)
            put_to_sleep(branch, left.first_step)
            self._left += self._weights[path] * (len(branch.to_try) - known)
        self._open.append(branch)
        self._enter(left.branches, part.weight)
        for length, possible in left.reversals:
            branch = self._branches[part.path[:length]]
            known = len(branch.to_try)
            add_one(branch.to_try, possible)
            if len(branch.to_try) > known:
                self._left += self._weights[branch.path]
            self._open.append(branch)
