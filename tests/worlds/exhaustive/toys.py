"""Small systems for the search: processes that read and write variables, one instruction a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from arbsim.worlds.exhaustive.steps import Names, Step

Instruction = tuple[str, int]
"""("w", v): write a value of one's own to v. ("r", v): read v. ("i", v): add what was read to v. ("s", p): start
program p beside the others. ("l", 0): touch nothing."""

Outcome = tuple[tuple[int, ...], ...]


@dataclass
class Toy:
    """Programs at work; a program that is only started by another does not begin by itself."""

    programs: Sequence[Sequence[Instruction]]
    begins: Sequence[int]
    names: Names
    values: dict[int, int] = field(default_factory=dict)
    seen: dict[int, list[int]] = field(default_factory=dict)
    pending: dict[int, tuple[int, int, int | None]] = field(default_factory=dict)
    taken: int = 0
    redundant: bool = False

    def __post_init__(self) -> None:
        for program in self.begins:
            self._offer((0, program), program, 0, None)

    def _offer(self, identity: tuple[int, int], program: int, at: int, maker: int | None) -> None:
        if at < len(self.programs[program]):
            self.pending[self.names.of(identity)] = (program, at, maker)

    def choices(self) -> list[int]:
        return list(self.pending)

    def take(self, name: int) -> Step:
        program, at, maker = self.pending.pop(name)
        what, which = self.programs[program][at]
        reads, writes = set[int](), set[int]()
        if what == "w":
            self.values[which] = 10 * program + at + 1
            writes.add(which)
        elif what == "r":
            self.seen.setdefault(program, []).append(self.values.get(which, 0))
            reads.add(which)
        elif what == "i":
            self.values[which] = self.values.get(which, 0) + sum(self.seen.get(program, [1]))
            writes.add(which)
        elif what == "s":
            self._offer((name, 1), which, 0, self.taken)
        self._offer((name, 0), program, at + 1, self.taken)
        self.taken += 1
        return Step(name, frozenset(reads), frozenset(writes), () if maker is None else (maker,))

    def finish(self) -> Outcome:
        finals = tuple(self.values.get(v, 0) for v in range(4))
        return (finals, *(tuple(self.seen.get(p, ())) for p in range(len(self.programs))))


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
    return tuple(before)
