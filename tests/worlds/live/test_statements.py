"""What a statement's text says of the balances that it reads and writes."""

from decimal import Decimal
from typing import Any

import pytest

from arbsim.designs import database, shared_table_atomic
from arbsim.worlds.live.statements import Meaning, meaning_of


def read(text: str, rows: Any, *arguments: object) -> list[tuple[int, int]]:
    return meaning_of(text).balances(rows, arguments)


@pytest.mark.parametrize("text", [database.SELECT, database.SELECT_FOR_UPDATE])
def test_a_select_by_id_reads_the_balance_of_the_account_in_its_argument(text: str) -> None:
    assert read(text, [{"balance": Decimal("12.34")}], 7) == [(7, 1234)]


def test_a_select_with_the_id_among_its_columns_reads_each_row_s_account() -> None:
    rows = [{"id": 1, "money": Decimal("1.00")}, {"id": 2, "money": Decimal("2.00")}]
    assert read("SELECT a.id, a.balance AS money FROM acct a ORDER BY a.id", rows) == [(1, 100), (2, 200)]


def test_a_select_of_everything_has_both_columns() -> None:
    assert read("SELECT * FROM acct WHERE id = 5", [{"id": 5, "balance": Decimal("0.50")}]) == [(5, 50)]


@pytest.mark.parametrize("text", [database.WITHDRAW, database.DEPOSIT, database.DECREMENT])
def test_a_balance_computed_from_the_row_is_not_written_over_it(text: str) -> None:
    assert not meaning_of(text).overwrites


@pytest.mark.parametrize(
    "text",
    [
        database.OVERWRITE,
        "UPDATE acct SET balance = $1 WHERE id = $2 AND balance = $3",
        "INSERT INTO acct VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET balance = EXCLUDED.balance",
    ],
)
def test_a_balance_that_comes_from_elsewhere_overwrites(text: str) -> None:
    assert meaning_of(text).overwrites


@pytest.mark.parametrize(
    "text",
    [
        shared_table_atomic.CLAIM,
        shared_table_atomic.RECALL,
        "COMMIT;",
        "BEGIN ISOLATION LEVEL READ COMMITTED;",
        "SELECT balance FROM other WHERE id = $1",
        "SELECT sum(balance) AS balance FROM acct",
        "no SQL at all (",
    ],
)
def test_other_statements_say_nothing_of_a_balance(text: str) -> None:
    assert meaning_of(text) == Meaning()
