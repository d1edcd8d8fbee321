"""All clusters of a run, and the way of each region to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arbsim.worlds.virtual.kafka.cluster import STRETCHED, Cluster, KafkaTimings, partition_of
from arbsim.worlds.virtual.kafka.consumer import Consumer
from arbsim.worlds.virtual.kafka.partition import ConsumerRecord
from arbsim.worlds.virtual.kafka.producer import Producer
from arbsim.worlds.virtual.kernel import Kernel
from arbsim.worlds.virtual.network import Network


class Clusters:
    """A cluster in each region, and one stretched over all of them.

    A region's own cluster has its replicas in that region. The stretched one has its leaders in ``leader`` and an
    in-sync replica in every other region (with one region, in its other zones).
    """

    cluster_type = Cluster
    producer_type = Producer
    consumer_type = Consumer

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        timings: KafkaTimings,
        regions: Sequence[str],
        leader: str,
        replicated: bool = True,
    ) -> None:
        """``replicated`` False leaves the stretched cluster without replicas."""
        self.kernel = kernel
        self.regions = regions
        cluster = self.cluster_type
        self._by_name = {
            region: cluster(region, kernel, network, timings, region, (region, region)) for region in regions
        }
        others = [region for region in regions if region != leader] or [leader, leader]
        replicas = others if replicated else []
        self._by_name[STRETCHED] = cluster(STRETCHED, kernel, network, timings, leader, replicas)

    def of(self, cluster: str, region: str) -> Cluster:
        """The cluster that a region means by "local", "stretched", or a region's name."""
        return self._by_name[region if cluster == "local" else cluster]

    def create_topic(self, name: str, cluster: str, partitions: int, compacted: bool = False) -> None:
        """Create a topic, in every region's own cluster where ``cluster`` is "local"."""
        for place in self.regions if cluster == "local" else (cluster,):
            self._by_name[place].create_topic(name, partitions, compacted)

    def seed(self, topic: str, cluster: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Put records into a topic before the run begins; everybody has them already."""
        for place in self.regions if cluster == "local" else (cluster,):
            partitions = self._by_name[place].partitions(topic)
            for key, value in records:
                partition = partitions[partition_of(key, len(partitions))]
                record = ConsumerRecord(topic, partition.number, key, value, 0, (), 0, None)
                partition.append([record], 0, None)

    def mirror(self, topic: str, partitions: int, sources: Sequence[str]) -> None:
        """Let MirrorMaker copy a topic from each source region's cluster into every other region's."""
        for source in sources:
            for target in self.regions:
                if source != target:
                    self._by_name[target].create_topic(f"{source}.{topic}", partitions)
                    self._copy(self._by_name[source], self._by_name[target], topic)

    def _copy(self, source: Cluster, target: Cluster, topic: str) -> None:
        self.kernel.spawn(mirror(source, target, topic))


async def mirror(source: Cluster, target: Cluster, topic: str) -> None:
    """MirrorMaker 2 beside the target: copies records as they are into ``<source>.<topic>``, in order.

    Kafka documentation, section 6.3, and DefaultReplicationPolicy: it resolves no conflicts, and a topic that is a
    copy already is not copied back.
    """
    consumer = Consumer(
        source, target.leader, [topic], None, "earliest", False, "read_uncommitted", None, None
    )
    producer = Producer(target, target.leader, lambda: 0, "all", True, None, 0)
    consumer.reader = "carrier"
    await consumer.start()
    await producer.start()
    copy = f"{source.name}.{topic}"
    while True:
        batches = await consumer.getmany(timeout_ms=1000)
        if batches:
            await source.kernel.sleep_ns(source.timings.mirror_lag_ns)
        for batch in batches.values():
            for record in batch:
                _copy(producer, copy, record)


def _copy(producer: Producer, topic: str, record: ConsumerRecord) -> None:
    producer.enqueue(
        topic,
        record.value,
        record.key,
        record.partition,
        record.stamp_ms,
        record.headers,
        record.operation,
    )


class RegionKafka:
    """One process's clients: producers with the same settings are shared."""

    def __init__(self, clusters: Clusters, region: str, clock_ms: Callable[[], int]) -> None:
        self._clusters = clusters
        self.region = region
        self._clock_ms = clock_ms
        self._producers: dict[tuple[Any, ...], Producer] = {}
        self._mark = clusters.kernel.mark()

    def cluster(self, name: str) -> Cluster:
        """The cluster that this region means by a name."""
        return self._clusters.of(name, self.region)

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
        if transactional_id is None:
            self._clusters.kernel.touch(self._mark, write=settings not in self._producers)
        if transactional_id is None and settings in self._producers:
            return self._producers[settings]
        producer = self._clusters.producer_type(
            self.cluster(cluster),
            self.region,
            self._clock_ms,
            acks,
            enable_idempotence,
            transactional_id,
            linger_ms,
        )
        if transactional_id is None:
            self._producers[settings] = producer
        await producer.start()
        return producer

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
        """Open a consumer; with a group it is returned once it has its partitions."""
        consumer = self._clusters.consumer_type(
            self.cluster(cluster),
            self.region,
            topics,
            group_id,
            auto_offset_reset,
            enable_auto_commit,
            isolation_level,
            max_poll_records,
            listener,
        )
        await consumer.start()
        return consumer
