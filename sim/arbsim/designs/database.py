"""What the database designs share: the statements, the retry loop, and the followers of the change stream."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal, TypeVar

from asyncpg.exceptions import CheckViolationError, TransactionRollbackError

from arbsim import cdc
from arbsim.model import (
    VIOLATIONS,
    Accepted,
    Agreement,
    Failed,
    FindingKind,
    Kind,
    Nanoseconds,
    Operation,
    Outcome,
    Rejected,
)
from arbsim.worlds.api import Connection, Design, Region, Resources, Store

T = TypeVar("T")

SELECT = "SELECT balance FROM acct WHERE id = $1"
SELECT_FOR_UPDATE = "SELECT balance FROM acct WHERE id = $1 FOR UPDATE"
WITHDRAW = (
    "UPDATE acct SET balance = balance - $1, updated_at = now()"
    " WHERE id = $2 AND balance >= $1 RETURNING balance"
)
DEPOSIT = "UPDATE acct SET balance = balance + $1, updated_at = now() WHERE id = $2 RETURNING balance"
DECREMENT = "UPDATE acct SET balance = balance - $1, updated_at = now() WHERE id = $2 RETURNING balance"
OVERWRITE = "UPDATE acct SET balance = $1, updated_at = now() WHERE id = $2"


@dataclass(frozen=True)
class Retries:
    """What a design has that tries transactions again: ``attempts`` in all, with a pause that doubles.

    40001 and 40P01 roll a transaction back; trying again may help.
    """

    attempts: int = 10
    backoff: Nanoseconds = Nanoseconds(2_000_000)

    async def retrying(self, region: Region, transaction: Callable[[], Awaitable[T]]) -> T:
        """Run a transaction until the database does not roll it back. Raises what the last attempt raised."""
        attempt = 1
        while True:
            try:
                return await transaction()
            except TransactionRollbackError:
                if attempt == self.attempts:
                    raise
            region.retried()
            await region.sleep(self.backoff * 2 ** (attempt - 1) / 1e9)
            attempt += 1


@dataclass(frozen=True)
class DatabaseDesign(Retries, Design):
    """A transaction that is tried again where the database says that trying again may help.

    A broken CHECK (23514) is final.
    """

    family = "db"
    agreement: ClassVar[Agreement] = "synchronous"
    claims: ClassVar[tuple[FindingKind, ...]] = VIOLATIONS
    cure: ClassVar[str | None] = None
    fresh_reads = True
    own_order: ClassVar[str | None] = "commit"

    check: bool = True
    dialect: Literal["postgres", "yugabyte"] | None = None
    change_stream: bool = False

    def resources(self) -> Resources:
        """The accounts table, in one database over all regions."""
        return Resources(
            accounts_table=True, check=self.check, dialect=self.dialect, change_stream=self.change_stream
        )

    async def serve(self, region: Region) -> None:
        """Keep a read model by the change stream, where there is one."""
        if self.change_stream:
            await follow(region, region.store())

    def serves(self) -> bool:
        """Whether there is a read model to keep, or a subclass has services of its own."""
        return self.change_stream or type(self).serve is not DatabaseDesign.serve

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Try the transaction until it ends in something other than a serialization error or a deadlock."""
        try:
            return await self.retrying(region, lambda: self.attempt(op, region))
        except TransactionRollbackError as error:
            return Failed(f"{self.attempts} attempts ended in {error.sqlstate}")
        except CheckViolationError as error:
            return Failed(f"{error.sqlstate} {error.constraint_name}")

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the transaction."""
        return (self.attempt,)

    @abstractmethod
    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Run the transaction once."""


async def follow(region: Region, store: Store) -> None:
    """Take over every committed balance that the change stream brings; what was seen before is dropped by LSN."""
    topic = cdc.TOPIC if region.name == region.leader else f"{region.leader}.{cdc.TOPIC}"
    consumer = await region.kafka.consumer(
        topic, auto_offset_reset="earliest", enable_auto_commit=False, isolation_level="read_committed"
    )
    seen = cdc.Seen()
    while True:
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            for record in batch:
                event = cdc.unpack(record.value)
                if event is None or event.after is None:
                    continue
                account = event.after["id"]
                if seen.add(account, event.lsn):
                    store.adopt(account, Decimal(event.after["balance"]), event.transaction)


async def change(connection: Connection, op: Operation) -> Outcome:
    """Do an operation by predicate: the statement that writes also checks the rule."""
    if op.kind is Kind.READ:
        return Accepted(await connection.fetchval(SELECT, op.account))
    statement = DEPOSIT if op.kind is Kind.DEPOSIT else WITHDRAW
    balance = await connection.fetchval(statement, op.amount, op.account)
    if balance is None:
        return Rejected()
    if op.to_account is not None:
        await connection.execute(DEPOSIT, op.amount, op.to_account)
    return Accepted(balance)


async def deposit_or_read(connection: Connection, op: Operation) -> Outcome | None:
    """Do an operation that needs no check; None where it needs one."""
    return await change(connection, op) if op.kind in (Kind.READ, Kind.DEPOSIT) else None


def covers(balance: Decimal, op: Operation) -> bool:
    """The check in the application's code."""
    return balance >= op.amount
