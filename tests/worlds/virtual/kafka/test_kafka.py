"""The virtual Kafka: order, acknowledgement, groups, transactions and MirrorMaker, as the documentation has them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalOperation,
    IllegalStateError,
    ProducerClosed,
    ProducerFenced,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from arbsim.worlds.virtual.kafka.cluster import KafkaTimings, partition_of
from arbsim.worlds.virtual.kafka.clusters import Clusters, RegionKafka
from arbsim.worlds.virtual.kernel import Kernel, Trace
from arbsim.worlds.virtual.network import Network
from tests.worlds.virtual.worlds import MS, REGIONS, ROUND_TRIPS, SETTINGS

FREE: KafkaTimings = replace(SETTINGS.kafka, mirror_lag_ns=0)
"""Brokers that take no time; a rebalance takes 10 ms. East and west are 60 ms apart, central 20 and 50."""


class Bench:
    """Clusters with their leaders in east, and coroutines that run on them."""

    def __init__(self, timings: KafkaTimings = FREE, jitter_ppm: int = 0) -> None:
        self.kernel = Kernel()
        self.network = Network(self.kernel, 1, REGIONS, ROUND_TRIPS, jitter_ppm)
        self.clusters = Clusters(self.kernel, self.network, timings, REGIONS, "east")
        self.clusters.create_topic("t", "stretched", 1)
        self.clusters.create_topic("wide", "stretched", 4)
        self.clusters.create_topic("home", "local", 1)

    def kafka(self, region: str) -> RegionKafka:
        return RegionKafka(self.clusters, region, lambda: self.kernel.now_ns // MS)

    def run(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run them side by side until they are done; return their results."""
        tasks = [
            self.kernel.spawn(coroutine, Trace(number)) for number, coroutine in enumerate(coroutines, 1)
        ]
        for task in tasks:
            task.observed = True
        results: list[Any] = []

        async def collect() -> None:
            results.extend([await task for task in tasks])

        self.kernel.spawn(collect())
        self.kernel.run_until_quiet(10**13)
        return results

    @property
    def now_ms(self) -> float:
        return self.kernel.now_ns / MS


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def take(consumer: Any, count: int) -> list[Any]:
    """The next records of a consumer, in the order in which it gets them."""
    records: list[Any] = []
    while len(records) < count:
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            records += batch
    return records


# -- order and placement -------------------------------------------------------------------------------


@given(st.binary(max_size=40), st.integers(1, 12))
def test_a_key_goes_to_the_partition_that_aiokafka_chooses(key: bytes, count: int) -> None:
    everywhere = list(range(count))
    assert partition_of(key, count) == DefaultPartitioner()(key, everywhere, everywhere)


def test_records_of_one_partition_are_read_in_the_order_in_which_the_leader_has_them(bench: Bench) -> None:
    async def send(region: str) -> None:
        producer = await bench.kafka(region).producer("stretched", acks="all", enable_idempotence=True)
        for number in range(5):
            await producer.send_and_wait("t", b"%d" % number, key=region.encode())

    async def read(region: str) -> list[tuple[int, bytes, bytes]]:
        consumer = await bench.kafka(region).consumer("t", cluster="stretched", auto_offset_reset="earliest")
        return [(record.offset, record.key, record.value) for record in await take(consumer, 10)]

    *_, here, there = bench.run(send("east"), send("west"), read("east"), read("west"))
    assert here == there
    assert [offset for offset, _, _ in here] == list(range(10))
    for region in (b"east", b"west"):
        assert [value for _, key, value in here if key == region] == [b"0", b"1", b"2", b"3", b"4"]


def test_records_without_a_key_go_to_the_partitions_in_turn(bench: Bench) -> None:
    async def send() -> list[int]:
        producer = await bench.kafka("east").producer("stretched")
        return [(await producer.send_and_wait("wide", b"x")).partition for _ in range(5)]

    assert bench.run(send()) == [[0, 1, 2, 3, 0]]


def test_an_unknown_topic_is_aiokafkas_error(bench: Bench) -> None:
    async def send() -> None:
        producer = await bench.kafka("east").producer("stretched")
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("nope", b"x")

    bench.run(send())


# -- acknowledgement -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acks", "region", "milliseconds"),
    [("all", "east", 60), ("all", "west", 120), (1, "east", 0), (1, "west", 60)],
)
def test_all_waits_for_the_slowest_in_sync_replica_and_one_for_the_leader_alone(
    bench: Bench, acks: int | str, region: str, milliseconds: int
) -> None:
    async def send() -> float:
        producer = await bench.kafka(region).producer("stretched", acks=acks)
        before = bench.now_ms
        await producer.send_and_wait("t", b"x")
        return bench.now_ms - before

    assert bench.run(send()) == [milliseconds]


def test_a_consumer_sees_a_record_once_every_replica_has_it(bench: Bench) -> None:
    async def send() -> None:
        producer = await bench.kafka("east").producer("stretched", acks=1)
        await bench.kernel.sleep_ns(1000 * MS)
        await producer.send_and_wait("t", b"x")

    async def read() -> float:
        consumer = await bench.kafka("east").consumer("t", cluster="stretched")
        await take(consumer, 1)
        return bench.now_ms

    assert bench.run(send(), read())[1] == 1060


def test_records_that_come_while_a_request_is_under_way_travel_together(bench: Bench) -> None:
    async def send() -> int:
        producer = await bench.kafka("west").producer("stretched", acks="all")
        before = bench.network.messages
        first = await producer.send("t", b"0")
        await bench.kernel.sleep_ns(1 * MS)
        rest = [await producer.send("t", b"%d" % number) for number in range(1, 20)]
        for acknowledged in (first, *rest):
            await acknowledged
        return bench.network.messages - before

    # Two requests: each there and back, and two replicas that fetch it.
    assert bench.run(send()) == [2 * (2 + 4)]


def test_a_producer_that_lingers_waits_for_company(bench: Bench) -> None:
    async def send() -> list[float]:
        producer = await bench.kafka("east").producer("stretched", acks=1, linger_ms=5)
        done = []
        for wait_ms in (0, 3):
            await bench.kernel.sleep_ns(wait_ms * MS)
            done.append(await producer.send("t", b"x"))
        for acknowledged in done:
            await acknowledged
        return [bench.now_ms, (await done[1]).offset]

    assert bench.run(send()) == [[5.0, 1]]


def test_settings_that_contradict_each_other_are_refused_as_aiokafka_does(bench: Bench) -> None:
    async def open_(settings: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"(?i)acks"):
            await bench.kafka("east").producer("stretched", **settings)

    for settings in (
        {"acks": 2},
        {"acks": 1, "enable_idempotence": True},
        {"acks": 1, "transactional_id": "x"},
    ):
        bench.run(open_(settings))


def test_a_producer_that_was_stopped_sends_nothing_more(bench: Bench) -> None:
    async def send() -> None:
        producer = await bench.kafka("east").producer("stretched")
        await producer.stop()
        with pytest.raises(ProducerClosed):
            await producer.send("t", b"x")

    bench.run(send())


# -- reading -------------------------------------------------------------------------------------------


async def filled(bench: Bench, count: int, topic: str = "t") -> None:
    producer = await bench.kafka("east").producer("stretched", acks="all")
    for number in range(count):
        await producer.send(topic, b"%d" % number, key=b"%d" % number)
    await producer.flush()


def test_a_poll_returns_at_most_what_was_asked_for_and_the_next_goes_on_there(bench: Bench) -> None:
    async def read() -> list[list[bytes]]:
        await filled(bench, 7)
        consumer = await bench.kafka("east").consumer(
            "t", cluster="stretched", auto_offset_reset="earliest", max_poll_records=3
        )
        polls = []
        for _ in range(3):
            (batch,) = (await consumer.getmany(timeout_ms=1000)).values()
            polls.append([record.value for record in batch])
        return polls

    assert bench.run(read()) == [[[b"0", b"1", b"2"], [b"3", b"4", b"5"], [b"6"]]]


def test_a_poll_without_a_timeout_returns_what_is_there(bench: Bench) -> None:
    async def read() -> dict[Any, Any]:
        consumer = await bench.kafka("east").consumer("t", cluster="stretched")
        return await consumer.getmany()

    assert bench.run(read()) == [{}]


def test_a_consumer_can_seek_and_knows_its_position_and_the_end(bench: Bench) -> None:
    async def read() -> list[Any]:
        await filled(bench, 5)
        place = TopicPartition("t", 0)
        consumer = await bench.kafka("east").consumer("t", cluster="stretched", auto_offset_reset="earliest")
        end = (await consumer.end_offsets([place]))[place]
        consumer.seek(place, 3)
        values = [record.value for record in await take(consumer, 2)]
        position = await consumer.position(place)
        await consumer.seek_to_beginning(place)
        return [end, values, position, (await consumer.getone()).value]

    assert bench.run(read()) == [[5, [b"3", b"4"], 5, b"0"]]


def test_a_partition_that_is_not_assigned_has_no_position(bench: Bench) -> None:
    async def read() -> None:
        consumer = await bench.kafka("east").consumer(cluster="stretched")
        consumer.assign([TopicPartition("wide", 2)])
        assert consumer.assignment() == frozenset({TopicPartition("wide", 2)})
        with pytest.raises(IllegalStateError):
            await consumer.position(TopicPartition("wide", 0))
        with pytest.raises(IllegalOperation):
            await consumer.commit()
        await consumer.stop()
        with pytest.raises(ConsumerStoppedError):
            await consumer.getmany()

    bench.run(read())


# -- groups --------------------------------------------------------------------------------------------


async def join(bench: Bench, topic: str = "wide", **settings: Any) -> Any:
    return await bench.kafka("east").consumer(
        topic,
        cluster="stretched",
        group_id="g",
        auto_offset_reset="earliest",
        **{"enable_auto_commit": False, **settings},
    )


def test_members_that_join_together_share_the_partitions(bench: Bench) -> None:
    async def member() -> set[int]:
        consumer = await join(bench)
        return {place.partition for place in consumer.assignment()}

    one, other = bench.run(member(), member())
    assert one | other == {0, 1, 2, 3}
    assert one & other == set()
    assert len(one) == len(other) == 2


def test_when_a_member_leaves_the_others_take_over_from_its_committed_offset(bench: Bench) -> None:
    async def scenario() -> list[bytes]:
        await filled(bench, 6)
        first = await join(bench, "t", max_poll_records=2)
        await take(first, 2)
        await first.commit()
        await take(first, 2)  # processed, but not committed: it comes again
        second_task = bench.kernel.spawn(join(bench, "t"))
        second = await second_task
        await first.stop()
        await bench.kernel.sleep_ns(100 * MS)
        return [record.value for record in await take(second, 4)]

    assert bench.run(scenario()) == [[b"2", b"3", b"4", b"5"]]


def test_a_commit_of_an_older_generation_is_refused(bench: Bench) -> None:
    async def scenario() -> None:
        await filled(bench, 2)
        first = await join(bench, "t")
        await take(first, 2)
        commit = bench.kernel.spawn(first.commit())
        bench.clusters.of("stretched", "east").group("g").generation += 1
        commit.observed = True
        with pytest.raises(CommitFailedError):
            await commit

    bench.run(scenario())


def test_listeners_hear_of_what_they_lose_and_what_they_get(bench: Bench) -> None:
    heard: list[tuple[str, int]] = []

    class Listener:
        async def on_partitions_revoked(self, revoked: list[Any]) -> None:
            heard.append(("revoked", len(revoked)))

        async def on_partitions_assigned(self, assigned: list[Any]) -> None:
            heard.append(("assigned", len(assigned)))

    async def scenario() -> None:
        await join(bench, listener=Listener())
        await join(bench)

    bench.run(scenario())
    assert heard == [("assigned", 4), ("revoked", 4), ("assigned", 2)]


def test_what_earlier_polls_brought_is_committed_by_itself_every_five_seconds(bench: Bench) -> None:
    async def scenario() -> list[int | None]:
        await filled(bench, 4)
        consumer = await join(bench, "t", enable_auto_commit=True, max_poll_records=2)
        place = TopicPartition("t", 0)
        await take(consumer, 2)
        early = await consumer.committed(place)
        await bench.kernel.sleep_ns(6000 * MS)
        await take(consumer, 2)
        return [early, await consumer.committed(place)]

    assert bench.run(scenario()) == [[None, 2]]


# -- transactions --------------------------------------------------------------------------------------


async def transactional(bench: Bench, name: str = "x") -> Any:
    return await bench.kafka("east").producer("stretched", acks="all", transactional_id=name)


def reading(bench: Bench, isolation: str) -> Callable[[int], Coroutine[Any, Any, list[bytes]]]:
    async def read(count: int) -> list[bytes]:
        consumer = await bench.kafka("east").consumer(
            "t", cluster="stretched", auto_offset_reset="earliest", isolation_level=isolation
        )
        return [record.value for record in await take(consumer, count)]

    return read


def test_read_committed_waits_for_the_end_of_a_transaction_and_read_uncommitted_does_not(
    bench: Bench,
) -> None:
    times: dict[str, float] = {}

    async def write() -> None:
        producer = await transactional(bench)
        async with producer.transaction():
            await producer.send_and_wait("t", b"x")
            await bench.kernel.sleep_ns(5000 * MS)

    async def read(isolation: str) -> None:
        await reading(bench, isolation)(1)
        times[isolation] = bench.now_ms

    bench.run(write(), read("read_committed"), read("read_uncommitted"))
    assert times["read_uncommitted"] < 1000
    assert times["read_committed"] > 5000


def test_what_was_aborted_is_skipped(bench: Bench) -> None:
    async def write() -> None:
        producer = await transactional(bench)
        with suppress(ZeroDivisionError):
            async with producer.transaction():
                await producer.send("t", b"aborted")
                raise ZeroDivisionError
        async with producer.transaction():
            await producer.send("t", b"committed")

    assert bench.run(write(), reading(bench, "read_committed")(1))[1] == [b"committed"]
    assert bench.run(reading(bench, "read_uncommitted")(2)) == [[b"aborted", b"committed"]]


def test_nobody_reads_past_the_oldest_open_transaction(bench: Bench) -> None:
    """The last stable offset holds back what others committed after it (KIP-98)."""

    async def write() -> None:
        slow, quick = await transactional(bench, "slow"), await transactional(bench, "quick")
        await slow.begin_transaction()
        await slow.send_and_wait("t", b"slow")
        async with quick.transaction():
            await quick.send_and_wait("t", b"quick")
        await bench.kernel.sleep_ns(5000 * MS)
        await slow.commit_transaction()

    assert bench.run(write(), reading(bench, "read_committed")(2))[1] == [b"slow", b"quick"]
    assert bench.now_ms > 5000


def test_a_second_producer_with_the_same_id_fences_the_first(bench: Bench) -> None:
    async def scenario() -> None:
        zombie = await transactional(bench)
        await zombie.begin_transaction()
        await zombie.send_and_wait("t", b"zombie")
        heir = await transactional(bench)
        with pytest.raises(ProducerFenced):
            await zombie.send_and_wait("t", b"too late")
        for refused in (zombie.commit_transaction, zombie.begin_transaction):
            with pytest.raises(ProducerFenced):
                await refused()
        async with heir.transaction():
            await heir.send("t", b"heir")

    assert bench.run(scenario(), reading(bench, "read_committed")(1))[1] == [b"heir"]


def test_offsets_are_committed_with_the_transaction_or_not_at_all(bench: Bench) -> None:
    async def scenario() -> list[int | None]:
        await filled(bench, 4)
        consumer = await join(bench, "t")
        place = TopicPartition("t", 0)
        producer = await transactional(bench)
        seen = []
        for offset, fails in ((2, True), (3, False)):
            try:
                async with producer.transaction():
                    await producer.send_offsets_to_transaction({place: offset}, "g")
                    if fails:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            seen.append(await consumer.committed(place))
        return seen

    assert bench.run(scenario()) == [[None, 3]]


def test_a_transactional_producer_sends_in_transactions_only_and_a_plain_one_has_none(bench: Bench) -> None:
    async def scenario() -> None:
        producer = await transactional(bench)
        with pytest.raises(IllegalOperation):
            await producer.send("t", b"x")
        plain = await bench.kafka("east").producer("stretched")
        with pytest.raises(IllegalOperation):
            await plain.begin_transaction()

    bench.run(scenario())


# -- MirrorMaker ---------------------------------------------------------------------------------------


def test_mirrormaker_copies_in_order_into_a_topic_named_after_the_source() -> None:
    bench = Bench(replace(FREE, mirror_lag_ns=7 * MS))
    bench.clusters.mirror("home", 1, ["east"])

    async def send() -> float:
        producer = await bench.kafka("east").producer("local", acks="all")
        await bench.kernel.sleep_ns(1000 * MS)
        before = bench.now_ms
        for number in range(3):
            await producer.send("home", b"%d" % number)
        await producer.flush()
        return before

    async def read() -> tuple[list[bytes], float]:
        consumer = await bench.kafka("west").consumer("east.home", auto_offset_reset="earliest")
        values = [record.value for record in await take(consumer, 3)]
        return values, bench.now_ms

    before, (values, arrived) = bench.run(send(), read())
    assert values == [b"0", b"1", b"2"]
    assert arrived - before == 30 + 7


def test_a_poll_that_finds_nothing_ends_when_its_own_time_is_over(bench: Bench) -> None:
    async def keep_alive() -> None:
        await bench.kernel.sleep_ns(10_000 * MS)

    async def send() -> None:
        producer = await bench.kafka("east").producer("local", acks="all")
        await bench.kernel.sleep_ns(700 * MS)
        await producer.send_and_wait("home", b"one", key=b"1")

    async def read() -> list[float]:
        consumer = await bench.kafka("east").consumer("home")
        (batch,) = (await consumer.getmany(timeout_ms=1000)).values()
        assert [record.value for record in batch] == [b"one"]
        waited = []
        for timeout_ms in (1000, 300, 50, 1000, 20):
            begun_ms = bench.now_ms
            assert await consumer.getmany(timeout_ms=timeout_ms) == {}
            waited.append(bench.now_ms - begun_ms)
        return waited

    *_, waited = bench.run(keep_alive(), send(), read())
    assert waited == [1000, 300, 50, 1000, 20]


def test_mirrormaker_resolves_nothing_and_copies_nothing_back() -> None:
    bench = Bench()
    bench.clusters.mirror("home", 1, ["east", "west"])

    async def send(region: str) -> None:
        producer = await bench.kafka(region).producer("local", acks="all")
        await producer.send_and_wait("home", region.encode(), key=b"1")

    async def read(region: str, topic: str) -> list[bytes]:
        consumer = await bench.kafka(region).consumer(topic, auto_offset_reset="earliest")
        await bench.kernel.sleep_ns(1000 * MS)
        return [record.value for batch in (await consumer.getmany()).values() for record in batch]

    *_, own, copied = bench.run(send("east"), send("west"), read("east", "home"), read("east", "west.home"))
    assert (own, copied) == ([b"east"], [b"west"])


@given(st.integers(0, 2**32), st.lists(st.integers(0, 30), min_size=2, max_size=12))
def test_whatever_the_weather_a_producers_records_stay_in_order(seed: int, pauses: list[int]) -> None:
    bench = Bench(jitter_ppm=900_000)
    bench.network = Network(bench.kernel, seed, REGIONS, ROUND_TRIPS, 900_000)
    bench.clusters = Clusters(bench.kernel, bench.network, FREE, REGIONS, "east")
    bench.clusters.create_topic("t", "stretched", 1)

    async def send() -> None:
        producer = await bench.kafka("west").producer("stretched", acks="all", enable_idempotence=True)
        for number, pause_ms in enumerate(pauses):
            bench.kernel.task.work_on(Trace(number + 1))
            await bench.kernel.sleep_ns(pause_ms * MS)
            await producer.send("t", b"%d" % number)
        await producer.flush()

    bench.run(send())
    (values,) = bench.run(reading(bench, "read_uncommitted")(len(pauses)))
    assert values == [b"%d" % number for number in range(len(pauses))]
