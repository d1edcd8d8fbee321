"""What a database is, found out by asking it and by trying it; and how long its links take."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable
from contextlib import suppress

import asyncpg

from arbsim.results import LinkFacts, ServerFacts
from arbsim.worlds.live.database import YUGABYTE, DatabaseServer, Sandbox, product_of, told
from arbsim.worlds.live.endings import quietly
from arbsim.worlds.live.java import DEBEZIUM_VERSION, KAFKA_VERSION
from arbsim.worlds.live.links import Link
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.replay import DATABASE
from arbsim.worlds.live.servers import OURS, Servers
from arbsim.worlds.live.statements import ACCOUNTS
from arbsim.worlds.virtual.settings import Settings

_QUESTIONS = 5
_DATABASE_SETTINGS = (
    "default_transaction_isolation",
    "wal_level",
    "synchronous_commit",
    "fsync",
    "deadlock_timeout",
    "max_connections",
)
_IDENTITIES = {"d": "the primary key", "n": "nothing", "f": "full", "i": "an index"}


async def facts_of_database(
    servers: Servers, settings: Settings, calm: Awaitable[object] | None = None
) -> tuple[ServerFacts, tuple[LinkFacts, ...]]:
    """Ask the database what it is, try what the scenario's table stands for there, and measure the links to it.

    ``calm``: what is waited for before the links are measured. Raises ServerUnavailable.
    """
    database = servers.database
    assert database is not None
    connection = await database.connect()
    try:
        product, version = product_of(await connection.fetchval("SELECT version()"))
        asked = {
            name: await connection.fetchval("SELECT current_setting($1, true)", name)
            for name in _DATABASE_SETTINGS
        }
        tried = await _table_facts(connection, settings.database.table)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ServerUnavailable(f"{database}: {told(error)}") from None
    finally:
        await quietly(connection.close)
    stands_for = (
        "YugabyteDB: one server, so a commit waits for no replica, and clients talk to it directly"
        if settings.database.dialect == "yugabyte" and product != YUGABYTE
        else None
    )
    known = {name: value for name, value in asked.items() if value is not None}
    facts = ServerFacts(
        name=DATABASE, product=product, version=version, stands_for=stands_for, settings={**known, **tried}
    )
    measured = await asyncio.gather(
        *(_measure(servers, region, settings, calm) for region in settings.regions)
    )
    return facts, tuple(measured)


async def _table_facts(connection: asyncpg.Connection, table: str) -> dict[str, str]:
    """What the server makes of the scenario's table: whether its CHECK is in force, and what a change tells."""
    sandbox = Sandbox(connection, f"{OURS}_table")
    try:
        await sandbox.create((table,), check=True)
        refuses = "a negative balance is taken"
        try:
            await connection.execute(f"INSERT INTO {ACCOUNTS} (id, balance) VALUES (1, -1)")  # noqa: S608
        except asyncpg.CheckViolationError:
            refuses = "a negative balance is refused"
        identity = await connection.fetchval(
            "SELECT relreplident FROM pg_class WHERE oid = $1::regclass", ACCOUNTS
        )
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await sandbox.drop()
    name = identity.decode() if isinstance(identity, bytes) else str(identity)
    return {"CHECK in force": refuses, "replica identity": _IDENTITIES.get(name, name)}


async def _measure(
    servers: Servers, region: str, settings: Settings, calm: Awaitable[object] | None
) -> LinkFacts:
    """The median time of a few SELECT 1 over a region's link."""
    database = servers.database_from(region)
    assert database is not None
    connection = await database.connect()
    try:
        if calm is not None:
            await calm
        times = []
        for _ in range(_QUESTIONS):
            began = time.perf_counter_ns()
            await connection.execute("SELECT 1")
            times.append(time.perf_counter_ns() - began)
    finally:
        await quietly(connection.close)
    return LinkFacts(
        region=region,
        server=DATABASE,
        round_trip_ms=_ms(settings.round_trip_ns[region, settings.database.leader]),
        measured_ms=_ms(statistics.median(times)),
    )


def connect_facts(settings: Settings) -> ServerFacts:
    """What is known of the worker that a run's change stream has."""
    cdc = settings.cdc
    return ServerFacts(
        name="Connect",
        product="Debezium's PostgreSQL connector in Kafka Connect",
        version=f"{DEBEZIUM_VERSION}, {KAFKA_VERSION}",
        settings={
            "mode": f"distributed, one worker for each run, in {settings.kafka_leader}",
            "plugin.name": "pgoutput",
            "snapshot.mode": "initial",
            "decimal.handling.mode": "string",
            "poll.interval.ms": f"{_ms(cdc.poll_interval_ns):g}",
            "offset.flush.interval.ms": f"{_ms(cdc.offset_flush_interval_ns):g}",
        },
    )


def _ms(time_ns: float) -> float:
    return round(time_ns / 1e6, 3)


def database_links(database: DatabaseServer, settings: Settings) -> list[Link]:
    """A link from each region to the database, which is in the leader's."""
    leader = settings.database.leader
    return [
        Link(
            region,
            DATABASE,
            database.port,
            settings.round_trip_ns[region, leader] // 2,
            settings.jitter_ppm,
            database.host,
        )
        for region in settings.regions
    ]
