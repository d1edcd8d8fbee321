"""The engine: sessions that execute SQL text, and the one place where transactions begin and end.

It is a synchronous state machine: nothing here sleeps, reads a clock or picks at random. A statement
that must wait becomes a `Waiting`; the call that lets it go on (another session's COMMIT, a
cancellation) runs it and its callback before it returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from . import yugabyte
from .catalog import Schema, build_schema, table_name
from .errors import DEADLOCK, IN_FAILED_TRANSACTION, Failure, Restart, SqlError, failure, not_supported
from .execute import Statement as Run
from .locks import RowWait, Waiter, cycle_through
from .parsing import Accepted, Begin, End, Query, Savepoint, Show, parse
from .parsing import Statement as Text
from .plans import InsertPlan, Plan, SelectPlan, UpdatePlan, compile_query, target_table
from .results import Change, Commit, Result, Work
from .ssi import Ssi
from .storage import Row, Table, Version, prune
from .transactions import READ_COMMITTED, SERIALIZABLE, Transaction

Outcome = Result | SqlError
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_PLANS = 2000
_FIRST_XID = 733
_FIRST_LSN = 0x1554F20


class Engine:
    """One database.

    `now` is asked for the time at the start of a transaction; `max_query_layer_retries` bounds
    restarts inside the server; `read_committed=False` makes a yugabyte READ COMMITTED a snapshot.
    `on_commit` listeners get each commit with changes, in commit order. `on_wait` listeners get each
    `Waiting` when a wait begins; a statement can wait several times, and each wait has its own
    deadlock check (see `detect_deadlock`).
    """

    def __init__(
        self,
        dialect: Literal["postgres", "yugabyte"] = "postgres",
        *,
        now: Callable[[], datetime] = lambda: _EPOCH,
        max_query_layer_retries: int = 60,
        read_committed: bool = True,
    ) -> None:
        self.dialect = dialect
        self.yugabyte = dialect == "yugabyte"
        self.read_committed = read_committed
        self.now = now
        self.max_query_layer_retries = max_query_layer_retries
        self.on_commit: list[Callable[[Commit], None]] = []
        self.on_wait: list[Callable[[Waiting], None]] = []
        self.tables: dict[str, Table] = {}
        self.ssi = Ssi(self)
        self.commit_seq = 0  # snapshots are commit numbers
        self.versions = 0
        self.waiting: dict[Transaction, Waiter] = {}
        self.predicate_waits: list[Waiter] = []
        self._plans: dict[str, tuple[Text, Plan | None]] = {}
        self._snapshots: dict[Transaction, int] = {}
        self._garbage: deque[tuple[int, Table, Row]] = deque()
        self._reads: dict[object, dict[tuple[str, Any], Version]] = {}
        self._touched: dict[Row, None] = {}
        self._ended: list[Waiter] = []
        self._draining = False
        self._transactions = 0
        self._waits = 0
        self._sequence = 0
        self._xid = _FIRST_XID
        self._lsn = _FIRST_LSN

    # -- for the callers -----------------------------------------------------------------------

    def session(self, name: str = "") -> Session:
        """A new connection."""
        return Session(self, name)

    def detect_deadlock(self, waiting: Waiting) -> bool:
        """What a server does `deadlock_timeout` after a wait began; True if there was a deadlock.

        If `waiting` is part of a cycle, it is the victim: its statement ends with 40P01, or restarts
        inside the server where YugabyteDB may do so.
        """
        session = waiting.session
        wait = session.wait
        if wait is None or session.waiting is not waiting or not cycle_through(wait, self.waiting):
            return False
        session.interrupt(Restart(DEADLOCK) if self._may_restart(session) else Failure(DEADLOCK))
        self.settle()
        return True

    def _may_restart(self, session: Session) -> bool:
        return self.yugabyte and session.tx is not None and session.tx.statements == 0

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

    def forget(self, trace: object) -> None:
        """The operation is over: drop what it read (kept to find the base of its absolute writes)."""
        self._reads.pop(trace, None)

    # -- for the modules of this package -------------------------------------------------------

    def next_wait(self) -> int:
        """The order of arrival of a new wait."""
        self._waits += 1
        return self._waits

    def touched(self, row: Row) -> None:
        """A row's locks or queue changed: somebody who waits for it may go on."""
        if row.queue is not None:
            self._touched[row] = None

    def note(self, trace: object, version: Version) -> None:
        """The operation now knows this version of the row."""
        self._reads.setdefault(trace, {})[version.schema.name, version.key] = version

    def last_read(self, trace: object, replaced: Version) -> Version | None:
        """The version of the row that the operation read or wrote last."""
        known = self._reads.get(trace)
        return known.get((replaced.schema.name, replaced.key)) if known else None

    def begin(self, session: Session, level: str, explicit: bool) -> Transaction:
        """A new transaction; its time is taken by the caller where it matters."""
        self._transactions += 1
        return Transaction(self, session, self._transactions, level, explicit)

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
                older = older.older
            version.older = previous
            row.current = version
            row.pending = None
            if horizon >= sequence:
                prune(table, row, horizon)
            else:
                self._garbage.append((sequence, table, row))

    def _changes(self, written: Sequence[tuple[Row, Version, Table]]) -> tuple[Change, ...]:
        changes = []
        for _, version, _ in written:
            older = version.older
            before = older.row if older is not None and not older.deleted else None
            after = None if version.deleted else version.row
            op = "d" if after is None else "c" if before is None else "u"
            changes.append(Change(version.table, op, before, after, version))
        return tuple(changes)

    def _announce(self, tx: Transaction, changes: tuple[Change, ...]) -> None:
        self._sequence += 1
        self._xid += 1
        self._lsn += 128 * len(changes) + 48
        commit = Commit(self._sequence, self._lsn, self._xid, changes, tx.session.trace)
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
            self._ended += tx.waiters
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
        if self._draining or not (self._touched or self._ended or self.predicate_waits):
            return
        self._draining = True
        try:
            while (wait := self._next_ready()) is not None:
                wait.tx.session.resume()
        finally:
            self._draining = False

    def _next_ready(self) -> Waiter | None:
        best: Waiter | None = None
        for row in list(self._touched):
            first = _first_ready(row)
            if first is None:
                del self._touched[row]
            elif best is None or first.seq < best.seq:
                best = first
        if self._ended:
            self._ended = [wait for wait in self._ended if self.waiting.get(wait.tx) is wait]
        others = self._ended + self.predicate_waits if self.predicate_waits else self._ended
        for wait in others:
            if (best is None or wait.seq < best.seq) and wait.ready() and self.waiting.get(wait.tx) is wait:
                best = wait
        return best

    # -- statements ----------------------------------------------------------------------------

    def plan(self, text: Text) -> Plan:
        """The compiled form of a query; cached with the table's definition."""
        parsed = text.require()
        assert isinstance(parsed, Query)
        target = target_table(parsed.node)
        schema: Schema | None = None
        if target is not None:
            name = table_name(target)
            table = self.tables.get(name)
            if table is None:
                raise failure("42P01", f'relation "{name}" does not exist')
            schema = table.schema
        if schema is None:
            return compile_query(parsed.node, None)
        plan: Plan | None = schema.plans.get(text.text)
        if plan is None:
            if len(schema.plans) >= _MAX_PLANS:
                schema.plans.clear()
            plan = schema.plans[text.text] = compile_query(parsed.node, schema)
        return plan

    def define(self, text: Text) -> str:
        """CREATE TABLE or DROP TABLE; returns the tag."""
        parsed = text.require()
        assert isinstance(parsed, Query)
        node = parsed.node
        self._plans.clear()
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


_SCHEMAS: dict[str, Schema] = {}


def schema_of(text: Text) -> Schema:
    """The definition a CREATE TABLE states; the same text gives the same object, plans included."""
    schema = _SCHEMAS.get(text.text)
    if schema is None:
        parsed = text.require()
        assert isinstance(parsed, Query)
        if len(_SCHEMAS) >= _MAX_PLANS:
            _SCHEMAS.clear()
        schema = _SCHEMAS[text.text] = build_schema(parsed.node)  # type: ignore[arg-type]
    return schema


def _first_ready(row: Row) -> Waiter | None:
    for wait in row.queue or ():
        if wait.ready():
            return wait
        if isinstance(wait, RowWait) and not wait.tx.keeps_snapshot and len(row.queue or ()) > 50:
            break  # a long queue behind one that cannot go on: nobody of its kind overtakes
    return None


class Waiting:
    """A statement that is blocked. It ends when another call lets it: see `then`."""

    __slots__ = ("_callbacks", "outcome", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.outcome: Outcome | None = None
        self._callbacks: list[Callable[[Outcome], None]] = []

    def then(self, callback: Callable[[Outcome], None]) -> None:
        """Call back with the outcome, from the call that lets the statement finish.

        If it has finished, the callback comes at once.
        """
        if self.outcome is not None:
            callback(self.outcome)
        else:
            self._callbacks.append(callback)

    def cancel(self, sqlstate: str = "57014") -> None:
        """End the wait with an error: a statement timeout, or the client is gone."""
        if self.outcome is not None or self.session.waiting is not self:
            return
        text = "canceling statement due to statement timeout" if sqlstate == "57014" else "statement canceled"
        self.session.interrupt(failure(sqlstate, text))
        self.session.engine.settle()

    def finish(self, outcome: Outcome) -> None:
        """Record the outcome and tell who asked."""
        self.outcome = outcome
        for callback in self._callbacks:
            callback(outcome)


class Session:
    """One connection: at most one transaction, at most one statement at a time."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self.trace: object | None = None
        self.tx: Transaction | None = None
        self.wait: Waiter | None = None
        self.waiting: Waiting | None = None
        self._steps: Generator[Waiter, None, Outcome] | None = None
        self._waited = False

    def __repr__(self) -> str:
        return f"<Session {self.name}>"

    @property
    def _blocked(self) -> Waiting:
        assert self.waiting is not None
        return self.waiting

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction block is open (failed ones included)."""
        return self.tx is not None and self.tx.explicit

    @property
    def isolation(self) -> str:
        """The level asked for, as SHOW transaction_isolation prints it."""
        return self.tx.level if self.tx is not None else READ_COMMITTED

    def execute(self, sql: str, args: Sequence[object] = ()) -> Result | SqlError | Waiting:
        """Run a text: one statement, or without arguments several (the last one's answer counts).

        Errors are values. RuntimeError is raised only if the session's last statement still waits.
        """
        if self.waiting is not None:
            raise RuntimeError(f"session {self.name!r} already waits for a statement")
        self._waited = False
        self._steps = self._text(sql, args)
        outcome = self._advance(None)
        if outcome is not None:
            self.engine.settle()
            return outcome
        waiting = self._blocked
        self.engine.settle()
        return waiting

    def close(self) -> None:
        """The connection ends: what waits is cancelled, the transaction rolled back."""
        if self.waiting is not None:
            self.waiting.cancel()
        if self.tx is not None:
            if not self.tx.ended:
                self.engine.rollback(self.tx)
            self.tx = None
            self.engine.settle()

    # -- driving the statement -----------------------------------------------------------------

    def _advance(self, fault: Exception | None) -> Outcome | None:
        """Run on until the text is done (its outcome) or waits (None)."""
        steps, before = self._steps, self.wait
        assert steps is not None
        try:
            self.wait = steps.throw(fault) if fault is not None else next(steps)
        except StopIteration as stop:
            self.wait = None
            self._steps = None
            outcome: Outcome = stop.value
            return outcome
        self._waited = True
        self.engine.waiting[self.wait.tx] = self.wait
        if self.waiting is None:
            self.waiting = Waiting(self)
        if self.wait is not before:
            for listener in self.engine.on_wait:
                listener(self.waiting)
        return None

    def resume(self) -> None:
        """Try again after the wait's cause changed."""
        self._finish(self._advance_waiting(None))

    def interrupt(self, fault: Exception) -> None:
        """End the wait with a fault."""
        self._finish(self._advance_waiting(fault))

    def _advance_waiting(self, fault: Exception | None) -> Outcome | None:
        wait = self.wait
        assert wait is not None
        self.engine.waiting.pop(wait.tx, None)
        return self._advance(fault)

    def _finish(self, outcome: Outcome | None) -> None:
        if outcome is not None and self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting.finish(outcome)

    # -- texts and statements ------------------------------------------------------------------

    def _text(self, sql: str, args: Sequence[object]) -> Generator[Waiter, None, Outcome]:
        statements = parse(sql)
        if len(statements) != 1:
            return (yield from self._script(statements, args))
        outcome = yield from self._statement(statements[0], args)
        return self._close_implicit(outcome)

    def _script(self, statements: Sequence[Text], args: Sequence[object]) -> Generator[Waiter, None, Outcome]:
        """Several statements in one text: one implicit transaction where no block is open."""
        if not statements:
            return Result((), [], 0, "", Work())
        if args:
            return self._failed(
                failure("42601", "cannot insert multiple commands into a prepared statement").error
            )
        outcome: Outcome | None = None
        for statement in statements:
            outcome = yield from self._statement(statement, args)
            if isinstance(outcome, SqlError):
                break
        assert outcome is not None
        return self._close_implicit(outcome)

    def _close_implicit(self, outcome: Outcome) -> Outcome:
        """Commit a transaction that no BEGIN opened."""
        tx = self.tx
        if tx is None or tx.explicit:
            return outcome
        if isinstance(outcome, SqlError):
            self._roll_back(tx)
            return outcome
        try:
            self.engine.commit(tx)
        except Failure as fault:
            self._roll_back(tx)
            return fault.error
        self.tx = None
        return outcome

    def _roll_back(self, tx: Transaction) -> None:
        if not tx.ended:
            self.engine.rollback(tx)
        self.tx = None

    def _statement(self, text: Text, args: Sequence[object]) -> Generator[Waiter, None, Outcome]:
        """One statement; its errors end or fail the transaction."""
        tx = self.tx
        try:
            parsed = text.require()
            if tx is not None and tx.failed and not isinstance(parsed, End | Savepoint):
                return IN_FAILED_TRANSACTION
            if isinstance(parsed, Query):
                if parsed.node.key in ("create", "drop"):
                    return self._define(text)
                return (yield from self._query(text, args))
            return self._control(parsed)
        except Failure as fault:
            return self._failed(fault.error)

    def _failed(self, error: SqlError) -> SqlError:
        """An error ends what the transaction did since its last savepoint, locks included."""
        tx = self.tx
        if tx is None or tx.failed:
            return error if tx is None or error.sqlstate == "42601" else IN_FAILED_TRANSACTION
        tx.failed = True
        tx.undo_to(tx.savepoints[-1][1] if tx.savepoints else 0)
        if not tx.savepoints:
            if tx.ssi is not None:
                self.engine.ssi.aborted(tx.ssi)
                tx.ssi = None
            tx.ended = True
            self.engine.drop_snapshot(tx)
            self.engine.release_waiters(tx)
        return error

    def _define(self, text: Text) -> Outcome:
        if self.tx is not None and self.tx.explicit:
            raise not_supported("CREATE TABLE and DROP TABLE are supported outside transaction blocks only")
        return Result((), [], 0, self.engine.define(text), Work("write"))

    def _query(self, text: Text, args: Sequence[object]) -> Generator[Waiter, None, Outcome]:
        engine = self.engine
        plan = engine.plan(text)
        values = plan.arguments(args)
        tx = self.tx
        if tx is None:
            tx = self.tx = engine.begin(self, READ_COMMITTED, explicit=False)
            tx.set_level(READ_COMMITTED)
        if tx.now is None and plan.uses_now:
            tx.now = engine.now()
        table = engine.tables[plan.schema.name] if plan.schema is not None else None
        retries = 0
        while True:
            if tx.keeps_snapshot and tx.snapshot is None:
                engine.take_snapshot(tx)
            run = Run(plan, table, tx, values)
            mark = len(tx.undo)
            try:
                rows, count = yield from run.run()
                break
            except Restart as restart:
                retries += 1
                self._restart(tx, mark, restart, retries)
            except Failure as fault:
                if retries:
                    raise Failure(replace(fault.error, server_retries=retries)) from None
                raise
        tx.statements += 1
        work = Work(
            plan.kind,
            tuple(run.reads),
            tuple(run.writes),
            self._waited,
            retries,
            plan.fast_path and not tx.explicit,
        )
        return Result(plan.columns, rows, count, _tag(plan, count), work)

    def _restart(self, tx: Transaction, mark: int, restart: Restart, retries: int) -> None:
        """Undo the statement and take a new snapshot, or give up with what the client gets to see."""
        if retries > self.engine.max_query_layer_retries:
            error = restart.failure
            raise Failure(
                SqlError(
                    error.sqlstate,
                    "All transparent retries exhausted. " + error.message,
                    server_retries=retries - 1,
                )
            )
        tx.undo_to(mark)
        if tx.statements == 0:
            yugabyte.release(tx)
        if tx.keeps_snapshot:
            self.engine.drop_snapshot(tx)

    # -- transaction control -------------------------------------------------------------------

    def _control(self, parsed: Begin | End | Savepoint | Show | Accepted) -> Outcome:
        if isinstance(parsed, Begin):
            return self._set(parsed) if parsed.is_set else self._begin(parsed)
        if isinstance(parsed, End):
            return self._end(parsed.commit)
        if isinstance(parsed, Savepoint):
            return self._savepoint(parsed)
        if isinstance(parsed, Show):
            return Result(("transaction_isolation",), [(self.isolation,)], 1, "SHOW", Work("read"))
        if parsed.table not in self.engine.tables:
            raise failure("42P01", f'relation "{parsed.table}" does not exist')
        return Result((), [], 0, parsed.tag, Work("write"))

    def _begin(self, begin: Begin) -> Outcome:
        if self.tx is None or not self.tx.explicit:  # in a script BEGIN takes over the implicit one
            if self.tx is None:
                self.tx = self.engine.begin(self, begin.level or READ_COMMITTED, explicit=True)
            self.tx.explicit = True
            self.tx.now = self.engine.now()
        if begin.level is not None or begin.read_only is not None:
            self._modes(self.tx, begin)
        return Result((), [], 0, "BEGIN", Work("begin"))

    def _set(self, modes: Begin) -> Outcome:
        if self.tx is not None:  # without a block PostgreSQL only warns
            self._modes(self.tx, modes)
        return Result((), [], 0, "SET", Work("begin"))

    def _modes(self, tx: Transaction, modes: Begin) -> None:
        if modes.level is not None and modes.level != tx.level:
            if tx.statements or tx.snapshot is not None:
                raise failure("25001", "SET TRANSACTION ISOLATION LEVEL must be called before any query")
            if tx.savepoints:
                raise failure(
                    "25001", "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction"
                )
            tx.set_level(modes.level)
        if modes.read_only is not None:
            if tx.read_only and not modes.read_only and tx.statements:
                raise failure("25001", "transaction read-write mode must be set before any query")
            tx.read_only = modes.read_only

    def _end(self, commit: bool) -> Outcome:
        tx = self.tx
        kind = "commit" if commit else "rollback"
        if tx is None:  # PostgreSQL warns that no transaction is in progress
            return Result((), [], 0, "COMMIT" if commit else "ROLLBACK", Work(kind))
        if not commit or tx.failed:
            self._roll_back(tx)
            return Result((), [], 0, "ROLLBACK", Work("rollback"))
        try:
            self.engine.commit(tx)
        except Failure as fault:
            self._roll_back(tx)
            return fault.error
        self.tx = None
        return Result((), [], 0, "COMMIT", Work("commit"))

    def _savepoint(self, command: Savepoint) -> Outcome:
        tx = self.tx
        if tx is None or not tx.explicit:
            raise failure("25P01", f"{command.verb} can only be used in transaction blocks")
        if tx.failed and command.verb != "ROLLBACK":
            return IN_FAILED_TRANSACTION
        if command.verb == "SAVEPOINT":
            tx.savepoints.append((command.name, len(tx.undo)))
            return Result((), [], 0, "SAVEPOINT", Work("begin"))
        names = [name for name, _ in tx.savepoints]
        if command.name not in names:
            raise failure("3B001", f'savepoint "{command.name}" does not exist')
        place = len(names) - 1 - names[::-1].index(command.name)
        if command.verb == "RELEASE":
            del tx.savepoints[place:]
            return Result((), [], 0, "RELEASE", Work("begin"))
        tx.undo_to(tx.savepoints[place][1])
        del tx.savepoints[place + 1 :]
        tx.failed = False
        return Result((), [], 0, "ROLLBACK", Work("rollback"))


def _tag(plan: Plan, count: int) -> str:
    if isinstance(plan, SelectPlan):
        return f"SELECT {count}"
    if isinstance(plan, InsertPlan):
        return f"INSERT 0 {count}"
    return f"UPDATE {count}" if isinstance(plan, UpdatePlan) else f"DELETE {count}"
