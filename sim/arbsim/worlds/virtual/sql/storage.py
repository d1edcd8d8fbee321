"""Rows as chains of versions, and the tables that hold them.

A `Row` is what PostgreSQL calls an update chain: a row that is deleted and inserted again is
another Row with the same key, so an old snapshot can still see the first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalog import Schema
    from .locks import Waiter
    from .ssi import Transactions
    from .transactions import Transaction

Key = tuple[Any, ...]
Values = tuple[Any, ...]


class Version:
    """One version of a row: what one statement of one transaction wrote.

    `base` is the version from which the values were computed (None: blind, or an insert).
    `commit_seq` is 0 until the transaction commits. Once another version has taken this one's place
    for every snapshot, its `base` is dropped, so that history does not pile up; `base_id` stays.
    """

    __slots__ = (
        "base",
        "base_id",
        "commit_seq",
        "deleted",
        "direct",
        "id",
        "key",
        "older",
        "readers",
        "schema",
        "strong",
        "survivors",
        "trace",
        "tx",
        "values",
    )

    def __init__(
        self,
        id: int,
        schema: Schema,
        key: Key,
        values: Values,
        deleted: bool,
        base: Version | None,
        trace: object | None,
        tx: Transaction | None,
        older: Version | None,
    ) -> None:
        self.id = id
        self.schema = schema
        self.key = key
        self.values = values
        self.deleted = deleted
        self.base = base
        self.base_id = base.id if base is not None else None
        self.trace = trace
        self.commit_seq = 0
        self.direct = True  # False where its transaction took more than one step from `older`
        self.strong = False  # written under a FOR UPDATE lock: it ends FOR KEY SHARE on `older`
        self.older = older
        self.tx: Transaction | None = tx
        self.readers: Transactions | None = None
        self.survivors: tuple[
            Transaction, ...
        ] = ()  # held the row's lock when another version took its place

    @property
    def table(self) -> str:
        """The table's name."""
        return self.schema.name

    @property
    def row(self) -> dict[str, Any]:
        """The values by column name (of a deleted row: its last values)."""
        return dict(zip(self.schema.names, self.values, strict=True))

    def __repr__(self) -> str:
        state = "deleted" if self.deleted else self.row
        return f"<Version {self.id} of {self.table}{self.key}: {state}>"


class Row:
    """An update chain: `current` is the newest committed version, `pending` one transaction's own."""

    __slots__ = ("current", "lockers", "pending", "queue")

    def __init__(self) -> None:
        self.current: Version | None = None
        self.pending: Version | None = None
        self.lockers: dict[Transaction, int] = {}
        self.queue: list[Waiter] | None = None

    def visible(self, tx: Transaction, snapshot: int) -> Version | None:
        """The version that `tx` sees with this snapshot, its own writes included."""
        pending = self.pending
        if pending is not None and pending.tx is tx:
            return None if pending.deleted else pending
        version = self.current
        while version is not None and version.commit_seq > snapshot:
            version = version.older
        return None if version is None or version.deleted else version


class Index:
    """A unique index: key to the rows of which some version has that key."""

    __slots__ = ("_sorted", "columns", "entries", "name", "primary", "readers")

    def __init__(self, name: str, columns: tuple[int, ...], primary: bool) -> None:
        self.name = name
        self.columns = columns
        self.primary = primary
        self.entries: dict[Key, list[Row]] = {}
        self.readers: Transactions = {}
        self._sorted: list[Key] | None = []

    def key_of(self, values: Values) -> Key | None:
        """The key of a row's values; None where a column is NULL (NULLs never conflict)."""
        key = tuple([values[column] for column in self.columns])
        return None if None in key else key

    def add(self, key: Key, row: Row) -> None:
        """Enter a row under a key (once)."""
        rows = self.entries.get(key)
        if rows is not None:
            if row not in rows:
                rows.append(row)
            return
        self.entries[key] = [row]
        if self._sorted is not None:
            if self._sorted and key < self._sorted[-1]:
                self._insert_sorted(key)
            else:
                self._sorted.append(key)

    def _insert_sorted(self, key: Key) -> None:
        if self._sorted is not None and len(self._sorted) < 1000:
            insort(self._sorted, key)
        else:
            self._sorted = None  # sorted again when a range is next asked for

    def remove(self, key: Key, row: Row) -> None:
        """Take a row out of a key."""
        rows = self.entries.get(key)
        if rows is None or row not in rows:
            return
        rows.remove(row)
        if not rows:
            del self.entries[key]
            if self._sorted is not None:
                if self._sorted[-1] == key:
                    self._sorted.pop()
                else:
                    self._sorted = None

    def range(self, low: Any, high: Any, low_open: bool, high_open: bool) -> list[Key]:
        """The keys whose first column lies in the range, in order; None means unbounded."""
        if self._sorted is None:
            self._sorted = sorted(self.entries)
        keys = self._sorted
        start = 0
        if low is not None:
            cut = bisect_right if low_open else bisect_left
            start = cut(keys, low, key=lambda key: key[0])
        stop = len(keys)
        if high is not None:
            cut = bisect_left if high_open else bisect_right
            stop = cut(keys, high, key=lambda key: key[0])
        return keys[start:stop]


class Table:
    """A table's rows and indexes."""

    __slots__ = ("indexes", "predicate_locks", "readers", "rows", "schema", "serial")

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.rows: dict[Row, None] = {}
        self.indexes = [Index(name, columns, primary) for name, columns, primary in schema.uniques]
        self.readers: Transactions = {}
        self.predicate_locks: list[Any] = []
        self.serial = 0

    def key_of(self, values: Values) -> Key:
        """The primary key; for a table without one a running number."""
        if self.schema.key:
            return tuple([values[column] for column in self.schema.key])
        self.serial += 1
        return (self.serial,)

    def enter(self, row: Row, values: Values) -> None:
        """Make the row findable by the keys of `values`."""
        for index in self.indexes:
            key = index.key_of(values)
            if key is not None:
                index.add(key, row)

    def leave(self, row: Row, version: Version) -> None:
        """Drop the index entries that only `version` of the row justified."""
        kept = [other.values for other in _versions(row) if other is not version]
        for index in self.indexes:
            key = index.key_of(version.values)
            if key is not None and all(index.key_of(values) != key for values in kept):
                index.remove(key, row)

    def discard(self, row: Row) -> None:
        """Forget a row of which no version is left that anybody can see."""
        self.rows.pop(row, None)


def _versions(row: Row) -> list[Version]:
    versions = []
    version = row.pending or row.current
    while version is not None:
        versions.append(version)
        version = version.older
    return versions


def prune(table: Table, row: Row, horizon: int) -> None:
    """Drop the versions that no snapshot at or after `horizon` can see."""
    version = row.current
    while version is not None and version.commit_seq > horizon:
        version = version.older
    if version is None:
        return
    _drop_older(table, row, version)
    if version is row.current and version.deleted and row.pending is None:
        table.leave(row, version)
        row.current = None
        for index in table.indexes:
            key = index.key_of(version.values)
            if key is not None:
                index.remove(key, row)
        table.discard(row)


def _drop_older(table: Table, row: Row, version: Version) -> None:
    old = version.older
    version.older = None
    while old is not None:
        if table.schema.indexed_values(old.values) != table.schema.indexed_values(version.values):
            table.leave(row, old)
        old.base = None
        old.older, old = None, old.older
