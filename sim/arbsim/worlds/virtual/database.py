"""The database as clients reach it: connections, round trips, quorums, and waiting for locks.

The SQL engine decides what a statement does; this module decides when. Where a wide-area trip happens follows
YugabyteDB's documentation ("Transactional I/O path", "Single-row transactions"): a client talks to its gateway
node; a statement goes from there to the leader; a write needs a quorum for its intents and one for its commit;
the leader preference holds for the transaction's status too. With the postgres dialect the client talks to the
primary itself, and COMMIT waits for the nearest synchronous standby.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import simpy

from arbsim.history import BLIND, OPENING, EffectKind
from arbsim.model import Cents, from_cents, to_cents
from arbsim.worlds.virtual.kernel import NS_PER_S, Future, Kernel, Trace
from arbsim.worlds.virtual.network import Network
from arbsim.worlds.virtual.recorder import Recorder
from arbsim.worlds.virtual.records import Record
from arbsim.worlds.virtual.settings import DatabaseSettings
from arbsim.worlds.virtual.sql.engine import Engine, Session, Waiting
from arbsim.worlds.virtual.sql.errors import SqlError
from arbsim.worlds.virtual.sql.locks import Sleep, Trip
from arbsim.worlds.virtual.sql.results import Commit, Result
from arbsim.worlds.virtual.sql.storage import Version
from arbsim.worlds.virtual.sql.transactions import SERIALIZABLE

_ISOLATIONS = {
    None: "BEGIN;",
    "read_committed": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "repeatable_read": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
}
_READS = ("SELECT", "select", "SHOW", "show")


ACCOUNTS = "acct"
"""The table whose balances are judged: ``id`` names the account, ``balance`` is its money."""


class Universe:
    """One database: a leader region that decides, replicas that a write waits for, the pools of the regions."""

    def __init__(
        self,
        recorder: Recorder,
        network: Network,
        settings: DatabaseSettings,
        engine: Engine,
        placement: Placement,
        store: str = "database",
    ) -> None:
        self.kernel: Kernel = recorder.kernel
        self.recorder = recorder
        self.network = network
        self.settings = settings
        self.engine = engine
        self.placement = placement
        self.distributed = engine.dialect == "yugabyte"
        self.deadlock_ns = settings.deadlock_probe_ns if self.distributed else settings.deadlock_timeout_ns
        self._replica_links = [network.link(placement.leader, replica) for replica in placement.replicas]
        self.watch = TableWatch(recorder, engine, store)
        self.connections: dict[Session, Connection] = {}
        engine.on_wait.append(lambda waiting: self.connections[waiting.session].began_to_wait(waiting))

    def pool(self, region: str) -> Pool:
        """Open a region's pool of connections."""
        return Pool(self, region)

    def quorum_ns(self, trace: Trace) -> int:
        """How long the leader waits until a majority of the replicas has a write."""
        if not self._replica_links:
            return 0
        answers = [link.delay_ns(trace, 2) for link in self._replica_links]
        needed = self.placement.answers_needed
        return min(answers) if needed == 1 else sorted(answers)[needed - 1]


class TableWatch:
    """Writes into the history what statements read and what commits changed in the accounts table."""

    def __init__(self, recorder: Recorder, engine: Engine, store: str) -> None:
        self._recorder = recorder
        self.store = store
        self._code = recorder.history.store_code(store)
        self._engine = engine
        self._balance = -1
        self.followed = False
        """Whether a change stream tells others of the transactions."""
        # The history's row of each version, by the version's number.
        self._rows = array("i")
        engine.on_commit.append(self.committed)

    def create(self, tables: Sequence[str], check: bool) -> None:
        """Create the tables; without ``check`` the accounts table has no CHECK constraint."""
        for text in tables:
            self._execute(text)
        table = self._engine.tables[ACCOUNTS]
        self._balance = table.schema.names.index("balance")
        if not check:
            table.schema = replace(table.schema, checks=[], plans={})

    def seed(self, opening: Mapping[int, Cents]) -> None:
        """Insert the opening balances; nothing of it enters the history."""
        for account, cents in opening.items():
            self._execute("INSERT INTO acct (id, balance) VALUES ($1, $2)", account, from_cents(cents))

    def _execute(self, statement: str, *args: object) -> None:
        answer = self._engine.session("setup").execute(statement, args)
        if isinstance(answer, SqlError):
            raise to_exception(answer)

    def observe(self, trace: Trace, answer: Result) -> None:
        """Note the balances that a statement read for the operation at work.

        A statement that waited reads a row again; what it goes by is the last version that it read.
        """
        work = answer.work
        if trace.operation:
            last = {version.key[0]: version for version in work.reads if version.schema.name == ACCOUNTS}
            for account, version in last.items():
                cents = to_cents(version.values[self._balance])
                self._recorder.saw(trace, self._code, account, self._row(version.id), cents)
        if work.server_retries:
            self._recorder.history.retried(trace.operation, server=work.server_retries)

    def seen(self, answer: Result) -> tuple[int, int, Cents] | None:
        """Account, row in the history and cents of the version of an account that a statement went by."""
        for version in reversed(answer.work.reads):
            if version.schema.name == ACCOUNTS:
                return version.key[0], self._row(version.id), to_cents(version.values[self._balance])
        return None

    def committed(self, commit: Commit) -> None:
        """Note the balances that a transaction changed, and its place in the order of commits."""
        trace = commit.trace
        if not isinstance(trace, Trace) or not trace.operation:
            return
        self._recorder.history.place(trace.operation, commit.sequence)
        if self.followed:
            self._recorder.operation_of_transaction[commit.xid] = trace.operation
        for change in commit.changes:
            version = change.version
            if version.schema.name == ACCOUNTS and not version.deleted:
                base = BLIND if version.base_id is None else self._row(version.base_id)
                cents = to_cents(version.values[self._balance])
                row = self._recorder.wrote(trace.operation, version.key[0], self._code, cents, base)
                self._remember(version.id, row)

    def received(self, operation: int, origin: Version, wins: bool) -> None:
        """Note a balance that replication brought from another database, and install it where it wins."""
        account = origin.key[0]
        cents = to_cents(origin.values[self._balance])
        if not wins:
            self._recorder.adopted(operation, account, self._code, cents, EffectKind.SUPERSEDED)
            return
        version = self._engine.install(ACCOUNTS, origin.values, None)
        self._remember(version.id, self._recorder.adopted(operation, account, self._code, cents))

    def finals(self) -> dict[int, Cents]:
        """The committed balances."""
        return {row["id"]: to_cents(row["balance"]) for row in self._engine.table(ACCOUNTS)}

    def _row(self, version_id: int) -> int:
        return self._rows[version_id] if version_id < len(self._rows) else OPENING

    def _remember(self, version_id: int, row: int) -> None:
        rows = self._rows
        missing = version_id - len(rows)
        if missing > 0:
            rows.extend([OPENING] * missing)
        if missing >= 0:
            rows.append(row)
        else:
            rows[version_id] = row


class Placement:
    """Where the leader and its replicas are, and how many answers make a majority.

    With one region the three replicas are in three of its zones. With two, a majority is both. A server that is not
    replicated waits for nobody.
    """

    def __init__(self, leader: str, regions: Sequence[str], replicated: bool = True) -> None:
        others = tuple(region for region in regions if region != leader) or (leader, leader)
        self.leader = leader
        self.replicas = others if replicated else ()
        self.answers_needed = (len(self.replicas) + 1) // 2


class Pool:
    """A region's connections: at most ``pool_size``, handed out in order of asking."""

    def __init__(self, universe: Universe, region: str) -> None:
        self._universe = universe
        self._region = region
        self._free: list[Connection] = []
        self._opened = 0
        self._queue: deque[Future[Connection]] = deque()

    def acquire(self, *, timeout: float | None = None) -> Lease:
        """Return an async context manager that lends a connection."""
        return Lease(self, timeout)

    async def lend(self) -> Connection:
        """Wait for a connection. The one used last is lent first."""
        if self._free:
            return self._free.pop()
        if self._opened < self._universe.settings.pool_size:
            self._opened += 1
            return Connection(self._universe, self._region)
        ticket: Future[Connection] = self._universe.kernel.future()
        self._queue.append(ticket)
        return await ticket

    def give_back(self, connection: Connection) -> None:
        """Return a connection; the first in the queue gets it."""
        if self._queue:
            self._queue.popleft().set(connection)
        else:
            self._free.append(connection)

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run a statement on a connection of the pool; return its tag."""
        async with self.acquire() as connection:
            return await connection.execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Record]:
        """Run a statement on a connection of the pool; return its rows."""
        async with self.acquire() as connection:
            return await connection.fetch(query, *args, timeout=timeout)

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Record | None:
        """Run a statement on a connection of the pool; return its first row."""
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *args, timeout=timeout)

    async def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any:
        """Run a statement on a connection of the pool; return one column of its first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(query, *args, column=column, timeout=timeout)


class Lease:
    """Lends a connection for as long as its body runs."""

    __slots__ = ("_connection", "_pool", "_timeout")

    def __init__(self, pool: Pool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout

    async def __aenter__(self) -> Connection:
        kernel = self._pool._universe.kernel
        if self._timeout is None:
            self._connection = await self._pool.lend()
        else:
            async with kernel.timeout_ns(round(self._timeout * NS_PER_S)):
                self._connection = await self._pool.lend()
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        self._pool.give_back(self._connection)


class Connection:
    """One connection to a gateway node, and through it to the leader."""

    def __init__(self, universe: Universe, region: str) -> None:
        placement = universe.placement
        nearest = universe.distributed and universe.settings.gateway == "nearest"
        gateway = region if nearest else placement.leader
        self._universe = universe
        self._kernel = universe.kernel
        self._session: Session = universe.engine.session(region)
        self._path = Path(universe.network, region, gateway, placement.leader, universe.distributed)
        self._wrote = False
        self._waits: dict[int, int] = {}  # since when it waits for which operation
        universe.connections[self._session] = self

    # -- asyncpg's interface ---------------------------------------------------------------------------

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run a statement; return its tag, such as "UPDATE 1"."""
        return (await self._run(query, args, timeout)).tag

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Record]:
        """Run a statement; return its rows."""
        result = await self._run(query, args, timeout)
        places = {name: place for place, name in enumerate(result.columns)}
        return [Record(places, row) for row in result.rows]

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Record | None:
        """Run a statement; return its first row, or None."""
        rows = await self.fetch(query, *args, timeout=timeout)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any:
        """Run a statement; return one column of its first row, or None where there is no row."""
        rows = (await self._run(query, args, timeout)).rows
        return rows[0][column] if rows else None

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Transaction:
        """Return an async context manager that begins a transaction, and commits or rolls it back."""
        begin = _ISOLATIONS[isolation] + (" READ ONLY" if readonly else "")
        return Transaction(self, begin)

    # -- when things happen ----------------------------------------------------------------------------

    async def begin(self, statement: str) -> None:
        """Begin a transaction: a round trip to the gateway, nothing more."""
        self._wrote = False
        self._session.trace = trace = self._kernel.trace
        answer = self._session.execute(statement)
        if isinstance(answer, SqlError):
            raise to_exception(answer)
        await self._kernel.sleep_ns(self._path.gateway_ns(trace))

    async def commit(self) -> None:
        """Commit. What was written becomes visible at the leader once a quorum has the commit."""
        kernel, path = self._kernel, self._path
        trace = kernel.trace
        if self._wrote:
            if kernel.steps is not None:
                kernel.steps.sends(trace, "COMMIT")
            await kernel.sleep_ns(path.there_ns(trace) + self._universe.quorum_ns(trace))
            answer = self._session.execute("COMMIT")
            sent_ns = kernel.now_ns
            await kernel.sleep_ns(path.back_ns(trace))
            if kernel.steps is not None:
                kernel.steps.returned(trace, self._universe.watch.store, sent_ns)
        else:
            answer = self._session.execute("COMMIT")
            await kernel.sleep_ns(path.gateway_ns(trace))
        if isinstance(answer, SqlError):
            raise to_exception(answer)

    async def rollback(self) -> None:
        """Roll back: the locks are free once the leader hears of it."""
        trace = self._kernel.trace
        steps = self._kernel.steps
        if steps is not None:
            steps.sends(trace, "ROLLBACK")
        await self._kernel.sleep_ns(self._path.there_ns(trace))
        self._session.execute("ROLLBACK")
        if steps is not None:
            steps.rolled_back(trace, self._universe.watch.store)
        await self._kernel.sleep_ns(self._path.back_ns(trace))

    async def _run(self, query: str, args: Sequence[object], timeout: float | None) -> Result:
        if timeout is not None:
            async with self._kernel.timeout_ns(round(timeout * NS_PER_S)):
                return await self._run(query, args, None)
        kernel, universe, session = self._kernel, self._universe, self._session
        trace = kernel.trace
        universe.recorder.history.executed(query)
        steps = kernel.steps
        if steps is not None:
            steps.sends(trace, query)
        await kernel.sleep_ns(self._path.there_ns(trace) + universe.settings.statement_ns)
        session.trace = trace
        alone = not session.in_transaction and not query.startswith(_READS)
        if alone:
            self._wrote = False
        self._waits.clear()
        answer = session.execute(query, args, hold=alone)
        if isinstance(answer, Waiting):
            answer = await self._wait(answer, trace)
        if isinstance(answer, SqlError):
            universe.recorder.history.retried(trace.operation, server=answer.server_retries)
            if steps is not None:
                steps.refused(trace, universe.watch.store, answer.sqlstate)
            await kernel.sleep_ns(self._path.back_ns(trace))
            raise to_exception(answer)
        universe.watch.observe(trace, answer)
        if steps is not None:
            steps.executed(trace, universe.watch.store, answer, universe.watch.seen(answer))
        delay_ns = self._replication_ns(answer, trace)
        if alone:
            await self._commit_alone(answer, delay_ns, trace)
            delay_ns = 0
        back_ns = self._path.back_ns(trace)
        await kernel.sleep_ns(delay_ns + back_ns)
        if steps is not None:
            steps.returned(trace, universe.watch.store, kernel.now_ns - back_ns)
        return answer

    async def _commit_alone(self, answer: Result, delay_ns: int, trace: Trace) -> None:
        """Commit a statement that is a transaction of its own; its locks are held until then."""
        if self._wrote:
            if not answer.work.fast_path:
                delay_ns += self._universe.quorum_ns(trace)
            await self._kernel.sleep_ns(delay_ns)
        done = self._session.execute("COMMIT")
        if isinstance(done, SqlError):
            await self._kernel.sleep_ns(self._path.back_ns(trace))
            raise to_exception(done)

    def _replication_ns(self, answer: Result, trace: Trace) -> int:
        """How long a statement's writes and locks take after it has run at the leader.

        YugabyteDB reads the row in one call and writes it in another, whose intents need a quorum; the
        single-row fast path does both in one. PostgreSQL replicates nothing before COMMIT.
        """
        work = answer.work
        locks = work.kind == "lock" and answer.rowcount > 0
        if not work.writes and not locks:
            return 0
        self._wrote = self._wrote or bool(work.writes)
        if not self._universe.distributed:
            return 0
        quorum_ns = self._universe.quorum_ns(trace)
        tx = self._session.tx
        if work.fast_path or (work.writes and tx is not None and tx.effective == SERIALIZABLE):
            return quorum_ns  # the fast path has no second call, and a serializable write has made it
        return quorum_ns + self._path.leader_ns(trace)

    async def _wait(self, waiting: Waiting, trace: Trace) -> Result | SqlError:
        """Wait for a lock, or until the write call is at the leader."""
        universe = self._universe
        finished: Future[Result | SqlError] = self._kernel.future()
        waiting.then(finished.set)
        try:
            answer = await finished
        except simpy.Interrupt:
            waiting.cancel()
            raise
        history, now_ns = universe.recorder.history, universe.recorder.now_ns
        if trace.operation:
            for blocker, start_ns in self._waits.items():
                history.wait(trace.operation, blocker, start_ns, now_ns)
        return answer

    def began_to_wait(self, waiting: Waiting) -> None:
        """A statement can wait several times: for its own write call, and for one lock after another."""
        universe, kernel, wait = self._universe, self._kernel, waiting.session.wait
        if isinstance(wait, Trip):
            trace = waiting.session.trace
            assert isinstance(trace, Trace)
            arrived = wait.arrive
            kernel.call_ns(self._path.leader_ns(trace), lambda _: arrived())
            return
        blocker = wait.first_blocker() if wait is not None else None
        if blocker is None:  # a pause after a deadlock, which the engine ends by itself
            return
        trace = blocker.session.trace
        if isinstance(trace, Trace) and trace.operation:
            self._waits.setdefault(trace.operation, universe.recorder.now_ns)
            if kernel.steps is not None:
                kernel.steps.blocked(waiting.session.trace, universe.watch.store, trace.operation)

        assert wait is not None
        kernel.call_ns(universe.deadlock_ns, DeadlockCheck(universe, waiting, wait.sleep))


class DeadlockCheck:
    """Looks for a deadlock some time after a sleep began, if it still lasts."""

    __slots__ = ("_sleep", "_universe", "_waiting")

    def __init__(self, universe: Universe, waiting: Waiting, sleep: Sleep) -> None:
        self._universe = universe
        self._waiting = waiting
        self._sleep = sleep

    def __call__(self, _: object) -> None:
        """Look, and look again later where that is how the database does it."""
        session, universe = self._waiting.session, self._universe
        universe.engine.detect_deadlock(self._waiting, self._sleep)
        # PostgreSQL looks once; YugabyteDB sends probes as long as the wait lasts.
        if universe.distributed and session.wait is self._sleep[0]:
            universe.kernel.call_ns(universe.deadlock_ns, self)

    def ready(self) -> bool:
        """Whether it would find one."""
        return self._universe.engine.deadlocked(self._waiting, self._sleep)


class Path:
    """The way of a client's messages: to its gateway node, and from there to the leader."""

    __slots__ = ("_back", "_forward", "_onward", "_returning")

    def __init__(self, network: Network, region: str, gateway: str, leader: str, distributed: bool) -> None:
        self._forward = network.link(region, gateway)
        self._back = network.link(gateway, region)
        # A PostgreSQL primary is its own gateway.
        self._onward = network.link(gateway, leader) if distributed else None
        self._returning = network.link(leader, gateway)

    def gateway_ns(self, trace: Trace) -> int:
        """From the client to its gateway and back."""
        return self._forward.delay_ns(trace, 2)

    def leader_ns(self, trace: Trace) -> int:
        """From the gateway to the leader and back."""
        return self._onward.delay_ns(trace, 2) if self._onward is not None else 0

    def there_ns(self, trace: Trace) -> int:
        """From the client to the leader."""
        there_ns = self._forward.delay_ns(trace)
        return there_ns + self._onward.delay_ns(trace) if self._onward is not None else there_ns

    def back_ns(self, trace: Trace) -> int:
        """From the leader to the client."""
        back_ns = self._back.delay_ns(trace)
        return back_ns + self._returning.delay_ns(trace) if self._onward is not None else back_ns


class Transaction:
    """asyncpg's transaction: commits at the end of its body, rolls back where the body raises."""

    __slots__ = ("_begin", "_connection")

    def __init__(self, connection: Connection, begin: str) -> None:
        self._connection = connection
        self._begin = begin

    async def __aenter__(self) -> Self:
        await self._connection.begin(self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            await self._connection.commit()
        elif kind is not GeneratorExit:
            await self._connection.rollback()

    async def start(self) -> None:
        """Begin the transaction."""
        await self._connection.begin(self._begin)

    async def commit(self) -> None:
        """Commit it."""
        await self._connection.commit()

    async def rollback(self) -> None:
        """Roll it back."""
        await self._connection.rollback()


def to_exception(error: SqlError) -> Exception:
    """Return asyncpg's exception for an error of the engine, with the fields that the server would send."""
    import asyncpg

    fields = {"S": "ERROR", "V": "ERROR", "C": error.sqlstate, "M": error.message}
    optional = {"n": error.constraint, "t": error.table, "D": error.detail}
    fields.update({code: text for code, text in optional.items() if text})
    exception: Exception = asyncpg.PostgresError.new(fields)
    return exception
