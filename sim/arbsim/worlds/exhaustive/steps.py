"""Steps, what they touch, and their names: what a search knows of a system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol, TypeVar

Result_co = TypeVar("Result_co", covariant=True)

NOTHING: frozenset[int] = frozenset()

Choice = tuple[int, ...]
"""The name of a step, and its first answers to which of two steps came before the other."""

Precedes = Callable[[int, int], bool]
"""Whether the step at one place comes before that at another in every order that a run stands for."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was taken.

    ``reads`` and ``writes`` are the shared objects that it touched. ``after`` are the places, in the order of the
    run, of the steps without which this one could not have been taken: the one that made it, and the one that
    was before it on its connection.

    ``compared``: pairs of places, of which the first step came before the second, by which this step goes and none
    before it did. Where such two steps do not meet, and nothing else orders them, either can be the first, and it is
    this step that makes them dependent. ``answers`` says which of them was, for each pair of that kind: 0 the one that
    was taken first, 1 the other one.
    """

    name: int
    reads: frozenset[int] = NOTHING
    writes: frozenset[int] = NOTHING
    after: tuple[int, ...] = ()
    compared: tuple[tuple[int, int], ...] = ()
    answers: tuple[int, ...] = field(default=(), compare=False)

    @property
    def choice(self) -> Choice:
        """What leads to this step."""
        return (self.name, *self.answers)

    def meets(self, other: Step) -> bool:
        """Whether the order of the two can matter: both touch an object, and one of them writes it."""
        writes = self.writes
        return not (
            writes.isdisjoint(other.writes)
            and writes.isdisjoint(other.reads)
            and other.writes.isdisjoint(self.reads)
        )


Footprint = tuple[frozenset[int], frozenset[int]]
"""The objects that a step reads, and those that it writes."""


News = dict[int, tuple[Footprint, frozenset[Footprint]]]
"""Of some steps what they touch, and what they touched where a search went by their touching no more."""


class Footprints:
    """What each step was ever seen to touch, in whatever order; it only grows.

    A step can touch less in one order than in another: what it reads first decides what it does next. So whether it
    touches all that it can may have to be answered otherwise once more is known.
    """

    def __init__(self) -> None:
        self._of: dict[int, Footprint] = {}
        self._relied_on: dict[int, set[Footprint]] = {}
        self._news: dict[int, None] = {}
        self.void = False
        """Whether an answer that a search went by would be another one now: then what it found is void.

        A search that is not void did what it would have done had it known all from the beginning.
        """

    def begin(self) -> None:
        """A search begins: nothing has gone by any answer yet."""
        self._relied_on.clear()
        self.void = False

    def note(self, step: Step) -> None:
        """Take in what a step touched."""
        self._add(step.name, (step.reads, step.writes))

    def touches_all(self, step: Step) -> bool:
        """Whether a step touches here all that it was seen to touch in some order. Who asks goes by the answer."""
        here = step.reads, step.writes
        if not _covers(here, self._of[step.name]):
            return False
        relied_on = self._relied_on.setdefault(step.name, set())
        if here not in relied_on:
            relied_on.add(here)
            self._news[step.name] = None
        return True

    def news(self) -> News:
        """What came up since this was asked last."""
        names, self._news = self._news, {}
        return {name: (self._of[name], frozenset(self._relied_on.get(name, ()))) for name in names}

    def take_in(self, news: News) -> None:
        """Add what came up in another process, which did not know what came up here meanwhile."""
        for name, (seen, relied_on) in news.items():
            self._relied_on.setdefault(name, set()).update(relied_on)
            self._add(name, seen)
            self._look_back(name)

    def _add(self, name: int, seen: Footprint) -> None:
        known = self._of.get(name, seen)
        if name in self._of and _covers(known, seen):
            return
        self._of[name] = known[0] | seen[0], known[1] | seen[1]
        self._news[name] = None
        self._look_back(name)

    def _look_back(self, name: int) -> None:
        """A step that touched less than it can now is known to was taken to touch all."""
        self.void |= not all(_covers(one, self._of[name]) for one in self._relied_on.get(name, ()))


def _covers(wide: Footprint, narrow: Footprint) -> bool:
    """Whether whatever meets the second footprint meets the first as well."""
    return narrow[1] <= wide[1] and narrow[0] <= wide[0] | wide[1]


class Execution(Protocol[Result_co]):
    """A run that is under way. Whoever drives it chooses the next step, again and again.

    The same choices lead to the same steps. A step that can be taken stays possible until it is taken.
    """

    def stand_for(self, precedes: Precedes) -> None:
        """Let the run stand for many orders. As long as nobody says so, it stands for that in which steps are taken."""

    @property
    def redundant(self) -> bool:
        """Whether what comes of this run comes of another one, too: then it counts for nothing."""

    def choices(self) -> list[int]:
        """The names of the steps that can be taken now, in a fixed order."""

    def take(self, name: int, *answers: int) -> Step:
        """Take a step. ``answers`` are its first ones; the others are 0."""

    def finish(self) -> Result_co:
        """Return what came of the run; no step can be taken any more."""


class _Numbers(dict[object, int]):
    """The numbers of things; what is asked for the first time gets one."""

    def __init__(self, things: dict[int, object]) -> None:
        super().__init__()
        self._things = things

    def __missing__(self, thing: object) -> int:
        number = int.from_bytes(blake2b(repr(thing).encode(), digest_size=7).digest(), "big")
        if self._things.setdefault(number, thing) != thing:
            raise RuntimeError(f"{thing} and {self._things[number]} have the same number")
        self[thing] = number
        return number


class Names:
    """Numbers for things that are known by who made them and how many it had made before.

    In two runs that differ only in the order of independent steps the same thing has the same name: it depends on
    what its maker had seen, not on when it was made. ``numbers`` gives the number of a thing: the same in every
    process, for it is made from what the thing is known by.
    """

    def __init__(self) -> None:
        self._things: dict[int, object] = {}
        self.numbers = _Numbers(self._things)

    def way(self, number: int) -> tuple[int, ...]:
        """How a step or an object came to be: as which thing that each step on the way to it made, the first one first.

        What was made first comes first.
        """
        way = []
        thing = self._things.get(number)
        while isinstance(thing, tuple) and len(thing) == 2:
            number, place = thing
            way.append(place)
            thing = self._things.get(number)
        return tuple(reversed(way))

    def thing(self, number: int) -> object:
        """The thing that has this number."""
        return self._things[number]
