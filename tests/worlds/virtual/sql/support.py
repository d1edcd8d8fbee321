"""What the tests of the SQL engine share: a small database, and outcomes by their kind."""

from typing import Any, Literal

from arbsim.worlds.virtual.sql import Engine, Result, Session, SqlError, Waiting

ACCT = (
    "CREATE TABLE acct (id BIGINT PRIMARY KEY, balance NUMERIC(12,2) NOT NULL CHECK (balance >= 0), "
    "updated_at TIMESTAMPTZ NOT NULL DEFAULT now())"
)
PLAIN = "CREATE TABLE t (id int PRIMARY KEY, v int)"
WITHDRAW = "UPDATE acct SET balance = balance - $1 WHERE id = $2 AND balance >= $1 RETURNING balance"

Outcome = Result | SqlError | Waiting


def database(*setup: str, dialect: Literal["postgres", "yugabyte"] = "postgres", **options: Any) -> Engine:
    engine = Engine(dialect, **options)
    session = engine.session("setup")
    for sql in setup:
        ok(session.execute(sql))
    return engine


def ok(outcome: Outcome) -> Result:
    assert isinstance(outcome, Result), outcome
    return outcome


def rows(outcome: Outcome) -> list[tuple[Any, ...]]:
    return list(ok(outcome).rows)


def error(outcome: Outcome) -> str:
    assert isinstance(outcome, SqlError), outcome
    return outcome.sqlstate


class Blocked:
    """A statement that must be waiting; `outcome` is what it ends with."""

    def __init__(self, outcome: Outcome) -> None:
        assert isinstance(outcome, Waiting), outcome
        self.waiting = outcome
        self.outcomes: list[Result | SqlError] = []
        outcome.then(self.outcomes.append)
        assert not self.outcomes

    @property
    def outcome(self) -> Result | SqlError:
        (outcome,) = self.outcomes
        return outcome


def begin(session: Session, level: str = "READ COMMITTED") -> None:
    ok(session.execute(f"BEGIN ISOLATION LEVEL {level}"))
