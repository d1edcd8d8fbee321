"""Consumers in both regions, one shared table between them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from arbsim.designs.client import LocalRequests
from arbsim.designs.database import DEPOSIT, OVERWRITE, SELECT, WITHDRAW, retrying
from arbsim.designs.messages import COMMANDS, REPLIES, allows, key_of, reply, to_operation
from arbsim.model import VIOLATIONS, Kind, Nanoseconds, Operation, from_cents
from arbsim.worlds.api import Connection, Producer, Region, Resources, Topic

DONE = "CREATE TABLE done (op_id BIGINT PRIMARY KEY, accepted BOOLEAN NOT NULL)"
CLAIM = "INSERT INTO done (op_id, accepted) VALUES ($1, true) ON CONFLICT DO NOTHING RETURNING op_id"
REFUSE = "UPDATE done SET accepted = false WHERE op_id = $1"
RECALL = "SELECT accepted FROM done WHERE op_id = $1"

Decision = tuple[bool, Decimal]


@dataclass(frozen=True)
class SharedTableConsumer(LocalRequests):
    """Reads its region's commands: one after the other for one account, side by side for different ones."""

    family = "bus"
    partitions: int = 1

    def resources(self) -> Resources:
        """A command and a reply topic in each region, and the one table."""
        return Resources(
            topics=(Topic(COMMANDS, partitions=self.partitions), Topic(REPLIES)), accounts_table=True
        )

    async def serve(self, region: Region) -> None:
        """Process what this region's clients ask."""
        if region.name not in region.client_regions:
            return
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        consumer = await region.kafka.consumer(
            COMMANDS, group_id="decider", enable_auto_commit=False, auto_offset_reset="earliest"
        )
        while True:
            batches = await consumer.getmany(timeout_ms=1000)
            by_account: dict[int, list[Operation]] = {}
            for batch in batches.values():
                for record in batch:
                    op = to_operation(record.value)
                    by_account.setdefault(op.account, []).append(op)
            await region.gather(*(self.decide_all(region, producer, ops) for ops in by_account.values()))
            if batches:
                await consumer.commit()

    async def decide_all(self, region: Region, producer: Producer, ops: Sequence[Operation]) -> None:
        """Decide the commands of one account in order, and answer each."""
        for op in ops:
            with region.working_on(op.id):
                accepted, balance = await self.decide_one(region, op)
                await producer.send_and_wait(REPLIES, reply(accepted, balance), key=key_of(op.id))

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the consumer's step."""
        return (self.decide_one,)

    @abstractmethod
    async def decide_one(self, region: Region, op: Operation) -> Decision:
        """Decide one command against the table; return whether it is accepted, and the balance."""


@dataclass(frozen=True)
class SharedTable(SharedTableConsumer):
    """The fault is the read-then-write on the table, not the log."""

    name = "bus/shared-table"
    agreement = "asynchronous"
    summary = (
        "Consumers in every region read the balance from one shared table, decide in code and write the"
        " new balance back."
    )
    claims = ()
    cure = "bus/shared-table-atomic"

    async def decide_one(self, region: Region, op: Operation) -> Decision:
        """Read the balance, decide, write the balance."""
        async with region.database.acquire() as connection:
            balance: Decimal = await connection.fetchval(SELECT, op.account)
            accepted = allows(op, balance)
            if accepted:
                for account, cents in op.deltas():
                    await self.overwrite(connection, account, from_cents(cents), op, balance)
            return accepted, balance + from_cents(op.delta(op.account)) if accepted else balance

    async def overwrite(
        self, connection: Connection, account: int, delta: Decimal, op: Operation, balance: Decimal
    ) -> None:
        """Write the new balance of one account."""
        if account != op.account:
            balance = await connection.fetchval(SELECT, account)
        await connection.execute(OVERWRITE, balance + delta, account)


@dataclass(frozen=True)
class SharedTableAtomic(SharedTableConsumer):
    """The cure: the predicate UPDATE, with the operation's id in the same transaction: repeats do nothing."""

    name = "bus/shared-table-atomic"
    agreement = "synchronous"
    summary = (
        "The same consumers, but the table decides: a predicate UPDATE with the operation's id in the"
        " same transaction."
    )
    claims = VIOLATIONS
    fresh_reads = True
    own_order = "commit"

    attempts: int = 10
    backoff: Nanoseconds = Nanoseconds(2_000_000)

    def resources(self) -> Resources:
        """The shared table's resources, and a table of the operations that are done."""
        shared = super().resources()
        return Resources(topics=shared.topics, accounts_table=True, tables=(DONE,))

    async def decide_one(self, region: Region, op: Operation) -> Decision:
        """Try the transaction until it is no deadlock's victim."""
        return await retrying(region, self.attempts, self.backoff, lambda: self.attempt(region, op))

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the transaction."""
        return (self.attempt,)

    async def attempt(self, region: Region, op: Operation) -> Decision:
        """Claim the operation's id, then let the database check and write."""
        async with (
            region.database.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            if op.kind is Kind.READ:
                return True, await connection.fetchval(SELECT, op.account)
            if await connection.fetchval(CLAIM, op.id) is None:
                return await connection.fetchval(RECALL, op.id), await connection.fetchval(SELECT, op.account)
            statement = DEPOSIT if op.kind is Kind.DEPOSIT else WITHDRAW
            balance = await connection.fetchval(statement, op.amount, op.account)
            if balance is None:
                await connection.execute(REFUSE, op.id)
                return False, await connection.fetchval(SELECT, op.account)
            if op.to_account is not None:
                await connection.execute(DEPOSIT, op.amount, op.to_account)
            return True, balance
