"""SQL outside the subset is refused before anything runs, with its position and what is supported."""

import pytest

from arbsim.worlds.virtual.sql import check_statement
from tests.worlds.virtual.sql.support import ACCT, PLAIN, WITHDRAW, database, error

GOOD = [
    ACCT,
    WITHDRAW,
    "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT",
    "SELECT a.balance FROM acct AS a WHERE a.id = $1 FOR UPDATE",
    "INSERT INTO acct (id, balance) VALUES ($1, $2), (3, DEFAULT) ON CONFLICT (id) DO NOTHING RETURNING *",
    "SELECT count(DISTINCT balance) AS n FROM public.acct ORDER BY n",
    "DELETE FROM acct WHERE id IN ($1, $2)",
    "UPDATE acct SET balance = DEFAULT WHERE id = 1",
    "ALTER TABLE acct REPLICA IDENTITY FULL",
    "SAVEPOINT a; ROLLBACK TO SAVEPOINT a; RELEASE SAVEPOINT a",
    "CREATE TABLE new (id int PRIMARY KEY); INSERT INTO new VALUES (1); DROP TABLE new",
    "SELECT 1 -- a comment; with a semicolon\n",
]


@pytest.mark.parametrize("sql", GOOD)
def test_sql_inside_the_subset_has_no_problems(sql: str) -> None:
    assert check_statement(sql, [ACCT]) == []


BAD = [
    ("SELECT * FROM acct a JOIN acct b ON true", "more than one table"),
    ("SELECT * FROM acct, acct", "more than one table"),
    ("SELECT (SELECT 1)", "Subquery"),
    ("SELECT id FROM acct GROUP BY id", "GROUP BY"),
    ("SELECT DISTINCT id FROM acct", "DISTINCT"),
    ("WITH x AS (SELECT 1) SELECT * FROM acct", "not supported"),
    ("SELECT upper('a')", "upper"),
    ("SELECT random()", "function"),
    ("SELECT now() + interval '1 day'", "Interval"),
    ("SELECT sum(id) OVER () FROM acct", "Window"),
    ("SELECT 1 UNION SELECT 2", "Union"),
    ("UPDATE acct SET balance = 1 FROM acct", "FROM"),
    ("UPDATE acct SET (id, balance) = (1, 2)", "SET column"),
    ("UPDATE acct SET balance = 1 LIMIT 1", "LIMIT"),
    ("DELETE FROM acct USING acct", "USING"),
    ("INSERT INTO acct SELECT 1, 2", "VALUES"),
    ("INSERT INTO acct VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET balance = 1", "DO NOTHING"),
    ("MERGE INTO acct USING acct ON true WHEN MATCHED THEN DELETE", "not supported"),
    ("CREATE TABLE x (id int REFERENCES acct)", "not supported"),
    ("CREATE TABLE x (id double precision)", "type"),
    ("CREATE TEMP TABLE x (id int)", "not supported"),
    ("CREATE INDEX i ON acct (balance)", "not supported"),
    ("TRUNCATE acct", "not supported"),
    ("SET statement_timeout = 5", "SET"),
    ("COPY acct FROM stdin", "not supported"),
    ("SELECT $1, :name", "not supported"),
    ("SELECT FROM WHERE", "syntax error"),
    ("COMMIT PREPARED 'x'", "PREPARED"),
    ("SELECT 'open", "syntax error"),
    ("", "no statement"),
]


@pytest.mark.parametrize(("sql", "word"), BAD)
def test_sql_outside_the_subset_is_refused_when_loaded_and_when_executed(sql: str, word: str) -> None:
    problems = check_statement(sql, [ACCT])
    assert problems
    assert any(word in problem.message for problem in problems), problems
    assert all(0 <= problem.start <= problem.end <= len(sql) for problem in problems)
    if sql:
        assert error(database(ACCT).session().execute(sql)) in ("0A000", "42601")


def test_every_problem_of_a_text_is_reported_with_its_place() -> None:
    sql = "SELECT upper(balance), lower('x') FROM acct; UPDATE acct SET blance = 1 WHERE idd = 2; SELEKT 1"
    found = [(sql[problem.start : problem.end], problem.sqlstate) for problem in check_statement(sql, [ACCT])]
    assert [part.split("(")[0] for part, _ in found] == ["upper", "lower", "blance", "idd", "SELEKT 1"]
    assert [sqlstate for _, sqlstate in found] == ["0A000", "0A000", "42703", "42703", "0A000"]


def test_unknown_names_are_reported_with_the_known_ones() -> None:
    (table,) = check_statement("SELECT * FROM akct", [ACCT, PLAIN])
    assert table.message == 'table "akct" does not exist; known tables: acct, t'
    (column,) = check_statement("SELECT balanse FROM acct", [ACCT])
    assert 'column "balanse" does not exist' in column.message
    assert "id, balance, updated_at" in column.message
    assert (column.start, column.end) == (7, 14)


def test_types_are_checked_too() -> None:
    (problem,) = check_statement("SELECT id FROM acct WHERE balance = 'a' || id AND true", [ACCT])
    assert problem.sqlstate == "42883"


def test_an_expression_that_is_too_deep_is_refused() -> None:
    deep = " + ".join(["1"] * 20_000)
    for sql in (f"SELECT {deep}", f"CREATE TABLE x (id int CHECK (id > {deep}))"):
        assert check_statement(sql)
        assert error(database().session().execute(sql)) in ("54001", "42601")


def test_hostile_text_is_answered_not_raised() -> None:
    for sql in (
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "\x00\x1b[31m",
        "$" * 100,
        "SELECT '\\",
        ";;;",
        "/*",
    ):
        assert check_statement(sql, [ACCT])
