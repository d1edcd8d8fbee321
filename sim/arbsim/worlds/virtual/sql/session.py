"""Sessions: SQL text in, outcomes out; statements that wait, and transaction control."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import yugabyte
from .errors import DEADLOCK, IN_FAILED_TRANSACTION, Failure, Restart, SqlError, failure, not_supported
from .execute import Statement as Run
from .locks import Pause, Waiter
from .parsing import Accepted, Begin, End, Query, Savepoint, Show, parse
from .parsing import Statement as Text
from .results import Result, Work
from .transactions import READ_COMMITTED, Transaction

if TYPE_CHECKING:
    from .engine import Engine

Outcome = Result | SqlError

_BEGUN = Result((), (), 0, "BEGIN", Work("begin"))
_SET = Result((), (), 0, "SET", Work("begin"))
_COMMITTED = Result((), (), 0, "COMMIT", Work("commit"))
_ROLLED_BACK = Result((), (), 0, "ROLLBACK", Work("rollback"))


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
        self._hold = False

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

    def execute(
        self, sql: str, args: Sequence[object] = (), *, hold: bool = False
    ) -> Result | SqlError | Waiting:
        """Run a text: one statement, or without arguments several (the last one's answer counts).

        Outside a block the transaction ends with the text. With `hold` it stays open, locks
        included, until COMMIT or ROLLBACK is executed, for a caller to whom a commit takes time;
        an error still ends it. Errors are values. RuntimeError is raised only if the session's
        last statement still waits.
        """
        if self.waiting is not None:
            raise RuntimeError(f"session {self.name!r} already waits for a statement")
        self._waited = False
        self._hold = hold
        statements = parse(sql)
        outcome: Outcome | None
        if len(statements) == 1:
            begun = self._begin_statement(statements[0], args)
            if isinstance(begun, Run):
                self._steps = self._rest(begun)
                outcome = self._advance(None)
            else:
                outcome = self._close_implicit(begun)
        else:
            self._steps = self._script(statements, args)
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
        steps, before = self._steps, self.wait and self.wait.sleep
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
        if self.wait.sleep != before:
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

    def _rest(self, run: Run) -> Generator[Waiter, None, Outcome]:
        """The rest of a text that is one statement."""
        outcome = yield from self._run(run)
        return self._close_implicit(outcome)

    def _script(self, statements: Sequence[Text], args: Sequence[object]) -> Generator[Waiter, None, Outcome]:
        """Several statements in one text: one implicit transaction where no block is open."""
        if not statements:
            return Result((), (), 0, "", Work())
        if args:
            return self._failed(
                failure("42601", "cannot insert multiple commands into a prepared statement").error
            )
        outcome: Outcome | None = None
        for statement in statements:
            begun = self._begin_statement(statement, args)
            outcome = (yield from self._run(begun)) if isinstance(begun, Run) else begun
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
        if self._hold:
            tx.explicit = True
            return outcome
        return self._commit(tx, outcome)

    def _commit(self, tx: Transaction, outcome: Outcome) -> Outcome:
        """Commit, which may fail; then the transaction is rolled back, and the error is the outcome."""
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

    def _begin_statement(self, text: Text, args: Sequence[object]) -> Outcome | Run:
        """Begin one statement; return its outcome, or itself where it may have to wait.

        Its errors end or fail the transaction.
        """
        if not isinstance(text.parsed, Query) or text.problems:
            return self._at_once(text)
        tx = self.tx
        try:
            if tx is not None and tx.failed:
                return IN_FAILED_TRANSACTION
            if text.parsed.defines:
                return self._define(text)
            run = self._prepare(text, args)
            done = run.directly()
            return run if done is None else self._result(run, *done)
        except Failure as fault:
            return self._failed(fault.error)

    def _at_once(self, text: Text) -> Outcome:
        """A statement that never waits: transaction control, or a text that is refused."""
        tx = self.tx
        try:
            if tx is not None and tx.failed and not _heard_when_failed(text):
                return IN_FAILED_TRANSACTION
            parsed = text.require()
            assert not isinstance(parsed, Query)
            return self._control(parsed)
        except Failure as fault:
            return self._failed(fault.error)

    def _failed(self, error: SqlError) -> SqlError:
        """An error ends what the transaction did since its last savepoint, locks included."""
        tx = self.tx
        if tx is None or tx.failed:
            return error
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
        return Result((), (), 0, self.engine.define(text), Work("write"))

    def _prepare(self, text: Text, args: Sequence[object]) -> Run:
        """What is to be run, in a transaction that sees what it is to see."""
        engine = self.engine
        plan = engine.plan(text)
        values = plan.arguments(args)
        tx = self.tx
        if tx is None:
            tx = self.tx = engine.begin(self, READ_COMMITTED, explicit=False)
        if tx.now is None and plan.uses_now:
            tx.now = engine.now()
        if tx.keeps_snapshot and tx.snapshot is None:
            engine.take_snapshot(tx)
        return Run(plan, engine.tables[plan.schema.name] if plan.schema is not None else None, tx, values)

    def _run(self, run: Run) -> Generator[Waiter, None, Outcome]:
        """Run a statement that may have to wait; its errors end or fail the transaction."""
        try:
            return (yield from self._attempts(run))
        except Failure as fault:
            return self._failed(fault.error)

    def _attempts(self, run: Run) -> Generator[Waiter, None, Outcome]:
        """Run a statement again as long as the server restarts it by itself."""
        engine, tx = self.engine, run.tx
        retries = 0
        while True:
            mark = len(tx.undo)
            try:
                rows, count = yield from run.run()
                return self._result(run, rows, count, retries)
            except Restart as restart:
                retries += 1
                self._restart(tx, mark, restart, retries)
                if restart.failure is DEADLOCK:  # let those that it blocked pass
                    pause = Pause(tx)
                    engine.paused.append(pause)
                    yield pause
            except Failure as fault:
                if retries:
                    raise Failure(replace(fault.error, server_retries=retries)) from None
                raise
            if tx.keeps_snapshot:
                engine.take_snapshot(tx)
            run = Run(run.plan, run.table, tx, run.args)

    def _result(self, run: Run, rows: list[tuple[Any, ...]], count: int, retries: int = 0) -> Result:
        plan, tx = run.plan, run.tx
        tx.statements += 1
        work = Work(
            plan.kind,
            run.reads,
            run.writes,
            self._waited,
            retries,
            plan.fast_path and not tx.explicit,
        )
        return Result(plan.columns, rows, count, f"{plan.tag} {count}", work)

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
        return Result((), (), 0, parsed.tag, Work("write"))

    def _begin(self, begin: Begin) -> Outcome:
        if self.tx is None or not self.tx.explicit:  # in a script BEGIN takes over the implicit one
            if self.tx is None:
                self.tx = self.engine.begin(self, begin.level or READ_COMMITTED, explicit=True)
            self.tx.explicit = True
            self.tx.now = self.engine.now()
        if begin.level is not None or begin.read_only is not None:
            self._modes(self.tx, begin)
        return _BEGUN

    def _set(self, modes: Begin) -> Outcome:
        if self.tx is not None:  # without a block PostgreSQL only warns
            self._modes(self.tx, modes)
        return _SET

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
        if tx is None:  # PostgreSQL warns that no transaction is in progress
            return _COMMITTED if commit else _ROLLED_BACK
        if not commit or tx.failed:
            self._roll_back(tx)
            return _ROLLED_BACK
        return self._commit(tx, _COMMITTED)

    def _savepoint(self, command: Savepoint) -> Outcome:
        tx = self.tx
        if tx is None or not tx.explicit:
            title = {"ROLLBACK": "ROLLBACK TO SAVEPOINT", "RELEASE": "RELEASE SAVEPOINT"}.get(command.verb)
            raise failure("25P01", f"{title or command.verb} can only be used in transaction blocks")
        if tx.failed and command.verb != "ROLLBACK":
            return IN_FAILED_TRANSACTION
        if command.verb == "SAVEPOINT":
            tx.savepoints.append((command.name, len(tx.undo)))
            return Result((), (), 0, "SAVEPOINT", Work("begin"))
        names = [name for name, _ in tx.savepoints]
        if command.name not in names:
            raise failure("3B001", f'savepoint "{command.name}" does not exist')
        place = len(names) - 1 - names[::-1].index(command.name)
        if command.verb == "RELEASE":
            del tx.savepoints[place:]
            return Result((), (), 0, "RELEASE", Work("begin"))
        tx.undo_to(tx.savepoints[place][1])
        del tx.savepoints[place + 1 :]
        tx.failed = False
        return _ROLLED_BACK


def _heard_when_failed(text: Text) -> bool:
    """A failed transaction still hears how it is to end, and its text is still parsed."""
    faulty = bool(text.problems) and text.problems[0].sqlstate == "42601"
    return faulty or isinstance(text.parsed, End | Savepoint)
