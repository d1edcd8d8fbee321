"""Where YugabyteDB differs: statement restarts inside the server, and serializable read locks.

Rules from YugabyteDB's documentation (architecture/transactions/read-committed, concurrency-control,
isolation-levels) and its sources (yb_is_retry_possible in postgres.c). READ COMMITTED repeats the
whole statement on one new snapshot; above it a conflict or deadlock in a transaction's first
statement restarts inside the server, in a later one the client gets 40001 or 40P01. SERIALIZABLE
reads take shared locks, held to the end, on what they looked at, rows that do not exist included.
Not modelled: locks per column, wounds by priority (`enable_wait_queues=false`), read restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .access import Access
from .errors import Failure, Restart, SqlError
from .expressions import Env
from .locks import NO_KEY_UPDATE, Waiter
from .transactions import READ_COMMITTED

if TYPE_CHECKING:
    from .storage import Key, Table
    from .transactions import Transaction


Find = Callable[[], "Iterator[Transaction]"]
"""Finds the transactions that stand in the way, now."""


@dataclass(slots=True)
class PredicateLock:
    """A serializable read's shared lock: on keys, on a range of the first key column, or on all."""

    tx: Transaction
    keys: frozenset[Key] | None
    low: Any = None
    high: Any = None

    def covers(self, key: Key) -> bool:
        """Whether a row of this key lies under the lock (bounds count as covered)."""
        if self.keys is not None:
            return key in self.keys
        return (self.low is None or key[0] >= self.low) and (self.high is None or key[0] <= self.high)


class PredicateWait(Waiter):
    """A serializable read waits for writers in its range, or a writer for serializable readers."""

    __slots__ = ("find", "watched")

    def __init__(self, tx: Transaction, find: Find) -> None:
        super().__init__(tx)
        self.find = find
        self.watched: Transaction | None = None

    def blockers(self) -> Iterator[Transaction]:
        """Whoever `find` finds now, one by one: a hot row has many, and one is enough to wait for."""
        return self.find()

    def ready(self) -> bool:
        """Whether nobody stands in the way; else the first who does will say when it lets go."""
        self.leave()
        self.watched = self.first_blocker()
        if self.watched is not None:
            self.watched.waiters.append(self)
        return self.watched is None

    def leave(self) -> None:
        """Stop waiting."""
        if self.watched is not None and self in self.watched.waiters:
            self.watched.waiters.remove(self)


def conflict(tx: Transaction, error: SqlError) -> None:
    """A committed change stands in the way: always ends the statement, by restart or error."""
    if may_restart(tx):
        raise Restart(error)
    raise Failure(error)


def may_restart(tx: Transaction) -> bool:
    """Whether the server may run the current statement again by itself after a conflict."""
    return tx.effective == READ_COMMITTED or tx.statements == 0


def lock_predicate(tx: Transaction, table: Table, access: Access, env: Env) -> Iterator[Waiter]:
    """Take the shared lock of a serializable read; waits for writers in the range."""
    lock = PredicateLock(tx, None)
    if access.index == 0 and access.keys is not None:
        lock.keys = frozenset(access.lookup_keys(env))
    elif access.index == 0:
        lock.low = access.low[0](None, env) if access.low else None
        lock.high = access.high[0](None, env) if access.high else None

    keys = sorted(lock.keys) if lock.keys is not None and table.indexes else None

    def writers() -> Iterator[Transaction]:
        # Asked again whenever anything moves on a hot row: rows that nobody has locked are passed over first.
        entries = table.indexes[0].entries if keys is not None else {}
        for row in table.rows if keys is None else (row for key in keys for row in entries.get(key, ())):
            if row.lockers:
                version = row.pending or row.current
                if version is not None and lock.covers(version.key):
                    for other, held in row.lockers.items():
                        if other is not tx and held >= NO_KEY_UPDATE:
                            yield other

    yield from _wait(tx, writers)
    table.predicate_locks.append(lock)
    tx.predicates.append(table)


def await_readers(tx: Transaction, table: Table, key: Key, strength: int) -> Iterator[Waiter]:
    """A write or exclusive lock waits for serializable readers of the key."""
    if strength < NO_KEY_UPDATE or not table.predicate_locks:
        return

    def readers() -> Iterator[Transaction]:
        for lock in table.predicate_locks:
            keys = lock.keys
            if lock.tx is not tx and (lock.covers(key) if keys is None else key in keys):
                yield lock.tx

    yield from _wait(tx, readers)


def _wait(tx: Transaction, find: Find) -> Iterator[Waiter]:
    if next(find(), None) is None:
        return
    wait = PredicateWait(tx, find)
    try:
        while not wait.ready():
            yield wait
    finally:
        wait.leave()


def release(tx: Transaction) -> None:
    """The transaction's serializable read locks end with it."""
    for table in tx.predicates:
        table.predicate_locks = [lock for lock in table.predicate_locks if lock.tx is not tx]
    tx.predicates.clear()
