"""Clusters: topics, where their leaders and replicas are, group assignments, transaction coordinators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

from arbsim.worlds.virtual.draws import purpose
from arbsim.worlds.virtual.kafka.partition import Partition
from arbsim.worlds.virtual.kernel import Journey, Kernel
from arbsim.worlds.virtual.network import Network

if TYPE_CHECKING:
    from arbsim.worlds.virtual.kafka.consumer import Consumer
    from arbsim.worlds.virtual.kafka.producer import Producer

STRETCHED = "stretched"
_REPLICATION = purpose("kafka/replication") >> 16


@dataclass(frozen=True, slots=True)
class KafkaTimings:
    """The timings of the model, in nanoseconds; each has its row in the table of parameters."""

    append_ns: int
    linger_ns: int
    fetch_max_wait_ns: int
    transaction_ns: int
    mirror_lag_ns: int
    rebalance_ns: int
    max_poll_records: int


class Cluster:
    """One cluster: its leaders live in one region, its replicas in ``replica_regions``."""

    partition_type = Partition

    def __init__(
        self,
        name: str,
        kernel: Kernel,
        network: Network,
        timings: KafkaTimings,
        leader: str,
        replica_regions: Sequence[str],
    ) -> None:
        self.name = name
        self.kernel = kernel
        self.network = network
        self.timings = timings
        self.leader = leader
        self.groups: dict[str, Group] = {}
        self.transactional: dict[str, Producer] = {}
        self.mark = kernel.mark()
        self._topics: dict[str, list[Partition]] = {}
        self._replicas = [network.link(leader, region) for region in replica_regions]
        self._in_one_region = not any(link.wan for link in self._replicas)

    def opened(self, acks: int | str) -> None:
        """A producer that waits for so many acknowledgements opens."""

    def create_topic(self, name: str, partitions: int, compacted: bool = False) -> None:
        """Create a topic; an existing one stays as it is."""
        if name not in self._topics:
            self._topics[name] = [
                self.partition_type(self.kernel, name, number, compacted) for number in range(partitions)
            ]

    def partitions(self, topic: str) -> list[Partition]:
        """The partitions of a topic. Raises UnknownTopicOrPartitionError."""
        found = self._topics.get(topic)
        if found is None:
            from aiokafka.errors import UnknownTopicOrPartitionError

            raise UnknownTopicOrPartitionError(f"{topic} in cluster {self.name}")
        return found

    def replication_ns(self, operation: int, partition: Partition) -> int:
        """How long until every in-sync replica has a batch: the longest of their round trips."""
        return self._replicas_ns(operation, _REPLICATION + partition.next_offset)

    def log_write_ns(self, operation: int, step: int) -> int:
        """How long the coordinator's own log (of transactions or offsets) takes for one write."""
        return self.timings.append_ns + self._replicas_ns(operation, _REPLICATION + (step << 32))

    def _replicas_ns(self, operation: int, salt: int) -> int:
        """The longest of the round trips to the replicas."""
        replicas = self._replicas
        if self._in_one_region:  # where all take the same time, and nothing is drawn
            for link in replicas:
                link.messages += 2
            return 2 * replicas[0].base_ns if replicas else 0
        journey = Journey(operation, salt)
        return max([link.delay_ns(journey, 2) for link in replicas])

    def group(self, group_id: str) -> Group:
        """The coordinator's state of a consumer group."""
        self.kernel.touch(self.mark, write=group_id not in self.groups)
        if group_id not in self.groups:
            self.groups[group_id] = Group(self)
        return self.groups[group_id]


@lru_cache(maxsize=65536)
def partition_of(key: bytes, count: int) -> int:
    """The partition of a key: murmur2, as the Java client and aiokafka choose it."""
    if count == 1:
        return 0
    from aiokafka.partitioner import murmur2

    return int((murmur2(key) & 0x7FFFFFFF) % count)


class Group:
    """A consumer group: who is in it, who reads which partition, and the offsets that were committed.

    Members that join before the rebalance ends share its generation. Partitions are dealt out in turn, as
    aiokafka's RoundRobinPartitionAssignor does. A member that leaves starts another rebalance, and a commit of
    an older generation is refused.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.generation = 0
        self.offsets: dict[tuple[str, int], int] = {}
        self.members: list[Consumer] = []
        self._joined: list[Callable[[], None]] = []
        self._rebalancing = False
        self.mark = cluster.kernel.mark()  # members and generation; each offset is an object of its own

    def join(self, member: Consumer, then: Callable[[], None]) -> None:
        """Add a member; ``then`` is called when the rebalance is over and every member has its partitions."""
        self.cluster.kernel.touch(self.mark)
        self.members.append(member)
        self._joined.append(then)
        self._begin()

    def leave(self, member: Consumer) -> None:
        """Remove a member; the others share its partitions after a rebalance."""
        self.cluster.kernel.touch(self.mark)
        if member in self.members:
            self.members.remove(member)
            if self.members:
                self._begin()

    def commit(self, offsets: Mapping[Any, int]) -> None:
        """Store offsets by partition (anything with aiokafka's ``topic`` and ``partition``)."""
        for place, at in offsets.items():
            self._touch(place.topic, place.partition, write=True)
            self.offsets[place.topic, place.partition] = at

    def committed(self, topic: str, partition: int) -> int | None:
        """The stored offset of a partition."""
        self._touch(topic, partition, write=False)
        return self.offsets.get((topic, partition))

    def _touch(self, topic: str, partition: int, *, write: bool) -> None:
        self.cluster.kernel.touch(self.mark, 1 + crc32(f"{topic}/{partition}".encode()), write=write)

    def _begin(self) -> None:
        if not self._rebalancing:
            self._rebalancing = True
            timer = self.cluster.kernel.sleep_ns(self.cluster.timings.rebalance_ns)
            timer.callbacks.append(self._start_rebalance)

    def _start_rebalance(self, _: object) -> None:
        self.cluster.kernel.spawn(self._rebalance())

    async def _rebalance(self) -> None:
        """Take every partition away, then deal them out anew."""
        self.cluster.kernel.touch(self.mark)
        for member in list(self.members):
            await member.revoked()
        self.cluster.kernel.touch(self.mark)
        self._rebalancing = False
        self.generation += 1
        joined, self._joined = self._joined, []
        dealt = self._deal()
        for member in list(self.members):
            await member.assigned(dealt[member], self.generation)
        for then in joined:
            then()

    def _deal(self) -> dict[Consumer, list[Partition]]:
        members = self.members
        dealt: dict[Consumer, list[Partition]] = {member: [] for member in members}
        topics = sorted({topic for member in members for topic in member.topics})
        turn = 0
        for topic in topics:
            for partition in self.cluster.partitions(topic):
                while topic not in members[turn % len(members)].topics:
                    turn += 1
                dealt[members[turn % len(members)]].append(partition)
                turn += 1
        return dealt
