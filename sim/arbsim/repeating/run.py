"""One design's repetitions on real servers and on the model, and what their rates say."""

from __future__ import annotations

from collections.abc import Callable

from arbsim.agreement import Agreement, Rate
from arbsim.audit import broken_accounts
from arbsim.history import History
from arbsim.model import Workload
from arbsim.repeating.pairs import Plan, Race, as_invoked, plan, repeated, unanswered
from arbsim.repeating.rates import Interval, Pairs, agreeing, paired_difference, wilson

WARM_UP = 10
"""Repetitions before those that count: the first time a connection meets a statement costs it a round trip."""

Play = Callable[[Workload], History]
"""Runs a design on a workload, on servers or on the model."""


def repeat(
    race: Race, count: int, seed: int, longest_trip_ns: int, live: Play, model: Play
) -> Agreement | None:
    """Repeat a race on servers and, with the gaps as they were there, on the model; compare how often it goes wrong.

    Repetitions with an unknown outcome are left out on both sides; None where nothing is left.
    """
    chosen = plan(race, longest_trip_ns, model)
    workload = repeated(race, chosen.gaps_ns(WARM_UP + count, seed), chosen.every_ns)
    history = live(workload)
    return compared(chosen, history, model(as_invoked(history)))


def compared(chosen: Plan, live: History, simulated: History) -> Agreement | None:
    """Compare two histories of the same repetitions, account by account; None where all are left out."""
    counted = {account for account in live.workload.accounts if account > WARM_UP}
    left_out = (unanswered(live) | unanswered(simulated)) & counted
    counted -= left_out
    on_servers, on_model = broken_accounts(live) & counted, broken_accounts(simulated) & counted
    pairs = Pairs(
        both=len(on_servers & on_model),
        only_live=len(on_servers - on_model),
        only_simulated=len(on_model - on_servers),
        neither=len(counted - on_servers - on_model),
    )
    if not pairs.total:
        return None
    difference = paired_difference(pairs)
    return Agreement(
        gap_from_ms=_ms(chosen.from_ns),
        gap_to_ms=_ms(chosen.to_ns),
        every_ms=_ms(chosen.every_ns),
        repetitions=pairs.total,
        unanswered=len(left_out),
        live=_rate(len(on_servers), wilson(len(on_servers), pairs.total)),
        simulated=_rate(len(on_model), wilson(len(on_model), pairs.total)),
        only_live=pairs.only_live,
        only_simulated=pairs.only_simulated,
        difference=_share(difference.estimate),
        low=_share(difference.low),
        high=_share(difference.high),
        verdict=agreeing(difference),
    )


def _rate(count: int, interval: Interval) -> Rate:
    return Rate(
        count=count, rate=_share(interval.estimate), low=_share(interval.low), high=_share(interval.high)
    )


def _share(value: float) -> float:
    return round(value, 4)


def _ms(time_ns: int) -> float:
    return round(time_ns / 1e6, 3)
