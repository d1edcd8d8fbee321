"""The connector: it turns commits into change events on a topic, and repeats some after a restart.

Debezium's PostgreSQL connector in Kafka Connect, as documented and as we measured it: a snapshot of the table first
(``r``); then the transactions in commit order, polled for; the position is flushed now and then, so a connector that
is killed sends what came after the last flush again, whole transactions with the same LSNs. One that is killed
before its first flush knows no position and takes a new snapshot: what happened in between is never told.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from arbsim import cdc
from arbsim.worlds.virtual.database import ACCOUNTS, Universe
from arbsim.worlds.virtual.kafka.cluster import Cluster
from arbsim.worlds.virtual.kafka.producer import Producer
from arbsim.worlds.virtual.kernel import Future, Task, Trace
from arbsim.worlds.virtual.region import EPOCH_NS
from arbsim.worlds.virtual.settings import CdcSettings
from arbsim.worlds.virtual.sql.results import Change, Commit

_LSN_STEP = 128
"""The engine's log grows by at least this much with every change of a commit."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A committed transaction in the replication slot."""

    number: int
    commit: Commit
    changes: tuple[Change, ...]
    time_ns: int
    operation: int


class ChangeStream:
    """A replication slot on one database, and the connector that reads it beside the cluster it writes to."""

    def __init__(self, universe: Universe, cluster: Cluster, settings: CdcSettings) -> None:
        self._universe = universe
        self._kernel = universe.kernel
        self._recorder = universe.recorder
        self._cluster = cluster
        self._settings = settings
        self._slot: deque[_Entry] = deque()
        self._committed = 0
        self._told = 0
        self._acknowledged: deque[tuple[int, int]] = deque()
        self._flushed: int | None = None
        self._started_ns = 0
        self._wake: Future[None] | None = None
        self._mark = self._kernel.mark()
        universe.watch.followed = True
        universe.engine.on_commit.append(self._on_commit)
        self._task = self._start()

    def _start(self) -> Task[None]:
        return self._kernel.spawn(self._run(), Trace(0))

    def _on_commit(self, commit: Commit) -> None:
        """Keep a transaction in the slot until the connector has flushed that it was sent."""
        changes = tuple(change for change in commit.changes if change.table == ACCOUNTS)
        if not changes:
            return
        self._kernel.touch(self._mark)
        self._committed += 1
        operation = commit.trace.operation if isinstance(commit.trace, Trace) else 0
        now_ns = self._recorder.clock_ns(order_only=True)
        self._slot.append(_Entry(self._committed, commit, changes, now_ns, operation))
        if self._wake is not None:
            wake, self._wake = self._wake, None
            wake.set(None)

    # -- the connector ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Take a snapshot where no position is known; then send transaction after transaction."""
        kernel = self._kernel
        producer = Producer(self._cluster, self._cluster.leader, lambda: 0, "all", True, None, 0)
        await producer.start()
        self._started_ns = kernel.now_ns
        self._acknowledged.clear()
        kernel.touch(self._mark)
        sent = self._flushed
        if sent is None:
            sent = self._committed
            self._slot.clear()
            await self._snapshot(producer)
            self._acknowledged.append((kernel.now_ns, sent))
        while True:
            kernel.touch(self._mark)
            if sent == self._committed:
                self._wake = kernel.future()
                await self._wake
            await kernel.sleep_ns(self._until_poll_ns())
            kernel.touch(self._mark)
            entries = [entry for entry in self._slot if entry.number > sent]
            await kernel.sleep_ns(self._settings.lag_ns)
            for entry in entries:
                await self._tell(producer, entry)
            kernel.touch(self._mark)
            sent = entries[-1].number
            self._acknowledged.append((kernel.now_ns, sent))
            self._flush()

    def _until_poll_ns(self) -> int:
        interval_ns = self._settings.poll_interval_ns
        return interval_ns - (self._kernel.now_ns - self._started_ns) % interval_ns

    async def _snapshot(self, producer: Producer) -> None:
        lsn, xid = self._universe.engine.lsn, self._universe.engine.snapshot_xid()
        for row in self._universe.engine.table(ACCOUNTS):
            self._send(producer, cdc.ChangeEvent("r", None, _columns(row), lsn, xid, *self._times(None)), 0)
        await producer.flush()

    async def _tell(self, producer: Producer, entry: _Entry) -> None:
        """Send a transaction: an event for each change, and a tombstone after a delete."""
        commit, count = entry.commit, len(entry.changes)
        for place, change in enumerate(entry.changes):
            before, after = change.before, change.after
            event = cdc.ChangeEvent(
                change.op,  # type: ignore[arg-type]
                None if before is None else _columns(before),
                None if after is None else _columns(after),
                commit.lsn - _LSN_STEP * (count - place),
                commit.xid,
                *self._times(entry),
            )
            self._send(producer, event, entry.operation)
        again = entry.number <= self._told
        self._told = max(self._told, entry.number)
        self._recorder.history.count("change_events_again" if again else "change_events", count)
        await producer.flush()

    def _times(self, entry: _Entry | None) -> tuple[int, int]:
        now_ns = self._recorder.clock_ns(order_only=True)
        return EPOCH_NS + (now_ns if entry is None else entry.time_ns), EPOCH_NS + now_ns

    def _send(self, producer: Producer, event: cdc.ChangeEvent, operation: int) -> None:
        row = event.after or event.before
        assert row is not None
        values = [cdc.pack(event)] if event.op != "d" else [cdc.pack(event), None]
        for value in values:
            producer.enqueue(
                cdc.TOPIC, value, cdc.key_of(row), None, event.sent_ns // 1_000_000, (), operation
            )

    def _flush(self) -> None:
        """Note what Connect's last flush before now has stored; the slot forgets it."""
        interval_ns = self._settings.offset_flush_interval_ns
        running_ns = self._kernel.now_ns - self._started_ns
        if running_ns < interval_ns:
            return
        last_ns = self._started_ns + running_ns // interval_ns * interval_ns
        while self._acknowledged and self._acknowledged[0][0] <= last_ns:
            self._flushed = self._acknowledged.popleft()[1]
        while self._slot and self._flushed is not None and self._slot[0].number <= self._flushed:
            self._slot.popleft()

    # -- the one failure -------------------------------------------------------------------------------

    async def restarts(self) -> None:
        """Kill the connector at its times, and start it again after a while."""
        for at_ns in sorted(self._settings.restart_at_ns):
            await self._kernel.sleep_ns(max(0, at_ns - self._recorder.now_ns))
            self._kernel.touch(self._mark)
            self._flush()
            self._task.close()
            self._wake = None
            self._recorder.history.count("connector_restarts")
            await self._kernel.sleep_ns(self._settings.restart_time_ns)
            self._task = self._start()


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON has it: money and times as text."""
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value
