"""Expressions, types and constraints behave as PostgreSQL's."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.worlds.virtual.sql import Engine, Result, SqlError
from tests.worlds.virtual.sql.support import ACCT, PLAIN, database, error, ok, rows

money = st.decimals(min_value=-(10**9), max_value=10**9, places=2)


def value(expression: str, *args: object) -> Any:
    return rows(Engine().session().execute(f"SELECT {expression}", args))[0][0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("7.0 / 2", Decimal("3.5000000000000000")),
        ("1 / 3.0", Decimal("0.33333333333333333333")),
        ("100.00 / 3", Decimal("33.3333333333333333")),
        ("0.10 + 0.2", Decimal("0.30")),
        ("1.50 * 2.0", Decimal("3.000")),
        ("round(2.5)", Decimal("3")),
        ("round(-2.555, 2)", Decimal("-2.56")),
        ("2.5::int", 3),
        ("-2.5::int", -3),
        ("'12.345'::numeric(6,2)", Decimal("12.35")),
        ("NULL = NULL", None),
        ("NULL IS NULL", True),
        ("false AND NULL", False),
        ("true OR NULL", True),
        ("true AND NULL", None),
        ("NOT NULL::boolean", None),
        ("1 IN (2, NULL)", None),
        ("1 IN (1, NULL)", True),
        ("1 NOT IN (2, 3)", True),
        ("2 BETWEEN 1 AND 3", True),
        ("1 IS DISTINCT FROM NULL", True),
        ("coalesce(NULL, 5)", 5),
        ("nullif(3, 3)", None),
        ("greatest(1, NULL, 3)", 3),
        ("least(2, 1.5)", Decimal("1.5")),
        ("abs(-3)", 3),
        ("CASE WHEN 1 > 2 THEN 'a' WHEN NULL THEN 'b' ELSE 'c' END", "c"),
        ("CASE 2 WHEN 1 THEN 'x' WHEN 2 THEN 'y' END", "y"),
        ("'a' || 1", "a1"),
        ("'abc' LIKE 'a%'", True),
        ("'a.c' LIKE 'a_d'", False),
        ("'50%' LIKE '50\\%'", True),
        ("true IS NOT FALSE", True),
        ("'t'::boolean", True),
        ("1e3", Decimal("1000")),
    ],
)
def test_expression_has_postgresqls_value(expression: str, expected: object) -> None:
    found = value(expression)
    assert found == expected
    assert str(found) == str(expected)


@pytest.mark.parametrize(
    ("expression", "sqlstate"),
    [
        ("1 / 0", "22012"),
        ("1.0 % 0", "22012"),
        ("2147483647 + 1", "22003"),
        ("9223372036854775807 * 2", "22003"),
        ("12345.67::numeric(6,2)", "22003"),
        ("'x'::int", "22P02"),
        ("'soon'::timestamptz", "22007"),
        ("1 + 'x'", "22P02"),
        ("1 = 'a' || 'b'", "42883"),
        ("nothing", "42703"),
        ("CASE WHEN 1 THEN 2 END", "42804"),
        ("sum(1) + sum(sum(1))", "42803"),
        ("$1 + $2", "42725"),
    ],
)
def test_expression_fails_with_postgresqls_sqlstate(expression: str, sqlstate: str) -> None:
    assert error(Engine().session().execute(f"SELECT {expression}")) == sqlstate


@given(a=money, b=money)
def test_numeric_arithmetic_is_exact(a: Decimal, b: Decimal) -> None:
    session = Engine().session()
    found = rows(session.execute("SELECT $1::numeric + $2::numeric, $1 - $2, $1 * $2, $1 < $2", (a, b)))
    assert found == [(a + b, a - b, a * b, a < b)]


@given(a=money, b=money.filter(bool))
def test_numeric_division_rounds_half_away_from_zero_at_sixteen_digits_or_more(
    a: Decimal, b: Decimal
) -> None:
    found: Decimal = value("$1::numeric / $2::numeric", a, b)
    scale = -int(found.as_tuple().exponent)
    assert scale >= 2
    exact = (a / b) if a else Decimal(0)
    assert abs(found - exact) <= Decimal(10) ** -min(scale, 15)
    if a:
        assert len(str(abs(found)).replace(".", "").lstrip("0")) >= 16


@given(amount=st.decimals(min_value=-(10**6), max_value=10**6, places=5))
def test_a_numeric_column_rounds_to_its_scale_half_away_from_zero(amount: Decimal) -> None:
    engine = database("CREATE TABLE n (id int PRIMARY KEY, x numeric(12,2))")
    found = rows(engine.session().execute("INSERT INTO n VALUES (1, $1) RETURNING x", (amount,)))
    expected = abs(amount).quantize(Decimal("0.01"), ROUND_HALF_UP).copy_sign(amount)
    assert found == [(expected,)]
    assert found[0][0].as_tuple().exponent == -2


def test_a_numeric_column_refuses_what_does_not_fit() -> None:
    outcome = database(ACCT).session().execute("INSERT INTO acct VALUES (1, 9999999999.995)")
    assert isinstance(outcome, SqlError)
    assert outcome.sqlstate == "22003"
    assert "precision 12, scale 2" in outcome.detail


def test_arguments_are_taken_as_asyncpg_takes_them() -> None:
    session = database(ACCT, "INSERT INTO acct VALUES (1, 5)").session()
    text = "SELECT balance FROM acct WHERE id = $1 AND balance >= $2"
    assert rows(session.execute(text, (1, 5))) == [(Decimal("5.00"),)]
    assert rows(session.execute(text, (1, "4.99"))) == [(Decimal("5.00"),)]
    assert rows(session.execute(text, (None, 5))) == []
    for bad in (("1", 5), (1.0, 5), (2**63, 5), (1, "five"), (1, Decimal("NaN"))):
        assert error(session.execute(text, bad)) == "22000"
    for wrong in ((), (1,), (1, 5, 6)):
        assert error(session.execute(text, wrong)) == "08P01"


def test_results_have_the_columns_types_and_names_of_postgresql() -> None:
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    session = database(ACCT, now=lambda: now).session()
    ok(session.execute("INSERT INTO acct (id, balance) VALUES (1, 100), (2, 50)"))
    result = ok(
        session.execute("SELECT id, balance, updated_at, 1 AS one, now(), -id FROM acct WHERE id = 1")
    )
    assert result.columns == ("id", "balance", "updated_at", "one", "now", "?column?")
    assert result.rows == [(1, Decimal("100.00"), now, 1, now, -1)]
    assert str(result.rows[0][1]) == "100.00"
    sums = ok(
        session.execute("SELECT sum(balance), count(*), min(id), max(id), avg(id), sum(id) AS s FROM acct")
    )
    assert sums.columns == ("sum", "count", "min", "max", "avg", "s")
    assert sums.rows == [(Decimal("150.00"), 2, 1, 2, Decimal("1.5000000000000000"), Decimal(3))]


def test_aggregates_over_no_rows_are_null_and_zero() -> None:
    session = database(PLAIN).session()
    assert rows(session.execute("SELECT sum(v), count(v), coalesce(max(v), 0) FROM t")) == [(None, 0, 0)]


def test_order_by_takes_positions_aliases_and_nulls() -> None:
    session = database(PLAIN, "INSERT INTO t VALUES (1, 3), (2, NULL), (3, 1), (4, 3)").session()
    assert rows(session.execute("SELECT id FROM t ORDER BY v DESC, id DESC")) == [(2,), (4,), (1,), (3,)]
    assert rows(session.execute("SELECT id, -v AS w FROM t ORDER BY w NULLS FIRST, 1 LIMIT 2 OFFSET 1")) == [
        (1, -3),
        (4, -3),
    ]
    assert error(session.execute("SELECT id FROM t ORDER BY 2")) == "42P10"
    assert error(session.execute("SELECT id FROM t LIMIT -1")) == "2201W"


def test_constraints_have_the_names_postgresql_derives() -> None:
    session = database(
        "CREATE TABLE c (a int CHECK (a > 0), b int UNIQUE, d int, e int NOT NULL DEFAULT 7, "
        "CHECK (d > 0), CHECK (a < d), CONSTRAINT big CHECK (b < 100), UNIQUE (a, d), PRIMARY KEY (a))"
    ).session()
    wrong = {
        "INSERT INTO c VALUES (-1, 1, 5)": ("23514", "c_a_check"),
        "INSERT INTO c VALUES (1, 1, -5)": ("23514", "c_check"),
        "INSERT INTO c VALUES (1, 100, 5)": ("23514", "big"),
        "INSERT INTO c VALUES (1, 1, 5, NULL)": ("23502", ""),
        "INSERT INTO c VALUES (NULL, 1, 5)": ("23502", ""),
    }
    ok(session.execute("INSERT INTO c VALUES (9, 9, 90)"))
    wrong["INSERT INTO c VALUES (9, 1, 95)"] = ("23505", "c_pkey")
    wrong["INSERT INTO c VALUES (8, 9, 95)"] = ("23505", "c_b_key")
    for sql, expected in wrong.items():
        outcome = session.execute(sql)
        assert isinstance(outcome, SqlError), sql
        assert (outcome.sqlstate, outcome.constraint) == expected
        assert outcome.table == "c"
    assert rows(session.execute("SELECT e FROM c")) == [(7,)]


def test_a_check_that_is_null_passes_and_many_nulls_are_unique() -> None:
    session = database("CREATE TABLE c (a int PRIMARY KEY, b int UNIQUE CHECK (b > 0))").session()
    assert ok(session.execute("INSERT INTO c VALUES (1, NULL), (2, NULL)")).tag == "INSERT 0 2"


def test_ddl_knows_what_exists() -> None:
    session = database(PLAIN).session()
    assert error(session.execute(PLAIN)) == "42P07"
    assert ok(session.execute("ALTER TABLE t REPLICA IDENTITY FULL")).tag == "ALTER TABLE"
    assert ok(session.execute("DROP TABLE t")).tag == "DROP TABLE"
    assert error(session.execute("SELECT * FROM t")) == "42P01"
    assert error(session.execute("DROP TABLE t")) == "42P01"
    assert ok(session.execute("DROP TABLE IF EXISTS t")).tag == "DROP TABLE"


def test_a_text_of_several_statements_is_one_transaction_and_takes_no_arguments() -> None:
    engine = database(PLAIN)
    session = engine.session()
    assert error(session.execute("INSERT INTO t VALUES (1, 1); SELECT 1/0")) == "22012"
    assert engine.table("t") == []
    result = session.execute(
        "INSERT INTO t VALUES (1, 1); INSERT INTO t VALUES (2, 2); SELECT count(*) FROM t"
    )
    assert isinstance(result, Result)
    assert result.rows == [(2,)]
    assert error(session.execute("SELECT 1; SELECT $1", (1,))) == "42601"
    assert ok(session.execute("")).tag == ""


def test_a_lookup_by_key_or_unique_column_and_a_range_find_what_a_full_scan_finds() -> None:
    session = database("CREATE TABLE k (a int, b int, c text UNIQUE, PRIMARY KEY (a, b))").session()
    for a in range(6):
        for b in range(3):
            ok(session.execute("INSERT INTO k VALUES ($1, $2, $3)", (a, b, f"{a}/{b}")))
    expected = {
        "a = 2 AND b = 1": [(2, 1)],
        "b = 1 AND a IN (4, 2, 4)": [(2, 1), (4, 1)],
        "c = '3/2'": [(3, 2)],
        "a = 5": [(5, 0), (5, 1), (5, 2)],
        "a > 3 AND a <= 4 AND b <> 1": [(4, 0), (4, 2)],
        "5 <= a AND b BETWEEN 1 AND 9": [(5, 1), (5, 2)],
        "(a = 1 OR a = 0) AND b = 0": [(0, 0), (1, 0)],
        "a = NULL": [],
        "a + 0 = 2 AND b = 0": [(2, 0)],
    }
    for where, found in expected.items():
        assert rows(session.execute(f"SELECT a, b FROM k WHERE {where} ORDER BY a, b")) == found, where
