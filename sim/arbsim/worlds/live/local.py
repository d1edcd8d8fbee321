"""Servers that arbsim starts itself, on loopback, and throws away at the end."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from arbsim.worlds.api import Resources
from arbsim.worlds.live.database import DatabaseServer, product_of
from arbsim.worlds.live.links import Link, Links
from arbsim.worlds.live.postgres import EmbeddedPostgres, PostgresUnavailable
from arbsim.worlds.live.probes import probe
from arbsim.worlds.live.processes import ServerUnavailable, work_folder
from arbsim.worlds.live.replay import DATABASE
from arbsim.worlds.live.world import POOL_MOST, Servers
from arbsim.worlds.virtual.settings import Settings

PROBES_SCHEMA = "arbsim_probes"
_QUESTIONS = 7
_DATABASE_SETTINGS = (
    "default_transaction_isolation",
    "wal_level",
    "synchronous_commit",
    "fsync",
    "deadlock_timeout",
    "max_connections",
)


@dataclass(frozen=True, slots=True)
class ServerDescription:
    """What a server says of itself."""

    name: str
    product: str
    version: str
    stands_for: str | None
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MeasuredLink:
    """A link's round trip as the scenario has it and as a client sees it."""

    region: str
    server: str
    round_trip_ns: int
    measured_ns: int | None


@dataclass(frozen=True, slots=True)
class Stack:
    """Servers that are up, and what is known of them."""

    servers: Servers
    descriptions: tuple[ServerDescription, ...]
    links: tuple[MeasuredLink, ...]


@contextmanager
def local_stack(
    settings: Settings, needs: Sequence[Resources], waiting_for: Callable[[str], None]
) -> Iterator[Stack]:
    """Start what the designs need; ``waiting_for`` is told which server is being waited for.

    Raises ServerUnavailable.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder())
        waiting_for("PostgreSQL")
        postgres = _postgres(stack, settings)
        waiting_for("the links between the regions")
        links = stack.enter_context(_links(settings, postgres, folder))
        waiting_for("the isolation levels of PostgreSQL")
        description, measured = asyncio.run(_describe(postgres, settings, links))
        yield Stack(Servers(postgres, links), (description,), measured)


def _postgres(stack: ExitStack, settings: Settings) -> DatabaseServer:
    connections = 20 + 2 * len(settings.regions) * min(settings.database.pool_size, POOL_MOST)
    options = {
        "wal_level": "logical",
        "max_connections": str(connections),
        "track_commit_timestamp": "on",  # so that a history knows when a transaction committed
        "wal_sender_timeout": "5s",
    }
    try:
        server = stack.enter_context(EmbeddedPostgres(options))
    except PostgresUnavailable as error:
        raise ServerUnavailable(str(error)) from None
    return DatabaseServer(server.host, server.port, server.user, server.database, server.password)


def _links(settings: Settings, postgres: DatabaseServer, folder: Path) -> Links:
    """Relays for the ways that clients and services take."""
    leader = settings.database.leader
    links = [
        Link(
            region, DATABASE, postgres.port, settings.round_trip_ns[region, leader] // 2, settings.jitter_ppm
        )
        for region in settings.regions
    ]
    return Links(links, settings.seed, folder / "relay.log")


async def _describe(
    database: DatabaseServer, settings: Settings, links: Links
) -> tuple[ServerDescription, tuple[MeasuredLink, ...]]:
    """Ask the database what it is and what its isolation levels do, and measure the links to it."""
    connection = await database.connect()
    try:
        product, version = product_of(await connection.fetchval("SELECT version()"))
        told = {name: await connection.fetchval(f"SHOW {name}") for name in _DATABASE_SETTINGS}
        await connection.execute(f"CREATE SCHEMA {PROBES_SCHEMA}")
        observed = await probe(database, PROBES_SCHEMA)
        await connection.execute(f"DROP SCHEMA {PROBES_SCHEMA} CASCADE")
    finally:
        await connection.close()
    told |= {f"{one.level.replace('_', ' ').upper()} in force": one.in_force for one in observed}
    asked = settings.database.dialect
    stands_for = (
        "YugabyteDB: one server, so a commit waits for no replica, and clients talk to it directly"
        if product == "PostgreSQL" and asked == "yugabyte"
        else None
    )
    measured = [await _measure(database, region, settings, links) for region in settings.regions]
    return ServerDescription(DATABASE, product, version, stands_for, told), tuple(measured)


async def _measure(database: DatabaseServer, region: str, settings: Settings, links: Links) -> MeasuredLink:
    """The median time of a few SELECT 1 over a region's link."""
    through = DatabaseServer(
        "127.0.0.1",
        links.port(region, DATABASE),
        database.user,
        database.database,
        database.password,
    )
    connection = await through.connect()
    try:
        times = []
        for _ in range(_QUESTIONS):
            began = time.perf_counter_ns()
            await connection.execute("SELECT 1")
            times.append(time.perf_counter_ns() - began)
    finally:
        await connection.close()
    round_trip_ns = settings.round_trip_ns[region, settings.database.leader]
    return MeasuredLink(region, DATABASE, round_trip_ns, round(statistics.median(times)))
