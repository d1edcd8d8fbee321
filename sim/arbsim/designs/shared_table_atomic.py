"""The same consumers; the table decides, by a predicate UPDATE with the operation's id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arbsim.designs.database import DEPOSIT, SELECT, WITHDRAW, Retries
from arbsim.designs.table_consumer import Decision, SharedTableConsumer
from arbsim.model import VIOLATIONS, Kind, Operation
from arbsim.worlds.api import Region, Resources

DONE = "CREATE TABLE done (op_id BIGINT PRIMARY KEY, accepted BOOLEAN NOT NULL)"
CLAIM = "INSERT INTO done (op_id, accepted) VALUES ($1, true) ON CONFLICT DO NOTHING RETURNING op_id"
REFUSE = "UPDATE done SET accepted = false WHERE op_id = $1"
RECALL = "SELECT accepted FROM done WHERE op_id = $1"


@dataclass(frozen=True)
class SharedTableAtomic(Retries, SharedTableConsumer):
    """The cure: the predicate UPDATE, with the operation's id in the same transaction: repeats do nothing."""

    name = "bus/shared-table-atomic"
    isolated_tasks = True
    agreement = "synchronous"
    summary = (
        "The same consumers, but the table decides: a predicate UPDATE with the operation's id in the"
        " same transaction."
    )
    claims = VIOLATIONS
    fresh_reads = True
    own_order = "commit"

    def resources(self) -> Resources:
        """The shared table's resources, and a table of the operations that are done."""
        shared = super().resources()
        return Resources(topics=shared.topics, accounts_table=True, tables=(DONE,))

    async def decide_one(self, region: Region, op: Operation) -> Decision:
        """Try the transaction until it is no deadlock's victim."""
        return await self.retrying(region, lambda: self.attempt(region, op))

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
