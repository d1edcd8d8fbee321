"""Consumers that read the balance from one shared table, decide in code, and write it back."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from arbsim.designs.database import OVERWRITE, SELECT
from arbsim.designs.messages import allows
from arbsim.designs.table_consumer import Decision, SharedTableConsumer
from arbsim.model import Operation, from_cents
from arbsim.worlds.api import Connection, Region


@dataclass(frozen=True)
class SharedTable(SharedTableConsumer):
    """The fault is the read-then-write on the table, not the log."""

    name = "bus/shared-table"
    isolated_tasks = True
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
