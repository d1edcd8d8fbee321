"""A design's own code on a real server, one statement at a time: an execution for the search through every order.

Each client is a task that runs the design. Before it sends a statement it waits until it is chosen; then everybody
waits until the server is quiet, as `arbsim conform` judges it: every client is at its next statement, done, or blocked
by another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import asyncpg

from arbsim.conform.quiet import TELL_WAITS, LockJudge, ToldWaits
from arbsim.model import Accepted, Fate, Operation, Workload, fate_of, from_cents, to_cents
from arbsim.scenario.models import ACCT_TABLE
from arbsim.worlds.api import Design, Region
from arbsim.worlds.exhaustive.steps import Precedes, Step

End = tuple[tuple[tuple[int, int], ...], tuple[Fate, ...], tuple[int | None, ...]]
"""The final balances, what became of each operation, and the balance that its client was told, in cents."""

_DEADLOCK_TIMEOUT_S = 0.008


class Server:
    """The connections of all runs: one for each client, and one that asks who waits for whom."""

    def __init__(self, dsn: str, clients: int) -> None:
        self.loop = asyncio.new_event_loop()
        self._dsn = dsn
        self.told = ToldWaits()
        self.admin = self.run(asyncpg.connect(dsn))
        self.connections = [self.run(self._client()) for _ in range(clients)]

    async def _client(self) -> Any:
        connection = await asyncpg.connect(self._dsn, connection_class=Chosen)
        await connection.execute(f"SET deadlock_timeout = '{_DEADLOCK_TIMEOUT_S * 1000:.0f}ms'; {TELL_WAITS}")
        self.told.listen(connection)
        return connection

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        for connection in (*self.connections, self.admin):
            self.run(connection.close())
        self.loop.close()


class Chosen(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose every statement waits for its client to be chosen, BEGIN and COMMIT too."""

    client: Client | None = None

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        if self.client is None:
            return cast(str, await super().execute(query, *args, timeout=timeout))
        return cast(str, await self.client.send(super().execute(query, *args, timeout=timeout)))

    async def fetchval(self, query: str, *args: object, column: int = 0, timeout: float | None = None) -> Any:
        assert self.client is not None
        return await self.client.send(super().fetchval(query, *args, column=column, timeout=timeout))


@dataclass
class Client:
    """One operation. It is at a gate, or its statement is under way, or it is done."""

    operation: Operation
    connection: Any
    name: str
    gate: asyncio.Future[None] | None = None
    statement: asyncio.Task[Any] | None = None
    task: asyncio.Task[Any] | None = None

    async def send(self, work: Coroutine[Any, Any, Any]) -> Any:
        self.gate = asyncio.get_running_loop().create_future()
        try:
            await self.gate
        except asyncio.CancelledError:
            work.close()
            raise
        self.gate = None
        self.statement = asyncio.ensure_future(work)
        return await self.statement

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        yield self.connection


@dataclass
class Here:
    """What a database design sees of its region."""

    database: Client

    async def sleep(self, seconds: float) -> None:
        """Only order counts."""

    def retried(self) -> None:
        """Nobody counts here."""


@dataclass
class RealRun:
    """One run of a design on a real server, for the search: a step is a statement."""

    server: Server
    design: Design
    workload: Workload
    clients: list[Client] = field(default_factory=list)
    redundant: bool = False

    def __post_init__(self) -> None:
        self.server.run(self._begin())

    async def _begin(self) -> None:
        admin = self.server.admin
        await admin.execute("DROP TABLE IF EXISTS acct")
        await admin.execute(ACCT_TABLE)
        for account, cents in self.workload.accounts.items():
            await admin.execute("INSERT INTO acct (id, balance) VALUES ($1, $2)", account, from_cents(cents))
        for operation, connection in zip(self.workload, self.server.connections, strict=True):
            connection.client = client = Client(operation, connection, f"op {operation.id}")
            client.task = asyncio.ensure_future(self.design.decide(operation, cast(Region, Here(client))))
            self.clients.append(client)
        self.server.told.forget()
        pids = {one.name: one.connection.get_server_pid() for one in self.clients}
        self._judge = LockJudge(admin, pids, _DEADLOCK_TIMEOUT_S, self.server.told)
        await self._settle()

    async def _settle(self) -> None:
        """Wait until every client is at a gate, done, or blocked by another one."""
        while True:
            under_way = {one.name: one.statement for one in self.clients if one.statement is not None}
            await self._judge.quiet(cast(Mapping[str, asyncio.Task[Any]], under_way))
            answered = [one for one in self.clients if one.statement is not None and one.statement.done()]
            for one in answered:
                one.statement = None
            while any(
                one.statement is None and one.gate is None and not _task(one).done() for one in self.clients
            ):
                await asyncio.sleep(0)
            if not answered:
                return

    def stand_for(self, precedes: Precedes) -> None:
        raise AssertionError("a real server takes one order at a time: only a plain search can drive it")

    def choices(self) -> list[int]:
        return [one.operation.id for one in self.clients if one.gate is not None]

    def take(self, name: int, *answers: int) -> Step:
        self.server.run(self._send(self.clients[name - 1]))
        return Step(name)

    async def _send(self, client: Client) -> None:
        assert client.gate is not None
        gate, client.gate = client.gate, None
        gate.set_result(None)
        await asyncio.sleep(0)
        while client.statement is None and not _task(client).done():
            await asyncio.sleep(0)
        await self._settle()

    def finish(self) -> End:
        assert all(_task(one).done() for one in self.clients), "a client waits for nobody"
        outcomes = [_task(one).result() for one in self.clients]
        told = [one.balance if isinstance(one, Accepted) else None for one in outcomes]
        rows = self.server.run(self.server.admin.fetch("SELECT id, balance FROM acct ORDER BY id"))
        return (
            tuple((row["id"], to_cents(row["balance"])) for row in rows),
            tuple(fate_of(one) for one in outcomes),
            tuple(None if one is None else to_cents(one) for one in told),
        )


def _task(client: Client) -> asyncio.Task[Any]:
    assert client.task is not None
    return client.task
