"""Explore one design: search, judge every run, and say what the search allows to be said."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from arbsim.audit import audit
from arbsim.history import History
from arbsim.model import Cents, DesignCard, Fate, FindingKind, Verdict, Workload
from arbsim.results import DesignResult
from arbsim.worlds.api import Design
from arbsim.worlds.exhaustive.kernel import Learned, LearnedMore
from arbsim.worlds.exhaustive.orders import MOST_CUTS, count_orders
from arbsim.worlds.exhaustive.search import Finished, NotRepeatable, Progress, Search
from arbsim.worlds.exhaustive.steps import Step
from arbsim.worlds.exhaustive.world import ChoiceWorld
from arbsim.worlds.virtual.settings import Settings

MOST_STEPS = 1_000
"""Steps of one run; a run that takes more cannot be followed to its end."""

MOST_CUT_RUNS = 20
"""So many runs that do not end are enough to give up: a service that sleeps and wakes for ever has no last order."""


LOOKS = (50, 500)
"""After so many runs a search is long enough to look around: to make as many runs by chance."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to, as far as it is the same in all equivalent orders."""

    finals: tuple[tuple[str, tuple[tuple[int, Cents], ...]], ...]
    fates: tuple[Fate | None, ...]
    told: tuple[Cents | None, ...]
    broken: tuple[FindingKind, ...]


@dataclass(slots=True)
class Reached:
    """How often an outcome was reached. ``orders`` is None where they were not counted."""

    classes: int = 0
    orders: int | None = 0


@dataclass(frozen=True, slots=True)
class Shortest:
    """The shortest run that violates: its steps, what the audit says of it, and what was known of the design then.

    Without that nothing could make the run again: it gives the steps their names.
    """

    steps: tuple[Step, ...]
    history: History
    result: DesignResult
    learned: Learned


@dataclass(slots=True)
class Explored:
    """What a search found.

    ``stopped`` says why it is not complete ("interrupted", "time", "memory", "steps"), None where it is. ``limits``
    are orders that this world leaves out though the design could meet them. ``classes`` counts the runs: with
    reduction each stands for all orders that are equivalent to it.
    """

    card: DesignCard
    reduced: bool
    outcomes: dict[Outcome, Reached] = field(default_factory=dict)
    stopped: str | None = None
    limits: tuple[str, ...] = ()
    classes: int = 0
    redundant: int = 0
    steps: int = 0
    longest: int = 0
    orders: int | None = 0
    violating_classes: int = 0
    violating_orders: int | None = 0
    contended: bool = False
    undecided: bool = False
    unanswered: bool = False
    clock_jumps: bool = False
    shortest: Shortest | None = None
    learned: Learned = field(default_factory=Learned)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why nothing can be concluded from having found no violation; empty where it can."""
        reasons = []
        if self.stopped is not None:
            reasons.append(self.stopped)
        if self.limits:
            reasons.append("limits")
        if not self.contended:
            reasons.append("no-contention")
        if self.undecided:
            reasons.append("undecided-outcomes")
        if self.unanswered:
            reasons.append("unanswered")
        return tuple(reasons)

    @property
    def verdict(self) -> Verdict:
        """Holds only where every order was tried to its end, and all was decided in each."""
        if self.violating_classes:
            return Verdict.VIOLATED
        return Verdict.INCONCLUSIVE if self.reasons else Verdict.HOLDS


Stop = Callable[[Progress], str | None]
"""Is asked after each run, also one that led nowhere, whether to go on; returns why not, or None."""


def never(_: Progress) -> str | None:
    """Go on to the end."""
    return None


def explore_design(
    design: Design,
    card: DesignCard,
    workload: Workload,
    settings: Settings,
    *,
    reduced: bool = True,
    most_steps: int = MOST_STEPS,
    most_cuts: int = MOST_CUTS,
    stop: Stop = never,
) -> Explored:
    """Try every order of the workload's operations through a design.

    Ctrl-C (KeyboardInterrupt) ends the search; what was covered so far is returned, and says so. What the design
    raises that is no outcome goes through: a bug in the design.
    """
    learned = Learned()
    explored = Explored(card, reduced, learned=learned)
    while True:
        search: Search[History] = Search(
            lambda: ChoiceWorld(design, card, workload, settings, learned), reduced, most_steps
        )
        explored = Explored(card, reduced, learned=learned)
        try:
            _go(search, explored, most_cuts, stop)
        except LearnedMore:
            explored.stopped = stop(search.progress)
            if explored.stopped is None:
                continue
        except KeyboardInterrupt:
            explored.stopped = "interrupted"
        explored.redundant, explored.steps = search.progress.redundant, search.progress.steps
        explored.limits = tuple(learned.limits)
        explored.clock_jumps = learned.clock_is_read
        return explored


def _look_around(search: Search[History], runs: int) -> None:
    """Make runs by chance. What they show of the design would otherwise come up late, and begin a long search anew."""
    rng = random.Random(runs)  # noqa: S311 - nothing here is secret
    learned = False
    for _ in range(runs):
        try:
            search.by_chance(rng)
        except LearnedMore:
            learned = True
    if learned:
        raise LearnedMore


def _go(search: Search[History], explored: Explored, most_cuts: int, stop: Stop) -> None:
    cut = 0
    first: tuple[Finished[History], Outcome] | None = None
    for run in search.runs():
        if run is None:
            pass
        elif run.result is None:
            cut += 1
            explored.stopped = "steps"
        else:
            outcome = _note(explored, run, run.result, most_cuts)
            first = first or (run, outcome)
        if run is not None and search.progress.runs in LOOKS:
            _look_around(search, search.progress.runs)
        why = "steps" if cut == MOST_CUT_RUNS else stop(search.progress)
        if why is not None:
            explored.stopped = why
            break
    if first is not None:
        run, outcome = first
        history = search.again(run)
        if outcome_of(history, audit(history)) != outcome:
            raise NotRepeatable


def _note(explored: Explored, run: Finished[History], history: History, most_cuts: int) -> Outcome:
    result = audit(history)
    outcome = outcome_of(history, result)
    orders = 1
    if explored.reduced:
        counted = count_orders(run.before, most_cuts) if explored.orders is not None else None
        explored.orders = None if counted is None or explored.orders is None else explored.orders + counted
        orders = counted or 0
    else:
        assert explored.orders is not None
        explored.orders += 1
    reached = explored.outcomes.setdefault(outcome, Reached())
    reached.classes += 1
    explored.classes += 1
    explored.longest = max(explored.longest, len(run.steps))
    if reached.orders is not None:
        reached.orders += orders
    if explored.orders is None:
        _count_no_more(explored)
    explored.contended |= bool(
        result.contention.overlapping_pairs or result.contention.unseen_pairs or result.contention.waits
    )
    explored.undecided |= "undecided-outcomes" in result.reasons
    explored.unanswered |= None in outcome.fates
    if result.verdict is Verdict.VIOLATED:
        explored.violating_classes += 1
        if explored.violating_orders is not None:
            explored.violating_orders += orders
        shortest = explored.shortest
        if shortest is None or _length(run.steps) < _length(shortest.steps):
            explored.shortest = Shortest(run.steps, history, result, explored.learned.copy())
    return outcome


def _count_no_more(explored: Explored) -> None:
    """A class was too costly to count, so the sums would be wrong."""
    explored.violating_orders = None
    for reached in explored.outcomes.values():
        reached.orders = None


def _length(steps: tuple[Step, ...]) -> tuple[int, int]:
    """Fewer steps are shorter; then fewer changes from one chain of steps to another."""
    changes = sum(place - 1 not in step.after for place, step in enumerate(steps))
    return len(steps), changes


def outcome_of(history: History, result: DesignResult) -> Outcome:
    """What of a run is the same in all equivalent orders."""
    answers = list(history.answers())
    return Outcome(
        finals=tuple(
            (store, tuple(sorted(balances.items()))) for store, balances in sorted(history.finals.items())
        ),
        fates=tuple(answer.fate for answer in answers),
        told=tuple(answer.told_cents for answer in answers),
        broken=tuple(kind for kind in FindingKind if result.findings[kind].count),
    )
