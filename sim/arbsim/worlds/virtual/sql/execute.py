"""Statements at work: generators that run a plan for a transaction and yield while they must wait."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import cmp_to_key, partial
from itertools import islice
from typing import Any

from . import yugabyte
from .access import scan
from .errors import SqlError, concurrent_update, failure
from .expressions import Env, Fn
from .locks import (
    BLOCK,
    CHANGED,
    GRANTED,
    LOCK_NAMES,
    NO_KEY_UPDATE,
    SKIPPED,
    UPDATE,
    TransactionWait,
    Trip,
    Waiter,
    acquire,
    grant,
)
from .plans import DeletePlan, InsertPlan, Plan, SelectPlan, UpdatePlan
from .storage import Index, Row, Table, Values, Version
from .transactions import SERIALIZABLE, Transaction

Running = Generator[Waiter, None, Any]


class Statement(Env):
    """One run of one plan: its transaction, what it read and wrote, and what its expressions may use."""

    __slots__ = ("plan", "reads", "table", "tx", "writes")

    def __init__(self, plan: Plan, table: Table | None, tx: Transaction, args: tuple[Any, ...]) -> None:
        self.args = args
        self.now = tx.now  # type: ignore[assignment]
        self.plan = plan
        self.table: Table = table  # type: ignore[assignment]
        self.tx = tx
        self.reads: list[Version] = []
        self.writes: list[Version] = []

    def directly(self) -> tuple[list[tuple[Any, ...]], int] | None:
        """Run a statement about one row that is found by its key, where nobody is in the way.

        Most statements are so, and this takes a third of the time of ``run``. It returns the same; None where only
        ``run`` can, and then nothing has happened yet.
        """
        plan, tx, table = self.plan, self.tx, self.table
        if (
            plan.row_key is None
            or tx.ssi is not None
            or tx.locks_reads
            or tx.read_only
            or table.predicate_locks
        ):
            return None
        index, column, fn = plan.row_key
        value = fn(None, self)
        found = table.indexes[index].entries.get((value,), ())
        if len(found) > 1:
            return None
        for row in found:
            version = row.visible(tx, tx.engine.commit_seq if tx.snapshot is None else tx.snapshot)
            if version is None or version.values[column] != value:
                continue
            matches = plan.where is None or plan.where(version.values, self) is True
            if matches and plan.lock and not _is_free(row, version, tx):
                return None
            self.reads.append(version)
            if matches:
                return self._do_directly(row, version), 1
        return [], 0

    def _do_directly(self, row: Row, version: Version) -> list[tuple[Any, ...]]:
        """Select or update a row that is free."""
        plan, tx = self.plan, self.tx
        if isinstance(plan, UpdatePlan):
            values = self._new_values(plan, version)
            grant(row, tx, plan.lock)
            version = self._write(row, version.key, values, False, version, plan.relative)
        else:
            if plan.lock:
                grant(row, tx, plan.lock)
            if tx.session.trace is not None:
                tx.engine.note(tx.session.trace, version)
        outputs = plan.outputs
        return [tuple([fn(version.values, self) for fn in outputs])] if outputs else []

    def run(self) -> Running:
        """Run to the end; returns the rows (of a SELECT or RETURNING) and the number of rows touched."""
        plan = self.plan
        if self.tx.read_only and (not isinstance(plan, SelectPlan) or plan.lock):
            raise failure("25006", f"cannot execute {_command(plan)} in a read-only transaction")
        if isinstance(plan, SelectPlan):
            return self._select(plan)
        if isinstance(plan, UpdatePlan):
            return self._update(plan)
        if isinstance(plan, InsertPlan):
            return self._insert(plan)
        assert isinstance(plan, DeletePlan)
        return self._delete(plan)

    def _scan(self) -> Generator[Waiter, None, Iterable[tuple[Row, Version]]]:
        """The rows to work on, found one by one; YugabyteDB reads all of them before it locks or writes one."""
        plan, tx = self.plan, self.tx
        if tx.engine.yugabyte and tx.effective == SERIALIZABLE:
            yield from yugabyte.lock_predicate(tx, self.table, plan.access, self)
        found = scan(self.table, plan.access, plan.where, tx, self, self.reads)
        only_reads = isinstance(plan, SelectPlan) and not plan.lock
        return list(found) if tx.engine.yugabyte and not only_reads else found

    # -- SELECT --------------------------------------------------------------------------------

    def _select(self, plan: SelectPlan) -> Running:
        if plan.schema is None:
            found: list[Any] = [()] if plan.where is None or plan.where((), self) is True else []
            return self._shape(plan, found), len(found)
        pairs = yield from self._scan()
        if plan.sort and plan.aggregates is None and not plan.stops_early:
            pairs = _sorted(pairs, plan.sort, self)
        if plan.lock:
            versions = yield from self._lock_rows(plan, pairs)
        else:
            most = self._window(plan)[1] if plan.stops_early else None
            versions = [version for _, version in islice(pairs, most)]
        trace = self.tx.session.trace
        if trace is not None:
            for version in versions:
                self.tx.engine.note(trace, version)
        if plan.lock:  # the limit counted while locking
            return [tuple([fn(version.values, self) for fn in plan.outputs]) for version in versions], len(
                versions
            )
        rows = self._shape(plan, [version.values for version in versions])
        return rows, len(rows)

    def _shape(self, plan: SelectPlan, found: Sequence[Values]) -> list[tuple[Any, ...]]:
        """Aggregate, limit, and compute the result's columns."""
        if plan.aggregates is not None:
            found = [tuple([_aggregate(one, found, self) for one in plan.aggregates])]
        start, stop = self._window(plan)
        return [tuple([fn(values, self) for fn in plan.outputs]) for values in found[start:stop]]

    def _window(self, plan: SelectPlan) -> tuple[int, int | None]:
        offset = _count(plan.offset, self, "OFFSET") or 0
        limit = _count(plan.limit, self, "LIMIT")
        return offset, None if limit is None else offset + limit

    def _lock_rows(
        self, plan: SelectPlan, pairs: Iterable[tuple[Row, Version]]
    ) -> Generator[Waiter, None, list[Version]]:
        """Lock row by row in result order, re-check what changed, until the limit is full."""
        start, stop = self._window(plan)
        locked: list[Version] = []
        if stop == 0:
            return locked
        for row, seen in pairs:
            version = yield from self._lock(row, seen, plan.lock, plan.policy)
            if version is None:
                continue
            if version is not seen:
                if plan.where is not None and plan.where(version.values, self) is not True:
                    continue
                self.reads.append(version)
            locked.append(version)
            if len(locked) == stop:
                break
        return locked[start:]

    # -- locking -------------------------------------------------------------------------------

    def _lock(
        self, row: Row, seen: Version, strength: int, policy: str = BLOCK
    ) -> Generator[Waiter, None, Version | None]:
        """Lock the row at its newest version, which is returned; None where it is gone or skipped."""
        follows = isinstance(self.plan, SelectPlan)
        version, first = seen, False
        while True:
            if self.tx.engine.yugabyte:
                yield from yugabyte.await_readers(self.tx, self.table, version.key, strength)
            state = yield from acquire(self.tx, row, version, strength, policy, follows=follows, first=first)
            if state == GRANTED:
                return version
            if state == SKIPPED:
                return None
            newest = self._follow(row, version)
            if newest is None:
                return None
            version, first = newest, not self.tx.engine.yugabyte

    def _follow(self, row: Row, seen: Version) -> Version | None:
        """Another transaction committed a newer version than `seen`: an error, a restart, or that version."""
        tx, current = self.tx, row.current
        deleted = not isinstance(self.plan, SelectPlan) and _was_deleted(row, seen)
        error = concurrent_update("delete" if deleted else "update")
        if tx.engine.yugabyte:
            yugabyte.conflict(tx, error)
        if tx.keeps_snapshot:
            raise failure(error.sqlstate, error.message)
        return None if current is None or current.deleted else current

    # -- UPDATE and DELETE ---------------------------------------------------------------------

    def _to_write(self) -> Generator[Waiter, None, Iterable[tuple[Row, Version]]]:
        """The rows that UPDATE or DELETE works on; a serializable read comes a call before its write."""
        pairs = yield from self._scan()
        tx = self.tx
        if tx.engine.split_writes and pairs and tx.effective == SERIALIZABLE:
            yield Trip(tx)
        return pairs

    def _update(self, plan: UpdatePlan) -> Running:
        rows: list[tuple[Any, ...]] = []
        count = 0
        for row, seen in (yield from self._to_write()):
            written = yield from self._update_row(plan, row, seen)
            if written is not None:
                count += 1
                self._return(written.values, rows)
        return rows, count

    def _update_row(
        self, plan: UpdatePlan, row: Row, seen: Version
    ) -> Generator[Waiter, None, Version | None]:
        tx, table = self.tx, self.table
        version: Version | None = seen
        values = self._new_values(plan, seen)
        strength = UPDATE if plan.touches_key and self._key_changes(seen, values) else NO_KEY_UPDATE
        if row.current is seen and not row.lockers and row.queue is None and not table.predicate_locks:
            grant(row, tx, strength)  # nobody is in the way, as almost always
        else:
            version = yield from self._lock(row, seen, strength)
            if version is not None and version is not seen:
                self.reads.append(version)
                if plan.where is not None and plan.where(version.values, self) is not True:
                    return None
                values = self._new_values(plan, version)
        if version is None:
            return None
        if tx.ssi is not None:
            tx.engine.ssi.write_version(tx.ssi, table, version)
        if not (plan.touches_key and self._key_changes(version, values)):
            return self._write(row, version.key, values, False, version, plan.relative)
        key = table.key_of(values) if table.schema.key else version.key
        if tx.engine.yugabyte:
            yield from yugabyte.await_readers(tx, table, key, UPDATE)
        written = self._write(row, key, values, False, version, plan.relative)
        yield from self._enter(row, values, version)
        return written

    def _new_values(self, plan: UpdatePlan, version: Version) -> Values:
        old = version.values
        new = list(old)
        for position, fn in plan.assignments:
            new[position] = fn(old, self)
        values = tuple(new)
        self._constraints(values)
        return values

    def _key_changes(self, version: Version, values: Values) -> bool:
        schema = self.table.schema
        return bool(schema.indexed_values(version.values) != schema.indexed_values(values))

    def _delete(self, plan: DeletePlan) -> Running:
        rows: list[tuple[Any, ...]] = []
        count = 0
        tx, table = self.tx, self.table
        for row, seen in (yield from self._to_write()):
            version = yield from self._lock(row, seen, UPDATE)
            if version is None:
                continue
            if version is not seen:
                self.reads.append(version)
                if plan.where is not None and plan.where(version.values, self) is not True:
                    continue
            if tx.ssi is not None:
                tx.engine.ssi.write_version(tx.ssi, table, version)
            self._write(row, version.key, version.values, True, version, True)
            count += 1
            self._return(version.values, rows)
        return rows, count

    def _write(
        self, row: Row, key: Any, values: Values, deleted: bool, replaced: Version | None, relative: bool
    ) -> Version:
        """Put the new version on the row."""
        tx, engine = self.tx, self.tx.engine
        trace = tx.session.trace
        if relative or replaced is None:
            base = replaced
        else:
            base = engine.last_read(trace, replaced) if trace is not None else None
        engine.versions += 1
        version = Version(engine.versions, self.table.schema, key, values, deleted, base, trace, tx, replaced)
        if row.pending is not None and row.pending is not replaced:
            raise AssertionError("a write must replace the version that its transaction sees")
        version.strong = row.lockers[tx] == UPDATE
        row.pending = version
        tx.undo.append((row, version, self.table))
        self.writes.append(version)
        if trace is not None:
            engine.note(trace, version)
        return version

    def _return(self, values: Values, rows: list[tuple[Any, ...]]) -> None:
        outputs = self.plan.outputs
        if outputs:
            rows.append(tuple([fn(values, self) for fn in outputs]))

    # -- INSERT and constraints ----------------------------------------------------------------

    def _insert(self, plan: InsertPlan) -> Running:
        rows: list[tuple[Any, ...]] = []
        count = 0
        tx, table = self.tx, self.table
        for functions in plan.rows:
            values = tuple([fn((), self) for fn in functions])
            self._constraints(values)
            if plan.conflict is not None:
                conflict = yield from self._conflict(values, plan.conflict)
                if conflict is not None:
                    self._check_visible(conflict)
                    continue
            if tx.ssi is not None:
                tx.engine.ssi.insert(tx.ssi, table)
            key = table.key_of(values)
            if tx.engine.yugabyte:
                yield from yugabyte.await_readers(tx, table, key, UPDATE)
            row = Row()
            grant(row, tx, UPDATE)
            table.rows[row] = None
            self._write(row, key, values, False, None, True)
            yield from self._enter(row, values, None)
            count += 1
            self._return(values, rows)
        return rows, count

    def _constraints(self, values: Values) -> None:
        """NOT NULL, then every CHECK in order of its name, as PostgreSQL does before it stores a row."""
        schema = self.table.schema
        if None in values:
            for column, value in zip(schema.columns, values, strict=True):
                if value is None and column.not_null:
                    raise failure(
                        "23502",
                        f'null value in column "{column.name}" of relation "{schema.name}" '
                        "violates not-null constraint",
                        table=schema.name,
                        detail=_failing_row(values),
                    )
        for name, check in schema.checks:
            if check(values, self) is False:
                raise failure(
                    "23514",
                    f'new row for relation "{schema.name}" violates check constraint "{name}"',
                    constraint=name,
                    table=schema.name,
                    detail=_failing_row(values),
                )

    def _enter(self, row: Row, values: Values, replaced: Version | None) -> Generator[Waiter, None, None]:
        """Enter a written row into the indexes, one after the other; 23505 where a key is taken.

        The row is in the table already, so while one index makes it wait, others may wait for it.
        """
        for index in self.table.indexes:
            key = index.key_of(values)
            if key is None or (replaced is not None and index.key_of(replaced.values) == key):
                continue
            taken = yield from self._holder(index, key, row)
            if self.tx.ssi is not None:
                self.tx.engine.ssi.enter_key(self.tx.ssi, index, key)
            if taken is not None:
                raise self._duplicate(index, key)
            index.add(key, row)

    def _conflict(self, values: Values, arbiters: frozenset[int]) -> Generator[Waiter, None, Version | None]:
        """The version that makes ON CONFLICT DO NOTHING do nothing, if any."""
        for number, index in enumerate(self.table.indexes):
            key = index.key_of(values)
            if key is not None and number in arbiters:
                taken = yield from self._holder(index, key, None)
                if taken is not None:
                    return taken
        return None

    def _holder(
        self, index: Index, key: tuple[Any, ...], own: Row | None
    ) -> Generator[Waiter, None, Version | None]:
        """The version that holds a key, once every transaction that may decide about it has ended."""
        while True:
            taken, other = _taken(index, key, self.tx, own)
            if other is None:
                return taken
            wait = TransactionWait(self.tx, other, partial(self._decides, index, key, own, other))
            try:
                yield wait
            finally:
                wait.leave()

    def _decides(self, index: Index, key: tuple[Any, ...], own: Row | None, other: Transaction) -> bool:
        return _taken(index, key, self.tx, own)[1] is other

    def _duplicate(self, index: Index, key: tuple[Any, ...]) -> Exception:
        names = ", ".join(self.table.schema.names[column] for column in index.columns)
        shown = ", ".join(str(value) for value in key)
        return failure(
            "23505",
            f'duplicate key value violates unique constraint "{index.name}"',
            constraint=index.name,
            table=self.table.schema.name,
            detail=f"Key ({names})=({shown}) already exists.",
        )

    def _check_visible(self, conflict: Version) -> None:
        """With a kept snapshot, DO NOTHING fails on a row that the snapshot does not see."""
        tx = self.tx
        if conflict.tx is tx and conflict.commit_seq == 0:
            return
        if tx.keeps_snapshot and tx.snapshot is not None and conflict.commit_seq > tx.snapshot:
            error = concurrent_update()
            if tx.engine.yugabyte:
                yugabyte.conflict(tx, error)
            raise failure(error.sqlstate, error.message)


def _is_free(row: Row, seen: Version, tx: Transaction) -> bool:
    """Whether the version is the newest, and nobody else has locked the row or waits for it."""
    if row.current is not seen and row.pending is not seen:
        return False
    lockers = row.lockers
    return tx in lockers and len(lockers) == 1 if lockers else row.queue is None


def _command(plan: Plan) -> str:
    """A statement's kind as PostgreSQL's messages name it."""
    if isinstance(plan, SelectPlan):
        return f"SELECT FOR {LOCK_NAMES[plan.lock]}"
    return {InsertPlan: "INSERT", UpdatePlan: "UPDATE", DeletePlan: "DELETE"}[type(plan)]


def _taken(
    index: Index, key: tuple[Any, ...], tx: Transaction, own: Row | None
) -> tuple[Version | None, Transaction | None]:
    """The version that holds a key, or the running transaction whose end decides about it."""
    for row in index.entries.get(key, ()):
        if row is own:
            continue
        pending = row.pending
        if pending is not None and pending.tx is not tx:
            if pending.tx is not None and _may_hold(index, key, row):
                return None, pending.tx
            continue
        version = pending if pending is not None else row.current
        if version is not None and not version.deleted and index.key_of(version.values) == key:
            return version, None
    return None, None


def _may_hold(index: Index, key: tuple[Any, ...], row: Row) -> bool:
    """Whether a step of the row's running writer has the key, or the row has it if that rolls back."""
    version = row.pending
    while version is not None:
        if not version.deleted and index.key_of(version.values) == key:
            return True
        if version is row.current:
            return False
        version = version.older
    return False


def _failing_row(values: Values) -> str:
    texts = {None: "null", True: "t", False: "f"}
    shown = [texts[value] if value is None or isinstance(value, bool) else str(value) for value in values]
    return f"Failing row contains ({', '.join(shown)})."


def _was_deleted(row: Row, seen: Version) -> bool:
    """Whether the change after `seen` was its deletion."""
    version = row.current
    while version is not None:
        if version.older is seen:
            return version.deleted and version.direct
        version = version.older
    return row.current is None


def _aggregate(aggregate: Any, found: Sequence[Values], env: Env) -> Any:
    if aggregate.argument is None:
        return aggregate.finish(found)
    values = [value for row in found if (value := aggregate.argument(row, env)) is not None]
    return aggregate.finish(list(dict.fromkeys(values)) if aggregate.distinct else values)


def _count(fn: Fn | None, env: Env, clause: str) -> int | None:
    value = fn(None, env) if fn is not None else None
    if value is None:
        return None
    number = int(value)
    if number < 0:
        raise failure("2201W" if clause == "LIMIT" else "2201X", f"{clause} must not be negative")
    return number


def _sorted(
    pairs: Iterable[tuple[Row, Version]], terms: Sequence[tuple[Fn, bool, bool]], env: Env
) -> list[tuple[Row, Version]]:
    pairs = list(pairs)
    for fn, descending, nulls_first in reversed(terms):

        def compare(a: Any, b: Any, nulls_first: bool = nulls_first, descending: bool = descending) -> int:
            if a is None or b is None:
                return 0 if a is b else (-1 if (a is None) == nulls_first else 1)
            order = int(a > b) - int(a < b)
            return -order if descending else order

        keyed = [(fn(pair[1].values, env), pair) for pair in pairs]
        keyed.sort(key=cmp_to_key(lambda x, y, compare=compare: compare(x[0], y[0])))  # type: ignore[misc]
        pairs = [pair for _, pair in keyed]
    return pairs


__all__ = ["CHANGED", "Running", "SqlError", "Statement"]
