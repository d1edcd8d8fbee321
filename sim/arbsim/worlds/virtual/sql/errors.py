"""Errors of the virtual database. Callers get them as values; inside, they travel as one exception."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SqlError:
    """What a server reports when a statement fails: PostgreSQL's SQLSTATE, its text and its fields.

    `position` is the (start, end) character range in the statement's text, where one is known;
    `server_retries` counts how often the server restarted the statement before it gave up.
    """

    sqlstate: str
    message: str
    constraint: str = ""
    table: str = ""
    detail: str = ""
    position: tuple[int, int] | None = None
    server_retries: int = 0


class Failure(Exception):
    """Ends the current statement with an error."""

    def __init__(self, error: SqlError) -> None:
        super().__init__(error.message)
        self.error = error


class Restart(Exception):
    """Asks the server to run the current statement again on a new snapshot (YugabyteDB only).

    `failure` is what the client sees where no restart is allowed or none is left.
    """

    def __init__(self, failure: SqlError) -> None:
        super().__init__(failure.message)
        self.failure = failure


def failure(
    sqlstate: str,
    message: str,
    *,
    constraint: str = "",
    table: str = "",
    detail: str = "",
    position: tuple[int, int] | None = None,
) -> Failure:
    """The exception for one error, ready to raise."""
    return Failure(SqlError(sqlstate, message, constraint, table, detail, position))


def not_supported(message: str, position: tuple[int, int] | None = None) -> Failure:
    """The refusal of something outside the SQL subset (0A000)."""
    return failure("0A000", message, position=position)


def concurrent_update(kind: str = "update") -> SqlError:
    """PostgreSQL's 40001 when a row changed after the transaction's snapshot."""
    return SqlError("40001", f"could not serialize access due to concurrent {kind}")


def read_write_dependencies(reason: str) -> Failure:
    """PostgreSQL's 40001 from serializable snapshot isolation, with its reason as detail."""
    return failure(
        "40001",
        "could not serialize access due to read/write dependencies among transactions",
        detail=f"Reason code: Canceled on {reason}.",
    )


DEADLOCK = SqlError("40P01", "deadlock detected")
IN_FAILED_TRANSACTION = SqlError(
    "25P02", "current transaction is aborted, commands ignored until end of transaction block"
)
