"""``arbsim explore``: a scenario's operations, or a few of them, through each design in every order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from arbsim import __version__
from arbsim.audit import audit, claimed
from arbsim.audit.judge import money
from arbsim.compare import exit_code_of, operation_row
from arbsim.explore.document import Exploration, ExploredRow, FittingRow, OutcomeRow, SliceRow
from arbsim.explore.search import Explored, Outcome, Reached, Stop, explore_design, never
from arbsim.explore.slices import Slice, slice_of
from arbsim.model import VIOLATIONS, DesignCard, Verdict
from arbsim.results import Status
from arbsim.runner import card_of, designs_failing, settings_of
from arbsim.scenario import Scenario
from arbsim.worlds.api import Design
from arbsim.worlds.exhaustive.search import Progress
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design

MOST_CUTS = 5_000
"""A class of which more downward closed sets would have to be counted is left uncounted."""

BOUNDS = (
    "services start and clients connect in one fixed order; every operation begins after that, in any order",
    "no poll times out, no offset is committed by itself, nothing crashes and no link breaks",
    "messages of one connection arrive in order; lock queues are the model's",
)
RING_BOUND = (
    "where a deadlock only makes YugabyteDB start a statement again, "
    "the order is left to that in which it comes later"
)
CLOCK_BOUND = "no two readings of the clock are equal, and it jumps ahead by an hour once, at any step"

FITTING_RUNS = 500
"""What can be tried in so many runs would have fitted into any reasonable limit."""


def explore_scenario(
    scenario: Scenario,
    part: Slice,
    seed: int,
    designs: Mapping[str, Design],
    replay: str,
    *,
    reduced: bool = True,
    workers: int = 1,
    stop: Callable[[str], Stop] = lambda name: never,
) -> tuple[Exploration, dict[str, Explored]]:
    """Explore every design. ``stop`` gives for each design who is asked after every run whether to go on.

    After Ctrl-C the designs that are left are not begun.
    """
    settings = settings_of(scenario, seed)
    found: dict[str, Explored] = {}
    rows: dict[str, ExploredRow] = {}
    for name, design in designs.items():
        with designs_failing(name):
            card = card_of(name, design)
            shares: list[float] = []
            ask = stop(name)

            def asked(progress: Progress, ask: Stop = ask, shares: list[float] = shares) -> str | None:
                shares[:] = [progress.share_done]
                return ask(progress)

            explored = explore_design(
                design,
                card,
                part.workload,
                settings,
                reduced=reduced,
                most_cuts=MOST_CUTS,
                workers=workers,
                stop=asked,
            )
            fitting = None
            if explored.stopped in ("time", "memory"):
                fitting = _fitting(design, card, part, settings, reduced, explored)
            in_time = None
            if explored.verdict is Verdict.VIOLATED:
                in_time = audit(run_design(design, card, part.workload, settings)).verdict
        found[name] = explored
        rows[name] = _row(scenario, name, explored, part, in_time, shares[0] if shares else 0.0, fitting)
        if explored.stopped == "interrupted":
            break
    document = Exploration(
        name=scenario.name,
        question=scenario.question or "",
        arbsim=__version__,
        seed=seed,
        reduced=reduced,
        slice=SliceRow(
            operations=tuple(operation_row(op) for op in part.workload),
            originals=part.originals,
            whole=part.whole,
        ),
        designs=rows,
        replay=replay,
        exit_code=exit_code_of(row.status for row in rows.values()),
    )
    return document, found


def _fitting(
    design: Design, card: DesignCard, part: Slice, settings: Settings, reduced: bool, explored: Explored
) -> FittingRow | None:
    """Find how many of the operations would not have been too many; None where two are."""
    fitting = None
    for operations in range(2, len(part.workload)):
        fewer = slice_of(part.workload, operations).workload
        tried = explore_design(
            design, card, fewer, settings, reduced=reduced, most_cuts=0,
            stop=lambda progress: "enough" if progress.runs + progress.redundant >= FITTING_RUNS else None,
        )  # fmt: skip
        if tried.stopped == "interrupted":
            explored.stopped = "interrupted"
        if tried.stopped is not None:
            break
        fitting = FittingRow(operations=operations, runs=tried.classes + tried.redundant)
    return fitting


def _row(
    scenario: Scenario,
    name: str,
    explored: Explored,
    part: Slice,
    in_time: Verdict | None,
    share: float,
    fitting: FittingRow | None,
) -> ExploredRow:
    expected, status = _judged(scenario, name, explored, part.whole)
    outcomes = sorted(
        explored.outcomes.items(), key=lambda pair: (not pair[0].broken, -pair[1].classes, repr(pair[0]))
    )
    return ExploredRow(
        verdict=explored.verdict,
        reasons=explored.reasons,
        complete=explored.stopped is None,
        expected=expected,
        status=status,
        orders=explored.orders,
        violating_orders=explored.violating_orders,
        classes=explored.classes,
        violating_classes=explored.violating_classes,
        redundant=explored.redundant,
        longest=explored.longest,
        outcomes=tuple(_outcome(outcome, reached) for outcome, reached in outcomes),
        bounds=bounds_of(explored),
        limits=explored.limits,
        in_time=in_time,
        share_done=share if explored.stopped is not None and share else None,
        runs_estimate=_runs(explored, share) if explored.stopped is not None and share else None,
        fitting=fitting,
    )


def bounds_of(explored: Explored) -> tuple[str, ...]:
    """What was the same in all orders of a search, as sentences."""
    rings = (RING_BOUND,) if explored.leaves_out_rings else ()
    clock = (CLOCK_BOUND,) if explored.clock_jumps else ()
    return (*BOUNDS, *rings, *clock)


def _runs(explored: Explored, share: float) -> int:
    """How many runs the whole search would take, to two digits: it is no more than a guess."""
    runs = (explored.classes + explored.redundant) / share
    return round(round(runs, 1 - math.floor(math.log10(runs)))) if runs >= 1 else 0


def _outcome(outcome: Outcome, reached: Reached) -> OutcomeRow:
    return OutcomeRow(
        final={
            store: {str(account): money(cents) for account, cents in balances}
            for store, balances in outcome.finals
        },
        fates=outcome.fates,
        told=tuple(None if cents is None else money(cents) for cents in outcome.told),
        broken=outcome.broken,
        classes=reached.classes,
        orders=reached.orders,
    )


def _judged(scenario: Scenario, name: str, explored: Explored, whole: bool) -> tuple[str, Status]:
    """What was expected, and whether it is met: the scenario's verdict, else the design's own claims."""
    verdict = explored.verdict
    expectation = scenario.expect.get(name)
    # That one run proves nothing is no expectation of what all orders do.
    if expectation is not None and expectation.verdict not in (None, "inconclusive"):
        return expectation.verdict, _status(expectation.verdict, verdict, whole)
    promised = claimed(explored.card)
    if verdict is Verdict.VIOLATED:
        return "as declared", "broken" if explored.broken & promised else "met"
    # A trap that holds is news, unless the scenario expects something of it and no violation.
    known = expectation is not None or set(VIOLATIONS) <= promised
    return "as declared", "met" if verdict is Verdict.HOLDS and known else "undecided"


def _status(expected: str, verdict: Verdict, whole: bool) -> Status:
    """A part of the workload that holds does not refute that the whole of it violates."""
    if verdict is Verdict.INCONCLUSIVE:
        return "undecided"
    if expected == "violated":
        return "met" if verdict is Verdict.VIOLATED else "broken" if whole else "undecided"
    return "met" if verdict is Verdict.HOLDS else "broken"
