"""Two ways through all orders: every one of them, or one of each class of equivalent orders.

Both search without stored states: a run is made again from its choices. Orders are equivalent if they differ only in
the order of steps that do not meet (Mazurkiewicz, 1977); every step reads and writes the same in all of them, so
the outcome is the same.

The reduced search is source-DPOR with sleep sets: Abdulla, Aronis, Jonsson and Sagonas, "Optimal dynamic partial
order reduction", POPL 2014, algorithm 1; races are found as in Flanagan and Godefroid, POPL 2005. It runs at least
one order of every class to its end, and no class twice.

There a step touches one object. Here it touches many, and can touch less where another one came before it. Where such a
step is the later one of a race, what it does in the reversed order is not known, so more is tried: see ``_taken``. What
a step can touch is learned, so a search that went by too little must begin anew (:class:`Footprints`).

Some steps meet only where a later one goes by their order (as in Aronis, Jonsson, Lang and Sagonas, "Optimal dynamic
partial order reduction with observers", TACAS 2018). Here that is not a race to reverse, but a choice of that later
step: it can be taken in as many ways as there are answers that some order gives. So its runs are tried with each of
them, one after the other, and are of different classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from arbsim.worlds.exhaustive.steps import Choice, Execution, Footprints, Step

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

    ``before``: for each step of a reduced search's run, as bits of their places, steps that come before it in every
    equivalent run; all others that do come before one of these.
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
    sleeping: dict[Choice, Step]
    """Steps whose runs from here are covered already: tried here, or before and not met since."""
    tried: int = 0
    chosen: Choice = ()
    step: Step | None = None
    before: int = 0


@dataclass(slots=True)
class Branch:
    """A state with something left to try, for somebody else to go on from.

    ``path``: the choices that lead there. Of ``to_try`` the first ``tried`` are tried, or being tried.
    """

    path: tuple[Choice, ...]
    to_try: list[int]
    tried: int
    sleeping: dict[Choice, Step]


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
    path: tuple[Choice, ...] = ()
    sleeping: dict[Choice, Step] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    footprints: Footprints = field(default_factory=Footprints)
    reversals: dict[tuple[int, tuple[int, ...]], None] = field(default_factory=dict)
    _nodes: list[_Node] = field(default_factory=list)

    def runs(self) -> Iterator[Finished[R] | None]:
        """Drive run after run to its end, until all are done; None for one that is redundant."""
        nodes = self._nodes = [_Node([], [choice[0]], {}, 1, choice) for choice in self.path]
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
                put_to_sleep(node, node.step)
            branches.append(Branch(tuple(names[:place]), node.to_try, node.tried, node.sleeping))
        return branches

    @property
    def first_step(self) -> Step:
        """The last step of ``path``, as it was taken."""
        step = self._nodes[len(self.path) - 1].step
        assert step is not None
        return step

    @property
    def way(self) -> tuple[Choice, ...]:
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
            step = execution.take(rng.choice(choices))
            if self.reduced:
                self.footprints.note(step)
        execution.finish()

    def _run(self, nodes: list[_Node]) -> Finished[R] | None:
        """Make the choices of the nodes again, then go on to the end; None where all that is left is asleep."""
        execution = self.start()
        if self.reduced:
            execution.stand_for(lambda one, other: bool(nodes[other].before >> one & 1))
        for place, node in enumerate(nodes):
            choices = execution.choices()
            node.choices = node.choices or choices
            if choices != node.choices or node.chosen[0] not in choices:
                raise NotRepeatable
            step = execution.take(*node.chosen)
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
            node.tried = 1
            nodes.append(node)
            self.progress.steps += 1
            self._taken(nodes, len(nodes) - 1, execution.take(*node.chosen))
        return _finished(nodes, None)

    def _node(self, nodes: Sequence[_Node], choices: list[int]) -> _Node:
        if not self.reduced:
            return _Node(choices, choices, {}, chosen=tuple(choices[:1]))
        sleeping: dict[Choice, Step] = {}
        if nodes:
            last = nodes[-1]
            assert last.step is not None
            sleeping = {choice: step for choice, step in last.sleeping.items() if not step.meets(last.step)}
        for name in choices:
            if chosen := awake(name, sleeping):
                return _Node(choices, [name], sleeping, chosen=chosen)
        return _Node(choices, [], sleeping)

    def _taken(self, nodes: list[_Node], place: int, step: Step) -> None:
        """Work out what the step at a place comes after; where it races with an earlier one, try it the other way."""
        nodes[place].step = step
        if not self.reduced:
            return
        self.footprints.note(step)
        if step.choice[: len(nodes[place].chosen)] != nodes[place].chosen:
            raise NotRepeatable
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
        # What goes along with a reversal, and before it, is known by what the step touches when it comes later. Where
        # it could touch more that says nothing of the run in which it comes first: then all that can be done is tried.
        known = bool(races) and self.footprints.touches_all(step)
        for earlier in races:
            for possible in [_reversal(nodes, earlier, place)] if known else _one_each(nodes[earlier]):
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
                put_to_sleep(node, node.step)
            while node.tried < len(node.to_try):
                chosen = awake(node.to_try[node.tried], node.sleeping)
                node.tried += 1
                if chosen is not None:
                    node.chosen, node.step = chosen, None
                    return True
            nodes.pop()
        return False


def _finished(nodes: Sequence[_Node], result: R | None) -> Finished[R]:
    steps = tuple(node.step for node in nodes if node.step is not None)
    before = [node.before for node in nodes]
    for step in steps:
        for first, second in step.compared:
            before[second] |= 1 << first
    return Finished(steps, result, tuple(before))


def _one_each(node: _Node) -> list[tuple[int, ...]]:
    """All choices of a node, each of which must be tried."""
    return [(name,) for name in node.choices]


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
            firsts.append(nodes[place].chosen[0])
        within |= 1 << place
    return tuple(name for name in firsts if name in nodes[earlier].choices)


def awake(name: int, sleeping: Iterable[Choice]) -> Choice | None:
    """The first way to take a step that is not asleep, as far as it takes to tell it from those; None where all are.

    The answers of a step are the ways from the root of a binary tree to its leaves.
    """
    asleep = [choice for choice in sleeping if choice[0] == name]
    choice: Choice = (name,)
    while asleep:
        if choice in asleep:
            while choice[1:] and choice[-1]:
                choice = choice[:-1]
            if not choice[1:]:
                return None
            choice = (*choice[:-1], 1)
        elif any(other[: len(choice)] == choice for other in asleep):
            choice = (*choice, 0)
        else:
            break
    return choice


def put_to_sleep(state: _Node | Branch, step: Step) -> None:
    """The runs that begin with a step are covered, or will be. It is tried again if there are other ways to take it."""
    state.sleeping[step.choice] = step
    if awake(step.name, state.sleeping) is not None:
        state.to_try.insert(state.tried, step.name)


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
