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


class Names:
    """Numbers for things that are known by who made them and how many it had made before.

    In two runs that differ only in the order of independent steps the same thing has the same name: it depends on
    what its maker had seen, not on when it was made.
    """

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._things: dict[int, object] = {}

    def of(self, thing: object) -> int:
        """The number of a thing: the same in every process, for it is made from what the thing is known by."""
        number = self._numbers.get(thing)
        if number is None:
            number = int.from_bytes(blake2b(repr(thing).encode(), digest_size=7).digest(), "big")
            if self._things.setdefault(number, thing) != thing:
                raise RuntimeError(f"{thing} and {self._things[number]} have the same number")
            self._numbers[thing] = number
        return number

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
