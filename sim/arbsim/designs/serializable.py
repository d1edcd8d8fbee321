"""SERIALIZABLE: the database gives an answer that some serial order explains, or an error to retry."""

from __future__ import annotations

from dataclasses import dataclass

from arbsim.designs.database import SELECT, DatabaseDesign, change, covers
from arbsim.model import Kind, Nanoseconds, Operation, Outcome, Rejected
from arbsim.worlds.api import Connection, Region


@dataclass(frozen=True)
class Serializable(DatabaseDesign):
    """The same statement under SERIALIZABLE.

    With ``select_first`` the application reads and thinks before it.
    """

    name = "db/serializable"
    isolated_tasks = True
    summary = (
        "The transaction runs under SERIALIZABLE; where the database answers 40001 or 40P01 the"
        " application tries again."
    )

    select_first: bool = False
    think_time: Nanoseconds = Nanoseconds(50_000_000)

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Run the transaction once."""
        async with (
            region.database.acquire() as connection,
            connection.transaction(isolation="serializable"),
        ):
            if self.select_first and op.kind in (Kind.WITHDRAW, Kind.TRANSFER):
                return await self.read_then_change(connection, op, region)
            return await change(connection, op)

    async def read_then_change(self, connection: Connection, op: Operation, region: Region) -> Outcome:
        """Read, think, write. What was read is protected until the end of the transaction."""
        balance = await connection.fetchval(SELECT, op.account)
        await region.sleep(self.think_time / 1e9)
        if not covers(balance, op):
            return Rejected()
        return await change(connection, op)
