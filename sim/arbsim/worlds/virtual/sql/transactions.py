"""Transactions: what one has written and locked, how that is undone, what it sees."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .storage import Row, Table, Version

if TYPE_CHECKING:
    from .engine import Engine
    from .locks import Waiter
    from .session import Session
    from .ssi import Serializable

READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE = "read committed", "repeatable read", "serializable"


def levels_of(yugabyte: bool, read_committed: bool) -> dict[str, tuple[str, bool, bool]]:
    """What each level that can be asked for gives: a level, whether it keeps a snapshot, whether reads take locks.

    YugabyteDB without its flag gives Snapshot for READ COMMITTED; its SERIALIZABLE keeps no
    snapshot but reads the newest version under shared locks.
    """
    lowest = READ_COMMITTED if read_committed or not yugabyte else REPEATABLE_READ
    effective = {
        "read uncommitted": lowest,
        READ_COMMITTED: lowest,
        REPEATABLE_READ: REPEATABLE_READ,
        SERIALIZABLE: SERIALIZABLE,
    }
    return {
        level: (
            gets,
            gets == REPEATABLE_READ or (gets == SERIALIZABLE and not yugabyte),
            gets == SERIALIZABLE and yugabyte,
        )
        for level, gets in effective.items()
    }


class Transaction:
    """One transaction.

    `level` is what was asked for and what SHOW answers; `effective` is what it gets, and `levels_of` has the rest.
    `xid` is the place among transactions by their first lock or write, 0 before. `undo` is the one log of what it
    did: (row, version written, table) or (row, None, lock strength before).
    """

    __slots__ = (
        "effective",
        "ended",
        "engine",
        "explicit",
        "failed",
        "keeps_snapshot",
        "level",
        "locks_reads",
        "now",
        "number",
        "predicates",
        "read_only",
        "savepoints",
        "session",
        "snapshot",
        "ssi",
        "start",
        "statements",
        "undo",
        "waiters",
        "xid",
    )

    def __init__(self, engine: Engine, session: Session, number: int, level: str, explicit: bool) -> None:
        self.engine = engine
        self.session = session
        self.number = number
        self.start = number
        self.explicit = explicit
        self.failed = False
        self.ended = False
        self.read_only = False
        self.snapshot: int | None = None
        self.ssi: Serializable | None = None
        self.undo: list[tuple[Row, Version | None, Any]] = []
        self.savepoints: list[tuple[str, int]] = []
        self.predicates: list[Table] = []
        self.waiters: list[Waiter] = []
        self.statements = 0
        self.xid = 0
        self.now: datetime | None = None
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Set the isolation level."""
        self.level = level
        self.effective, self.keeps_snapshot, self.locks_reads = self.engine.levels[level]

    def write(self, table: Table, row: Row, version: Version) -> None:
        """Put a version on top of the row; its lock is held already."""
        row.pending = version
        self.undo.append((row, version, table))

    def undo_to(self, mark: int) -> None:
        """Take back everything done since `mark`, locks included."""
        undo = self.undo
        while len(undo) > mark:
            row, version, extra = undo.pop()
            if version is None:
                if extra:
                    row.lockers[self] = extra
                else:
                    del row.lockers[self]
                self.engine.touched(row)
            else:
                self._unwrite(row, version, extra)
        if self.waiters:
            self.engine.retry(self.waiters)

    def _unwrite(self, row: Row, version: Version, table: Table) -> None:
        older = version.older
        table.leave(row, version)
        row.pending = older if older is not None and older is not row.current else None
        version.older = None
        if row.pending is None and row.current is None:
            table.discard(row)
