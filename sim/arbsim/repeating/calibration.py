"""Measures the delays that the simulation is told: of the links, and of MirrorMaker. It never looks at a rate.

A link's round trip is what a question takes longer over the link than past it. MirrorMaker's lag is measured with
probe records: the same design sends them on the servers and on the model, told the links as they are and no lag, and
what they take longer on the servers, on average, is the lag. The average is what counts: where gaps are uniform, the
share of those that are shorter than a lag is the lag's mean over the width, however the lag is distributed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from arbsim.agreement import Calibration, LinkDelay, MirrorLag
from arbsim.history import History
from arbsim.model import Accepted, Kind, Operation, Outcome, Workload
from arbsim.runner import card_of
from arbsim.worlds.api import Design, Region, Resources, Topic
from arbsim.worlds.live.kafka import server_name
from arbsim.worlds.live.replay import DATABASE
from arbsim.worlds.live.world import Servers
from arbsim.worlds.virtual.draws import UNIT_BITS, Draws, purpose
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design as run_model

PROBES_EACH_WAY = 100
_WARM_UP = 10
_EVERY_NS = 100_000_000
"""Probes are between one and two of these apart, so that they meet MirrorMaker at every point of its polls."""

_QUESTIONS = 41
_PROBES = "probes"
_GAPS = purpose("repeating/probes")

Live = Callable[[str, Design, Workload], History]
"""Runs a design, by its name, on the servers."""


# -- links ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trip:
    """The round trip between a region and a server that stands in another one, or in the same."""

    region: str
    place: str
    server: str
    round_trip_ns: int


async def measure_links(servers: Servers, settings: Settings) -> list[Trip]:
    """Ask every server over every link of a region with clients, and past it."""
    trips = [
        Trip(region, settings.database.leader, DATABASE, trip_ns)
        for region, trip_ns in (await _to_database(servers, settings)).items()
    ]
    for place, address in (servers.kafka or {}).items():
        past_ns = await _of_kafka(address)
        for region in settings.client_regions:
            name = server_name(place)
            over_ns = await _of_kafka(f"127.0.0.1:{servers.links.port(region, name)}")
            trips.append(Trip(region, place, name, over_ns - past_ns))
    return trips


async def _to_database(servers: Servers, settings: Settings) -> dict[str, int]:
    async def answers_in_ns(server: Any) -> int:
        connection = await server.connect()
        try:
            return await _median_ns(lambda: connection.fetchval("SELECT 1"))
        finally:
            await connection.close()

    past_ns = await answers_in_ns(servers.database)
    return {
        region: await answers_in_ns(servers.database_from(region)) - past_ns
        for region in settings.client_regions
    }


async def _of_kafka(address: str) -> int:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        return await _median_ns(admin.list_topics)
    finally:
        await admin.close()


async def _median_ns(ask: Callable[[], Awaitable[object]]) -> int:
    times = []
    for _ in range(_QUESTIONS):
        began = time.perf_counter_ns()
        await ask()
        times.append(time.perf_counter_ns() - began)
    return round(statistics.median(times[1:]))  # the first one prepares the others


def told_links(settings: Settings, trips: list[Trip]) -> Settings:
    """Return the model's settings with the links as they were measured: the mean of all that were, both ways.

    A trip's jitter is part of what was measured, and is drawn by the model again: its mean is taken away.
    """
    told = dict(settings.round_trip_ns)
    for pair in settings.round_trip_ns:
        measured = [trip.round_trip_ns for trip in trips if {trip.region, trip.place} == set(pair)]
        if measured:
            jitter = settings.jitter_ppm / 2e6 if len(set(pair)) > 1 else 0.0
            told[pair] = round(statistics.mean(measured) / (1 + jitter))
    return replace(settings, round_trip_ns=told)


# -- MirrorMaker ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe(Design):
    """Sends each operation to a mirrored topic; every other region's service notes when it has come there."""

    name = "probe"
    family = "bus"
    agreement = "asynchronous"
    summary = "Records that measure MirrorMaker's lag; nothing is decided."

    def resources(self) -> Resources:
        """One topic of each region, mirrored."""
        return Resources(topics=(Topic(_PROBES, mirrored=True),))

    async def connect(self, region: Region) -> None:
        """Open the producer."""
        await region.kafka.producer("local", acks="all", enable_idempotence=True)

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Append a record; it is recorded when the broker says so."""
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        await producer.send_and_wait(_PROBES, b"%d" % op.id, key=b"%d" % op.account)
        region.recorded()
        return Accepted()

    async def serve(self, region: Region) -> None:
        """Note what comes from each other region with clients."""
        await region.gather(
            *(self._note(region, peer) for peer in region.client_regions if peer != region.name)
        )

    async def _note(self, region: Region, peer: str) -> None:
        store = region.store()
        consumer = await region.kafka.consumer(
            f"{peer}.{_PROBES}", auto_offset_reset="earliest", enable_auto_commit=False
        )
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    with region.working_on(int(record.value)):
                        store.put(1, store.get(1) + Decimal("0.01"))


def probes(settings: Settings, each_way: int = PROBES_EACH_WAY) -> Workload:
    """Return a workload that sends so many probes from each region with clients, in turn."""
    draws, regions = Draws(settings.seed), settings.client_regions
    operations, at_ns = [], 0
    for number in range(1, (_WARM_UP + each_way) * len(regions) + 1):
        at_ns += _EVERY_NS + (_EVERY_NS * draws.uniform(_GAPS, number, 0) >> UNIT_BITS)
        operations.append(Operation(number, at_ns, regions[number % len(regions)], Kind.DEPOSIT, 1, 1))
    return Workload(operations, {1: 0})


def lags_ns(history: History, regions: int) -> dict[tuple[str, str], list[int]]:
    """Return how long each probe took from its append to a consumer in another region, by (source, target)."""
    lags: dict[tuple[str, str], list[int]] = {}
    for effect in history.effects():
        if effect.operation > _WARM_UP * regions:
            source = history.workload[effect.operation].region
            recorded_ns = history.answer_of(effect.operation).recorded_ns
            lags.setdefault((source, effect.store), []).append(effect.time_ns - recorded_ns)
    return lags


def measure_mirrors(settings: Settings, live: Live) -> list[MirrorLag]:
    """Send the same probes on the servers and on the model, which is told no lag."""
    workload, regions = probes(settings), len(settings.client_regions)
    design = Probe()
    without = replace(settings, kafka=replace(settings.kafka, mirror_lag_ns=0))
    measured = lags_ns(live(design.name, design, workload), regions)
    modelled = lags_ns(run_model(design, card_of(design.name, design), workload, without), regions)
    return list(_mirrors(measured, modelled))


def _mirrors(
    measured: Mapping[tuple[str, str], list[int]], modelled: Mapping[tuple[str, str], list[int]]
) -> Iterator[MirrorLag]:
    for (source, target), lags in sorted(measured.items()):
        ordered = sorted(lags)
        yield MirrorLag(
            source=source,
            target=target,
            probes=len(lags),
            mean_ms=_ms(statistics.mean(lags)),
            p50_ms=_ms(_percentile(ordered, 50)),
            p90_ms=_ms(_percentile(ordered, 90)),
            p99_ms=_ms(_percentile(ordered, 99)),
            modelled_ms=_ms(statistics.mean(modelled[source, target])),
        )


def _percentile(ordered: list[int], percent: int) -> int:
    """By nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


# -- both ----------------------------------------------------------------------------------------------


def calibrate(
    settings: Settings, servers: Servers, mirrored: bool, live: Live
) -> tuple[Settings, Calibration]:
    """Measure the delays; return the model's settings with them, and what was measured.

    ``mirrored``: whether MirrorMaker runs.
    """
    trips = asyncio.run(measure_links(servers, settings))
    told = told_links(settings, trips)
    mirrors = measure_mirrors(told, live) if mirrored else []
    lag_ms = None
    if mirrors:
        lag_ms = round(max(0.0, statistics.mean(one.mean_ms - one.modelled_ms for one in mirrors)), 3)
        told = replace(told, kafka=replace(told.kafka, mirror_lag_ns=round(lag_ms * 1e6)))
    links = tuple(
        LinkDelay(
            region=trip.region,
            server=trip.server,
            round_trip_ms=_ms(settings.round_trip_ns[trip.region, trip.place]),
            measured_ms=_ms(trip.round_trip_ns),
        )
        for trip in trips
    )
    return told, Calibration(links=links, mirrors=tuple(mirrors), mirror_lag_ms=lag_ms)


def _ms(time_ns: float) -> float:
    return round(time_ns / 1e6, 3)
