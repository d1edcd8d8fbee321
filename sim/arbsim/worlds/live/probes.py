"""What a server really does under each isolation level, asked before anything is judged by it.

Two of Hermitage's cases (Kleppmann, "Hermitage: Testing the I in ACID"), on a table of their own: P4, a lost update,
and PMP, many preceders of a predicate. A YugabyteDB without ``yb_enable_read_committed_isolation`` runs READ COMMITTED
as snapshot isolation and says nothing; here it shows.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncpg

from arbsim.worlds.api import Isolation
from arbsim.worlds.live.database import DatabaseServer

# ruff: noqa: S608 - the table's name is our own
LEVELS: tuple[Isolation, ...] = ("read_committed", "repeatable_read", "serializable")
_BLOCKED_S = 0.2


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen under one level that was asked for.

    ``lost_update``: two transactions read a row and both overwrote it. ``fresh_snapshots``: a second statement saw
    what had been committed since the first.
    """

    level: str
    lost_update: bool
    fresh_snapshots: bool

    @property
    def in_force(self) -> str:
        """The level by what it did: a snapshot per statement, or one for the whole transaction."""
        if self.fresh_snapshots:
            return "read committed: a snapshot per statement"
        return "a snapshot per transaction" + (
            ", but lost updates" if self.lost_update else ", no lost update"
        )


async def probe(server: DatabaseServer, schema: str) -> list[Observed]:
    """Try the levels, in a schema of the caller's. Raises ServerUnavailable."""
    one, other = await server.connect(), await server.connect()
    try:
        table = f"{schema}.probe"
        await one.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, value INT NOT NULL)")
        observed = []
        for level in LEVELS:
            await one.execute(f"DELETE FROM {table}")
            await one.execute(f"INSERT INTO {table} VALUES (1, 10), (2, 20)")
            lost = await _lost_update(one, other, table, level)
            fresh = await _fresh_snapshots(one, other, table, level)
            observed.append(Observed(level, lost, fresh))
        await one.execute(f"DROP TABLE {table}")
        return observed
    finally:
        await one.close()
        await other.close()


async def _lost_update(
    one: asyncpg.Connection, other: asyncpg.Connection, table: str, level: Isolation
) -> bool:
    """P4: both read 10; one writes 11 and commits, the other writes 12 and tries to."""
    read, write = f"SELECT value FROM {table} WHERE id = 1", f"UPDATE {table} SET value = $1 WHERE id = 1"
    first, second = one.transaction(isolation=level), other.transaction(isolation=level)
    await first.start()
    await second.start()
    await one.fetchval(read)
    await other.fetchval(read)
    await one.execute(write, 11)
    blocked = asyncio.ensure_future(other.execute(write, 12))
    await asyncio.wait([blocked], timeout=_BLOCKED_S)
    await first.commit()
    try:
        await blocked
        await second.commit()
    except asyncpg.TransactionRollbackError:
        await _undo(second)
        return False
    return True


async def _fresh_snapshots(
    one: asyncpg.Connection, other: asyncpg.Connection, table: str, level: Isolation
) -> bool:
    """PMP: a row that fits the predicate is committed between two looks."""
    transaction = one.transaction(isolation=level)
    await transaction.start()
    await one.fetch(f"SELECT id FROM {table} WHERE value = 30")
    await other.execute(f"INSERT INTO {table} VALUES (3, 30)")
    rows = await one.fetch(f"SELECT id FROM {table} WHERE value % 3 = 0")
    try:
        await transaction.commit()
    except asyncpg.TransactionRollbackError:
        await _undo(transaction)
    return any(row["id"] == 3 for row in rows)


async def _undo(transaction: object) -> None:
    """Roll back what the server has rolled back already, so that the driver knows as well."""
    rollback = getattr(transaction, "rollback")  # noqa: B009 - asyncpg ships no types
    try:
        await rollback()
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        return
