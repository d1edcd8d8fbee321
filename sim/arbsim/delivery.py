"""The change stream's delivery, tried on real servers: the connector is killed in every way that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from arbsim.audit.costs import percentiles
from arbsim.audit.judge import money
from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.model import Cents, Kind, Operation, Workload
from arbsim.results import StreamFacts
from arbsim.runner import card_of
from arbsim.worlds.live.change_stream import Delivered, LiveStream
from arbsim.worlds.live.connect import Delivery
from arbsim.worlds.live.servers import Servers
from arbsim.worlds.live.world import INTERRUPTED, run_design
from arbsim.worlds.virtual.settings import Settings

MS = 1_000_000
_EVERY_MS = 10
_FOR_MS = 5_000
"""How long changes go on: the connector is killed in the first half, and while it is down the database goes on."""

_SOME_CHANGES = 20


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to treat a connector: its position is stored every ``flush_ms``, it is killed once ``kill`` says so."""

    name: str
    delivery: Delivery
    flush_ms: int
    kill: Callable[[LiveStream], bool]


def _some_came(stream: LiveStream) -> bool:
    return stream.witnesses[0].changes >= _SOME_CHANGES


def _some_came_since_the_last_flush(stream: LiveStream) -> bool:
    flushed = stream.changes_at_flush
    return flushed is not None and stream.witnesses[0].changes >= flushed + _SOME_CHANGES


def _never(_: LiveStream) -> bool:
    return False


UNDISTURBED = Trial("steady changes, left alone", "at least once", 1_000, _never)
KILLS = (
    Trial(
        "at least once, killed between two flushes", "at least once", 1_000, _some_came_since_the_last_flush
    ),
    Trial("exactly once, killed at work", "exactly once", 1_000, _some_came),
    Trial("at least once, killed before the first flush", "at least once", 60_000, _some_came),
)


TRIALS = (UNDISTURBED, *KILLS)
"""The first shows the lag alone."""


def run_trial(trial: Trial, settings: Settings, servers: Servers, run: str) -> tuple[StreamFacts, ...]:
    """Kill the connector in the middle of a steady stream of changes of one account, and say what came.

    Raises ServerUnavailable, and KeyboardInterrupt where Ctrl-C ended it.
    """
    cdc = replace(settings.cdc, offset_flush_interval_ns=trial.flush_ms * MS)
    design = AtomicUpdate(change_stream=True)
    told: list[Sequence[Delivered]] = []
    history = run_design(
        design,
        card_of(trial.name, design),
        _steady(settings.database.leader),
        replace(settings, cdc=cdc),
        servers,
        run,
        delivery=trial.delivery,
        kill_connector=trial.kill,
        on_delivered=told.append,
    )
    if INTERRUPTED in history.notes:
        raise KeyboardInterrupt
    killed = "connector_restarts" in history.totals
    return tuple(
        facts for delivered in told for facts in stream_facts(delivered, trial.delivery, killed=killed)
    )


def _steady(region: str) -> Workload:
    """A deposit of a cent every few milliseconds; each is one change."""
    operations = tuple(
        Operation(number, number * _EVERY_MS * MS, region, Kind.DEPOSIT, 1, 1)
        for number in range(1, _FOR_MS // _EVERY_MS + 1)
    )
    return Workload(operations, {1: 10_000})


def stream_facts(
    delivered: Sequence[Delivered], delivery: Delivery, *, killed: bool
) -> Iterator[StreamFacts]:
    """What came on each side, for the report."""
    for one in delivered:
        lags = percentiles(one.lags_ns)
        yield StreamFacts(
            region=one.region,
            delivery=delivery,
            killed=killed,
            changes=one.changes,
            again=one.again,
            missing=one.missing,
            snapshots=one.snapshots,
            lag_p50_ms=lags.p50_ms,
            lag_p99_ms=lags.p99_ms,
            differences={
                str(account): (_money(table), _money(folded))
                for account, (table, folded) in one.differences.items()
            },
        )


def _money(cents: Cents | None) -> str | None:
    return None if cents is None else money(cents)
