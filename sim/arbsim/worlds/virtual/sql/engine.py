"""The engine: tables, snapshots and waits, and the one place where transactions begin and end.

It is a synchronous state machine: nothing here sleeps, reads a clock or picks at random. A statement
that must wait becomes a `Waiting`; the call that lets it go on (another session's COMMIT, a
cancellation) runs it and its callback before it returns.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import reduce
from operator import attrgetter
from typing import Any, Literal

from . import yugabyte
from .catalog import MAX_PLANS, Schema, schema_of
from .errors import DEADLOCK, Failure, Restart, failure, not_supported
from .locks import RowWait, Sleep, Waiter, cycle_through
from .names import table_name
from .parsing import Query
from .parsing import Statement as Text
from .plans import Plan, compile_query
from .results import Change, Commit
from .session import Session, Waiting
from .ssi import Ssi
from .storage import Row, Table, Values, Version, prune
from .transactions import SERIALIZABLE, Transaction, levels_of

__all__ = ["Engine", "Session", "Waiting"]
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_XID = 733
_MAX_TRACES = 20_000  # of operations whose reads are remembered, where nobody calls forget
_FIRST_LSN = 0x1554F20


class Engine:
    """One database.

    `now` is asked for the time at the start of a transaction; `max_query_layer_retries` bounds
    restarts inside the server; `read_committed=False` makes a yugabyte READ COMMITTED a snapshot.
    `on_commit` listeners get each commit with changes, in commit order. `on_wait` listeners get each
    `Waiting` when a wait begins; a statement can wait several times, and each wait has its own
    deadlock check (see `detect_deadlock`). With `split_writes` a yugabyte UPDATE or DELETE under
    SERIALIZABLE waits for the caller between its read and its write (a `Trip`).
    """

    def __init__(
        self,
        dialect: Literal["postgres", "yugabyte"] = "postgres",
        *,
        now: Callable[[], datetime] = lambda: _EPOCH,
        max_query_layer_retries: int = 60,
        read_committed: bool = True,
        split_writes: bool = False,
    ) -> None:
        self.dialect = dialect
        self.yugabyte = dialect == "yugabyte"
        self.split_writes = split_writes and self.yugabyte
        self.read_committed = read_committed
        self.levels = levels_of(self.yugabyte, read_committed)
        self.now = now
        self.max_query_layer_retries = max_query_layer_retries
        self.on_commit: list[Callable[[Commit], None]] = []
        self.on_wait: list[Callable[[Waiting], None]] = []
        self.tables: dict[str, Table] = {}
        self.ssi = Ssi(self)
        self.commit_seq = 0  # snapshots are commit numbers
        self.versions = 0
        self.waiting: dict[Transaction, Waiter] = {}
        self.paused: list[Waiter] = []
        self._snapshots: dict[Transaction, int] = {}
        self._garbage: deque[tuple[int, Table, Row]] = deque()
        self._reads: OrderedDict[object, dict[tuple[str, Any], Version]] = OrderedDict()
        self._touched: dict[Row, None] = {}
        self._to_retry: dict[Waiter, None] = {}
        self._draining = False
        self._transactions = 0
        self._waits = 0
        self._first_locks = 0
        self._sequence = 0
        self._xid = _FIRST_XID
        self.lsn = _FIRST_LSN

    # -- for the callers -----------------------------------------------------------------------

    def session(self, name: str = "") -> Session:
        """A new connection."""
        return Session(self, name)

    def detect_deadlock(self, waiting: Waiting, begun: Sleep | None = None) -> bool:
        """What a server does some time after a wait (the sleep that has ``begun``) began; True if there was a deadlock.

        PostgreSQL ends the statement of whoever looks (40P01). YugabyteDB ends the youngest transaction of
        each ring that this one is part of (yugabyte-db issue 20976); a first statement restarts inside the server.
        """
        wait = self._lasting(waiting, begun)
        if wait is None:
            return False
        found = False
        while ring := cycle_through(wait, self.waiting):
            found = True
            victim = reduce(self._younger, ring) if self.yugabyte else wait.tx
            restarts = self.yugabyte and victim.statements == 0
            victim.session.interrupt(Restart(DEADLOCK) if restarts else Failure(DEADLOCK))
            if victim is wait.tx:
                break
        if found:
            self.settle()
        return found

    def deadlocked(self, waiting: Waiting, begun: Sleep | None = None) -> bool:
        """Whether `detect_deadlock` would find one now."""
        wait = self._lasting(waiting, begun)
        return wait is not None and bool(cycle_through(wait, self.waiting))

    def _lasting(self, waiting: Waiting, begun: Sleep | None) -> Waiter | None:
        """The wait that a deadlock check is about, if it lasts and may keep others waiting."""
        session = waiting.session
        wait = session.wait
        if wait is None or session.waiting is not waiting or (begun is not None and wait.sleep != begun):
            return None
        if self.yugabyte and not (wait.tx.undo or wait.tx.predicates):
            return None  # who holds nothing keeps nobody waiting; probes come often, so this comes first
        return wait

    def table(self, name: str) -> list[dict[str, Any]]:
        """The committed rows of a table, in key order."""
        table = self.tables.get(name)
        if table is None:
            raise KeyError(name)
        rows = [row.current for row in table.rows if row.current is not None and not row.current.deleted]
        return [version.row for version in sorted(rows, key=lambda version: version.key)]

    def waits_for(self, waiting: Waiting) -> tuple[Session, ...]:
        """The sessions that block a waiting statement."""
        wait = waiting.session.wait
        if wait is None or waiting.session.waiting is not waiting:
            return ()
        return tuple(dict.fromkeys(tx.session for tx in wait.blockers()))

    def install(self, table: str, values: Values, trace: object) -> Version:
        """Put a row that was committed elsewhere on top, as asynchronous replication does.

        It takes no lock and honours none, and the `on_commit` listeners do not hear of it. The row must exist.
        """
        target = self.tables[table]
        (row,) = target.indexes[0].entries[target.key_of(values)]
        replaced = row.current
        assert replaced is not None
        self.commit_seq += 1
        self.versions += 1
        version = Version(
            self.versions, target.schema, replaced.key, values, False, None, trace, None, replaced
        )
        version.commit_seq = self.commit_seq
        lowest = row.pending  # what a transaction has under way stays on top
        while lowest is not None and lowest.older is not replaced:
            lowest = lowest.older
        if lowest is not None:
            lowest.older = version
        row.current = version
        self._garbage.append((self.commit_seq, target, row))
        if not self._snapshots:
            self._collect()
        self.touched(row)
        self.settle()
        return version

    def forget(self, trace: object) -> None:
        """The operation is over: drop what it read, which is kept to find the base of its writes.

        Without this call the reads of the last 20,000 operations are kept.
        """
        self._reads.pop(trace, None)

    # -- for the modules of this package -------------------------------------------------------

    def next_wait(self) -> int:
        """The order of arrival of a new wait."""
        self._waits += 1
        return self._waits

    def next_xid(self) -> int:
        """The order in which transactions first lock or write."""
        self._first_locks += 1
        return self._first_locks

    def snapshot_xid(self) -> int:
        """A transaction id for whoever reads all tables at this moment: no transaction that writes has it."""
        self._xid += 1
        return self._xid

    def touched(self, row: Row) -> None:
        """A row's locks or queue changed: somebody who waits for it may go on."""
        if row.queue is not None:
            self._touched[row] = None

    def retry(self, waits: Sequence[Waiter]) -> None:
        """What these waits are for may be gone: look again when the current call is done."""
        self._to_retry.update(dict.fromkeys(waits))

    def note(self, trace: object, version: Version) -> None:
        """The operation now knows this version of the row."""
        known = self._reads.get(trace)
        if known is None:
            known = self._reads[trace] = {}
            if len(self._reads) > _MAX_TRACES:
                self._reads.popitem(last=False)
        known[version.schema.name, version.key] = version

    def last_read(self, trace: object, replaced: Version) -> Version | None:
        """The version of the row that the operation read or wrote last."""
        known = self._reads.get(trace)
        return known.get((replaced.schema.name, replaced.key)) if known else None

    def begin(self, session: Session, level: str, explicit: bool) -> Transaction:
        """A new transaction; its time is taken by the caller where it matters."""
        self._transactions += 1
        return Transaction(self, session, self._transactions, level, explicit)

    def began_before(self, one: Transaction, other: Transaction) -> bool:
        """Whether one transaction began before another: YugabyteDB queues by it, and picks deadlock victims."""
        return one.start < other.start

    def _younger(self, one: Transaction, other: Transaction) -> Transaction:
        return other if self.began_before(one, other) else one

    def take_snapshot(self, tx: Transaction) -> None:
        """Fix the snapshot of a REPEATABLE READ or SERIALIZABLE transaction at its first query."""
        tx.snapshot = self.commit_seq
        self._snapshots[tx] = self.commit_seq
        if tx.effective == SERIALIZABLE and not self.yugabyte:
            self.ssi.begin(tx, self.commit_seq)

    def drop_snapshot(self, tx: Transaction) -> None:
        """The snapshot is no longer needed; versions kept for it alone can go."""
        tx.snapshot = None
        if self._snapshots.pop(tx, None) is not None:
            self._collect()

    def commit(self, tx: Transaction) -> None:
        """Make the transaction's writes visible, tell the listeners, free its locks."""
        if tx.ssi is not None:
            self.ssi.before_commit(tx.ssi)
        undo = tx.undo
        written = [(row, version, table) for row, version, table in undo if version is not None]
        if written:
            changes = self._changes(written) if self.on_commit else ()
            self._publish(tx, written)
            if changes:
                self._announce(tx, changes)
        if tx.ssi is not None:
            self.ssi.committed(tx.ssi)
        for row, version, _ in undo:
            if version is None:
                row.lockers.pop(tx, None)
                if row.queue is not None:
                    self._touched[row] = None
        undo.clear()
        self._end(tx)

    def _publish(self, tx: Transaction, written: Sequence[tuple[Row, Version, Table]]) -> None:
        self.commit_seq += 1
        sequence = self.commit_seq
        horizon = next(iter(self._snapshots.values())) if self._snapshots else sequence
        for row, version, table in written:
            version.commit_seq = sequence
            if tx.ssi is None:
                version.tx = None
            if row.pending is not version:
                continue  # a later write of the same transaction took its place
            previous = row.current
            older = version.older
            while older is not None and older is not previous:  # the transaction's own steps
                table.leave(row, older)
                version.direct = False
                version.strong = version.strong or older.strong
                older = older.older
            version.older = previous
            row.current = version
            row.pending = None
            if previous is not None and len(row.lockers) > 1:
                previous.survivors = tuple([other for other in row.lockers if other is not tx])
            if horizon >= sequence:
                prune(table, row, horizon)
            else:
                self._garbage.append((sequence, table, row))

    def _changes(self, written: Sequence[tuple[Row, Version, Table]]) -> tuple[Change, ...]:
        return tuple([Change(version, version.older) for _, version, _ in written])

    def _announce(self, tx: Transaction, changes: tuple[Change, ...]) -> None:
        self._sequence += 1
        self._xid += 1
        self.lsn += 128 * len(changes) + 48
        commit = Commit(self._sequence, self.lsn, self._xid, changes, tx.session.trace)
        for listener in self.on_commit:
            listener(commit)

    def rollback(self, tx: Transaction) -> None:
        """Undo everything, free the locks, end the transaction."""
        tx.undo_to(0)
        if tx.ssi is not None:
            self.ssi.aborted(tx.ssi)
        self._end(tx)

    def _end(self, tx: Transaction) -> None:
        tx.ended = True
        if self._snapshots.pop(tx, None) is not None:
            self._collect()
        self.release_waiters(tx)

    def release_waiters(self, tx: Transaction) -> None:
        """Whoever waits for the transaction itself may look again."""
        if tx.waiters:
            self.retry(tx.waiters)
            tx.waiters = []
        if tx.predicates:
            yugabyte.release(tx)

    def _collect(self) -> None:
        horizon = next(iter(self._snapshots.values())) if self._snapshots else self.commit_seq
        while self._garbage and self._garbage[0][0] <= horizon:
            _, table, row = self._garbage.popleft()
            prune(table, row, horizon)

    def settle(self) -> None:
        """Let every statement go on that can, in order of arrival, until all wait or are done."""
        if self._draining or not (self._touched or self._to_retry or self.paused):
            return
        self._draining = True
        try:
            while (wait := self._next_ready()) is not None:
                wait.tx.session.resume()
        finally:
            self._draining = False

    def _next_ready(self) -> Waiter | None:
        # An insert that waits for a key looks before an update is done with the row.
        for wait in sorted(self._to_retry, key=attrgetter("seq")):
            if self.waiting.get(wait.tx) is wait and wait.ready():
                return wait
            del self._to_retry[wait]  # whoever still stands in the way will say when it lets go
        ready: list[Waiter] = []
        for row in list(self._touched):
            first = _first_ready(row)
            if first is None:
                del self._touched[row]
            else:
                ready.append(first)
        if not ready and self.paused:
            return self.paused.pop(0)
        return min(ready, key=lambda wait: wait.seq, default=None)

    # -- statements ----------------------------------------------------------------------------

    def plan(self, text: Text) -> Plan:
        """The compiled form of a query; cached with the table's definition."""
        parsed = text.require()
        assert isinstance(parsed, Query)
        schema: Schema | None = None
        name = parsed.target
        if name is not None:
            table = self.tables.get(name)
            if table is None:
                raise failure("42P01", f'relation "{name}" does not exist')
            schema = table.schema
        if schema is None:
            return compile_query(parsed.node, None)
        plan: Plan | None = schema.plans.get(text.text)
        if plan is None:
            if len(schema.plans) >= MAX_PLANS:
                schema.plans.clear()
            plan = schema.plans[text.text] = compile_query(parsed.node, schema)
        return plan

    def define(self, text: Text) -> str:
        """CREATE TABLE or DROP TABLE; returns the tag."""
        parsed = text.require()
        assert isinstance(parsed, Query)
        node = parsed.node
        if node.key == "drop":
            for table in node.args["tables"]:
                self._drop(table_name(table), bool(node.args.get("exists")))
            return "DROP TABLE"
        schema = schema_of(text)
        if schema.name in self.tables:
            if node.args.get("exists"):
                return "CREATE TABLE"
            raise failure("42P07", f'relation "{schema.name}" already exists')
        self.tables[schema.name] = Table(schema)
        return "CREATE TABLE"

    def _drop(self, name: str, if_exists: bool) -> None:
        table = self.tables.get(name)
        if table is None:
            if if_exists:
                return
            raise failure("42P01", f'table "{name}" does not exist')
        if any(row.lockers or row.queue for row in table.rows):
            raise not_supported(f'table "{name}" cannot be dropped while transactions work on it')
        del self.tables[name]


def _first_ready(row: Row) -> Waiter | None:
    for wait in row.queue or ():
        if wait.ready():
            return wait
        if isinstance(wait, RowWait) and not wait.tx.keeps_snapshot and len(row.queue or ()) > 50:
            break  # a long queue behind one that cannot go on: nobody of its kind overtakes
    return None
