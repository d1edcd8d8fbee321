"""The values that the engine hands out: results, costs, commits and changes.

They are made for every statement, and a frozen dataclass takes three times as long to make: nobody changes them.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    reads: Sequence[Version] = ()
    writes: Sequence[Version] = ()
    waited: bool = False
    server_retries: int = 0
    fast_path: bool = False


@dataclass(slots=True)
class Result:
    """A statement's answer. `tag` is PostgreSQL's command tag; `rowcount` the number of rows in it."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    rowcount: int
    tag: str
    work: Work


@dataclass(slots=True)
class Change:
    """One row change of a commit: `version` is what was written, `replaced` what stood there, or None."""

    version: Version
    replaced: Version | None

    @property
    def table(self) -> str:
        """The table's name."""
        return self.version.table

    @property
    def op(self) -> str:
        """What happened, in Debezium's letters: c (create), u (update), d (delete)."""
        if self.version.deleted:
            return "d"
        return "c" if self.replaced is None or self.replaced.deleted else "u"

    @property
    def before(self) -> dict[str, Any] | None:
        """The row before, by column; None where there was none."""
        return _row(self.replaced)

    @property
    def after(self) -> dict[str, Any] | None:
        """The row after, by column; None where it was deleted."""
        return _row(self.version)


def _row(version: Version | None) -> dict[str, Any] | None:
    return None if version is None or version.deleted else version.row


@dataclass(slots=True)
class Commit:
    """A committed transaction that changed something: `sequence` counts 1, 2, ...; `lsn` only grows."""

    sequence: int
    lsn: int
    xid: int
    changes: tuple[Change, ...]
    trace: object | None
