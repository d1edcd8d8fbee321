"""Small worlds for tests: three regions, round delays, no jitter unless asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from arbsim.history import History
from arbsim.model import DesignCard, Kind, Operation, Workload
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.kafka.cluster import KafkaTimings
from arbsim.worlds.virtual.settings import CdcSettings, DatabaseSettings, Settings
from arbsim.worlds.virtual.world import run_design

MS = 1_000_000
REGIONS = ("east", "west", "central")
TABLE = (
    "CREATE TABLE acct (id BIGINT PRIMARY KEY, balance NUMERIC(12,2) NOT NULL CHECK (balance >= 0),"
    " updated_at TIMESTAMPTZ NOT NULL DEFAULT now())"
)
_APART_MS = {("east", "west"): 60, ("east", "central"): 20, ("west", "central"): 50}

ROUND_TRIPS = {
    (a, b): 0 if a == b else _APART_MS.get((a, b), _APART_MS.get((b, a), 0)) * MS
    for a in REGIONS
    for b in REGIONS
}

SETTINGS = Settings(
    seed=42,
    regions=REGIONS,
    client_regions=("east", "west"),
    round_trip_ns=ROUND_TRIPS,
    jitter_ppm=0,
    database=DatabaseSettings(
        dialect="yugabyte",
        leader="east",
        gateway="nearest",
        table=TABLE,
        read_committed=True,
        statement_ns=0,
        deadlock_timeout_ns=1000 * MS,
        deadlock_probe_ns=100 * MS,
        query_layer_retries=60,
        pool_size=20,
        xcluster_lag_ns=100 * MS,
    ),
    kafka_leader="east",
    kafka=KafkaTimings(
        append_ns=0,
        linger_ns=0,
        fetch_max_wait_ns=500 * MS,
        transaction_ns=0,
        mirror_lag_ns=6 * MS,
        rebalance_ns=10 * MS,
        max_poll_records=500,
    ),
    cdc=CdcSettings(
        lag_ns=0,
        poll_interval_ns=10 * MS,
        offset_flush_interval_ns=1000 * MS,
        restart_time_ns=1000 * MS,
        restart_at_ns=(),
    ),
)


def withdraw(at_ms: int, region: str, cents: int, account: int = 1) -> tuple[int, str, Kind, int, int]:
    """One withdrawal."""
    return at_ms * MS, region, Kind.WITHDRAW, account, cents


def deposit(at_ms: int, region: str, cents: int, account: int = 1) -> tuple[int, str, Kind, int, int]:
    """One deposit."""
    return at_ms * MS, region, Kind.DEPOSIT, account, cents


def workload(*intents: tuple[int, str, Kind, int, int], opening: dict[int, int] | None = None) -> Workload:
    """A workload; account 1 opens with 100.00 unless said otherwise."""
    operations = [
        Operation(number, at_ns, region, kind, account, cents)
        for number, (at_ns, region, kind, account, cents) in enumerate(intents, start=1)
    ]
    return Workload(tuple(operations), opening or {1: 10_000})


def card(design: Design) -> DesignCard:
    """The card of a design under its own name."""
    return DesignCard(
        design.name,
        design.name,
        design.family,
        design.agreement,
        design.claims,
        design.summary,
        cure=design.cure,
        fresh_reads=design.fresh_reads,
        own_order=design.own_order,
    )


def run(design: Design, operations: Workload, settings: Settings = SETTINGS, **database: Any) -> History:
    """Run a design; keywords change the database's settings."""
    if database:
        settings = replace(settings, database=replace(settings.database, **database))
    return run_design(design, card(design), operations, settings)


def fates(history: History) -> list[str]:
    """The fates in order of operation."""
    return [answer.fate.value if answer.fate else "none" for answer in history.answers()]


def latencies_ms(history: History) -> list[float]:
    """From invocation to fate, in order of operation."""
    return [(answer.answered_ns - answer.invoked_ns) / MS for answer in history.answers()]
