"""The virtual Kafka against Kafka: the same scripts through the same code on both, and what they observe is equal."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest
from aiokafka.errors import KafkaError

from arbsim.worlds.api import Consumer, Kafka, Topic
from arbsim.worlds.live.clients import KafkaSettings, LiveMessaging, Names
from arbsim.worlds.live.topics import RunTopics
from arbsim.worlds.virtual.kafka.clusters import Clusters, RegionKafka
from arbsim.worlds.virtual.kernel import Kernel, Trace
from arbsim.worlds.virtual.network import Network
from tests.live.stack import Live


class Machine(Kafka, Protocol):
    """The Kafka of a process, and another process that can be killed."""

    async def victim(self, topic: str, group_id: str) -> Callable[[], Awaitable[None]]:
        """Start a member that reads three records and commits the first; return what kills it."""


Process = Callable[[str], Machine]
"""Gives the Kafka of a new process in a region."""

Script = Callable[[Process, str], Awaitable[Any]]
"""Uses topics of its own, and says what it observed."""

SCRIPTS: dict[str, Script] = {}
PARTITIONS = 4
MS = 1_000_000


def script(function: Script) -> Script:
    """Name a script by its function."""
    SCRIPTS[function.__name__] = function
    return function


async def take(consumer: Consumer, count: int) -> list[Any]:
    """The next records of a consumer, in the order in which it gets them."""
    records: list[Any] = []
    while len(records) < count:
        for batch in (await consumer.getmany(timeout_ms=500)).values():
            records += batch
    return records


async def reader(kafka: Kafka, topic: str, **options: Any) -> Consumer:
    """A consumer of the stretched cluster from the beginning, which commits nothing by itself."""
    cluster = options.pop("cluster", "stretched")
    return await kafka.consumer(
        topic, cluster=cluster, auto_offset_reset="earliest", enable_auto_commit=False, **options
    )


async def written(kafka: Kafka, topic: str, *values: bytes) -> None:
    """Write values, one after the other, with a key of the same bytes."""
    producer = await kafka.producer("stretched", acks="all", enable_idempotence=True)
    for value in values:
        await producer.send_and_wait(topic, value, key=value)


@script
async def records_of_two_writers_have_one_order(process: Process, topic: str) -> Any:
    east, west = process("east"), process("west")
    await written(east, topic, b"1")
    await written(west, topic, b"2")
    await written(east, topic, b"3")
    orders = []
    for region in ("east", "west"):
        records = await take(await reader(process(region), topic), 3)
        orders.append([record.value for record in records])
    return orders


@script
async def a_key_chooses_the_partition_and_offsets_count_from_zero(process: Process, topic: str) -> Any:
    producer = await process("west").producer("stretched", acks="all")
    places = []
    for number in range(20):
        told = await producer.send_and_wait(f"{topic}-wide", b"x", key=b"account %d" % number)
        places.append((told.partition, told.offset))
    return places


@script
async def an_idempotent_producer_keeps_its_order_without_waiting(process: Process, topic: str) -> Any:
    producer = await process("west").producer("stretched", acks="all", enable_idempotence=True)
    for number in range(50):
        await producer.send(topic, b"%d" % number, key=b"k")
    await producer.flush()
    return [(record.offset, record.value) for record in await take(await reader(process("east"), topic), 50)]


@script
async def two_members_share_the_partitions_and_who_stays_gets_all(process: Process, topic: str) -> Any:
    wide = f"{topic}-wide"
    first = await reader(process("east"), wide, group_id="group")
    alone = len(first.assignment())
    second = await reader(process("east"), wide, group_id="group")
    while len(first.assignment()) != 2 or len(second.assignment()) != 2:
        await first.getmany(timeout_ms=50)
        await second.getmany(timeout_ms=50)
    shared = sorted(one.partition for one in first.assignment() | second.assignment())
    await first.stop()
    while len(second.assignment()) != PARTITIONS:
        await second.getmany(timeout_ms=50)
    return alone, shared, sorted(one.partition for one in second.assignment())


@script
async def what_was_not_committed_comes_again_to_the_next_member(process: Process, topic: str) -> Any:
    await written(process("east"), topic, b"1", b"2", b"3")
    first = await reader(process("east"), topic, group_id="group")
    records = await take(first, 3)
    (partition,) = first.assignment()
    await first.commit({partition: records[0].offset + 1})
    await first.stop()
    second = await reader(process("west"), topic, group_id="group")
    again = [(record.offset, record.value) for record in await take(second, 2)]
    return again, await second.committed(partition)


@script
async def what_a_killed_member_did_not_commit_comes_to_the_next(process: Process, topic: str) -> Any:
    await written(process("east"), topic, b"1", b"2", b"3")
    kill = await process("east").victim(topic, "group")
    await kill()
    heir = await reader(process("west"), topic, group_id="group")
    again = [(record.offset, record.value) for record in await take(heir, 2)]
    (partition,) = heir.assignment()
    return again, await heir.committed(partition)


@script
async def a_committed_transaction_is_read_and_an_aborted_one_by_those_who_ask_for_it(
    process: Process, topic: str
) -> Any:
    producer = await process("east").producer("stretched", acks="all", transactional_id="writer")
    for value, commits in ((b"1", True), (b"2", False), (b"3", True)):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value)
        await (producer.commit_transaction() if commits else producer.abort_transaction())
    committed = await reader(process("west"), topic, isolation_level="read_committed")
    everything = await reader(process("west"), topic, isolation_level="read_uncommitted")
    return (
        [record.value for record in await take(committed, 2)],
        [record.value for record in await take(everything, 3)],
    )


@script
async def an_open_transaction_holds_back_what_others_wrote_after_it(process: Process, topic: str) -> Any:
    producer = await process("east").producer("stretched", acks="all", transactional_id="writer")
    committed = await reader(process("west"), topic, isolation_level="read_committed")
    everything = await reader(process("west"), topic, isolation_level="read_uncommitted")
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"open")
    await written(process("west"), topic, b"after")
    seen = [record.value for record in await take(everything, 2)]
    held = await committed.getmany(timeout_ms=300)
    await producer.commit_transaction()
    return seen, held, [record.value for record in await take(committed, 2)]


@script
async def a_second_producer_with_the_same_id_fences_the_first(process: Process, topic: str) -> Any:
    first = await process("east").producer("stretched", acks="all", transactional_id="writer")
    await first.begin_transaction()
    await first.send_and_wait(topic, b"zombie")
    second = await process("west").producer("stretched", acks="all", transactional_id="writer")
    await second.begin_transaction()
    await second.send_and_wait(topic, b"heir")
    await second.commit_transaction()
    try:
        await first.send_and_wait(topic, b"too late")
        ended = "went on"
    except KafkaError as error:
        ended = type(error).__name__
    committed = await reader(process("west"), topic, isolation_level="read_committed")
    return ended, [record.value for record in await take(committed, 1)]


@script
async def clusters_that_mirror_each_other_both_have_both_writes_to_a_key(process: Process, topic: str) -> Any:
    shared = f"{topic}-mirrored"
    for region in ("east", "west"):
        producer = await process(region).producer("local", acks="all", enable_idempotence=True)
        await producer.send_and_wait(shared, region.encode(), key=b"1")
    seen = []
    for region, other in (("east", "west"), ("west", "east")):
        for name in (shared, f"{other}.{shared}"):
            records = await take(await reader(process(region), name, cluster="local"), 1)
            seen.append((region, name, [(record.key, record.value, record.topic) for record in records]))
    return seen


def topics_of(name: str) -> tuple[Topic, ...]:
    """The topics of one script."""
    return (
        Topic(name, "stretched"),
        Topic(f"{name}-wide", "stretched", PARTITIONS),
        Topic(f"{name}-mirrored", mirrored=True),
    )


NAMES = {name: f"script{number}" for number, name in enumerate(SCRIPTS)}
ALL = tuple(topic for name in NAMES.values() for topic in topics_of(name))


@pytest.fixture(name="observed", scope="module")
def _observed(kafka: Live) -> dict[str, Any]:
    """What each script observes on the real Kafka."""
    return asyncio.run(_observe(kafka))


async def _observe(live: Live) -> dict[str, Any]:
    servers, settings = live.stack.servers, live.settings
    assert servers.kafka is not None
    mirrored = frozenset(topic.name for topic in ALL if topic.mirrored)
    observed = {}
    async with AsyncExitStack() as stack:
        names = Names("arbsim_test_scripts", settings.regions, mirrored)
        topics = RunTopics(servers.kafka, settings.kafka_leader, settings.client_regions, names, ALL)
        await topics.open(stack)
        stack.push_async_callback(topics.delete)
        await topics.create({})
        await topics.mirrored()

        def process_of(script: str) -> Process:
            def process(region: str) -> Machine:
                addresses = servers.kafka_from(region)
                clients = KafkaSettings(addresses, ALL, settings.kafka_leader, 0, 100, 10_000, 500)
                messaging = LiveMessaging(region, names, clients, lambda operation: False)
                stack.push_async_callback(messaging.close)
                return _Own(messaging, script, names, addresses[settings.kafka_leader])

            return process

        for name, function in SCRIPTS.items():
            async with asyncio.timeout(60):
                observed[name] = await function(process_of(NAMES[name]), NAMES[name])
    return observed


class _Own:
    """A process whose groups and transactional ids have the script's name, as its topics have."""

    def __init__(self, kafka: Kafka, name: str, names: Names, stretched: str) -> None:
        self._kafka = kafka
        self._name = name
        self._names = names
        self._stretched = stretched

    async def producer(self, *arguments: Any, **options: Any) -> Any:
        if "transactional_id" in options:
            options["transactional_id"] += self._name
        return await self._kafka.producer(*arguments, **options)

    async def consumer(self, *topics: str, **options: Any) -> Any:
        if "group_id" in options:
            options["group_id"] += self._name
        return await self._kafka.consumer(*topics, **options)

    async def victim(self, topic: str, group_id: str) -> Callable[[], Awaitable[None]]:
        """A process of its own, which gets SIGKILL: nobody tells the broker that it has gone."""
        real = self._names.real(topic, "stretched"), self._names.ours(group_id + self._name)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _VICTIM, self._stretched, *real), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"committed\n"

        async def kill() -> None:
            process.kill()
            await process.wait()

        return kill


_VICTIM = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer

async def main(address, topic, group):
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=address, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
        session_timeout_ms=1000, heartbeat_interval_ms=100)
    await consumer.start()
    records = [await consumer.getone() for _ in range(3)]
    (partition,) = consumer.assignment()
    await consumer.commit({partition: records[0].offset + 1})
    print("committed", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


class _Virtual(RegionKafka):
    """The virtual twin: the model knows a killed member as one that is gone after the time of a rebalance."""

    async def victim(self, topic: str, group_id: str) -> Callable[[], Awaitable[None]]:
        member = await reader(self, topic, group_id=group_id)
        records = await take(member, 3)
        (partition,) = member.assignment()
        await member.commit({partition: records[0].offset + 1})
        return member.stop


def simulated(live: Live, name: str) -> Any:
    """What a script observes on the virtual Kafka."""
    settings, topic = live.settings, NAMES[name]
    kernel = Kernel()
    network = Network(kernel, 1, settings.regions, settings.round_trip_ns, settings.jitter_ppm)
    clusters = Clusters(kernel, network, settings.kafka, settings.regions, settings.kafka_leader)
    for one in topics_of(topic):
        clusters.create_topic(one.name, one.cluster, one.partitions)
        if one.mirrored:
            clusters.mirror(one.name, one.partitions, settings.client_regions)
    told: list[Any] = []

    async def body() -> None:
        told.append(await SCRIPTS[name](lambda region: _Virtual(clusters, region, lambda: 0), topic))

    async def clock() -> None:
        while not told:  # virtual time stands still where everybody only polls
            await kernel.sleep_ns(MS)

    kernel.spawn(body(), Trace(1))
    kernel.spawn(clock())
    kernel.run_until_quiet(10**12)
    return told[0]


@pytest.mark.parametrize("name", list(SCRIPTS))
def test_kafka_and_its_model_observe_the_same(name: str, kafka: Live, observed: dict[str, Any]) -> None:
    assert simulated(kafka, name) == observed[name]
