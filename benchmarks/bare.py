"""Bare aiokafka loops with the traffic of the bus designs: what a client sends and what a service does per command.

Messages are the designs' own, and so is the rule; balances are in a plain dictionary. Nothing is noted.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from arbsim.designs.database import OVERWRITE, SELECT, WITHDRAW
from arbsim.designs.messages import allows, command, key_of, pack, reply, to_operation, unpack
from arbsim.designs.shared_table_atomic import CLAIM
from arbsim.model import Operation
from arbsim.worlds.live.events import no_pauses

Shape = Literal["decide", "table", "table-atomic", "transactions", "fold"]

PARTITIONS = 4


@dataclass(frozen=True)
class Bare:
    """One bare run: what the service does, and how the servers are reached."""

    shape: Shape
    operations: Sequence[Operation]
    balance: Decimal
    broker: str
    prefix: str
    pool: dict[str, Any]
    session_timeout_ms: int
    max_poll_records: int
    fetch_max_wait_ms: int

    def topic(self, name: str) -> str:
        """A topic of this run."""
        return f"{self.prefix}-{name}"

    @property
    def partitions(self) -> int:
        """Of the commands."""
        return PARTITIONS if self.shape == "transactions" else 1

    async def producer(self, stack: AsyncExitStack, transactional_id: str | None = None) -> AIOKafkaProducer:
        """Open a producer with the designs' settings."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.broker,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            transactional_id=transactional_id,
        )
        await producer.start()
        stack.push_async_callback(producer.stop)
        return producer

    async def consumer(
        self, stack: AsyncExitStack, topic: str, group: str | None, **options: Any
    ) -> AIOKafkaConsumer:
        """Open a consumer with the designs' settings; it is returned once it has its partitions."""
        consumer = AIOKafkaConsumer(
            self.topic(topic),
            bootstrap_servers=self.broker,
            group_id=None if group is None else self.topic(group),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=self.max_poll_records,
            fetch_max_wait_ms=self.fetch_max_wait_ms,
            session_timeout_ms=self.session_timeout_ms,
            heartbeat_interval_ms=max(1, self.session_timeout_ms // 10),
            **options,
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        while not consumer.assignment():
            await asyncio.sleep(0.01)
        return consumer


async def bare_service(bare: Bare) -> float:
    """Start the service, ask for all operations at once, and return the seconds until all have their replies."""
    async with AsyncExitStack() as stack:
        admin = AIOKafkaAdminClient(bootstrap_servers=bare.broker)
        await admin.start()
        stack.push_async_callback(admin.close)
        topics = {"commands": bare.partitions, "changes": bare.partitions, "replies": 1}
        await admin.create_topics([NewTopic(bare.topic(name), many, 1) for name, many in topics.items()])
        stack.push_async_callback(admin.delete_topics, [bare.topic(name) for name in topics])
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        service = context.Process(target=_serve, args=(bare, ready), daemon=True)
        service.start()
        stack.callback(service.kill)
        producer = await bare.producer(stack)
        replies = await bare.consumer(stack, "replies", None, isolation_level="read_committed")
        assert await asyncio.to_thread(ready.wait, 60), "the bare service did not start"
        with no_pauses():
            return await _ask(bare, producer, replies)


async def _ask(bare: Bare, producer: AIOKafkaProducer, replies: AIOKafkaConsumer) -> float:
    """Let a client for each operation send its command and wait for its own reply; return what that took."""
    commands, loop = bare.topic("commands"), asyncio.get_running_loop()
    awaited = {op.id: loop.create_future() for op in bare.operations}

    async def client(op: Operation) -> None:
        await producer.send_and_wait(commands, command(op), key=key_of(op.account))
        assert await awaited[op.id]

    async def read() -> None:
        while True:
            for batch in (await replies.getmany(timeout_ms=1000)).values():
                for record in batch:
                    awaited[int(record.key)].set_result(unpack(record.value)["accepted"])

    began = time.perf_counter()
    reader = asyncio.create_task(read())
    async with asyncio.TaskGroup() as tasks:
        for op in bare.operations:
            tasks.create_task(client(op))
    took_s = time.perf_counter() - began
    reader.cancel()
    return took_s


# -- in the process of the service -----------------------------------------------------------------------


def _serve(bare: Bare, ready: Any) -> None:
    with no_pauses():
        asyncio.run(_SERVICES[bare.shape](bare, ready))


class _Balances:
    """What a service knows, and how it decides."""

    def __init__(self, bare: Bare) -> None:
        self._opening = bare.balance
        self._balances: dict[int, Decimal] = {}

    def decide(self, op: Operation) -> tuple[bytes, bytes]:
        """The change and the reply to send for an accepted withdrawal."""
        balance = self._balances.get(op.account, self._opening)
        assert allows(op, balance)
        balance = self._balances[op.account] = balance - op.amount
        change = pack({"op": op.id, "account": op.account, "balance": str(balance)})
        return change, reply(True, balance)


async def _decide(bare: Bare, ready: Any) -> None:
    """A change and a reply for each command, all of a batch acknowledged before the commit."""
    async with AsyncExitStack() as stack:
        producer, balances = await bare.producer(stack), _Balances(bare)
        consumer = await bare.consumer(stack, "commands", "decider")
        ready.set()
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                written = []
                for record in batch:
                    op = to_operation(record.value)
                    change, answer = balances.decide(op)
                    written.append(await producer.send(bare.topic("changes"), change, key=key_of(op.account)))
                    written.append(await producer.send(bare.topic("replies"), answer, key=key_of(op.id)))
                for acknowledged in written:
                    await acknowledged
                await consumer.commit()


async def _fold(bare: Bare, ready: Any) -> None:
    """A reply for each command; nothing is waited for, nothing committed."""
    async with AsyncExitStack() as stack:
        producer, balances = await bare.producer(stack), _Balances(bare)
        consumer = await bare.consumer(stack, "commands", None)
        ready.set()
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    op = to_operation(record.value)
                    _, answer = balances.decide(op)
                    await producer.send(bare.topic("replies"), answer, key=key_of(op.id))


async def _transactions(bare: Bare, ready: Any) -> None:
    """A member for each partition; a change and a reply for each command, a transaction for each batch."""
    async with AsyncExitStack() as stack:
        balances = _Balances(bare)
        producers = {
            number: await bare.producer(stack, bare.topic(f"writer-{number}")) for number in range(PARTITIONS)
        }

        async def decide(place: TopicPartition, batch: list[Any]) -> None:
            producer = producers[place.partition]
            async with producer.transaction():
                for record in batch:
                    op = to_operation(record.value)
                    change, answer = balances.decide(op)
                    await producer.send(
                        bare.topic("changes"), change, key=key_of(op.account), partition=place.partition
                    )
                    await producer.send(bare.topic("replies"), answer, key=key_of(op.id))
                await producer.send_offsets_to_transaction(
                    {place: batch[-1].offset + 1}, bare.topic("writers")
                )

        async def member() -> None:
            consumer = await bare.consumer(stack, "commands", "writers", isolation_level="read_committed")
            opened.append(consumer)
            if len(opened) == PARTITIONS:
                while sum(len(one.assignment()) for one in opened) != PARTITIONS:
                    await asyncio.sleep(0.05)
                ready.set()
            while True:
                batches = await consumer.getmany(timeout_ms=1000)
                await asyncio.gather(*(decide(place, batch) for place, batch in batches.items()))

        opened: list[AIOKafkaConsumer] = []
        await asyncio.gather(*(member() for _ in range(PARTITIONS)))


async def _table(bare: Bare, ready: Any) -> None:
    """A SELECT and an UPDATE, each by itself, and a reply for each command; accounts side by side."""

    async def statements(connection: asyncpg.Connection, op: Operation) -> Decimal:
        balance: Decimal = await connection.fetchval(SELECT, op.account) - op.amount
        await connection.execute(OVERWRITE, balance, op.account)
        return balance

    await _with_table(bare, ready, statements)


async def _table_atomic(bare: Bare, ready: Any) -> None:
    """The same with one transaction: the operation's id, then the predicate UPDATE."""

    async def statements(connection: asyncpg.Connection, op: Operation) -> Decimal:
        async with connection.transaction(isolation="read_committed"):
            await connection.fetchval(CLAIM, op.id)
            balance: Decimal = await connection.fetchval(WITHDRAW, op.amount, op.account)
            return balance

    await _with_table(bare, ready, statements)


async def _with_table(
    bare: Bare, ready: Any, statements: Callable[[asyncpg.Connection, Operation], Awaitable[Decimal]]
) -> None:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(asyncpg.create_pool(**bare.pool, reset=_keep))
        producer = await bare.producer(stack)
        consumer = await bare.consumer(stack, "commands", "decider")
        ready.set()

        async def of_account(operations: list[Operation]) -> None:
            for op in operations:
                async with pool.acquire() as connection:
                    balance = await statements(connection, op)
                await producer.send_and_wait(bare.topic("replies"), reply(True, balance), key=key_of(op.id))

        while True:
            batches = await consumer.getmany(timeout_ms=1000)
            by_account: dict[int, list[Operation]] = {}
            for batch in batches.values():
                for record in batch:
                    op = to_operation(record.value)
                    by_account.setdefault(op.account, []).append(op)
            await asyncio.gather(*map(of_account, by_account.values()))
            if batches:
                await consumer.commit()


async def _keep(_: object) -> None:
    """Leave a session as it is, as arbsim's pools do."""


_SERVICES: dict[Shape, Callable[[Bare, Any], Coroutine[Any, Any, None]]] = {
    "decide": _decide,
    "table": _table,
    "table-atomic": _table_atomic,
    "transactions": _transactions,
    "fold": _fold,
}
