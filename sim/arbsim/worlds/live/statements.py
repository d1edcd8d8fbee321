"""What a statement's text says of the balances that it reads and writes.

A live server tells which rows came back, not which versions they were. Which account a row is of, and whether a new
balance was computed from the row itself or written over it, stands in the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp

from arbsim.model import to_cents
from arbsim.worlds.api import Record

ACCOUNTS = "acct"


@dataclass(frozen=True, slots=True)
class Meaning:
    """``balance`` and ``account``: the output columns with a balance and its account, where it has them.

    ``argument`` is the place (from 0) of the argument that names the account, ``literal`` the number that does.
    ``overwrites``: it sets the balance to something that is not computed from the row's balance.
    """

    balance: str | None = None
    account: str | None = None
    argument: int | None = None
    literal: int | None = None
    overwrites: bool = False

    def balances(self, rows: Sequence[Record], arguments: Sequence[object]) -> list[tuple[int, int]]:
        """The balances that came back, as (account, cents)."""
        if self.balance is None:
            return []
        found = []
        for row in rows:
            account = self._account_of(row, arguments)
            balance = row.get(self.balance)
            if isinstance(account, int) and isinstance(balance, Decimal):
                found.append((account, to_cents(balance)))
        return found

    def _account_of(self, row: Record, arguments: Sequence[object]) -> Any:
        if self.account is not None:
            return row.get(self.account)
        if self.argument is not None and self.argument < len(arguments):
            return arguments[self.argument]
        return self.literal


@lru_cache(maxsize=1000)
def meaning_of(text: str) -> Meaning:
    """Return what a statement reads and writes of the accounts' table; nothing where it cannot be told."""
    try:
        tree = sqlglot.parse_one(text, dialect="postgres")
    except sqlglot.errors.SqlglotError:
        return Meaning()
    if isinstance(tree, exp.Select):
        return _of_select(tree)
    if isinstance(tree, exp.Update | exp.Insert):
        return Meaning(overwrites=_overwrites(tree))
    return Meaning()


def _of_select(tree: exp.Select) -> Meaning:
    source = tree.find(exp.From)
    table = source.this if source is not None else None
    if not isinstance(table, exp.Table) or table.name != ACCOUNTS or tree.args.get("joins"):
        return Meaning()
    columns = {"id": "id", "balance": "balance"} if tree.is_star else _outputs(tree)
    if "balance" not in columns:
        return Meaning()
    balance = columns["balance"]
    if "id" in columns:
        return Meaning(balance=balance, account=columns["id"])
    for equal in tree.find_all(exp.EQ):
        for one, other in ((equal.left, equal.right), (equal.right, equal.left)):
            if isinstance(one, exp.Column) and one.name == "id":
                if isinstance(other, exp.Parameter):
                    return Meaning(balance=balance, argument=int(other.name) - 1)
                if isinstance(other, exp.Literal) and not other.is_string:
                    return Meaning(balance=balance, literal=int(other.name))
    return Meaning()


def _outputs(tree: exp.Select) -> dict[str, str]:
    """The output name of each column that is passed on as it is."""
    outputs = {}
    for output in tree.expressions:
        column = output.unalias()
        if isinstance(column, exp.Column):
            outputs[column.name] = output.alias_or_name
    return outputs


def _overwrites(tree: exp.Expression) -> bool:
    """Whether a SET gives the balance a value that has nothing to do with the row's."""
    for assignment in tree.find_all(exp.EQ):
        target = assignment.left
        if assignment.find_ancestor(exp.Where) or not isinstance(target, exp.Column):
            continue
        if target.name == "balance":
            named = [column for column in assignment.right.find_all(exp.Column) if column.name == "balance"]
            return all(column.table.lower() == "excluded" for column in named)
    return False
