"""What statements share, and a pool whose connections may run out.

Three objects stand for one database. Every other step of the database is so coarse that only plain reads are
independent of each other and of what is not committed yet:

- ``commits``: the order of commits. A snapshot reads it, a commit with changes writes it.
- ``locks``: row locks, their queues, the wait-for graph, and what Serializable Snapshot Isolation remembers. Whatever
  locks, writes, waits, ends a wait or looks for deadlocks writes it.
Where a deadlock would make YugabyteDB start a statement again, the run is left to another (:meth:`SharedSession.park`).

Which of two transactions began first is no object: YugabyteDB goes by it where both stand in one queue, or in a ring,
and nobody else asks. So two beginnings meet only in the runs in which a later step compares them
(:mod:`arbsim.worlds.exhaustive.comparisons`). That needs them to be steps; where nobody ever compares, they are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arbsim.worlds.exhaustive.kernel import ChoiceKernel
from arbsim.worlds.exhaustive.times import lets_time_decide
from arbsim.worlds.virtual.database import Connection, Pool, Universe
from arbsim.worlds.virtual.sql.engine import Engine, Session, Waiting
from arbsim.worlds.virtual.sql.errors import DEADLOCK, Restart, SqlError
from arbsim.worlds.virtual.sql.locks import Sleep, Waiter, cycle_through
from arbsim.worlds.virtual.sql.parsing import Begin, End, Query, parse
from arbsim.worlds.virtual.sql.plans import SelectPlan
from arbsim.worlds.virtual.sql.results import Result
from arbsim.worlds.virtual.sql.storage import Values, Version
from arbsim.worlds.virtual.sql.transactions import SERIALIZABLE, Transaction


class SharedEngine(Engine):
    """An engine that tells what its statements touch."""

    def __init__(self, kernel: ChoiceKernel, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kernel = kernel
        self.commits = kernel.mark()
        self.locks = kernel.mark()
        self.starts = kernel.mark()
        self._begun: dict[Transaction, int] = {}
        self.on_wait.append(self._began_to_wait)

    def session(self, name: str = "") -> Session:
        """A new connection."""
        return SharedSession(self, name)

    def begin(self, session: Session, level: str, explicit: bool) -> Transaction:
        """A new transaction, and the step at which it begins."""
        tx = super().begin(session, level, explicit)
        self._begun[tx] = self.kernel.place
        return tx

    def began_before(self, one: Transaction, other: Transaction) -> bool:
        """Compare which of two transactions began first."""
        if not self.kernel.learned.starts_decide:
            self.kernel.learned.starts_decide = self.kernel.learned_more = True
        places = self._begun[one], self._begun[other]
        if min(places) < 0 or places[0] == places[1]:
            return super().began_before(one, other)
        self.touch_locks()
        return self.kernel.came_first(*places)

    def detect_deadlock(self, waiting: Waiting, begun: Sleep | None = None) -> bool:
        """Look at the wait-for graph."""
        self.touch_locks()
        return super().detect_deadlock(waiting, begun)

    def deadlocked(self, waiting: Waiting, begun: Sleep | None = None) -> bool:
        """Look whether looking is worth while."""
        self.kernel.touch(self.locks, write=False)
        return super().deadlocked(waiting, begun)

    def install(self, table: str, values: Values, trace: object) -> Version:
        """Take over what was committed elsewhere: a commit like any other."""
        self.touch_all()
        return super().install(table, values, trace)

    def retry(self, waits: Sequence[Waiter]) -> None:
        """Somebody may go on."""
        self.touch_locks()
        super().retry(waits)

    def _began_to_wait(self, waiting: Waiting) -> None:
        wait, learned = waiting.session.wait, self.kernel.learned
        if not self.yugabyte or wait is None or wait.first_blocker() is None:
            return
        if wait.tx.statements or wait.tx.effective != SERIALIZABLE:
            if not learned.waits_with_more:
                learned.waits_with_more = self.kernel.learned_more = True
        elif not learned.waits_with_more and cycle_through(wait, self.waiting):
            assert isinstance(waiting.session, SharedSession)
            waiting.session.park()

    def touch_starts(self) -> None:
        """Note that a transaction begins."""
        if self.kernel.learned.starts_decide:
            self.kernel.touch_alone(self.starts)

    def touch_locks(self) -> None:
        """Note that locks, waits or uncommitted versions change, on the grounds of what is committed."""
        self.kernel.touch(self.locks)
        self.kernel.touch(self.commits, write=False)
        self._may_compare()

    def touch_all(self) -> None:
        """Note that anything may change."""
        self.touch_locks()
        self.kernel.touch(self.commits)
        self.touch_starts()

    def _may_compare(self) -> None:
        """Whoever comes to the locks may go by which of two transactions began first."""
        if self.kernel.learned.starts_decide:
            self.kernel.may_ask()


class _Parked(Exception):
    """The statement has let go of everything, and does not go on."""


class SharedSession(Session):
    """A session that tells what its statements touch."""

    engine: SharedEngine
    _parked = False

    def park(self) -> None:
        """Give up the run, whose outcome is that of another one: this session never goes on.

        Its statement has closed a ring. As long as whoever waits does so in the first statement of a YugabyteDB
        transaction at SERIALIZABLE, all that can come of a ring is that a statement starts again inside the server,
        with nothing: no locks, no writes, no snapshot. It stands where it stood before it came. So this run has the
        outcome of the one in which that statement comes only when it starts for the last time; who waited for it
        meanwhile comes later, too, and holds nothing that anybody could miss. Both are free to. That run has a restart
        less, and the one that has none is not given up. (Left out is only that the server gives up, after 60 of them.)

        The others go on to the end, for the search looks at their steps.
        """
        self.engine.kernel.redundant = self._parked = True
        self.interrupt(Restart(DEADLOCK))

    def _restart(self, tx: Transaction, mark: int, restart: Restart, retries: int) -> None:
        super()._restart(tx, mark, restart, retries)
        if self._parked:
            raise _Parked

    def _advance(self, fault: Exception | None) -> Result | SqlError | None:
        try:
            return super()._advance(fault)
        except _Parked:
            self.wait = self._steps = None
            return None

    def execute(self, sql: str, args: Sequence[object] = (), *, hold: bool = False) -> Any:
        """Run a text, and say what it touched."""
        tx = self.tx
        held = tx is not None and bool(tx.undo or tx.predicates or tx.ssi is not None or tx.waiters)
        outcome = super().execute(sql, args, hold=hold)
        self._look_for_times(sql)
        self._tell(sql, tx, held, outcome)
        return outcome

    def resume(self) -> None:
        """A wait is over."""
        self.engine.touch_locks()
        super().resume()

    def interrupt(self, fault: Exception) -> None:
        """A wait ends with a fault."""
        self.engine.touch_locks()
        super().interrupt(fault)

    def _look_for_times(self, sql: str) -> None:
        """The time of SQL's now() is a constant until a statement lets it decide something."""
        learned = self.engine.kernel.learned
        if sql not in learned.texts:
            learned.texts[sql] = None
            if lets_time_decide(sql, self.engine):
                learned.sql_time_decides = self.engine.kernel.learned_more = True

    def _tell(self, sql: str, before: Transaction | None, held: bool, outcome: object) -> None:
        engine, kernel = self.engine, self.engine.kernel
        statements = parse(sql)
        parsed = statements[0].parsed if len(statements) == 1 else None
        if isinstance(parsed, Begin):
            engine.touch_starts()
        elif isinstance(parsed, End):
            if held and parsed.commit:
                engine.touch_all()
            elif held:
                engine.touch_locks()
        elif isinstance(parsed, Query) and parsed.node.key not in ("create", "drop"):
            if isinstance(outcome, Result) and self._only_reads(statements[0], before):
                kernel.touch(engine.commits, write=False)
                return
            engine.touch_locks()
            if before is None:  # a statement by itself begins a transaction, and may end it
                engine.touch_all()
        else:
            engine.touch_all()

    def _only_reads(self, text: Any, before: Transaction | None) -> bool:
        """Whether a statement looks at what is committed, or its own, and leaves nothing behind."""
        plan = self.engine.plan(text)
        if not isinstance(plan, SelectPlan) or plan.lock:
            return False
        return before is None or (before.effective != SERIALIZABLE and not before.failed)


class ChoiceUniverse(Universe):
    """A database whose pools may run out."""

    def pool(self, region: str) -> Pool:
        """Open a region's pool of connections."""
        return ChoicePool(self, region)


class ChoicePool(Pool):
    """A pool that is an object only where it can run out.

    As long as fewer connections are asked for in a whole run than there are, no order of it can exhaust the pool.
    """

    def __init__(self, universe: Universe, region: str) -> None:
        super().__init__(universe, region)
        kernel = universe.kernel
        assert isinstance(kernel, ChoiceKernel)
        self._kernel = kernel
        self._mark = kernel.mark()
        self._lent = 0

    async def lend(self) -> Connection:
        """Wait for a connection."""
        self._lent += 1
        self._touch()
        return await super().lend()

    def give_back(self, connection: Connection) -> None:
        """Return a connection."""
        self._touch()
        super().give_back(connection)

    def _touch(self) -> None:
        learned = self._kernel.learned
        if learned.scarce_pools:
            self._kernel.touch(self._mark)
        elif self._lent > self._universe.settings.pool_size:
            learned.scarce_pools = True
            self._kernel.learned_more = True
