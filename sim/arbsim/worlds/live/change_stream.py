"""The change stream of one run: Debezium from the run's table to its topic, and a witness on each side of MirrorMaker.

A witness is a plain consumer that keeps every event with the time at which it came. What it saw is folded, what came
again is dropped by LSN, and the result is compared with the table row by row; and every change that the database itself
noted is looked for among the events.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from arbsim import cdc
from arbsim.model import Cents, to_cents
from arbsim.worlds.live.connect import Connect
from arbsim.worlds.live.database import Change, DatabaseServer, Sandbox
from arbsim.worlds.live.endings import quietly
from arbsim.worlds.live.events import now_ns
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity
from arbsim.worlds.live.statements import ACCOUNTS

_SNAPSHOT_TIMEOUT_S = 60.0
_POLL_S = 0.02
_FETCH_MS = 200


@dataclass(slots=True)
class Witness:
    """What came on one topic, in order: when, and the record's key and value."""

    region: str
    topic: str
    came: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    table: dict[int, Cents | None] = field(default_factory=dict)
    """The table as the events tell it; None for a row that was deleted."""
    changes: int = 0
    seen: cdc.Seen = field(default_factory=cdc.Seen)

    def take(self, key: bytes, value: bytes | None) -> None:
        """Keep an event, and fold it into the table where it is new."""
        event = cdc.unpack(value)
        if event is None or value is None:
            return
        self.came.append((now_ns(), key, value))
        row = event.after or event.before or {}
        if self.seen.add(row["id"], event.lsn):
            self.changes += event.op != "r"
            self.table[row["id"]] = to_cents(Decimal(event.after["balance"])) if event.after else None

    def equals(self, finals: Mapping[int, Cents]) -> bool:
        """Whether the events tell exactly the table."""
        return {account: cents for account, cents in self.table.items() if cents is not None} == dict(finals)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one witness saw of a run. Snapshots (``r``) are counted apart: they repeat rows, not changes.

    ``again``: events that had come before, with the same LSN. ``missing``: committed changes of which no event came.
    ``lags_ns``: from commit to consumer, of every change's first event. ``differences``: the accounts of which the
    events tell another balance (second) than the table has (first). ``records``: all keys and values, as they came.
    """

    region: str
    topic: str
    changes: int
    snapshots: int
    again: int
    missing: int
    lags_ns: tuple[int, ...]
    differences: Mapping[int, tuple[Cents | None, Cents | None]]
    records: tuple[tuple[bytes, bytes], ...]


class LiveStream:
    """One run's connector and witnesses."""

    def __init__(
        self,
        connect: Connect,
        source: DatabaseServer,
        poll_ms: int,
        sides: Mapping[str, tuple[str, str]],
        run: str,
        sandbox: Sandbox,
        *,
        keep: bool = False,
        security: KafkaSecurity = NO_SECURITY,
    ) -> None:
        """``sides``: the cluster's address and the topic's name in each region; the connector writes to the first."""
        self._connect = connect
        self._source = source
        self._poll_ms = poll_ms
        self._topic = next(iter(sides.values()))[1]
        self._sides = sides
        self._run = run
        self._sandbox = sandbox
        self._keep = keep
        self._security = security
        self._watching: list[asyncio.Task[None]] = []
        self.changes_at_flush: int | None = None
        """How many changes had come when the connector's position was stored last; None before the first time."""
        self.witnesses = [Witness(region, name) for region, (_, name) in sides.items()]

    async def open(self, stack: AsyncExitStack) -> None:
        """Start the worker and the witnesses; the stack ends them, and removes slot and publication.

        Raises ServerUnavailable.
        """
        if not self._keep:
            stack.push_async_callback(quietly, self._forget)
        self._connect.start()
        stack.callback(self._end)
        for witness in self.witnesses:
            consumer = await self._consumer(stack, witness.region, witness.topic, cdc.PARTITIONS)
            self._watching.append(asyncio.create_task(_watch(consumer, witness.take)))
        await self._connect.ready()
        leader = self.witnesses[0].region
        positions = await self._consumer(stack, leader, self._connect.positions, 1)
        self._watching.append(asyncio.create_task(_watch(positions, self._flushed)))

    async def _consumer(
        self, stack: AsyncExitStack, region: str, topic: str, partitions: int
    ) -> AIOKafkaConsumer:
        address = self._sides[region][0]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=address,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            **self._security.client(),
        )
        try:
            await consumer.start()
            stack.push_async_callback(quietly, consumer.stop)
            consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        except (KafkaError, OSError) as error:
            raise ServerUnavailable(f"Kafka {region} at {address}: {type(error).__name__}") from None
        return consumer

    def _flushed(self, _key: bytes, _value: bytes | None) -> None:
        self.changes_at_flush = self.witnesses[0].changes

    async def begin(self, finals: Mapping[int, Cents]) -> None:
        """Start the connector; return once its snapshot has come to every side, and it reads what is committed next."""
        await self._connect.follow(
            self._run, self._source, f"{self._sandbox.schema}.{ACCOUNTS}", self._topic, self._poll_ms
        )
        deadline = time.monotonic() + _SNAPSHOT_TIMEOUT_S
        while not self.told(finals) or not await self._sandbox.is_streamed(self._run):
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"no snapshot of the table came to {self._topic}")
            await asyncio.sleep(_POLL_S)

    def told(self, finals: Mapping[int, Cents]) -> bool:
        """Whether every side tells exactly this table."""
        return all(witness.equals(finals) for witness in self.witnesses)

    def check(self) -> None:
        """Raise ServerUnavailable where the worker has ended, and what ended a witness."""
        self._connect.child.check()
        for task in self._watching:
            if task.done() and not task.cancelled():
                task.result()

    async def restart(self) -> None:
        """Kill the worker (``kill -9``), start it again at once, and return when it is back.

        No await lies between its end and its start: who watches sees no dead worker.
        """
        self._connect.child.kill()
        self._connect.start()
        await self._connect.ready()

    def _end(self) -> None:
        self._connect.child.kill()
        for task in self._watching:
            task.cancel()
        self._watching.clear()

    async def _forget(self) -> None:
        """Remove the slot and the publication: the worker, whose connection held them, has gone."""
        for _ in range(100):
            with suppress(asyncpg.PostgresError):  # the server has not yet noticed that it has gone
                await self._sandbox.forget_stream(self._run)
                return
            await asyncio.sleep(_POLL_S)

    def delivered(self, changes: Sequence[Change], finals: Mapping[int, Cents]) -> list[Delivered]:
        """What each side saw, against what the database noted of the run."""
        return [_delivered(witness, changes, finals) for witness in self.witnesses]


async def _watch(consumer: AIOKafkaConsumer, take: Callable[[bytes, bytes | None], None]) -> None:
    while True:
        for batch in (await consumer.getmany(timeout_ms=_FETCH_MS)).values():
            for record in batch:
                take(record.key, record.value)


def _delivered(witness: Witness, changes: Sequence[Change], finals: Mapping[int, Cents]) -> Delivered:
    committed_ns = {_place_of_change(change): change.committed_ns for change in changes}
    missing = Counter(map(_place_of_change, changes))
    seen: set[tuple[int, int]] = set()
    snapshots = again = 0
    lags_ns: list[int] = []
    for came_ns, _, value in witness.came:
        event = cdc.unpack(value)
        assert event is not None
        row = event.after or event.before or {}
        if event.op == "r":
            snapshots += 1
            continue
        if (row["id"], event.lsn) in seen:
            again += 1
            continue
        seen.add((row["id"], event.lsn))
        place = (row["id"], event.transaction, _cents(event.before), _cents(event.after))
        if missing[place]:
            missing[place] -= 1
            lags_ns.append(came_ns - committed_ns[place])
    accounts = sorted(finals.keys() | witness.table.keys())
    return Delivered(
        witness.region,
        witness.topic,
        len(seen),
        snapshots,
        again,
        missing.total(),
        tuple(lags_ns),
        {
            account: (finals.get(account), witness.table.get(account))
            for account in accounts
            if finals.get(account) != witness.table.get(account)
        },
        tuple((key, value) for _, key, value in witness.came),
    )


def _place_of_change(change: Change) -> tuple[int, int | None, Cents | None, Cents | None]:
    """A change by what its event has of it. An event's transaction id has 32 bits."""
    return change.account, change.transaction % 2**32, change.before_cents, change.after_cents


def _cents(row: Mapping[str, Any] | None) -> Cents | None:
    return None if row is None else to_cents(Decimal(row["balance"]))
