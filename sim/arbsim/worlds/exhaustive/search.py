"""Two ways through all orders: every one of them, or one of each class of equivalent orders.

Both search without stored states: a run is made again from its choices. Orders are equivalent if they differ only in
the order of steps that do not meet (Mazurkiewicz, 1977); every step reads and writes the same in all of them, so
the outcome is the same.

The reduced search is source-DPOR with sleep sets: Abdulla, Aronis, Jonsson and Sagonas, "Optimal dynamic partial
order reduction", POPL 2014, algorithm 1; races are found as in Flanagan and Godefroid, POPL 2005. It runs at least
one order of every class to its end, and no class twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from arbsim.worlds.exhaustive.steps import Execution, Step

R = TypeVar("R")

Start = Callable[[], Execution[R]]


class NotRepeatable(Exception):
    """The same choices led elsewhere than before, so nothing follows from any run."""

    def __init__(self) -> None:
        super().__init__(
            "the same order of steps led to two different runs: the design keeps state between runs, or asks chance"
            " or the real time. Keep no state in the class, its module or its fields; ask the region for the time"
        )


@dataclass(frozen=True, slots=True)
class Finished(Generic[R]):
    """A run that was driven to its end. ``result`` is None where it took too many steps.

    ``before``: for each step of a reduced search's run, as bits of their places, all steps that come before it in every
    equivalent run.
    """

    steps: tuple[Step, ...]
    result: R | None
    before: tuple[int, ...] = ()


@dataclass(slots=True)
class Progress:
    """What a search has done so far. ``redundant`` runs count for nothing: another one has their class or outcome."""

    runs: int = 0
    redundant: int = 0
    steps: int = 0
    share_done: float = 0.0
    """An estimate: how much of the tree lies behind, each alternative of a choice counted alike. 0: nobody knows."""


@dataclass(slots=True)
class _Node:
    """The state after some choices: what can be done there, what will be tried, and what has been."""

    choices: list[int]
    to_try: list[int]
    sleeping: dict[int, Step]
    """Steps whose runs from here are covered already: tried here, or before and not met since."""
    tried: int = 0
    chosen: int = -1
    step: Step | None = None
    before: int = 0


@dataclass(slots=True)
class Branch:
    """A state with something left to try, for somebody else to go on from.

    ``path``: the choices that lead there. Of ``to_try`` the first ``tried`` are tried, or being tried.
    """

    path: tuple[int, ...]
    to_try: list[int]
    tried: int
    sleeping: dict[int, Step]


@dataclass(slots=True)
class Search(Generic[R]):
    """A search through the runs that ``start`` begins, or through those that begin with the choices of ``path``.

    ``reduced``: one run of each class of equivalent orders, else every order. ``most_steps`` is the bound on one run.
    ``sleeping``: what is asleep where the last choice of ``path`` is made. What such a part of a search finds out
    about the states on its path is kept in ``reversals``: the length of the path to a state, and the choices of which
    one must be tried there.
    """

    start: Start[R]
    reduced: bool = True
    most_steps: int = 1_000
    path: tuple[int, ...] = ()
    sleeping: dict[int, Step] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    reversals: dict[tuple[int, tuple[int, ...]], None] = field(default_factory=dict)
    _nodes: list[_Node] = field(default_factory=list)

    def runs(self) -> Iterator[Finished[R] | None]:
        """Drive run after run to its end, until all are done; None for one that is redundant."""
        nodes = self._nodes = [_Node([], [name], {}, 1, name) for name in self.path]
        if nodes:
            nodes[-1].sleeping = self.sleeping
        while True:
            finished = self._run(nodes)
            self.progress.share_done = _share_done(nodes)
            if finished is not None:
                self.progress.runs += 1
            else:
                self.progress.redundant += 1
            yield finished
            if not self._back_up(nodes):
                self.progress.share_done = 1.0
                return

    def left(self) -> list[Branch]:
        """What would be tried next, after the last run: for each state on its way below ``path``."""
        names = [node.chosen for node in self._nodes]
        branches = []
        for place in range(len(self.path), len(self._nodes)):
            node = self._nodes[place]
            assert node.step is not None
            if self.reduced:
                node.sleeping[node.chosen] = node.step
            branches.append(Branch(tuple(names[:place]), node.to_try, node.tried, node.sleeping))
        return branches

    @property
    def first_step(self) -> Step:
        """The last step of ``path``, as it was taken."""
        step = self._nodes[len(self.path) - 1].step
        assert step is not None
        return step

    @property
    def way(self) -> tuple[int, ...]:
        """The choices of the run that is under way."""
        return tuple(node.chosen for node in self._nodes)

    def again(self, names: Sequence[int]) -> Finished[R]:
        """Make the choices of a run once more. Raises NotRepeatable where they cannot be made."""
        execution = self.start()
        steps = []
        for name in names:
            if name not in execution.choices():
                raise NotRepeatable
            steps.append(execution.take(name))
        return Finished(tuple(steps), execution.finish())

    def by_chance(self, rng: Random) -> None:
        """Make one run by chance; nothing is kept of it."""
        execution = self.start()
        for _ in range(self.most_steps):
            choices = execution.choices()
            if not choices:
                break
            execution.take(rng.choice(choices))
        execution.finish()

    def _run(self, nodes: list[_Node]) -> Finished[R] | None:
        """Make the choices of the nodes again, then go on to the end; None where all that is left is asleep."""
        execution = self.start()
        for place, node in enumerate(nodes):
            choices = execution.choices()
            node.choices = node.choices or choices
            if choices != node.choices or node.chosen not in choices:
                raise NotRepeatable
            step = execution.take(node.chosen)
            self.progress.steps += 1
            if node.step is None:
                self._taken(nodes, place, step)
            elif step != node.step:
                raise NotRepeatable
        while len(nodes) < self.most_steps:
            choices = execution.choices()
            node = self._node(nodes, choices)
            if not choices:
                result = execution.finish()
                return None if execution.redundant else _finished(nodes, result)
            if not node.to_try:
                return None
            node.chosen = node.to_try[0]
            node.tried = 1
            nodes.append(node)
            self.progress.steps += 1
            self._taken(nodes, len(nodes) - 1, execution.take(node.chosen))
        return _finished(nodes, None)

    def _node(self, nodes: Sequence[_Node], choices: list[int]) -> _Node:
        if not self.reduced:
            return _Node(choices, choices, {})
        sleeping: dict[int, Step] = {}
        if nodes:
            last = nodes[-1]
            assert last.step is not None
            sleeping = {name: step for name, step in last.sleeping.items() if not step.meets(last.step)}
        awake = next((name for name in choices if name not in sleeping), None)
        return _Node(choices, [] if awake is None else [awake], sleeping)

    def _taken(self, nodes: list[_Node], place: int, step: Step) -> None:
        """Work out what the step at a place comes after; where it races with an earlier one, try it the other way."""
        nodes[place].step = step
        if not self.reduced:
            return
        mask = 0
        for earlier in step.after:
            mask |= nodes[earlier].before | 1 << earlier
        races = []
        for earlier in range(place - 1, -1, -1):
            if mask >> earlier & 1:
                continue
            other = nodes[earlier].step
            assert other is not None
            if other.meets(step):
                races.append(earlier)
                mask |= nodes[earlier].before | 1 << earlier
        nodes[place].before = mask
        if place < len(self.path) - 1:
            return  # whoever was there before has seen to it
        for earlier in races:
            possible = _reversal(nodes, earlier, place)
            if earlier < len(self.path):
                self.reversals[earlier, possible] = None
            else:
                add_one(nodes[earlier].to_try, possible)

    def _back_up(self, nodes: list[_Node]) -> bool:
        """Go back to the last node with something left to try, and choose it. False where there is none."""
        while len(nodes) > len(self.path):
            node = nodes[-1]
            if self.reduced:
                assert node.step is not None
                node.sleeping[node.chosen] = node.step
            while node.tried < len(node.to_try):
                name = node.to_try[node.tried]
                node.tried += 1
                if name not in node.sleeping:
                    node.chosen, node.step = name, None
                    return True
            nodes.pop()
        return False


def _finished(nodes: Sequence[_Node], result: R | None) -> Finished[R]:
    steps = tuple(node.step for node in nodes if node.step is not None)
    return Finished(steps, result, tuple(node.before for node in nodes))


def _reversal(nodes: list[_Node], earlier: int, later: int) -> tuple[int, ...]:
    """What can be chosen in the node before ``earlier`` to begin a run in which ``later`` comes first.

    What happened in between and does not come after ``earlier`` goes along. Any step that can be first of it will do.
    """
    along = [place for place in range(earlier + 1, later) if not nodes[place].before >> earlier & 1]
    along.append(later)
    within = 0
    firsts = []
    for place in along:
        if not nodes[place].before & within:
            firsts.append(nodes[place].chosen)
        within |= 1 << place
    return tuple(name for name in firsts if name in nodes[earlier].choices)


def add_one(to_try: list[int], possible: Sequence[int]) -> None:
    """See to it that one of some choices is tried; if one is already there is nothing to add."""
    if possible and not any(name in to_try for name in possible):
        to_try.append(possible[0])


def _share_done(nodes: Sequence[_Node]) -> float:
    share, weight = 0.0, 1.0
    for node in nodes:
        weight /= len(node.to_try)
        share += weight * (node.tried - 1)
    return share + weight
