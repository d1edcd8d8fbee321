"""A producer: batches, one request under way at a time, idempotence, and transactions.

As aiokafka's sender: records wait while a request to their leader is under way, then go together. A cluster's
leaders live in one region, so a producer has one request under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiokafka.errors import IllegalOperation, ProducerClosed, ProducerFenced
from aiokafka.structs import RecordMetadata, TopicPartition

from arbsim.worlds.virtual.draws import purpose
from arbsim.worlds.virtual.kafka.cluster import Cluster, partition_of
from arbsim.worlds.virtual.kafka.partition import ConsumerRecord, Partition, Transaction
from arbsim.worlds.virtual.kernel import NS_PER_MS, Future, Journey, Raised

Pending = tuple[ConsumerRecord, Future[Any]]


class Producer:
    """An AIOKafkaProducer that has been started."""

    def __init__(
        self,
        cluster: Cluster,
        region: str,
        clock_ms: Callable[[], int],
        acks: int | str,
        idempotent: bool,
        transactional_id: str | None,
        linger_ms: int,
    ) -> None:
        if acks not in (0, 1, -1, "all"):
            raise ValueError("Invalid ACKS parameter")
        if (idempotent or transactional_id is not None) and acks not in (-1, "all"):
            raise ValueError(f"acks={acks} not supported if enable_idempotence=True")
        cluster.opened(acks)
        self._cluster = cluster
        self._kernel = cluster.kernel
        self._clock_ms = clock_ms
        self._acks = -1 if acks == "all" else acks
        self._linger_ns = linger_ms * NS_PER_MS or cluster.timings.linger_ns
        self._there = cluster.network.channel(region, cluster.leader)
        self._back = cluster.network.channel(cluster.leader, region)
        self._salt = purpose(f"kafka/produce/{cluster.name}/{region}") >> 16
        self._requests = 0
        self._pending: dict[Partition, list[Pending]] = {}
        self._under_way = 0
        self._lingering = False
        self._idle: list[Future[None]] = []
        self._turn = 0
        self._closed = False
        self._fenced = False
        self._transactional_id = transactional_id
        self._transaction: Transaction | None = None
        self._touched: dict[Partition, bool] = {}  # whether the coordinator knows of it
        self._offsets: dict[str, dict[TopicPartition, int]] = {}
        self._free_at_ns = 0
        self._mark = self._kernel.mark()
        self._epoch = self._kernel.mark()  # whether it is fenced

    async def start(self) -> None:
        """Connect; a transactional producer fences the earlier one with its id."""
        await self._coordinator_call(write=self._transactional_id is not None)
        if self._transactional_id is not None:
            self._kernel.touch(self._cluster.mark)
            older = self._cluster.transactional.get(self._transactional_id)
            if older is not None:
                await older.fence()
            self._cluster.transactional[self._transactional_id] = self

    # -- sending ---------------------------------------------------------------------------------------

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> Future[Any]:
        """Put a record into its partition's batch; return a future of its RecordMetadata."""
        stamp = self._clock_ms() if timestamp_ms is None else timestamp_ms
        return self.enqueue(topic, value, key, partition, stamp, headers or (), self._kernel.trace.operation)

    async def send_and_wait(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> Any:
        """Send a record and wait until it is acknowledged; return its RecordMetadata."""
        return await (await self.send(topic, value, key, partition, timestamp_ms, headers))

    def enqueue(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        number: int | None,
        timestamp_ms: int,
        headers: Sequence[tuple[str, bytes]],
        operation: int,
    ) -> Future[Any]:
        """Put a record of an operation into its partition's batch."""
        self._kernel.touch(self._mark)
        self._check_open()
        if self._transactional_id is not None and self._transaction is None:
            self._check_fenced()  # its transaction was aborted for it
            raise IllegalOperation("Can't send messages while not in transaction")
        partitions = self._cluster.partitions(topic)
        if number is None:
            number = self._next(len(partitions)) if key is None else partition_of(key, len(partitions))
        partition = partitions[number]
        record = ConsumerRecord(
            topic, number, key, value, timestamp_ms, headers, operation, self._transaction
        )
        if self._kernel.steps is not None:
            self._kernel.steps.queued(record, self._kernel.trace)
        acknowledged: Future[Any] = self._kernel.latch()
        if self._transaction is not None:
            self._touched.setdefault(partition, False)
        self._pending.setdefault(partition, []).append((record, acknowledged))
        self._send_soon()
        return acknowledged

    def _next(self, count: int) -> int:
        """A record without a key goes to the partitions in turn."""
        self._turn += 1
        return (self._turn - 1) % count

    def _send_soon(self) -> None:
        if self._under_way or self._lingering:
            return
        self._lingering = True
        # Records that are sent in the same instant travel together, as in one turn of an event loop.
        self._kernel.call_ns(self._linger_ns, self._dispatch)

    def _dispatch(self, _: object) -> None:
        self._kernel.touch(self._mark)
        self._lingering = False
        if not self._pending or self._under_way:
            return
        batches, self._pending = self._pending, {}
        self._under_way = len(batches)
        first = next(iter(batches.values()))[0][0]
        journey = Journey(first.operation, self._salt + (0 if first.operation else self._count()))
        added_ns = 0
        if self._transaction is not None:
            added_ns = self._add_partitions_ns(journey)
        delay_ns = added_ns + self._there.delay_ns(journey) + self._cluster.timings.append_ns

        def arrived(_: object) -> None:
            for partition, batch in batches.items():
                self._append(partition, batch, journey)

        self._kernel.call_ns(delay_ns, arrived)

    def _count(self) -> int:
        self._requests += 1
        return self._requests << 32

    def _append(self, partition: Partition, batch: list[Pending], journey: Journey) -> None:
        """The leader appends a batch; it answers at once (acks=1) or when all in-sync replicas have it."""
        self._kernel.touch(self._epoch, write=False)
        if self._fenced:
            self._answer(partition, batch, Raised(ProducerFenced()), journey)
            return
        records = [record for record, _ in batch]
        replication_ns = self._cluster.replication_ns(records[0].operation, partition)

        def acknowledge() -> None:
            self._answer(partition, batch, None, journey)

        if self._acks == -1:
            partition.append(records, replication_ns, acknowledge)
        else:
            partition.append(records, replication_ns, None)
            acknowledge()
        if self._kernel.steps is not None:
            self._kernel.steps.appended(self._cluster.leader, records)

    def _answer(
        self, partition: Partition, batch: list[Pending], error: Raised | None, journey: Journey
    ) -> None:
        """Send the leader's answer back; then the next request may go."""

        def received(_: object) -> None:
            self._kernel.touch(self._mark)
            for record, acknowledged in batch:
                acknowledged.set(error or metadata_of(record, partition))
            self._under_way -= 1
            if not self._under_way:
                if self._pending:
                    self._send_soon()
                else:
                    self._tell_idle()

        self._kernel.call_ns(self._back.delay_ns(journey), received)

    def _tell_idle(self) -> None:
        idle, self._idle = self._idle, []
        for waiter in idle:
            waiter.set(None)

    async def flush(self) -> None:
        """Wait until everything that was sent is acknowledged."""
        self._kernel.touch(self._mark)
        if self._under_way or self._pending:
            waiter: Future[None] = self._kernel.future()
            self._idle.append(waiter)
            await waiter

    async def stop(self) -> None:
        """Flush and close."""
        self._kernel.touch(self._mark)
        if not self._closed:
            await self.flush()
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ProducerClosed

    # -- transactions ----------------------------------------------------------------------------------

    def transaction(self) -> TransactionContext:
        """Return an async context manager that begins a transaction, and commits or aborts it."""
        return TransactionContext(self)

    async def begin_transaction(self) -> None:
        """Begin; as in aiokafka this is local. After a commit the coordinator first has to finish it."""
        self._check_transactional()
        self._kernel.touch(self._mark)
        if self._transaction is not None:
            raise IllegalOperation("transaction is open already")
        self._transaction = Transaction()
        self._touched.clear()
        self._offsets.clear()

    async def send_offsets_to_transaction(self, offsets: Mapping[Any, int], group_id: str) -> None:
        """Let a group's offsets be committed with the transaction (KIP-98, without KIP-447's generation)."""
        self._check_transactional()
        self._kernel.touch(self._mark)
        if self._transaction is None:
            raise IllegalOperation("Not in the middle of a transaction")
        await self._coordinator_call(write=True)
        await self._coordinator_call(write=True)
        self._check_fenced()
        self._kernel.touch(self._mark)
        self._offsets.setdefault(group_id, {}).update(offsets)

    async def commit_transaction(self) -> None:
        """Commit: the coordinator logs the decision, then a marker goes to every partition."""
        await self._end(aborted=False)

    async def abort_transaction(self) -> None:
        """Abort: read_committed consumers will skip what was sent."""
        await self._end(aborted=True)

    async def _end(self, aborted: bool) -> None:
        self._check_transactional()
        transaction = self._transaction
        if transaction is None:
            raise IllegalOperation("Not in the middle of a transaction")
        await self.flush()
        if self._touched or self._offsets:
            await self._coordinator_call(write=True)
        self._check_fenced()
        self._transaction = None
        self._finish(transaction, aborted)
        if self._touched or self._offsets:
            await self._kernel.sleep_ns(self._cluster.timings.transaction_ns)

    def _finish(self, transaction: Transaction, aborted: bool) -> None:
        """The coordinator writes the markers and the group's offsets."""
        self._kernel.touch(self._mark)
        transaction.open = False
        transaction.aborted = aborted
        operation = 0
        latest_ns = 0
        for partition in self._touched:
            operation = partition.records[-1].operation if partition.records else 0
            replication_ns = self._cluster.replication_ns(operation, partition)
            latest_ns = max(latest_ns, replication_ns)
            partition.mark(transaction, replication_ns, None)
        if not aborted:
            for group_id, offsets in self._offsets.items():
                self._cluster.group(group_id).commit(offsets)
        # The id takes no new transaction before the markers are written (CONCURRENT_TRANSACTIONS).
        self._free_at_ns = self._kernel.now_ns + latest_ns

    def _add_partitions_ns(self, journey: Journey) -> int:
        """AddPartitionsToTxn comes before a transaction's first records: it waits for the earlier one's markers."""
        waits_ns = max(0, self._free_at_ns - self._kernel.now_ns)
        self._free_at_ns = 0
        new = [partition for partition, added in self._touched.items() if not added]
        if not new:
            return waits_ns
        for partition in new:
            self._touched[partition] = True
        there_ns = self._there.delay_ns(journey) + self._back.delay_ns(journey)
        return waits_ns + there_ns + self._cluster.log_write_ns(journey.operation, self._count())

    async def _coordinator_call(self, write: bool) -> None:
        """Ask the coordinator something; a ``write`` waits for the replicas of its log."""
        journey = Journey(self._kernel.trace.operation, self._salt + self._count())
        await self._kernel.sleep_ns(self._there.delay_ns(journey))
        if write:
            await self._kernel.sleep_ns(self._cluster.log_write_ns(journey.operation, self._requests))
        await self._kernel.sleep_ns(self._back.delay_ns(journey))

    async def fence(self) -> None:
        """A newer producer took the id: nothing more is accepted, and the open transaction is aborted."""
        self._kernel.touch(self._epoch)
        self._fenced = True
        if self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            self._finish(transaction, aborted=True)

    def _check_transactional(self) -> None:
        if self._transactional_id is None:
            raise IllegalOperation("You need to configure transaction_id to use transactions")
        self._check_fenced()

    def _check_fenced(self) -> None:
        self._kernel.touch(self._epoch, write=False)
        if self._fenced:
            raise ProducerFenced


class TransactionContext:
    """aiokafka's ``async with producer.transaction()``."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def __aenter__(self) -> Self:
        await self._producer.begin_transaction()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            await self._producer.commit_transaction()
        elif kind is not GeneratorExit and not isinstance(error, ProducerFenced):
            await self._producer.abort_transaction()


def metadata_of(record: ConsumerRecord, partition: Partition) -> RecordMetadata:
    """What a producer is told of a record that was written."""
    return RecordMetadata(
        partition.topic,
        partition.number,
        partition.name,
        record.offset,
        record.stamp_ms,
        record.timestamp_type,
        0,
    )
