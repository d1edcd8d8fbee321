"""A live world: gives a design what it asks for on real servers, runs the workload through it, returns the history."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
from aiokafka.errors import KafkaError

from arbsim.history import History
from arbsim.model import (
    Accepted,
    DesignCard,
    Fate,
    Kind,
    Operation,
    Outcome,
    Unknown,
    Workload,
    fate_of,
    from_cents,
    to_cents,
)
from arbsim.worlds.api import Design, Resources
from arbsim.worlds.live.database import DatabaseServer, Sandbox, close_pool, open_pool
from arbsim.worlds.live.events import OPERATION, Log, now_ns
from arbsim.worlds.live.links import Links
from arbsim.worlds.live.region import LiveRegion, Places
from arbsim.worlds.live.replay import DATABASE, replay
from arbsim.worlds.virtual.settings import Settings

POOL_MOST = 50
"""Connections that one region's clients or services may open, whatever the scenario says: a server has a limit."""

CLIENT_TIMEOUT_S = 60.0
"""How long a client waits for its answer; after that its outcome is unknown."""

INTERRUPTED = "the run was interrupted; who was not answered has an unknown outcome"
"""The note of a run that Ctrl-C ended."""

_CONNECTIONS_LEAST = 10
_REHEARSAL_CENTS = 10_000


@dataclass(frozen=True, slots=True)
class Servers:
    """What a run can use. Everything is reached through ``links``; administration goes past them."""

    database: DatabaseServer
    links: Links


def why_not(resources: Resources, servers: Servers) -> str | None:
    """Say why these servers cannot stand for what a design asks for; None where they can."""
    if resources.universes != "one":
        return (
            "it needs two databases that replicate to each other asynchronously (YugabyteDB xCluster);"
            " one PostgreSQL cannot stand for them"
        )
    if resources.dialect == "yugabyte":
        return "it asks for YugabyteDB's behaviour, and the server is PostgreSQL"
    if resources.topics or resources.change_stream:
        return "it needs Kafka, and there is none here"
    return None


def run_design(
    design: Design, card: DesignCard, workload: Workload, settings: Settings, servers: Servers, run: str
) -> History:
    """Run one design on the workload in real time. ``run`` names what is made for it on the servers.

    Ctrl-C ends the run early: the history has a note of it, and who was not answered has an unknown outcome. Raises
    ServerUnavailable, and whatever the design raises that is no outcome.
    """
    return asyncio.run(_LiveWorld(design, card, workload, settings, servers, run).run())


class _LiveWorld:
    """Everything that exists in one run."""

    def __init__(
        self,
        design: Design,
        card: DesignCard,
        workload: Workload,
        settings: Settings,
        servers: Servers,
        run: str,
    ) -> None:
        self._design = design
        self._resources = design.resources()
        self._workload = workload
        self._settings = settings
        self._servers = servers
        self._run = run
        self._history = History(card, workload)
        self._log = Log()
        self._start_ns = 0
        opening = {account: from_cents(cents) for account, cents in workload.accounts.items()}
        self._places = Places(settings.regions, settings.client_regions, settings.kafka_leader, opening)

    async def run(self) -> History:
        """Make what the design needs, run the clients, read what came of it, and remove everything."""
        async with AsyncExitStack() as stack:
            sandbox = await self._sandbox(stack)
            clients = {name: await self._region(stack, name) for name in self._settings.client_regions}
            if sandbox is not None:
                if not self._resources.topics:
                    await self._rehearse(sandbox, clients)
                await sandbox.seed(self._workload.accounts)
            for client in clients.values():
                await self._design.connect(client)
            self._log.events.clear()
            self._start_ns = now_ns()
            await self._operate(clients)
            self._history.quiet_ns = now_ns() - self._start_ns
            changes = []
            if sandbox is not None:
                changes = await sandbox.changes()
                self._history.finals[DATABASE] = await sandbox.finals()
            replay(self._history, {"clients": self._log.events}, changes, self._start_ns)
        return self._history

    # -- what the design asked for -----------------------------------------------------------------

    async def _sandbox(self, stack: AsyncExitStack) -> Sandbox | None:
        if not self._resources.accounts_table:
            return None
        connection = await self._servers.database.connect()
        stack.push_async_callback(_close, connection)
        sandbox = Sandbox(connection, self._run)
        stack.push_async_callback(sandbox.drop)
        tables = (self._settings.database.table, *self._resources.tables)
        await sandbox.create(tables, self._resources.check)
        return sandbox

    async def _region(self, stack: AsyncExitStack, name: str) -> LiveRegion:
        pool = None
        if self._resources.accounts_table:
            operations = sum(op.region == name for op in self._workload)
            most = min(self._settings.database.pool_size, POOL_MOST)
            least = min(most, max(operations, 1), _CONNECTIONS_LEAST)
            server = self._through_link(name)
            pool = await open_pool(server, self._run, self._log, least=least, most=most)
            stack.push_async_callback(close_pool, pool)
        return LiveRegion(name, self._places, self._log, pool, None, serves=False)

    def _through_link(self, region: str) -> DatabaseServer:
        database = self._servers.database
        port = self._servers.links.port(region, DATABASE)
        return DatabaseServer("127.0.0.1", port, database.user, database.database, database.password)

    async def _rehearse(self, sandbox: Sandbox, clients: Mapping[str, LiveRegion]) -> None:
        """Let every open connection do every kind of operation once, on accounts that are then removed.

        The first time a connection meets a statement it pays one more round trip to prepare it. Services that have
        been up for a while do not, and the model does not either.
        """
        kinds = sorted({op.kind for op in self._workload})
        rehearsals: list[tuple[LiveRegion, list[Operation]]] = []
        accounts = 0
        for name, client in clients.items():
            connections: int = client.database.get_size()  # type: ignore[attr-defined]
            operations = []
            for _ in range(connections):
                accounts += 2
                to_account = accounts if Kind.TRANSFER in kinds else None
                operations.append(Operation(accounts, 0, name, kinds[0], accounts - 1, 1, to_account))
            rehearsals.append((client, operations))
        await sandbox.seed(dict.fromkeys(range(1, accounts + 1), _REHEARSAL_CENTS))
        for kind in kinds:
            await asyncio.gather(
                *(
                    self._design.decide(_as_kind(op, kind, kinds.index(kind), accounts), client)
                    for client, operations in rehearsals
                    for op in operations
                )
            )

    # -- the run -----------------------------------------------------------------------------------

    async def _operate(self, clients: Mapping[str, LiveRegion]) -> None:
        """Let each client begin its operation at its time, and wait for all answers."""
        tasks: list[asyncio.Task[None]] = []
        try:
            for op in self._workload:
                wait_ns = self._start_ns + op.at_ns - now_ns()
                if wait_ns > 0:
                    await asyncio.sleep(wait_ns / 1e9)
                _raise_first(tasks)
                tasks.append(asyncio.create_task(self._client(op, clients[op.region])))
            await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            self._history.notes.append(INTERRUPTED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _client(self, op: Operation, region: LiveRegion) -> None:
        """One client: invoke, decide, write down what it was told."""
        OPERATION.set(op.id)
        self._log.add("invoke")
        try:
            outcome = await self._outcome(op, region)
        except asyncio.CancelledError:
            self._log.add("answer", Fate.UNKNOWN.value, None, "interrupted")
            raise
        told = outcome.balance if isinstance(outcome, Accepted) else None
        reason = "" if isinstance(outcome, Accepted) else outcome.reason
        self._log.add("answer", fate_of(outcome).value, _cents(told), reason)
        self._log.add("decided")

    async def _outcome(self, op: Operation, region: LiveRegion) -> Outcome:
        """What the design decides; unknown where no answer came, or the connection went."""
        deadline = asyncio.timeout(CLIENT_TIMEOUT_S)
        try:
            async with deadline:
                return await self._design.decide(op, region)
        except TimeoutError:
            if not deadline.expired():
                raise
            return Unknown(f"no answer in {CLIENT_TIMEOUT_S:g} s")
        except (OSError, asyncpg.PostgresConnectionError, KafkaError) as error:
            return Unknown(type(error).__name__)


def _as_kind(op: Operation, kind: Kind, round_: int, accounts: int) -> Operation:
    """The same rehearsal as another kind of operation, with an id that none had before."""
    return Operation(
        op.id + round_ * (accounts + 1),
        0,
        op.region,
        kind,
        op.account,
        0 if kind is Kind.READ else op.amount_cents,
        op.to_account if kind is Kind.TRANSFER else None,
    )


def _raise_first(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Raise what a client's task ended with, where it is no outcome: a run with a bug need not go on."""
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _cents(balance: Decimal | None) -> int | None:
    return None if balance is None else to_cents(balance)


async def _close(connection: Any) -> None:
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close(timeout=5)
