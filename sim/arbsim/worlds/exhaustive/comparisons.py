"""Which of two earlier steps came first, where a step goes by it.

Some steps meet only in the runs in which a later one goes by their order: two transactions begin, and much later both
stand in one queue, which is sorted by that. To reverse such pairs everywhere would make many runs of nothing. So they
do not meet, and it is the later step that decides, of those that nothing else orders, which came first, as if they had
been taken so. Whatever it decides there are orders for it, because it never decides against what is known.

What is known is the same in every order that a run stands for, if two things hold: the step that asks comes after both
that it asks about; and whatever was asked before it comes before it. The first is for the models to see to. For the
second all that may ask touch one object (:meth:`ChoiceKernel.may_ask`), and do so whether they ask or not: the search
would miss a race of two steps of which one touches something only as long as a third has not been taken.
"""

from __future__ import annotations

from operator import lt

from arbsim.worlds.exhaustive.steps import Precedes


class Comparisons:
    """What the steps of one run went by.

    ``compared`` and ``answers`` are those of the step that is being taken, as in :class:`Step`.
    """

    def __init__(self) -> None:
        self.precedes: Precedes = lt
        self.compared: list[tuple[int, int]] = []
        self.answers: list[int] = []
        self._given: tuple[int, ...] = ()
        self._place = -1
        self._order: dict[tuple[int, int], None] = {}

    def begin_step(self, place: int, answers: tuple[int, ...]) -> None:
        """A step is taken at this place. ``answers``: what it shall decide first; after that, 0."""
        self.compared, self.answers, self._given, self._place = [], [], answers, place

    def came_first(self, one: int, other: int) -> bool:
        """Whether the step at one place came before that at another."""
        if self._is_known(one, other):
            first = True
        elif self._is_known(other, one):
            first = False
        else:
            asked = len(self.answers)
            answer = self._given[asked] if asked < len(self._given) else 0
            self.answers.append(answer)
            first = (one < other) != bool(answer)
        pair = (one, other) if first else (other, one)
        if pair not in self._order:
            self._order[pair] = None
            self.compared.append(pair)
        return first

    def _is_known(self, one: int, other: int) -> bool:
        """Whether a step comes before another: because of what lies between them, or of what is decided already."""
        passed, left = {one}, [one]
        while left:
            at = left.pop()
            if other == self._place or self.precedes(at, other):
                return True
            for first, second in self._order:
                if second not in passed and (first == at or self.precedes(at, first)):
                    if second == other:
                        return True
                    passed.add(second)
                    left.append(second)
        return False
