"""Explore one design: search, judge every run, and say what the search allows to be said."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from arbsim.audit import Judgement, ShortAudits, audit, short_audit
from arbsim.history import History
from arbsim.model import Cents, DesignCard, Fate, FindingKind, Verdict, Workload
from arbsim.results import DesignResult
from arbsim.worlds.api import Design
from arbsim.worlds.exhaustive.kernel import Learned, LearnedMore
from arbsim.worlds.exhaustive.orders import MOST_CUTS, count_orders, least_changes
from arbsim.worlds.exhaustive.search import Finished, NotRepeatable, Progress, Search
from arbsim.worlds.exhaustive.steps import Choice, Footprints, Step
from arbsim.worlds.exhaustive.world import ChoiceWorld, without_delays
from arbsim.worlds.virtual.settings import Settings

MOST_STEPS = 1_000
"""Steps of one run; a run that takes more cannot be followed to its end."""

MOST_CUT_RUNS = 20
"""So many runs that do not end are enough to give up: a service that sleeps and wakes for ever has no last order."""


LOOK = 20
"""After so many runs a search is long enough to look around: to make as many runs by chance."""


ALONE = 40
"""A search that ends within so many runs, with those of attempts that were begun anew, is not worth sharing."""


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

    ``stopped`` says why it is not complete ("interrupted", "time", "memory", "worker", "steps"), None where it is.
    ``limits`` are orders that this world leaves out though the design could meet them. ``leaves_out_rings``: a run in
    which a ring of waits only makes a statement start again is left to another. ``classes`` counts the runs: with
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
    leaves_out_rings: bool = False
    cut: int = 0
    """Runs that were left before their end."""
    shortest_key: tuple[int, int, tuple[tuple[int, ...], ...]] | None = None
    shortest_names: tuple[int, ...] = ()
    shortest: Shortest | None = None

    @property
    def broken(self) -> set[FindingKind]:
        """The kinds of finding that some order has."""
        return {kind for outcome in self.outcomes for kind in outcome.broken}

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


@dataclass(frozen=True, slots=True)
class Task:
    """What is explored, and how far."""

    design: Design
    card: DesignCard
    workload: Workload
    settings: Settings
    learned: Learned
    reduced: bool
    most_steps: int
    most_cuts: int
    footprints: Footprints
    audits: ShortAudits

    def search(
        self, path: tuple[Choice, ...] = (), sleeping: dict[Choice, Step] | None = None
    ) -> Search[History]:
        """A search, or the part of one that begins with some choices."""
        return Search(
            self._start, self.reduced, self.most_steps, path, sleeping or {}, footprints=self.footprints
        )

    def _start(self) -> ChoiceWorld:
        return ChoiceWorld(self.design, self.card, self.workload, self.settings, self.learned)

    @property
    def on_yugabyte(self) -> bool:
        """Whether the design runs on a YugabyteDB."""
        needs = self.design.resources()
        return needs.accounts_table and (needs.dialect or self.settings.database.dialect) == "yugabyte"

    def explored(self) -> Explored:
        """Nothing yet."""
        return Explored(self.card, self.reduced)


def explore_design(
    design: Design,
    card: DesignCard,
    workload: Workload,
    settings: Settings,
    *,
    reduced: bool = True,
    most_steps: int = MOST_STEPS,
    most_cuts: int = MOST_CUTS,
    workers: int = 1,
    stop: Stop = never,
) -> Explored:
    """Try every order of the workload's operations through a design.

    A search that is not small is shared by ``workers`` processes; what it finds does not depend on how many. Ctrl-C
    (KeyboardInterrupt) ends the search; what was covered so far is returned, and says so. What the design raises that
    is no outcome goes through: a bug in the design.
    """
    audits = ShortAudits(card, workload)
    task = Task(
        design, card, workload, without_delays(settings), Learned(), reduced, most_steps, most_cuts, Footprints(),
        audits,
    )  # fmt: skip
    effort = Effort()
    while True:
        explored, progress = task.explored(), Progress()
        known = task.learned.copy()
        task.footprints.begin()
        try:
            _go(task, explored, progress, effort, workers, stop)
        except LearnedMore:
            effort.runs += progress.runs + progress.redundant
            explored.stopped = stop(progress)
            if explored.stopped is None:
                continue
        except KeyboardInterrupt:
            explored.stopped = "interrupted"
        explored.redundant, explored.steps = progress.redundant, progress.steps
        explored.limits = tuple(task.learned.limits)
        explored.clock_jumps = task.learned.clock_is_read
        explored.leaves_out_rings = task.on_yugabyte and not task.learned.waits_with_more
        _play_shortest(replace(task, learned=known), explored)
        return explored


@dataclass(slots=True)
class Effort:
    """What a search has taken before it was begun anew: its runs, and whether they include those by chance."""

    runs: int = 0
    looked_around: bool = False


def _go(task: Task, explored: Explored, progress: Progress, effort: Effort, workers: int, stop: Stop) -> None:
    search = task.search()
    search.progress = progress
    first: tuple[Finished[History], Outcome] | None = None
    look_back = LookBack(task.footprints)
    for run in search.runs():
        outcome = take_in(task, explored, run)
        if first is None and run is not None and outcome is not None:
            first = run, outcome
        runs = effort.runs + progress.runs + progress.redundant
        if runs >= LOOK and not effort.looked_around:
            _look_around(search)
            effort.looked_around = True
            look_back.at = 0  # what was seen there may show at once that the runs until now are void
        explored.stopped = explored.stopped or stop(progress)
        if explored.stopped is not None:
            break
        if not look_back.is_due(progress):
            continue
        if task.footprints.void:
            break
        if workers > 1 and runs >= ALONE:
            # Small searches do without processes, and without importing what makes them.
            from arbsim.explore.parallel import can_share, share

            if can_share():
                share(task, search, explored, progress, workers, stop, look_back)
                break
    if explored.stopped is None and explored.cut:
        explored.stopped = "steps"
    if first is not None:
        _make_again(search, *first)
    if task.footprints.void and explored.stopped in (None, "steps"):
        raise LearnedMore


def _make_again(search: Search[History], run: Finished[History], outcome: Outcome) -> None:
    """Make a run once more. Raises NotRepeatable where something else comes of it."""
    again = search.again([step.name for step in run.steps])
    assert again.result is not None
    if again.steps != run.steps or outcome_of(again.result, short_audit(again.result)) != outcome:
        raise NotRepeatable


@dataclass(slots=True)
class LookBack:
    """When to begin a void search anew: not at once, for more may come up, nor when all is done."""

    footprints: Footprints
    at: int = field(default_factory=lambda: LOOK)

    def is_due(self, progress: Progress) -> bool:
        """Whether to look: when there are twice as many runs as last time."""
        runs = progress.runs + progress.redundant
        if runs < self.at:
            return False
        self.at = 2 * runs
        return True

    def is_void(self, progress: Progress) -> bool:
        """Whether to begin anew."""
        return self.is_due(progress) and self.footprints.void


def _play_shortest(task: Task, explored: Explored) -> None:
    """Make the shortest run that violates once more, in the order of its class that changes least between chains."""
    if explored.shortest_names:
        run = task.search().again(explored.shortest_names)
        assert run.result is not None
        explored.shortest = Shortest(run.steps, run.result, audit(run.result), task.learned)


def _look_around(search: Search[History]) -> None:
    """Make runs by chance. What they show of the design would otherwise come up late, and begin a long search anew."""
    rng = random.Random(LOOK)  # noqa: S311 - nothing here is secret
    learned = False
    for _ in range(LOOK):
        try:
            search.by_chance(rng)
        except LearnedMore:
            learned = True
    if learned:
        raise LearnedMore


def take_in(task: Task, explored: Explored, run: Finished[History] | None) -> Outcome | None:
    """Add a run to what was explored; return what it came to, where it came to an end."""
    if run is None:
        return None
    if run.result is None:
        explored.cut += 1
        if explored.cut == MOST_CUT_RUNS:
            explored.stopped = "steps"
        return None
    return _note(task, explored, run, run.result)


def _note(task: Task, explored: Explored, run: Finished[History], history: History) -> Outcome:
    judged = task.audits.of(history)
    outcome = outcome_of(history, judged)
    orders = 1
    if explored.reduced:
        counted = count_orders(run.before, task.most_cuts) if explored.orders is not None else None
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
    explored.contended |= judged.contended
    explored.undecided |= judged.undecided
    explored.unanswered |= None in outcome.fates
    if judged.verdict is Verdict.VIOLATED:
        explored.violating_classes += 1
        if explored.violating_orders is not None:
            explored.violating_orders += orders
        _keep_if_shorter(task, explored, run)
    return outcome


def _count_no_more(explored: Explored) -> None:
    """A class was too costly to count, so the sums would be wrong."""
    explored.violating_orders = None
    for reached in explored.outcomes.values():
        reached.orders = None


def _keep_if_shorter(task: Task, explored: Explored, run: Finished[History]) -> None:
    """Fewer steps are shorter; then fewer changes from one chain of steps to another; then what was made first.

    All of it is the same whichever order of a class was run, so it does not depend on who ran which part.
    """
    if explored.shortest_key and len(run.steps) > explored.shortest_key[0]:
        return
    known = task.learned.names
    places = least_changes(run.steps, run.before, known) if task.reduced else range(len(run.steps))
    names = tuple(run.steps[place].name for place in places)
    changes = sum(one not in run.steps[other].after for one, other in pairwise(places))
    key = (len(names), changes, tuple(known.way(name) for name in names))
    if not explored.shortest_key or key < explored.shortest_key:
        explored.shortest_key, explored.shortest_names = key, names


def merge(explored: Explored, part: Explored) -> None:
    """Add what a part of the search found."""
    for outcome, reached in part.outcomes.items():
        known = explored.outcomes.setdefault(outcome, Reached())
        known.classes += reached.classes
        known.orders = _sum(known.orders, reached.orders)
    explored.classes += part.classes
    explored.violating_classes += part.violating_classes
    explored.orders = _sum(explored.orders, part.orders)
    explored.violating_orders = _sum(explored.violating_orders, part.violating_orders)
    if explored.orders is None:
        _count_no_more(explored)
    explored.longest = max(explored.longest, part.longest)
    explored.contended |= part.contended
    explored.undecided |= part.undecided
    explored.unanswered |= part.unanswered
    explored.cut += part.cut
    if explored.cut >= MOST_CUT_RUNS:
        explored.stopped = "steps"
    if part.shortest_key and (not explored.shortest_key or part.shortest_key < explored.shortest_key):
        explored.shortest_key, explored.shortest_names = part.shortest_key, part.shortest_names


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def outcome_of(history: History, judged: Judgement) -> Outcome:
    """What of a run is the same in all equivalent orders."""
    answers = list(history.answers())
    return Outcome(
        finals=tuple(
            (store, tuple(sorted(balances.items()))) for store, balances in sorted(history.finals.items())
        ),
        fates=tuple(answer.fate for answer in answers),
        told=tuple(answer.told_cents for answer in answers),
        broken=judged.broken,
    )
