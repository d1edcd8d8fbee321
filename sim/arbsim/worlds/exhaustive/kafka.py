"""Kafka without the steps that nobody can tell apart.

Everything between two of these steps happens where it cannot matter, so it is one step with the one before:

- The replicas have a batch as soon as the leader has it. A consumer sees a batch once all in-sync replicas have it, and
  with acks=all its producer hears of it no sooner. With fewer acks the producer hears of it before anybody can read it;
  that order is left out, and said to be.
- An acknowledgement, and a reply that can be read, lie ready for whoever awaits them; that task goes on at a step of
  its own, whenever it likes.
- A producer's requests follow each other without waiting for the answers. Records of one instant travel together.
- What a fetch finds lies ready for the consumer's next poll.
- MirrorMaker copies record after record, in the order of their partition.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from arbsim.worlds.exhaustive.kernel import ChoiceKernel, Gate, Latch
from arbsim.worlds.virtual.kafka.cluster import Cluster
from arbsim.worlds.virtual.kafka.clusters import Clusters, RegionKafka
from arbsim.worlds.virtual.kafka.consumer import Consumer, Fetched
from arbsim.worlds.virtual.kafka.partition import ConsumerRecord, Partition
from arbsim.worlds.virtual.kafka.producer import Pending, Producer, metadata_of
from arbsim.worlds.virtual.kernel import Future, Journey, Kernel, Raised, Timer
from arbsim.worlds.virtual.region import Messaging
from arbsim.worlds.virtual.replies import Replies


class ChoicePartition(Partition):
    """A partition that knows which step let consumers see how far, and tells its followers of every record."""

    def __init__(self, kernel: Kernel, topic: str, number: int, compacted: bool) -> None:
        super().__init__(kernel, topic, number, compacted)
        assert isinstance(kernel, ChoiceKernel)
        self._choices = kernel
        self._shown: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
        self._followers: list[_Follower] = []

    def follow(self, offset: int, read_committed: bool, tell: Callable[[ConsumerRecord], None]) -> None:
        """Tell somebody of every record from an offset on, in the step that lets it be seen."""
        self._followers.append(_Follower(offset, read_committed, tell))
        self._tell_followers()

    def _tell_followers(self) -> None:
        for follower in self._followers:
            records, follower.offset = self.read(follower.offset, follower.read_committed, len(self.records))
            for record in records:
                follower.tell(record)

    def wake(self) -> None:
        """There is more to see, for some or for all."""
        for read_committed, end in ((False, self.high_watermark), (True, self.last_stable_offset())):
            shown = self._shown[read_committed]
            if not shown or end > shown[-1][0]:
                shown.append((end, self._choices.place))
        self._tell_followers()
        super().wake()

    def shown_at(self, offset: int, read_committed: bool) -> int:
        """The step that let consumers see beyond an offset."""
        return next(place for end, place in self._shown[read_committed] if end > offset)


class ChoiceCluster(Cluster):
    """A cluster without delays between its brokers."""

    partition_type = ChoicePartition

    def opened(self, acks: int | str) -> None:
        """A producer that does not wait for all replicas sees an order that is left out here."""
        if acks not in (-1, "all"):
            assert isinstance(self.kernel, ChoiceKernel)
            self.kernel.learned.limits[
                "acks other than all: a record that is acknowledged can be read at once"
            ] = None

    def replication_ns(self, operation: int, partition: Partition) -> int:
        """The replicas have a batch in the same step."""
        return 0

    def log_write_ns(self, operation: int, step: int) -> int:
        """So do those of the coordinator's log."""
        return 0


class ChoiceProducer(Producer):
    """A producer that goes on without waiting for answers, which lie ready at once."""

    _unanswered: tuple[Latch[Any], ...] = ()

    def enqueue(self, *args: Any) -> Future[Any]:
        """Put a record into its partition's batch."""
        acknowledged = super().enqueue(*args)
        assert isinstance(acknowledged, Latch)
        self._unanswered = (*self._unanswered, acknowledged)
        return acknowledged

    def _dispatch(self, event: object) -> None:
        super()._dispatch(event)
        self._under_way = 0

    def _answer(
        self, partition: Partition, batch: list[Pending], error: Raised | None, journey: Journey
    ) -> None:
        for record, acknowledged in batch:
            acknowledged.set(error or metadata_of(record, partition))

    async def flush(self) -> None:
        """Wait until everything that was sent is acknowledged."""
        self._kernel.touch(self._mark)
        awaited, self._unanswered = self._unanswered, ()
        if awaited:
            await Gate(
                self._kernel,
                lambda: all(latch.is_set() for latch in awaited),
                lambda: sorted({latch.set_at for latch in awaited}),
            )

    async def _coordinator_call(self, write: bool) -> None:
        """Nobody sees how far a request is; the way there and back is one step."""
        self._there.delay_ns(self._kernel.trace)
        await self._kernel.sleep_ns(1)


class ChoiceConsumer(Consumer):
    """A consumer that gets the answer of a fetch in the step in which the leader gives it."""

    _filled_at = -1

    def _respond(self, fetched: Fetched, round_: int) -> None:
        kernel = self._kernel
        assert isinstance(kernel, ChoiceKernel)
        kernel.touch(self._mark)
        self._filled_at = kernel.place
        self._tell_steps(fetched, kernel.now_ns)
        self._receive(fetched)

    async def _wait(self, timeout_ms: int) -> None:
        await Gate(self._kernel, self._has_some, lambda: (self._filled_at,) if self._buffer else ())

    def _has_some(self) -> bool:
        self._kernel.touch(self._mark, write=False)
        return bool(self._buffer)


class ChoiceReplies(Replies):
    """Replies that lie ready for their clients as soon as they can be read."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._came: dict[int, deque[_Reply]] = {}

    async def wait_for(self, operation_id: int) -> Mapping[str, Any]:
        """Return the reply to this operation; one that came before it was waited for is kept."""
        came = self._came.setdefault(operation_id, deque())

        def ready() -> bool:
            self._kernel.touch(self._mark, operation_id, write=False)
            return bool(came)

        while True:
            await Gate(self._kernel, ready, lambda: (came[0].place,) if came else ())
            self._kernel.touch(self._mark, operation_id)
            if came:  # else somebody else who waited for it has taken it
                reply = came.popleft()
                if self._kernel.steps is not None:
                    self._kernel.steps.delivered(
                        reply.leader, "client", self._region, [reply.record], reply.sent_ns
                    )
                return json.loads(reply.record.value or b"")  # type: ignore[no-any-return]

    async def read(
        self, kafka: RegionKafka, topic: str, cluster: str, is_ours: Callable[[int], bool]
    ) -> None:
        """Keep every reply from now on."""
        kernel = self._kernel
        assert isinstance(kernel, ChoiceKernel)
        read_from = kafka.cluster(cluster)
        self._region = kafka.region
        await kernel.sleep_ns(1)

        def keep(record: ConsumerRecord) -> None:
            operation_id = int(record.key or b"0")
            kernel.touch(self._mark, operation_id)
            reply = _Reply(record, read_from.leader, kernel.now_ns, kernel.place)
            self._came.setdefault(operation_id, deque()).append(reply)

        for partition in read_from.partitions(topic):
            assert isinstance(partition, ChoicePartition)
            partition.follow(partition.visible_end(True), True, keep)


class ChoiceMessaging(Messaging):
    """A region's way to the clusters."""

    replies_type = ChoiceReplies


class ChoiceClusters(Clusters):
    """All clusters of a run."""

    cluster_type = ChoiceCluster
    producer_type = ChoiceProducer
    consumer_type = ChoiceConsumer

    def _copy(self, source: Cluster, target: Cluster, topic: str) -> None:
        for partition in source.partitions(topic):
            assert isinstance(partition, ChoicePartition)
            partition.follow(0, False, _Mirror(source, target, f"{source.name}.{topic}"))


class _Mirror:
    """Copies the records of one partition, each as it is, in their order."""

    def __init__(self, source: Cluster, target: Cluster, topic: str) -> None:
        self._source = source
        self._target = target
        self._topic = topic
        self._channel = source.network.channel(source.leader, target.leader)

    def __call__(self, record: ConsumerRecord) -> None:
        """Send a record to the target."""
        kernel, steps = self._source.kernel, self._source.kernel.steps
        copy = ConsumerRecord(
            self._topic, record.partition, record.key, record.value, record.stamp_ms, record.headers,
            record.operation, None,
        )  # fmt: skip
        sent_ns = kernel.now_ns

        def arrived(_: object) -> None:
            if steps is not None:
                steps.delivered(self._source.leader, "carrier", self._target.leader, [record], sent_ns)
                steps.queued(copy, kernel.trace)
            self._target.partitions(self._topic)[record.partition].append([copy], 0, None)
            if steps is not None:
                steps.appended(self._target.leader, [copy])

        Timer(kernel, self._channel.delay_ns(kernel.trace), arrived)


@dataclass(slots=True)
class _Follower:
    """Who is told of a partition's records, and of which next."""

    offset: int
    read_committed: bool
    tell: Callable[[ConsumerRecord], None]


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply that can be read: where and when it left, and the place of the step that let it be seen."""

    record: ConsumerRecord
    leader: str
    sent_ns: int
    place: int
