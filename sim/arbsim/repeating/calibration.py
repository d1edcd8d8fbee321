"""Measures the delays that the simulation is told: of the links, the servers and MirrorMaker. It never looks at a rate.

A link's round trip is what a question takes longer over the link than past it, at the least; everything else, the work
of the servers and of this machine, is measured with probes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from arbsim.agreement import Calibration, FlowDelay, LinkDelay
from arbsim.repeating.probes import Live, measure_database, measure_mirrors
from arbsim.worlds.api import Design
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.endings import quietly
from arbsim.worlds.live.kafka import server_name
from arbsim.worlds.live.replay import DATABASE
from arbsim.worlds.live.security import KafkaSecurity
from arbsim.worlds.live.servers import Servers
from arbsim.worlds.virtual.settings import Settings

PROBES_EACH_WAY = 100
_QUESTIONS = 21

Ask = Callable[[], Awaitable[object]]
"""Asks a server something small, and waits for the answer."""


@dataclass(frozen=True, slots=True)
class Trip:
    """The round trip between a region and a server that stands in another one, or in the same."""

    region: str
    place: str
    server: str
    round_trip_ns: int


async def measure_links(servers: Servers, settings: Settings) -> list[Trip]:
    """Ask every server over every link of a region with clients, and past it."""
    trips = []
    async with AsyncExitStack() as stack:
        for region in settings.client_regions:
            past = await _database(stack, servers.database)
            over = await _database(stack, servers.database_from(region))
            trips.append(Trip(region, settings.database.leader, DATABASE, await _longer_ns(over, past)))
            for place, address in (servers.kafka or {}).items():
                name = server_name(place)
                past = await _kafka(stack, address, servers.security)
                over = await _kafka(stack, f"127.0.0.1:{servers.links.port(region, name)}", servers.security)
                trips.append(Trip(region, place, name, await _longer_ns(over, past)))
    return trips


async def _database(stack: AsyncExitStack, server: DatabaseServer | None) -> Ask:
    assert server is not None, "servers that are started here have a database"
    connection = await server.connect()
    stack.push_async_callback(quietly, connection.close)
    return partial(connection.fetchval, "SELECT 1")


async def _kafka(stack: AsyncExitStack, address: str, security: KafkaSecurity) -> Ask:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=address, **security.client())
    await admin.start()
    stack.push_async_callback(quietly, admin.close)
    return admin.list_topics  # type: ignore[no-any-return]


async def _longer_ns(over: Ask, past: Ask) -> int:
    """How much longer an answer takes over a link than past it, where nothing else is in the way: the least of each."""
    least = []
    for ask in (over, past):
        times = []
        for _ in range(_QUESTIONS):
            began = time.perf_counter_ns()
            await ask()
            times.append(time.perf_counter_ns() - began)
        least.append(min(times))
    return max(0, least[0] - least[1])


def told_links(settings: Settings, trips: list[Trip]) -> Settings:
    """Return the model's settings with the links as they were measured: the mean of all that were, both ways."""
    told = dict(settings.round_trip_ns)
    for pair in settings.round_trip_ns:
        measured = [trip.round_trip_ns for trip in trips if {trip.region, trip.place} == set(pair)]
        if measured:
            told[pair] = round(statistics.mean(measured))
    return replace(settings, round_trip_ns=told)


def calibrate(
    settings: Settings,
    servers: Servers,
    designs: Mapping[str, Design],
    live: Live,
    each_way: int = PROBES_EACH_WAY,
) -> tuple[Settings, Calibration]:
    """Measure the delays that the designs meet; return the model's settings with them, and what was measured.

    ``each_way``: how many probes each region sends.
    """
    trips = asyncio.run(measure_links(servers, settings))
    told = told_links(settings, trips)
    resources = [design.resources() for design in designs.values()]
    flows: list[FlowDelay] = []
    parameters: dict[str, float] = {}
    if any(one.accounts_table for one in resources):
        told, found = measure_database(told, live, each_way)
        flows += found
        parameters["database.statement"] = _ms(told.database.statement_ns)
    if any(topic.mirrored for one in resources for topic in one.topics):
        told, found = measure_mirrors(told, live, each_way)
        flows += found
        parameters["kafka.mirror_lag"] = _ms(told.kafka.mirror_lag_ns)
    links = tuple(
        LinkDelay(
            region=trip.region,
            server=trip.server,
            round_trip_ms=_ms(settings.round_trip_ns[trip.region, trip.place]),
            measured_ms=_ms(trip.round_trip_ns),
        )
        for trip in trips
    )
    return told, Calibration(links=links, flows=tuple(flows), parameters_ms=parameters)


def _ms(time_ns: float) -> float:
    return round(time_ns / 1e6, 3)
