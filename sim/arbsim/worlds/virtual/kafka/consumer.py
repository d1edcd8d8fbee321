"""A consumer: long polls, batches, positions, and its part in a group.

As aiokafka's fetcher: one fetch to the leaders under way at a time, for all assigned partitions; the next one is sent
when everything that the last one brought has been taken.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalOperation, IllegalStateError
from simpy import Process

from arbsim.steps import LaneKind
from arbsim.worlds.virtual.draws import purpose
from arbsim.worlds.virtual.kafka.cluster import Cluster, Group
from arbsim.worlds.virtual.kafka.partition import ConsumerRecord, Partition
from arbsim.worlds.virtual.kernel import NS_PER_MS, Future, Journey

_AUTO_COMMIT_NS = 5_000_000_000
"""aiokafka's default auto_commit_interval_ms."""

Fetched = list[tuple[Partition, list[ConsumerRecord], int]]


class Consumer:
    """An AIOKafkaConsumer that has been started."""

    def __init__(
        self,
        cluster: Cluster,
        region: str,
        topics: Sequence[str],
        group_id: str | None,
        auto_offset_reset: str,
        enable_auto_commit: bool,
        isolation_level: str,
        max_poll_records: int | None,
        listener: Any,
    ) -> None:
        self.topics = tuple(topics)
        self.region = region
        self.reader: LaneKind = "service"
        self._cluster = cluster
        self._kernel = cluster.kernel
        self._there = cluster.network.link(region, cluster.leader)
        self._back = cluster.network.link(cluster.leader, region)
        self._salt = purpose(f"kafka/fetch/{cluster.name}/{region}") >> 16
        self._group = cluster.group(group_id) if group_id is not None else None
        self._generation = 0
        self._from_earliest = auto_offset_reset == "earliest"
        self._auto_commit = enable_auto_commit
        self._read_committed = isolation_level == "read_committed"
        self._most = max_poll_records or cluster.timings.max_poll_records
        self._listener = listener
        self._partitions: list[Partition] = []
        self._positions: dict[Partition, int] = {}
        self._buffer: dict[Partition, tuple[list[ConsumerRecord], int]] = {}
        self._fetching = 0
        self._round = 0
        self._asked_round = 0
        self._asked_at_ns = 0
        self._committed_at_ns = 0
        self._taker: Future[None] | None = None
        self._gives_up_ns = 0
        self._alarm_ns: int | None = None
        self._stopped = False
        self._owner: Process | None = None
        self._mark = self._kernel.mark()  # what is there to take
        self._assigned = self._kernel.mark()  # what is read, and whether from another place

    async def start(self) -> None:
        """Connect, join the group where there is one, and begin to fetch."""
        self._owner = self._kernel.active_process
        await self._round_trip()
        if self._group is not None:
            ready: Future[None] = self._kernel.future()
            self._group.join(self, lambda: ready.set(None))
            await ready
        else:
            self._take_over([part for topic in self.topics for part in self._cluster.partitions(topic)])

    # -- assignment ------------------------------------------------------------------------------------

    def assign(self, partitions: Sequence[Any]) -> None:
        """Read these partitions, without a group."""
        self._take_over([self._cluster.partitions(tp.topic)[tp.partition] for tp in partitions])

    def assignment(self) -> frozenset[Any]:
        """The partitions that this consumer reads."""
        self._kernel.touch(self._assigned, write=False)
        return frozenset(partition.name for partition in self._partitions)

    async def revoked(self) -> None:
        """The coordinator takes the partitions back."""
        if self._partitions:
            names = [partition.name for partition in self._partitions]
            self._let_go()
            await self._tell("on_partitions_revoked", names)

    async def assigned(self, partitions: list[Partition], generation: int) -> None:
        """The coordinator gives partitions."""
        self._generation = generation
        await self._tell("on_partitions_assigned", [partition.name for partition in partitions])
        self._take_over(partitions)

    async def _tell(self, method: str, names: list[Any]) -> None:
        if self._listener is not None:
            self._kernel.touch_objects_of(self._owner)
            answer = getattr(self._listener, method)(names)
            if inspect.isawaitable(answer):
                await answer

    def _take_over(self, partitions: list[Partition]) -> None:
        self._let_go()
        self._partitions = partitions
        for partition in partitions:
            self._positions[partition] = self._first_position(partition)
            partition.readers.append(self)
        self._fetch()

    def _let_go(self) -> None:
        self._forget_fetch()
        for partition in self._partitions:
            partition.readers.remove(self)
        self._partitions = []
        self._positions.clear()

    def _first_position(self, partition: Partition) -> int:
        if self._group is not None:
            committed = self._group.committed(partition.topic, partition.number)
            if committed is not None:
                return committed
        if self._from_earliest:
            return partition.records[0].offset if partition.records else partition.next_offset
        return partition.visible_end(self._read_committed)

    # -- fetching --------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        """Send a fetch for all partitions, unless one is under way or something is left to take."""
        if self._fetching or self._buffer or not self._partitions or self._stopped:
            return
        self._round += 1
        self._fetching = self._round
        delay_ns = self._there.single_ns(0, self._salt + (self._round << 24))
        self._kernel.call_ns(delay_ns, _Arrival(self, self._round))

    def _forget_fetch(self) -> None:
        """What is under way belongs to an older assignment or position."""
        self._kernel.touch(self._mark)
        self._kernel.touch(self._assigned)
        self._fetching = 0
        self._buffer.clear()
        for partition in self._partitions:
            if self in partition.waiting:
                partition.waiting.remove(self)

    def reached_broker(self, round_: int) -> None:
        """The fetch is at the leaders: they answer if they have something, else they hold it."""
        self._kernel.touch(self._assigned, write=False)
        if round_ != self._fetching:
            return
        fetched = self._collect()
        if fetched:
            self._respond(fetched, round_)
            return
        if self._asked_round != round_:
            self._asked_round, self._asked_at_ns = round_, self._kernel.now_ns
        for partition in self._partitions:
            partition.waiting.append(self)

    def can_answer(self, round_: int) -> bool:
        """Whether the leaders would answer this fetch at once."""
        self._kernel.touch(self._assigned, write=False)
        return round_ != self._fetching or bool(self._collect())

    def brought_by(self, round_: int) -> list[int]:
        """The place of the step that brought what this fetch finds, where one alone did."""
        found = self._collect() if round_ == self._fetching else []
        if len(found) != 1:
            return []
        partition = found[0][0]
        return [partition.shown_at(self._positions[partition], self._read_committed)]

    def on_data(self) -> None:
        """New records are visible somewhere: the held fetch is answered.

        A fetch that found nothing is answered empty after fetch_max_wait, and the next one is on its way for a
        round trip; what arrives in that gap waits for it. Nobody has to wake up for that: it follows from how
        long ago the first fetch arrived.
        """
        self._kernel.touch(self._mark)
        for partition in self._partitions:
            if self in partition.waiting:
                partition.waiting.remove(self)
        round_ = self._fetching
        held_ns = self._cluster.timings.fetch_max_wait_ns
        cycle_ns = held_ns + self._there.base_ns + self._back.base_ns
        phase_ns = (self._kernel.now_ns - self._asked_at_ns) % cycle_ns
        if phase_ns < held_ns or cycle_ns == 0:
            self.reached_broker(round_)
        else:
            self._kernel.call_ns(cycle_ns - phase_ns, _Arrival(self, round_))

    def _collect(self) -> Fetched:
        fetched: Fetched = []
        room = self._most
        for partition in self._partitions:
            position = self._positions[partition]
            records, following = partition.read(position, self._read_committed, room)
            if following != position:
                fetched.append((partition, records, following))
                room -= len(records)
                if room <= 0:
                    break
        return fetched

    def _respond(self, fetched: Fetched, round_: int) -> None:
        operation = 0
        for _, records, _ in fetched:
            if records:
                operation = records[0].operation
                break
        sent_ns = self._kernel.now_ns

        def received(_: object) -> None:
            self._kernel.touch(self._mark)
            if round_ == self._fetching:
                if self._kernel.steps is not None:
                    self._tell_steps(fetched, sent_ns)
                self._receive(fetched)

        delay_ns = self._back.single_ns(operation, self._salt + (0 if operation else round_ << 24))
        self._kernel.call_ns(delay_ns, received)

    def _tell_steps(self, fetched: Fetched, sent_ns: int) -> None:
        steps = self._kernel.steps
        if steps is not None:
            for _, records, _ in fetched:
                steps.delivered(self._cluster.leader, self.reader, self.region, records, sent_ns)

    def _receive(self, fetched: Fetched) -> None:
        self._fetching = 0
        for partition, records, following in fetched:
            if records:
                self._buffer[partition] = (records, following)
            else:  # markers and aborted records only
                self._positions[partition] = following
        if not self._buffer:
            self._fetch()
        elif self._taker is not None:
            taker, self._taker = self._taker, None
            taker.set(None)

    # -- taking ----------------------------------------------------------------------------------------

    async def getmany(
        self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]:
        """Return what is there, by partition; wait for it at most ``timeout_ms``."""
        self._kernel.touch(self._assigned, write=False)
        if self._stopped:
            raise ConsumerStoppedError
        if self._auto_commit and self._group is not None:
            self._commit_by_itself(self._group)
        if timeout_ms:
            await self._wait(timeout_ms)
        return self._take(set(partitions), max_records or self._most)

    async def _wait(self, timeout_ms: int) -> None:
        self._kernel.touch(self._mark)
        if self._buffer:
            return
        self._taker = waiter = self._kernel.future()
        self._gives_up_ns = self._kernel.now_ns + timeout_ms * NS_PER_MS
        # Most polls bring something long before they end, so one alarm serves many of them.
        if self._alarm_ns is None or self._gives_up_ns < self._alarm_ns:
            self._set_alarm(self._gives_up_ns)
        await waiter

    def _set_alarm(self, at_ns: int) -> None:
        self._alarm_ns = at_ns
        self._kernel.idle_ns(at_ns - self._kernel.now_ns).callbacks.append(self._on_alarm)

    def _on_alarm(self, _: object) -> None:
        """A poll that waits until now gives up; a later one is looked at when its time has come."""
        self._alarm_ns = None
        taker = self._taker
        if taker is None:
            return
        if self._gives_up_ns <= self._kernel.now_ns:
            self._taker = None
            taker.set(None)
        else:
            self._set_alarm(self._gives_up_ns)

    def _take(self, wanted: set[Any], room: int) -> dict[Any, list[Any]]:
        self._kernel.touch(self._mark)
        taken: dict[Any, list[Any]] = {}
        for partition in list(self._buffer):
            name = partition.name
            if (wanted and name not in wanted) or room <= 0:
                continue
            records, following = self._buffer.pop(partition)
            if len(records) > room:
                self._buffer[partition] = (records[room:], following)
                following = records[room].offset
                records = records[:room]
            room -= len(records)
            self._positions[partition] = following
            taken[name] = records
        self._fetch()
        return taken

    def _commit_by_itself(self, group: Group) -> None:
        """What earlier polls brought counts as processed; it is committed every five seconds."""
        if self._kernel.now_ns - self._committed_at_ns >= _AUTO_COMMIT_NS:
            self._committed_at_ns = self._kernel.now_ns
            group.commit({partition.name: at for partition, at in self._positions.items()})

    async def getone(self, *partitions: Any) -> Any:
        """Return the next record; wait for it as long as it takes."""
        while True:
            batches = await self.getmany(*partitions, timeout_ms=1000, max_records=1)
            for batch in batches.values():
                return batch[0]

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._stopped:
            raise StopAsyncIteration
        return await self.getone()

    # -- offsets ---------------------------------------------------------------------------------------

    async def commit(self, offsets: Mapping[Any, int] | None = None) -> None:
        """Commit positions. Raises CommitFailedError where the group has rebalanced since."""
        if self._group is None:
            raise IllegalOperation("Requires group_id")
        self._kernel.touch(self._mark, write=False)
        if offsets is None:
            offsets = {partition.name: at for partition, at in self._positions.items()}
        generation = self._generation
        await self._round_trip()
        self._kernel.touch(self._group.mark, write=False)
        if generation != self._group.generation:
            raise CommitFailedError
        self._group.commit(offsets)

    async def committed(self, partition: Any) -> int | None:
        """The group's committed offset of a partition, or None."""
        if self._group is None:
            raise IllegalOperation("Requires group_id")
        await self._round_trip()
        return self._group.committed(partition.topic, partition.partition)

    async def position(self, partition: Any) -> int:
        """The offset of the next record that will be taken."""
        self._kernel.touch(self._mark, write=False)
        return self._positions[self._find(partition)]

    def seek(self, partition: Any, offset: int) -> None:
        """Go on from an offset."""
        if offset < 0:
            raise ValueError("Offset must be a positive integer")
        found = self._find(partition)
        self._forget_fetch()
        self._positions[found] = offset
        self._fetch()

    async def seek_to_beginning(self, *partitions: Any) -> bool:
        """Go on from the first record that is kept."""
        await self._round_trip()
        for partition in [self._find(tp) for tp in partitions] or self._partitions:
            first = partition.records[0].offset if partition.records else partition.next_offset
            self.seek(partition.name, first)
        return True

    async def end_offsets(self, partitions: Sequence[Any]) -> dict[Any, int]:
        """The offset behind the last visible record of each partition."""
        await self._round_trip()
        return {
            tp: self._cluster.partitions(tp.topic)[tp.partition].visible_end(self._read_committed)
            for tp in partitions
        }

    async def stop(self) -> None:
        """Leave the group and stop reading."""
        if not self._stopped:
            self._stopped = True
            self._let_go()
            if self._group is not None:
                self._group.leave(self)

    def lowest_offset(self, partition: Partition) -> int:
        """What this consumer, or its group after a restart, may still ask for."""
        position = self._positions.get(partition, 0)
        if self._group is None:
            return position
        return min(position, self._group.offsets.get((partition.topic, partition.number), 0))

    def _find(self, name: Any) -> Partition:
        self._kernel.touch(self._assigned, write=False)
        for partition in self._partitions:
            if (partition.topic, partition.number) == (name.topic, name.partition):
                return partition
        raise IllegalStateError(f"No current assignment for partition {name}")

    async def _round_trip(self) -> None:
        journey = Journey(self._kernel.trace.operation, self._salt + 1)
        await self._kernel.sleep_ns(self._there.delay_ns(journey) + self._back.delay_ns(journey))


class _Arrival:
    """A fetch on its way; one object instead of a closure for each."""

    __slots__ = ("_consumer", "_round")

    def __init__(self, consumer: Consumer, round_: int) -> None:
        self._consumer = consumer
        self._round = round_

    def __call__(self, _: object) -> None:
        """The fetch is at the leaders."""
        self._consumer.reached_broker(self._round)

    def ready(self) -> bool:
        """Whether anything would come of it now: a fetch that finds nothing waits."""
        return self._consumer.can_answer(self._round)

    def openers(self) -> list[int]:
        """Where there was nothing to find before one step, that step."""
        return self._consumer.brought_by(self._round)
