"""aiokafka's own producers and consumers, under the names of one run.

A run's topics, groups and transactional ids carry its name, so that runs on the same servers do not meet. The design
knows nothing of it: these subclasses translate names on the way in and out, and leave everything else to aiokafka.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.structs import TopicPartition
from pydantic_core import from_json

from arbsim.worlds.api import Consumer, Producer, Replies, Topic
from arbsim.worlds.live.endings import quietly
from arbsim.worlds.live.kafka import MIRRORED
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity

STRETCHED = "stretched"
_ASSIGNMENT_TIMEOUT_S = 20.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one run. ``mirrored`` are the design's topics that MirrorMaker copies.

    ``copies``: what the name of a copy has before the name of the region that it comes from.
    """

    run: str
    regions: tuple[str, ...]
    mirrored: frozenset[str]
    copies: str = ""

    def real(self, topic: str, cluster: str) -> str:
        """The name on the broker of what the design calls ``topic``."""
        source, dot, rest = topic.partition(".")
        if dot and source in self.regions and rest in self.mirrored:
            return self.copied(source, self.real(rest, cluster))
        if cluster == STRETCHED:
            return f"{self.run}-{STRETCHED}-{topic}"
        return f"{self.run}{MIRRORED}{topic}" if topic in self.mirrored else f"{self.run}-{topic}"

    def copied(self, source: str, topic: str) -> str:
        """The name of the copy that MirrorMaker makes of a topic of a region."""
        return f"{self.copies}{source}.{topic}"

    def is_ours(self, name: str) -> bool:
        """Whether a topic on a broker is of the run, or a copy of such a one, whoever made it."""
        return f"{self.run}-" in name

    def ours(self, name: str) -> str:
        """A group or a transactional id of the run."""
        return f"{self.run}-{name}"


class _Translation:
    """Partitions of one client, there and back."""

    def __init__(self, names: Names, cluster: str) -> None:
        self._names = names
        self._cluster = cluster
        self._real: dict[str, str] = {}
        self._designs: dict[str, str] = {}

    def real(self, topic: str) -> str:
        """The broker's name of a topic of the design."""
        name = self._real.get(topic)
        if name is None:
            name = self._real[topic] = self._names.real(topic, self._cluster)
            self._designs[name] = topic
        return name

    def there(self, partition: TopicPartition) -> TopicPartition:
        """A partition as the broker names it."""
        return TopicPartition(self.real(partition.topic), partition.partition)

    def back(self, partition: TopicPartition) -> TopicPartition:
        """A partition as the design names it."""
        return TopicPartition(self._designs[partition.topic], partition.partition)

    def record(self, record: Any) -> Any:
        """A record with the design's name of its topic; it is fresh from the client, so nobody else has it."""
        object.__setattr__(record, "topic", self._designs[record.topic])
        return record


class RunProducer(AIOKafkaProducer):  # type: ignore[misc]
    """A producer whose topics are the run's."""

    def __init__(self, names: Names, cluster: str, **options: Any) -> None:
        super().__init__(**options)
        self._run_names = names
        self._translation = _Translation(names, cluster)

    def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> Coroutine[Any, Any, asyncio.Future[Any]]:
        """aiokafka's own coroutine, for another topic: a coroutine around it would be run through at every wait."""
        return super().send(  # type: ignore[no-any-return]
            self._translation.real(topic), value, key, partition, timestamp_ms, headers
        )

    async def send_offsets_to_transaction(self, offsets: Mapping[Any, int], group_id: str) -> None:  # noqa: D102
        real = {self._translation.there(partition): offset for partition, offset in offsets.items()}
        await super().send_offsets_to_transaction(real, self._run_names.ours(group_id))


class RunConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer whose topics and group are the run's."""

    def __init__(self, names: Names, cluster: str, topics: Sequence[str], **options: Any) -> None:
        self._translation = _Translation(names, cluster)
        super().__init__(*map(self._translation.real, topics), **options)

    async def getmany(  # noqa: D102
        self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]:
        there, back, record = self._translation.there, self._translation.back, self._translation.record
        batches = await super().getmany(
            *map(there, partitions), timeout_ms=timeout_ms, max_records=max_records
        )
        return {back(partition): list(map(record, batch)) for partition, batch in batches.items()}

    async def getone(self, *partitions: Any) -> Any:  # noqa: D102
        return self._translation.record(await super().getone(*map(self._translation.there, partitions)))

    async def commit(self, offsets: Mapping[Any, int] | None = None) -> None:  # noqa: D102
        if offsets is None:
            await super().commit()
        else:
            await super().commit({self._translation.there(one): offset for one, offset in offsets.items()})

    async def committed(self, partition: Any) -> int | None:  # noqa: D102
        offset: int | None = await super().committed(self._translation.there(partition))
        return offset

    def assign(self, partitions: Sequence[Any]) -> None:  # noqa: D102
        super().assign([self._translation.there(partition) for partition in partitions])

    def assignment(self) -> frozenset[Any]:  # noqa: D102
        return frozenset(map(self._translation.back, super().assignment()))

    async def position(self, partition: Any) -> int:  # noqa: D102
        position: int = await super().position(self._translation.there(partition))
        return position

    def seek(self, partition: Any, offset: int) -> None:  # noqa: D102
        super().seek(self._translation.there(partition), offset)

    async def seek_to_beginning(self, *partitions: Any) -> bool:  # noqa: D102
        done: bool = await super().seek_to_beginning(*map(self._translation.there, partitions))
        return done

    async def end_offsets(self, partitions: Sequence[Any]) -> dict[Any, int]:  # noqa: D102
        real = await super().end_offsets([self._translation.there(partition) for partition in partitions])
        return {self._translation.back(partition): offset for partition, offset in real.items()}

    def listens(self, listener: ConsumerRebalanceListener, topics: Sequence[str]) -> None:
        """Subscribe with a listener that hears the design's names."""
        translated = _TranslatedListener(listener, self._translation)
        self.subscribe([self._translation.real(topic) for topic in topics], listener=translated)


class _TranslatedListener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, listener: ConsumerRebalanceListener, translation: _Translation) -> None:
        self._listener = listener
        self._translation = translation

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await _told(self._listener.on_partitions_revoked([self._translation.back(one) for one in revoked]))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await _told(self._listener.on_partitions_assigned([self._translation.back(one) for one in assigned]))


async def _told(answer: Any) -> None:
    if asyncio.iscoroutine(answer):
        await answer


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """What clients are opened with beside what the design asks for.

    ``addresses``: by which a region reaches each cluster. ``topics``: those of the design.
    """

    addresses: Mapping[str, str]
    topics: tuple[Topic, ...]
    leader: str
    linger_ms: int
    fetch_max_wait_ms: int
    session_timeout_ms: int
    max_poll_records: int
    security: KafkaSecurity = NO_SECURITY


class LiveMessaging:
    """One process's way to the clusters: producers with the same settings are shared, each reply topic has a reader."""

    def __init__(
        self, region: str, names: Names, settings: KafkaSettings, is_ours: Callable[[int], bool]
    ) -> None:
        """``is_ours`` says whether an operation is one of this region's clients'."""
        self._region = region
        self._names = names
        self._settings = settings
        self._is_ours = is_ours
        self._producers: dict[tuple[Any, ...], RunProducer] = {}
        self._opened: list[Any] = []
        self._replies: dict[tuple[str, str], _ReplyReader] = {}
        self._opening = 0
        self._changed_ns = time.monotonic_ns()

    def quiet(self, for_ns: int) -> bool:
        """Whether no client is being opened, and none has been for a while."""
        return not self._opening and time.monotonic_ns() - self._changed_ns > for_ns

    @contextmanager
    def _being_opened(self) -> Iterator[None]:
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1
            self._changed_ns = time.monotonic_ns()

    def _address(self, cluster: str) -> str:
        return self._settings.addresses[self._settings.leader if cluster == STRETCHED else self._region]

    async def producer(
        self,
        cluster: str = "local",
        *,
        acks: int | str = 1,
        enable_idempotence: bool = False,
        transactional_id: str | None = None,
        linger_ms: int = 0,
    ) -> Producer:
        """Open a producer, or return the one that is open with these settings."""
        settings = (cluster, acks, enable_idempotence, linger_ms)
        if transactional_id is None and settings in self._producers:
            return self._producers[settings]
        producer = RunProducer(
            self._names,
            cluster,
            bootstrap_servers=self._address(cluster),
            **self._settings.security.client(),
            acks=acks,
            enable_idempotence=enable_idempotence,
            transactional_id=None if transactional_id is None else self._names.ours(transactional_id),
            linger_ms=linger_ms or self._settings.linger_ms,
        )
        if transactional_id is None:
            self._producers[settings] = producer
        self._opened.append(producer)
        with self._being_opened():
            await producer.start()
            await self._know_topics(producer, cluster)
        return producer

    async def _know_topics(self, producer: RunProducer, cluster: str) -> None:
        """Look up the topics, or the first message of each would wait for one more round trip.

        Producers that have been up for a while know them, and the model's do.
        """
        for topic in self._settings.topics:
            if (topic.cluster == STRETCHED) == (cluster == STRETCHED):
                await producer.partitions_for(self._names.real(topic.name, cluster))

    async def consumer(
        self,
        *topics: str,
        cluster: str = "local",
        group_id: str | None = None,
        auto_offset_reset: str = "latest",
        enable_auto_commit: bool = True,
        isolation_level: str = "read_uncommitted",
        max_poll_records: int | None = None,
        listener: Any = None,
    ) -> Consumer:
        """Open a consumer; it is returned once it has its partitions and knows where it stands in them."""
        consumer = RunConsumer(
            self._names,
            cluster,
            () if listener is not None else topics,
            bootstrap_servers=self._address(cluster),
            **self._settings.security.client(),
            group_id=None if group_id is None else self._names.ours(group_id),
            auto_offset_reset=auto_offset_reset,
            enable_auto_commit=enable_auto_commit,
            isolation_level=isolation_level,
            max_poll_records=max_poll_records or self._settings.max_poll_records,
            fetch_max_wait_ms=self._settings.fetch_max_wait_ms,
            session_timeout_ms=self._settings.session_timeout_ms,
            heartbeat_interval_ms=max(1, self._settings.session_timeout_ms // 10),
        )
        if listener is not None:
            consumer.listens(listener, topics)
        self._opened.append(consumer)
        with self._being_opened():
            await consumer.start()
            if topics:
                await self._settled(consumer)
        return consumer

    async def _settled(self, consumer: RunConsumer) -> None:
        """Wait for partitions, and until "latest" has become an offset: what is sent afterwards is read."""
        deadline = time.monotonic() + _ASSIGNMENT_TIMEOUT_S
        while not consumer.assignment():
            if time.monotonic() > deadline:  # a group with more members than partitions
                return
            await asyncio.sleep(_POLL_S)
        with suppress(Exception):  # a rebalance takes partitions away; whoever has them knows its offsets
            async with asyncio.timeout(_ASSIGNMENT_TIMEOUT_S):
                for partition in consumer.assignment():
                    await consumer.position(partition)

    async def replies(self, topic: str, cluster: str = "local") -> Replies:
        """Open the reader of a reply topic, or return the one that is open."""
        place = (topic, cluster)
        reader = self._replies.get(place)
        if reader is None:
            reader = self._replies[place] = _ReplyReader(self, topic, cluster, self._is_ours)
        await reader.ready()
        return reader

    async def close(self) -> None:
        """Close all clients, the ones opened last first."""
        for reader in self._replies.values():
            reader.stop()
        for client in reversed(self._opened):
            await quietly(client.stop)


class _ReplyReader:
    """Gives each reply to the client whose operation is the record's key.

    Where it cannot read any more, everybody who waits, or is going to, is told why at once.
    """

    def __init__(
        self, messaging: LiveMessaging, topic: str, cluster: str, is_ours: Callable[[int], bool]
    ) -> None:
        self._is_ours = is_ours
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._early: dict[int, Mapping[str, Any]] = {}
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(messaging, topic, cluster))
        self._task.add_done_callback(self._ended)

    async def ready(self) -> None:
        """Return once replies that are written from now on are heard. Raises what opening the reader did."""
        if not self._opened.done():
            await asyncio.shield(self._opened)
        self._opened.result()

    def stop(self) -> None:
        """Read no more."""
        self._task.cancel()

    async def _run(self, messaging: LiveMessaging, topic: str, cluster: str) -> None:
        consumer = await messaging.consumer(topic, cluster=cluster, isolation_level="read_committed")
        self._opened.set_result(None)
        await self._read(consumer)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        waiting: list[asyncio.Future[Any]] = [self._opened, *self._waiting.values()]
        for waiter in waiting:
            if not waiter.done():
                if error is None:
                    waiter.cancel()
                else:
                    waiter.set_exception(error)

    async def wait_for(self, operation_id: int) -> Mapping[str, Any]:
        """Return the reply to this operation; one that came before it was waited for is kept."""
        early = self._early.pop(operation_id, None)
        if early is not None:
            return early
        if self._task.done():
            self._task.result()  # it ends with an error alone: here it is raised
        waiter: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[operation_id] = waiter
        try:
            return await waiter
        finally:
            self._waiting.pop(operation_id, None)

    async def _read(self, consumer: Consumer) -> None:
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    operation_id = int(record.key)
                    waiter = self._waiting.get(operation_id)
                    if waiter is not None and not waiter.done():
                        waiter.set_result(from_json(record.value))
                    elif waiter is None and self._is_ours(operation_id):
                        self._early[operation_id] = from_json(record.value)
