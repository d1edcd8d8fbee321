"""Small systems for the search: processes that read and write variables, one instruction a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from arbsim.worlds.exhaustive.comparisons import Comparisons
from arbsim.worlds.exhaustive.search import Finished, Search
from arbsim.worlds.exhaustive.steps import Footprints, Names, Precedes, Step

Instruction = tuple[str, int]
"""What a step does.

("w", v): write a value of one's own to v. ("c", v): claim v, and write to 3 as well where nobody has written v.
("r", v): read v. ("i", v): add what was read to v. ("s", p): start program p beside the others. ("l", 0): touch
nothing. ("b", 0): begin, which touches nothing either. ("q", v): stand in the queue at v, in the order in which
programs began; who has not begun does so now. ("o", v): let the first out.
"""

ASKED = 1_000
"""The object of all that was compared."""

Outcome = tuple[tuple[int, ...], ...]
R = TypeVar("R")


@dataclass
class Toy:
    """Programs at work; a program that is only started by another does not begin by itself."""

    programs: Sequence[Sequence[Instruction]]
    begins: Sequence[int]
    names: Names
    values: dict[int, int] = field(default_factory=dict)
    seen: dict[int, list[int]] = field(default_factory=dict)
    pending: dict[int, tuple[int, int, int | None]] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    queues: dict[int, list[int]] = field(default_factory=dict)
    comparisons: Comparisons = field(default_factory=Comparisons)
    taken: int = 0
    redundant: bool = False

    def __post_init__(self) -> None:
        for program in self.begins:
            self._offer((0, program), program, 0, None)

    def _offer(self, identity: tuple[int, int], program: int, at: int, maker: int | None) -> None:
        if at < len(self.programs[program]):
            self.pending[self.names.numbers[identity]] = (program, at, maker)

    def stand_for(self, precedes: Precedes) -> None:
        self.comparisons.precedes = precedes

    def choices(self) -> list[int]:
        return list(self.pending)

    def take(self, name: int, *answers: int) -> Step:
        self.comparisons.begin_step(self.taken, answers)
        program, at, maker = self.pending.pop(name)
        what, which = self.programs[program][at]
        reads, writes = set[int](), set[int]()
        if what == "w":
            self.values[which] = 10 * program + at + 1
            writes.add(which)
        elif what == "c":
            for variable in (which,) if self.values.get(which) else (which, 3):
                self.values[variable] = 10 * program + at + 1
                writes.add(variable)
        elif what == "r":
            self.seen.setdefault(program, []).append(self.values.get(which, 0))
            reads.add(which)
        elif what == "i":
            self.values[which] = self.values.get(which, 0) + sum(self.seen.get(program, [1]))
            writes.add(which)
        elif what == "s":
            self._offer((name, 1), which, 0, self.taken)
        elif what == "b":
            self.begun.setdefault(program, self.taken)
        elif what == "q":
            self._queue(program, which)
            writes |= {which, ASKED}
        elif what == "o":
            queue = self.queues.get(which)
            self.seen.setdefault(program, []).append(queue.pop(0) if queue else -1)
            writes.add(which)
        self._offer((name, 0), program, at + 1, self.taken)
        self.taken += 1
        compared, given = tuple(self.comparisons.compared), tuple(self.comparisons.answers)
        after = () if maker is None else (maker,)
        return Step(name, frozenset(reads), frozenset(writes), after, compared, given)

    def _queue(self, program: int, which: int) -> None:
        begun, queue = self.begun, self.queues.setdefault(which, [])
        begun.setdefault(program, self.taken)
        if program in queue:
            return
        place = len(queue)
        while place and self.comparisons.came_first(begun[program], begun[queue[place - 1]]):
            place -= 1
        queue.insert(place, program)

    def finish(self) -> Outcome:
        finals = tuple(self.values.get(v, 0) for v in range(4))
        return (
            finals,
            *(tuple(queue) for _, queue in sorted(self.queues.items())),
            *(tuple(self.seen.get(p, ())) for p in range(len(self.programs))),
        )


def complete(search: Callable[[Footprints], Search[R]]) -> list[Finished[R]]:
    """The runs of a search, which is begun anew as long as it turns out to be void."""
    footprints = Footprints()
    while True:
        footprints.begin()
        runs = [run for run in search(footprints).runs() if run is not None]
        if not footprints.void:
            return runs


def predecessors(steps: Sequence[Step]) -> tuple[int, ...]:
    """For each step, as bits, all that come before it in every equivalent run: what the search finds out by itself."""
    before: list[int] = []
    for place, step in enumerate(steps):
        mask = 0
        for earlier in step.after:
            mask |= before[earlier] | 1 << earlier
        for earlier in range(place - 1, -1, -1):
            if not mask >> earlier & 1 and steps[earlier].meets(step):
                mask |= before[earlier] | 1 << earlier
        before.append(mask)
    for step in steps:
        for first, second in step.compared:
            before[second] |= 1 << first
    return tuple(before)
