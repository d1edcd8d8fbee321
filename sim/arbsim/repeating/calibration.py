"""Measures the delays that the simulation is told: of the links, and of MirrorMaker. It never looks at a rate.

A link's round trip is what a question takes longer over the link than past it. What a broker and MirrorMaker take is
measured with probe records. The same design sends them on the servers and on the model, which is told the links as they
are and nothing else: what the answers of the brokers take longer on the servers, on average, is the time of an append;
what the copies take longer is MirrorMaker's lag. Averages are what counts: where gaps are uniform, the share of those
that are shorter than a lag is the lag's mean over the width, however the lag is distributed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from arbsim.agreement import Calibration, FlowDelay, LinkDelay
from arbsim.history import History
from arbsim.model import Accepted, Kind, Operation, Outcome, Workload
from arbsim.runner import card_of
from arbsim.worlds.api import Design, Region, Resources, Topic
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.endings import quietly
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

_QUESTIONS = 21
_PROBES = "probes"
_GAPS = purpose("repeating/probes")

Ask = Callable[[], Awaitable[object]]
"""Asks a server something small, and waits for the answer."""

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
    trips = []
    async with AsyncExitStack() as stack:
        for region in settings.client_regions:
            past = await _database(stack, servers.database)
            over = await _database(stack, servers.database_from(region))
            trips.append(Trip(region, settings.database.leader, DATABASE, await _longer_ns(over, past)))
            for place, address in (servers.kafka or {}).items():
                name = server_name(place)
                past = await _kafka(stack, address)
                over = await _kafka(stack, f"127.0.0.1:{servers.links.port(region, name)}")
                trips.append(Trip(region, place, name, await _longer_ns(over, past)))
    return trips


async def _database(stack: AsyncExitStack, server: DatabaseServer) -> Ask:
    connection = await server.connect()
    stack.push_async_callback(quietly, connection.close)
    return partial(connection.fetchval, "SELECT 1")


async def _kafka(stack: AsyncExitStack, address: str) -> Ask:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    stack.push_async_callback(quietly, admin.close)
    return admin.list_topics  # type: ignore[no-any-return]


async def _longer_ns(over: Ask, past: Ask) -> int:
    """How much longer an answer takes over a link than past it: medians, of questions that are asked in turn."""
    times: tuple[list[int], list[int]] = ([], [])
    for _ in range(_QUESTIONS):
        for ask, taken in zip((over, past), times, strict=True):
            began = time.perf_counter_ns()
            await ask()
            taken.append(time.perf_counter_ns() - began)
    # The first answer of a connection prepares the others.
    medians = [statistics.median(taken[1:]) for taken in times]
    return max(0, round(medians[0] - medians[1]))


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


def probes(settings: Settings, each_way: int) -> Workload:
    """Return a workload that sends so many probes from each region with clients, in turn."""
    draws, regions = Draws(settings.seed), settings.client_regions
    operations, at_ns = [], 0
    for number in range(1, (_WARM_UP + each_way) * len(regions) + 1):
        at_ns += _EVERY_NS + (_EVERY_NS * draws.uniform(_GAPS, number, 0) >> UNIT_BITS)
        operations.append(Operation(number, at_ns, regions[number % len(regions)], Kind.DEPOSIT, 1, 1))
    return Workload(operations, {1: 0})


Flows = Mapping[tuple[str, str], Sequence[int]]
"""Times in nanoseconds by (source, target); those of a region with itself are of its broker's answers."""


def flows_of(history: History, regions: int) -> Flows:
    """Return how long each probe took to its broker's answer, and from there to a consumer in another region."""
    flows: dict[tuple[str, str], list[int]] = {}
    recorded_ns = {}
    for op in history.workload.operations[_WARM_UP * regions :]:
        answer = history.answer_of(op.id)
        recorded_ns[op.id] = answer.recorded_ns
        flows.setdefault((op.region, op.region), []).append(answer.recorded_ns - answer.invoked_ns)
    for effect in history.effects():
        if effect.operation in recorded_ns:
            source = history.workload[effect.operation].region
            lag_ns = effect.time_ns - recorded_ns[effect.operation]
            flows.setdefault((source, effect.store), []).append(lag_ns)
    return flows


def measure_flows(settings: Settings, live: Live, each_way: int) -> tuple[Settings, list[FlowDelay]]:
    """Send the same probes on the servers and on the model; return its settings with what they took longer."""
    design, workload, regions = Probe(), probes(settings, each_way), len(settings.client_regions)
    card = card_of(design.name, design)
    measured = flows_of(live(design.name, design, workload), regions)

    def modelled(told: Settings) -> Flows:
        return flows_of(run_model(design, card, workload, told), regions)

    bare = replace(settings, kafka=replace(settings.kafka, append_ns=0, mirror_lag_ns=0))
    answers = {place: times for place, times in measured.items() if place[0] == place[1]}
    copies = {place: times for place, times in measured.items() if place not in answers}
    quick = modelled(bare)
    told = replace(bare, kafka=replace(bare.kafka, append_ns=_longer_by_ns(answers, quick)))
    without_lag = modelled(told)
    told = replace(told, kafka=replace(told.kafka, mirror_lag_ns=_longer_by_ns(copies, without_lag)))
    return told, [*_delays(answers, quick), *_delays(copies, without_lag)]


def _longer_by_ns(measured: Flows, modelled: Flows) -> int:
    longer = [statistics.mean(times) - statistics.mean(modelled[place]) for place, times in measured.items()]
    return max(0, round(statistics.mean(longer)))


def _delays(measured: Flows, modelled: Flows) -> Iterator[FlowDelay]:
    for (source, target), times in sorted(measured.items()):
        ordered = sorted(times)
        yield FlowDelay(
            source=source,
            target=target,
            probes=len(times),
            mean_ms=_ms(statistics.mean(times)),
            p50_ms=_ms(_percentile(ordered, 50)),
            p90_ms=_ms(_percentile(ordered, 90)),
            p99_ms=_ms(_percentile(ordered, 99)),
            modelled_ms=_ms(statistics.mean(modelled[source, target])),
        )


def _percentile(ordered: Sequence[int], percent: int) -> int:
    """By nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


# -- both ----------------------------------------------------------------------------------------------


def calibrate(
    settings: Settings, servers: Servers, mirrored: bool, live: Live, each_way: int = PROBES_EACH_WAY
) -> tuple[Settings, Calibration]:
    """Measure the delays; return the model's settings with them, and what was measured.

    ``mirrored``: whether MirrorMaker runs. ``each_way``: how many probes each region sends.
    """
    trips = asyncio.run(measure_links(servers, settings))
    told = told_links(settings, trips)
    flows: list[FlowDelay] = []
    if mirrored:
        told, flows = measure_flows(told, live, each_way)
    links = tuple(
        LinkDelay(
            region=trip.region,
            server=trip.server,
            round_trip_ms=_ms(settings.round_trip_ns[trip.region, trip.place]),
            measured_ms=_ms(trip.round_trip_ns),
        )
        for trip in trips
    )
    parameters = {
        "kafka.append": _ms(told.kafka.append_ns),
        "kafka.mirror_lag": _ms(told.kafka.mirror_lag_ns),
    }
    return told, Calibration(links=links, flows=tuple(flows), parameters_ms=parameters if mirrored else {})


def _ms(time_ns: float) -> float:
    return round(time_ns / 1e6, 3)
