"""A team's own transaction: SQL from the scenario file, judged like every other design."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from asyncpg.exceptions import PostgresError

from arbsim.model import (
    VIOLATIONS,
    Accepted,
    Agreement,
    Failed,
    FindingKind,
    Operation,
    Outcome,
    Rejected,
)
from arbsim.transaction import ROWCOUNT, Condition, SqlTransaction, Statement, Think
from arbsim.worlds.api import Connection, Design, Region, Resources

_GIVES_ROWS = re.compile(r"^\s*select\b|\breturning\b", re.IGNORECASE)


@dataclass(frozen=True)
class OwnSql(Design):
    """Runs the steps that the scenario gives for each kind of operation, in one transaction."""

    name = "sql"
    isolated_tasks = True
    family = "db"
    agreement: ClassVar[Agreement] = "synchronous"
    summary = "A transaction of the scenario's own, as SQL."
    claims: ClassVar[tuple[FindingKind, ...]] = VIOLATIONS
    fresh_reads = True
    own_order = "commit"

    transaction: SqlTransaction

    def resources(self) -> Resources:
        """The accounts table."""
        return Resources(accounts_table=True, tables=self.transaction.tables)

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Run the transaction; try again, refuse or fail by SQLSTATE, as the scenario says."""
        transaction = self.transaction
        attempt = 1
        while True:
            try:
                return await self.attempt(op, region)
            except PostgresError as error:
                code = error.sqlstate
            if code in transaction.rejected_on:
                return Rejected(code)
            if code not in transaction.retry_on or attempt == transaction.attempts:
                return Failed(code if attempt == 1 else f"{attempt} attempts ended in {code}")
            region.retried()
            await region.sleep(transaction.backoff * 2 ** (attempt - 1) / 1e9)
            attempt += 1

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Run the steps once; a condition that rejects rolls the transaction back."""
        try:
            async with (
                region.database.acquire() as connection,
                connection.transaction(isolation=self.transaction.isolation),
            ):
                return await Run(op, region, connection).steps(self.transaction.steps[op.kind])
        except _Refused as refusal:
            return Rejected(refusal.args[0])


class _Refused(Exception):
    """A condition rejects the operation: the transaction is rolled back."""


class Run:
    """One run of the steps: the operation's values, and the last statement's first row."""

    def __init__(self, op: Operation, region: Region, connection: Connection) -> None:
        self._region = region
        self._connection = connection
        self._row: Mapping[str, Any] = {}
        self._rowcount = 0
        self._values: dict[str, Any] = {
            ":amount": op.amount,
            ":account": op.account,
            ":to_account": op.to_account,
            ":region": op.region,
            ":op_id": op.id,
        }

    async def steps(self, steps: Sequence[Statement | Condition | Think]) -> Outcome:
        """Run step after step until a condition ends it; accepted where none does."""
        for step in steps:
            if isinstance(step, Think):
                await self._region.sleep(step.pause / 1e9)
            elif isinstance(step, Statement):
                await self._execute(step)
            elif (self._holds(step)) is step.when:
                if step.outcome == "reject":
                    raise _Refused(step.text)
                return self._accepted()
        return self._accepted()

    async def _execute(self, step: Statement) -> None:
        bound = step.bound()
        values = [self._values[name] for name in bound.names]
        if _GIVES_ROWS.search(bound.sql):
            rows = await self._connection.fetch(bound.sql, *values)
            self._row = rows[0] if rows else {}
            self._rowcount = len(rows)
        else:
            tag = await self._connection.execute(bound.sql, *values)
            self._row, self._rowcount = {}, int(tag.rpartition(" ")[2])

    def _holds(self, step: Condition) -> bool:
        """Whether the expression is true; where no row came back its columns are NULL, and NULL is not true."""
        bound = step.bound()
        values = [self._value(name) for name in bound.names]
        return self._region.evaluate(bound.sql, values) is True

    def _value(self, name: str) -> Any:
        if name == ROWCOUNT:
            return self._rowcount
        return self._values[name] if name in self._values else self._row.get(name)

    def _accepted(self) -> Accepted:
        balance = self._row.get("balance")
        return Accepted(balance if isinstance(balance, Decimal) else None)
