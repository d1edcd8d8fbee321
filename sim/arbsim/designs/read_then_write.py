"""SELECT, think, UPDATE: two traps, and the row lock that cures both."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from arbsim.designs.database import (
    DECREMENT,
    DEPOSIT,
    OVERWRITE,
    SELECT,
    SELECT_FOR_UPDATE,
    DatabaseDesign,
    covers,
    deposit_or_read,
)
from arbsim.model import Accepted, FindingKind, Nanoseconds, Operation, Outcome, Rejected
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


@dataclass(frozen=True)
class SelectThenUpdate(ReadThenWrite):
    """The absolute form: the balance computed in the application overwrites whatever came between."""

    name = "db/select-then-update"
    summary = (
        "SELECT, think, then UPDATE ... SET balance = the new value: a concurrent change is overwritten"
        " in silence."
    )
    claims: ClassVar[tuple[FindingKind, ...]] = ()
    cure: ClassVar[str | None] = "db/select-for-update"

    async def write(self, connection: Connection, op: Operation, balance: Decimal) -> None:
        """Overwrite the balance."""
        await connection.execute(OVERWRITE, balance - op.amount, op.account)


@dataclass(frozen=True)
class SelectThenDecrement(ReadThenWrite):
    """The relative form: nothing is lost, but the check was made on an old balance. Only a CHECK stops it."""

    name = "db/select-then-decrement"
    summary = (
        "SELECT, think, then UPDATE ... SET balance = balance - amount: the check is stale; a CHECK"
        " constraint stops the overdraft with 23514, and without one it happens."
    )
    claims = tuple(
        kind
        for kind in DatabaseDesign.claims
        if kind not in (FindingKind.OVERDRAFT, FindingKind.OVERDRAFT_OWN_ORDER)
    )
    cure = "db/atomic-update"

    async def write(self, connection: Connection, op: Operation, balance: Decimal) -> None:
        """Take the amount from whatever the balance is now."""
        await connection.execute(DECREMENT, op.amount, op.account)


@dataclass(frozen=True)
class SelectForUpdate(SelectThenUpdate):
    """The cure: the SELECT locks the row, so nobody comes between. Two accounts are locked in order of id."""

    name = "db/select-for-update"
    summary = (
        "SELECT ... FOR UPDATE locks the row before the application thinks; then even the absolute"
        " UPDATE is safe."
    )
    claims = DatabaseDesign.claims
    cure = None

    async def read(self, connection: Connection, op: Operation) -> Decimal:
        """Lock what will be written, and return the balance that the decision is made on."""
        accounts = sorted({op.account, op.to_account or op.account})
        locked = {account: await connection.fetchval(SELECT_FOR_UPDATE, account) for account in accounts}
        balance: Decimal = locked[op.account]
        return balance
