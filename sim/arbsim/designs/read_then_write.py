"""SELECT, think, UPDATE: what two traps and their cure have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from decimal import Decimal

from arbsim.designs.database import (
    DEPOSIT,
    SELECT,
    DatabaseDesign,
    covers,
    deposit_or_read,
)
from arbsim.model import Accepted, Nanoseconds, Operation, Outcome, Rejected
from arbsim.worlds.api import Connection, Region


@dataclass(frozen=True)
class ReadThenWrite(DatabaseDesign):
    """Read the balance, think, decide in code, write. A deposit stays one relative statement."""

    think_time: Nanoseconds = Nanoseconds(50_000_000)

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Run the transaction once, under READ COMMITTED."""
        async with (
            region.database.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            simple = await deposit_or_read(connection, op)
            if simple is not None:
                return simple
            balance = await self.read(connection, op)
            await region.sleep(self.think_time / 1e9)
            if not covers(balance, op):
                return Rejected()
            await self.write(connection, op, balance)
            if op.to_account is not None:
                await connection.execute(DEPOSIT, op.amount, op.to_account)
            return Accepted(balance - op.amount)

    async def read(self, connection: Connection, op: Operation) -> Decimal:
        """Return the balance that the decision is made on."""
        balance: Decimal = await connection.fetchval(SELECT, op.account)
        return balance

    @abstractmethod
    async def write(self, connection: Connection, op: Operation, balance: Decimal) -> None:
        """Write what was decided."""
