"""The topics of one run on real clusters: made, seeded, seen to be mirrored, compared at the end, removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import TopicPartition

from arbsim import cdc
from arbsim.model import Cents, from_cents
from arbsim.worlds.api import Topic
from arbsim.worlds.live.clients import STRETCHED, Names
from arbsim.worlds.live.endings import quietly
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity

MIRROR_TIMEOUT_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Copy:
    """A topic and its copy in another cluster, where it is called ``name``."""

    source: str
    target: str
    topic: str
    name: str
    partitions: int


class RunTopics:
    """Clients for administration, one of each kind for a cluster; they cross no link."""

    def __init__(
        self,
        addresses: Mapping[str, str],
        leader: str,
        sources: Sequence[str],
        names: Names,
        topics: Sequence[Topic],
        replication: int = 1,
        security: KafkaSecurity = NO_SECURITY,
    ) -> None:
        """``addresses``: of the clusters by region. ``sources``: the regions whose topics are mirrored."""
        self._addresses = addresses
        self._leader = leader
        self._names = names
        self._topics = topics
        self._replication = replication
        self._security = security
        self.copies = [
            Copy(source, target, real, names.copied(source, real), topic.partitions)
            for topic in topics
            if topic.mirrored
            for real in [names.real(topic.name, topic.cluster)]
            for source in ([leader] if topic.name == cdc.TOPIC else sources)
            for target in addresses
            if source != target
        ]
        self._admins: dict[str, AIOKafkaAdminClient] = {}
        self._producers: dict[str, AIOKafkaProducer] = {}
        self._readers: dict[str, AIOKafkaConsumer] = {}

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the clients; the stack closes them. Raises ServerUnavailable."""
        for region, address in self._addresses.items():
            try:
                options = {"bootstrap_servers": address, **self._security.client()}
                admin = self._admins[region] = AIOKafkaAdminClient(**options)
                await admin.start()
                stack.push_async_callback(quietly, admin.close)
                producer = self._producers[region] = AIOKafkaProducer(**options, acks="all")
                await producer.start()
                stack.push_async_callback(quietly, producer.stop)
                reader = self._readers[region] = AIOKafkaConsumer(**options)
                await reader.start()
                stack.push_async_callback(quietly, reader.stop)
            except (KafkaError, OSError) as error:
                raise ServerUnavailable(f"Kafka {region} at {address}: {type(error).__name__}") from None

    async def create(self, opening: Mapping[int, Cents]) -> None:
        """Make the topics; one that is to be seeded gets a record for each account."""
        for region, admin in self._admins.items():
            wanted = [
                NewTopic(
                    self._names.real(topic.name, topic.cluster),
                    topic.partitions,
                    self._replication,
                    topic_configs={"cleanup.policy": "compact"} if topic.seeded else {},
                )
                for topic in self._topics
                if topic.cluster != STRETCHED or region == self._leader
            ]
            if wanted:
                await _made(admin, wanted, f"Kafka {region} at {self._addresses[region]}")
        for topic in self._topics:
            if topic.seeded:
                for region in [self._leader] if topic.cluster == STRETCHED else list(self._addresses):
                    await self._seed(region, self._names.real(topic.name, topic.cluster), opening)

    async def _seed(self, region: str, topic: str, opening: Mapping[int, Cents]) -> None:
        producer = self._producers[region]
        for account, cents in opening.items():
            value = f'{{"account":{account},"balance":"{from_cents(cents)}","op":0}}'
            await producer.send(topic, value.encode(), b"%d" % account)
        await producer.flush()

    # -- mirroring ---------------------------------------------------------------------------------

    async def mirrored(self) -> None:
        """Return once every copy is kept: a record has come through each partition, and is deleted again.

        MirrorMaker takes about a second to notice a new topic; a run must not begin in that second.
        """
        deadline = time.monotonic() + MIRROR_TIMEOUT_S
        for copy in self.copies:
            while copy.name not in await self._admins[copy.target].list_topics():
                await self._wait(deadline, copy)
        for source, topic, partitions in dict.fromkeys(
            (copy.source, copy.topic, copy.partitions) for copy in self.copies
        ):
            for partition in range(partitions):
                await self._producers[source].send_and_wait(topic, b"", partition=partition)
        while behind := [copy for copy in self.copies if not await self._equal(copy)]:
            await self._wait(deadline, behind[0])
        for region, partition in self._mirrored_partitions():
            await self._admins[region].delete_records({partition: RecordsToDelete(1)})

    async def _wait(self, deadline: float, copy: Copy) -> None:
        if time.monotonic() > deadline:
            raise ServerUnavailable(
                f"MirrorMaker has not copied {copy.topic} from {copy.source} to {copy.target}"
                f" within {MIRROR_TIMEOUT_S:g} s"
            )
        await asyncio.sleep(_POLL_S)

    def _mirrored_partitions(self) -> Iterator[tuple[str, TopicPartition]]:
        seen = dict.fromkeys(
            place
            for copy in self.copies
            for place in (
                (copy.source, copy.topic, copy.partitions),
                (copy.target, copy.name, copy.partitions),
            )
        )
        for region, topic, partitions in seen:
            for partition in range(partitions):
                yield region, TopicPartition(topic, partition)

    async def caught_up(self) -> bool:
        """Whether every copy has everything. Of the change stream its witnesses know: transactions take offsets."""
        for copy in self.copies:
            if not copy.topic.endswith(cdc.TOPIC) and not await self._equal(copy):
                return False
        return True

    async def _equal(self, copy: Copy) -> bool:
        there = await self._ends(copy.source, copy.topic, copy.partitions)
        here = await self._ends(copy.target, copy.name, copy.partitions)
        return there == here

    async def _ends(self, region: str, topic: str, partitions: int) -> list[int]:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        ends = await self._readers[region].end_offsets(places)
        return [ends[place] for place in places]

    # -- the end -----------------------------------------------------------------------------------

    async def delete(self) -> None:
        """Remove the run's topics, the copies included."""
        for admin in self._admins.values():
            ours = [topic for topic in await admin.list_topics() if self._names.is_ours(topic)]
            if ours:
                await admin.delete_topics(ours)


async def _made(admin: AIOKafkaAdminClient, topics: list[NewTopic], where: str) -> None:
    """Make topics. Raises ServerUnavailable with what the broker says."""
    answer = await admin.create_topics(topics)
    for topic, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise ServerUnavailable(f"{where} does not make the topic {topic}: {error.__name__}")
