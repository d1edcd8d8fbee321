"""The values that the engine hands out: results, costs, commits and changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .storage import Version


@dataclass(slots=True)
class Work:
    """What a statement cost.

    `kind` is its cost class: "read", "lock" for a SELECT that locks, "write", "begin", "commit",
    "rollback". `fast_path` says that YugabyteDB would take its single-row path: autocommit, equality on the
    whole primary key, no CHECK, nothing read on the way. `server_retries` counts restarts inside
    the server. Writes of a restarted attempt are not listed.
    """

    kind: str = "read"
    reads: tuple[Version, ...] = ()
    writes: tuple[Version, ...] = ()
    waited: bool = False
    server_retries: int = 0
    fast_path: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A statement's answer. `tag` is PostgreSQL's command tag; `rowcount` the number of rows in it."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    rowcount: int
    tag: str
    work: Work


@dataclass(frozen=True, slots=True)
class Change:
    """One row change of a commit: `op` is "c", "u" or "d"; rows are dicts by column, None where absent."""

    table: str
    op: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    version: Version


@dataclass(frozen=True, slots=True)
class Commit:
    """A committed transaction that changed something: `sequence` counts 1, 2, ...; `lsn` only grows."""

    sequence: int
    lsn: int
    xid: int
    changes: tuple[Change, ...]
    trace: object | None
