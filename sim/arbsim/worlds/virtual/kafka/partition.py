"""One partition: a log whose order everybody sees alike, up to the high watermark.

Rules from the Kafka documentation (Design, sections 4.6 and 4.7) and KIP-98: consumers see records below the high
watermark, which moves once every in-sync replica has a batch; read_committed consumers see no further than the last
stable offset, the first offset of the oldest open transaction, and skip what was aborted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Protocol

from aiokafka.structs import TopicPartition

from arbsim.worlds.virtual.kernel import Kernel

_PRUNE_AT = 4096
_offset_of = attrgetter("offset")


class ConsumerRecord:
    """A record with the attributes of aiokafka's. ``operation`` is hidden from designs: who sent it."""

    __slots__ = (
        "headers",
        "is_marker",
        "key",
        "offset",
        "operation",
        "partition",
        "stamp_ms",
        "timestamp_type",
        "topic",
        "transaction",
        "value",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Sequence[tuple[str, bytes]],
        operation: int,
        transaction: Transaction | None,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = -1
        self.stamp_ms = timestamp_ms
        self.timestamp_type = 0
        self.key = key
        self.value = value
        self.headers = headers
        self.operation = operation
        self.transaction = transaction
        self.is_marker = False

    @property
    def timestamp(self) -> int:
        """When its producer says that it was made, in milliseconds since the epoch."""
        return int(self.stamp_ms)

    def __repr__(self) -> str:
        return f"ConsumerRecord({self.topic}-{self.partition}@{self.offset} key={self.key!r} value={self.value!r})"


class Transaction:
    """One transaction of one producer, as partitions see it."""

    __slots__ = ("aborted", "open")

    def __init__(self) -> None:
        self.open = True
        self.aborted = False


class Reader(Protocol):
    """Whoever waits for records of a partition, and how far it has read."""

    def on_data(self) -> None:
        """There is something new to see."""

    def lowest_offset(self, partition: Partition) -> int:
        """What this reader may still ask for."""


class Partition:
    """The log of one partition at its leader, and how far its replicas are."""

    def __init__(self, kernel: Kernel, topic: str, number: int, compacted: bool) -> None:
        self.topic = topic
        self.number = number
        self.name = TopicPartition(topic, number)
        self.compacted = compacted
        self.records: list[ConsumerRecord] = []
        self.next_offset = 0
        self.high_watermark = 0
        self.readers: list[Reader] = []
        self.waiting: list[Reader] = []
        self._kernel = kernel
        self._mark = kernel.mark()
        self._open: dict[Transaction, int] = {}
        self._replicated_at_ns = 0
        self._on_replicated: list[tuple[int, Callable[[], None]]] = []

    def append(
        self, records: Sequence[ConsumerRecord], replication_ns: int, then: Callable[[], None] | None
    ) -> int:
        """Append a batch at the leader; return its first offset.

        ``replication_ns``: how long until every in-sync replica has it. ``then`` is called when they do.
        """
        self._kernel.touch(self._mark)
        first = self.next_offset
        for record in records:
            record.offset = self.next_offset
            self.next_offset += 1
            transaction = record.transaction
            if transaction is not None and transaction.open and transaction not in self._open:
                self._open[transaction] = record.offset
        self.records += records
        kernel = self._kernel
        # Replicas fetch in order, so a later batch is never complete before an earlier one.
        self._replicated_at_ns = max(self._replicated_at_ns, kernel.now_ns + replication_ns)
        self._on_replicated.append((self.next_offset, then or _nothing))
        kernel.call_ns(self._replicated_at_ns - kernel.now_ns, self._replicated)
        return first

    def _replicated(self, _: object) -> None:
        self._kernel.touch(self._mark)
        offset, then = self._on_replicated.pop(0)
        self.high_watermark = offset
        then()
        self.wake()

    def mark(self, transaction: Transaction, replication_ns: int, then: Callable[[], None] | None) -> None:
        """Append the marker that ends a transaction here; it takes effect when it is replicated."""
        marker = ConsumerRecord(self.topic, self.number, None, None, 0, (), 0, transaction)
        marker.is_marker = True

        def end() -> None:
            self._open.pop(transaction, None)
            if then is not None:
                then()

        self.append([marker], replication_ns, end)

    def wake(self) -> None:
        """Tell who waits that there may be something new."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for reader in waiting:
                reader.on_data()
        if len(self.records) >= _PRUNE_AT and len(self.records) % 512 == 0:
            self._prune()

    def last_stable_offset(self) -> int:
        """The first offset of the oldest open transaction, or the high watermark."""
        return min((*self._open.values(), self.high_watermark))

    def visible_end(self, read_committed: bool) -> int:
        """The offset up to which a consumer may read."""
        self._kernel.touch(self._mark, write=False)
        return self.last_stable_offset() if read_committed and self._open else self.high_watermark

    def shown_at(self, offset: int, read_committed: bool) -> int:
        """The step that let consumers see beyond an offset, where steps are counted; else -1."""
        return -1

    def read(self, offset: int, read_committed: bool, most: int) -> tuple[list[ConsumerRecord], int]:
        """Return the visible records from an offset on, and the offset to go on from."""
        end = self.visible_end(read_committed)
        if offset >= end:
            return [], offset
        records = self.records
        start = offset - records[0].offset if records else 0
        if not 0 <= start < len(records) or records[start].offset != offset:
            start = bisect_left(records, offset, key=_offset_of)
        found: list[ConsumerRecord] = []
        for place in range(start, len(records)):
            record = records[place]
            if record.offset >= end or len(found) == most:
                return found, record.offset
            transaction = record.transaction
            if record.is_marker or (read_committed and transaction is not None and transaction.aborted):
                continue
            found.append(record)
        return found, end

    def _prune(self) -> None:
        """Forget what every reader has passed; of a compacted topic keep the last record of each key."""
        if self.compacted:
            last = {record.key: record for record in self.records if not record.is_marker}
            self.records = sorted(last.values(), key=_offset_of)
            return
        passed = min((reader.lowest_offset(self) for reader in self.readers), default=self.high_watermark)
        place = bisect_left(self.records, min(passed, self.high_watermark), key=_offset_of)
        del self.records[:place]


def _nothing() -> None:
    """Nobody waits for this batch."""
