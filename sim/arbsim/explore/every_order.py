"""Every order of a run's own operations, where trying them is little work: what makes ``none seen`` a ``holds``."""

from __future__ import annotations

from arbsim.explore.run import MOST_CUTS, bounds_of
from arbsim.explore.search import explore_design
from arbsim.model import DesignCard, FindingKind, Verdict, Workload
from arbsim.results import EveryOrder
from arbsim.worlds.api import Design
from arbsim.worlds.exhaustive.search import NotRepeatable, Progress
from arbsim.worlds.virtual.settings import Settings

STEPS_IN_ALL = 1_000
"""Steps of a whole search. A number of steps, not of seconds: the same scenario gives the same report everywhere."""

MOST_OPERATIONS = 50
"""Operations that are begun with at all: of more, one or two orders take all the steps, and decide nothing."""


def every_order(
    design: Design, card: DesignCard, workload: Workload, settings: Settings
) -> EveryOrder | None:
    """Try every order of the operations; None where that decides nothing within the steps there are.

    A design that keeps something from one run to the next cannot be searched. What a design raises in some order goes
    through.
    """
    if len(workload) > MOST_OPERATIONS:
        return None
    try:
        explored = explore_design(design, card, workload, settings, most_cuts=MOST_CUTS, stop=_enough)
    except NotRepeatable:
        return None
    if explored.verdict is Verdict.INCONCLUSIVE:
        return None
    return EveryOrder(
        complete=explored.stopped is None,
        orders=explored.orders,
        violating_orders=explored.violating_orders,
        classes=explored.classes,
        violating_classes=explored.violating_classes,
        broken=tuple(kind for kind in FindingKind if kind in explored.broken),
        bounds=bounds_of(explored),
    )


def _enough(progress: Progress) -> str | None:
    return "steps" if progress.steps > STEPS_IN_ALL else None
