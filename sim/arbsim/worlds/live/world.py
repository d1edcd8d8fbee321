"""A live world: gives a design what it asks for on real servers, runs the workload through it, returns the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import asyncpg
from aiokafka.errors import KafkaError

from arbsim import cdc
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
from arbsim.worlds.api import Design, Resources, Topic
from arbsim.worlds.live.change_stream import Delivered, LiveStream
from arbsim.worlds.live.clients import KafkaSettings, LiveMessaging, Names
from arbsim.worlds.live.connect import Connect, Delivery
from arbsim.worlds.live.database import Change, DatabaseServer, Sandbox, close_pool, open_pool, told
from arbsim.worlds.live.endings import keep_quiet, quietly
from arbsim.worlds.live.events import OPERATION, Event, Log, now_ns, read_log
from arbsim.worlds.live.java import Java
from arbsim.worlds.live.kafka import server_name
from arbsim.worlds.live.links import Links
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.region import LiveRegion, Messaging
from arbsim.worlds.live.replay import DATABASE, replay
from arbsim.worlds.live.service import Assignment, Service, start_service
from arbsim.worlds.live.topics import RunTopics
from arbsim.worlds.virtual.region import Places
from arbsim.worlds.virtual.settings import Settings

CONNECTIONS_MOST = 300
"""Connections of all pools to the database: a server has a limit, and the relay (links.py) can hold about 500."""

CLIENT_TIMEOUT_S = 60.0
"""How long a client waits for its answer; after that its outcome is unknown."""

INTERRUPTED = "the run was interrupted; who was not answered has an unknown outcome"
"""The note of a run that Ctrl-C ended."""

_SETTLE_TIMEOUT_NS = 60_000_000_000
_QUIET_NS = 1_000_000_000
_POLL_S = 0.1
_WATCH_S = 0.25
_GIVE_UP_S = 5.0
_KILL_POLL_S = 0.01
_KILL_TIMEOUT_NS = 10_000_000_000
_CONNECTIONS_LEAST = 10
_REHEARSAL_CENTS = 10_000


@dataclass(frozen=True, slots=True)
class Servers:
    """What a run can use. Everything is reached through ``links``; administration goes past them."""

    database: DatabaseServer
    links: Links
    folder: Path
    """Where processes write their logs."""
    kafka: Mapping[str, str] | None
    """The address of each region's cluster, past the links; None where there is no Kafka."""
    no_kafka: str
    """Why there is none."""
    java: Java | None
    """What starts Kafka Connect for a run; there where Kafka is."""
    check: Callable[[], None]
    """Raises ServerUnavailable where a server that was started here has ended."""

    def database_from(self, region: str) -> DatabaseServer:
        """The database as a region reaches it: over its link."""
        return replace(self.database, host="127.0.0.1", port=self.links.port(region, DATABASE))


def pool_size(settings: Settings) -> int:
    """Connections that one region's clients may open, and its services: the scenario's, as far as there are enough."""
    return min(settings.database.pool_size, max(1, CONNECTIONS_MOST // (2 * len(settings.regions))))


def why_not(resources: Resources, servers: Servers) -> str | None:
    """Say why these servers cannot stand for what a design asks for; None where they can."""
    if resources.universes != "one":
        return (
            "it needs two databases that replicate to each other asynchronously (YugabyteDB xCluster);"
            " one PostgreSQL cannot stand for them"
        )
    if resources.dialect == "yugabyte":
        return "it asks for YugabyteDB's behaviour, and the server is PostgreSQL"
    if (resources.topics or resources.change_stream) and servers.kafka is None:
        return f"it needs Kafka: {servers.no_kafka}"
    return None


@dataclass(frozen=True, slots=True)
class KillService:
    """A region's service is killed (``kill -9``) at a time of the run, and started again at once."""

    region: str
    at_ns: int


def run_design(
    design: Design,
    card: DesignCard,
    workload: Workload,
    settings: Settings,
    servers: Servers,
    run: str,
    kills: Sequence[KillService] = (),
    delivery: Delivery = "at least once",
    kill_connector: Callable[[LiveStream], bool] | None = None,
    on_delivered: Callable[[Sequence[Delivered]], None] = lambda delivered: None,
) -> History:
    """Run one design on the workload in real time. ``run`` names what is made for it on the servers.

    ``delivery`` is that of the change stream, where the design has one; its connector is killed and started again at
    the scenario's times, or instead once ``kill_connector`` says so. ``on_delivered`` is told at the end what came on
    each side of MirrorMaker.

    Ctrl-C ends the run early: the history has a note of it, and who was not answered has an unknown outcome. Raises
    ServerUnavailable, and whatever the design raises that is no outcome.
    """
    world = _LiveWorld(
        design, card, workload, settings, servers, run, kills, delivery, kill_connector, on_delivered
    )
    return asyncio.run(world.run())


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
        kills: Sequence[KillService],
        delivery: Delivery,
        kill_connector: Callable[[LiveStream], bool] | None,
        on_delivered: Callable[[Sequence[Delivered]], None],
    ) -> None:
        self._design = design
        self._resources = design.resources()
        self._topics_asked = self._resources.topics
        if self._resources.change_stream:
            self._topics_asked += (Topic(cdc.TOPIC, partitions=cdc.PARTITIONS, mirrored=True),)
        self._workload = workload
        self._settings = settings
        self._servers = servers
        self._run = run
        self._kills = kills
        self._delivery = delivery
        self._kill_connector = kill_connector
        self._on_delivered = on_delivered
        self._history = History(card, workload)
        self._log = Log()
        self._start_ns = 0
        self._services: dict[str, Service] = {}
        self._stream: LiveStream | None = None
        self._over = False
        opening = {account: from_cents(cents) for account, cents in workload.accounts.items()}
        self._places = Places(settings.regions, settings.client_regions, settings.kafka_leader, opening)

    async def run(self) -> History:
        """Run the design; where a server or a service ends, do not wait for what will never come.

        Raises ServerUnavailable and ServiceFailed.
        """
        keep_quiet()
        body = asyncio.create_task(self._body())
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({body, watch}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # Ctrl-C: the run goes to its end, and tells what happened so far
            body.cancel()
        if watch.done():
            body.cancel()
            await asyncio.wait({body}, timeout=_GIVE_UP_S)
            watch.result()
        try:
            return await body
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            if not self._over:
                self._servers.check()
                for service in self._services.values():
                    service.check()
                if self._stream is not None:
                    self._stream.check()
            await asyncio.sleep(_WATCH_S)

    async def _body(self) -> History:
        """Make what the design needs, run the clients, read what came of it, and remove everything."""
        async with AsyncExitStack() as stack:
            try:
                await self._through(stack)
            finally:
                self._over = True  # whoever ends from here on is ended by us
        return self._history

    async def _through(self, stack: AsyncExitStack) -> None:
        sandbox = await self._sandbox(stack)
        topics = await self._topics(stack)
        if sandbox is not None and self._resources.change_stream:
            self._stream = self._make_stream(sandbox)
            await self._stream.open(stack)
        clients = {name: await self._region(stack, name) for name in self._settings.client_regions}
        if sandbox is not None:
            await sandbox.seed(self._workload.accounts)
        await self._start_services(stack)
        for client in clients.values():
            await self._design.connect(client)
        if sandbox is not None and topics is None and not self._services:
            await self._rehearse(sandbox, clients)
            await sandbox.seed(self._workload.accounts)
        if self._stream is not None:
            await self._stream.begin(self._workload.accounts)
        self._log.events.clear()
        self._start_ns = now_ns()
        await self._operate(clients)
        if self._services and not self._history.notes:
            await self._settle(topics, sandbox)
        self._history.quiet_ns = now_ns() - self._start_ns
        logs = {name: read_log(service.events) for name, service in self._services.items()}
        await self._read(sandbox, {"clients": self._log.events, **logs})

    async def _read(self, sandbox: Sandbox | None, logs: Mapping[str, Sequence[Event]]) -> None:
        """Make the history of what was noted and kept."""
        changes: list[Change] = []
        if sandbox is not None:
            try:
                changes = await sandbox.changes()
                self._history.finals[DATABASE] = await sandbox.finals()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise ServerUnavailable(f"{self._servers.database} went away: {told(error)}") from None
        if self._stream is not None:
            delivered = self._stream.delivered(changes, self._history.finals[DATABASE])
            self._history.count("change_events", delivered[0].changes)
            self._history.count("change_events_again", delivered[0].again)
            self._history.count("change_events_missing", delivered[0].missing)
            self._on_delivered(delivered)
        replay(self._history, logs, changes, self._start_ns)

    # -- what the design asked for -----------------------------------------------------------------

    async def _sandbox(self, stack: AsyncExitStack) -> Sandbox | None:
        if not self._resources.accounts_table:
            return None
        connection = await self._servers.database.connect()
        stack.push_async_callback(quietly, connection.close)
        sandbox = Sandbox(connection, self._run)
        stack.push_async_callback(quietly, sandbox.drop)
        tables = (self._settings.database.table, *self._resources.tables)
        await sandbox.create(tables, self._resources.check)
        return sandbox

    async def _region(self, stack: AsyncExitStack, name: str) -> LiveRegion:
        pool = None
        if self._resources.accounts_table:
            operations = sum(op.region == name for op in self._workload)
            most = pool_size(self._settings)
            least = min(most, max(operations, 1), _CONNECTIONS_LEAST)
            pool = await open_pool(
                self._servers.database_from(name), self._run, self._log, least=least, most=most
            )
            stack.push_async_callback(close_pool, pool)
        return LiveRegion(name, self._places, self._log, pool, self._messaging(stack, name), serves=False)

    def _messaging(self, stack: AsyncExitStack, name: str) -> Messaging | None:
        kafka = self._kafka(name)
        if kafka is None:
            return None
        operations = self._workload.operations
        messaging = LiveMessaging(name, *kafka, lambda number: operations[number - 1].region == name)
        stack.push_async_callback(quietly, messaging.close)
        return messaging

    def _kafka(self, region: str) -> tuple[Names, KafkaSettings] | None:
        """What a process of a region needs to reach the clusters; None where the design has no topic."""
        if not self._topics_asked:
            return None
        kafka, links = self._settings.kafka, self._servers.links
        return self._names(), KafkaSettings(
            {cluster: links.port(region, server_name(cluster)) for cluster in self._settings.regions},
            self._settings.kafka_leader,
            kafka.linger_ns // 1_000_000,
            max(1, kafka.fetch_max_wait_ns // 1_000_000),
            max(1, kafka.rebalance_ns // 1_000_000),
            kafka.max_poll_records,
        )

    def _names(self) -> Names:
        mirrored = frozenset(topic.name for topic in self._topics_asked if topic.mirrored)
        return Names(self._run, self._settings.regions, mirrored)

    async def _topics(self, stack: AsyncExitStack) -> RunTopics | None:
        """Make the design's topics, and wait until MirrorMaker keeps their copies."""
        if not self._topics_asked:
            return None
        settings = self._settings
        assert self._servers.kafka is not None
        topics = RunTopics(
            self._servers.kafka,
            settings.kafka_leader,
            settings.client_regions,
            self._names(),
            self._topics_asked,
        )
        await topics.open(stack)
        stack.push_async_callback(quietly, topics.delete)
        await topics.create(self._workload.accounts)
        await topics.mirrored()
        return topics

    def _make_stream(self, sandbox: Sandbox) -> LiveStream:
        """The connector beside the leader's cluster, reading over that region's link, and who watches it."""
        servers, settings, names = self._servers, self._settings, self._names()
        assert servers.java is not None
        assert servers.kafka is not None
        leader, cdc_settings = settings.kafka_leader, settings.cdc
        connect = Connect(
            servers.java,
            servers.kafka[leader],
            names.ours("connect"),
            servers.folder / f"{self._run}-connect",
            self._delivery,
            max(1, cdc_settings.offset_flush_interval_ns // 1_000_000),
        )
        sides = {leader: (servers.kafka[leader], names.real(cdc.TOPIC, "local"))}
        for region in settings.regions:
            if region != leader:
                sides[region] = (servers.kafka[region], names.real(f"{leader}.{cdc.TOPIC}", "local"))
        poll_ms = max(1, cdc_settings.poll_interval_ns // 1_000_000)
        source = servers.database_from(leader)
        return LiveStream(connect, source, poll_ms, sides, self._run, sandbox)

    # -- services ----------------------------------------------------------------------------------

    async def _start_services(self, stack: AsyncExitStack) -> None:
        """Start each region's services in a process of its own, and wait until all are ready."""
        stack.callback(self._end_services)
        if self._design.serves():
            for name in self._settings.regions:
                self._services[name] = self._service(name)
        for service in self._services.values():
            await service.ready()

    def _end_services(self) -> None:
        for service in self._services.values():
            service.child.kill()

    def _service(self, name: str) -> Service:
        folder = self._servers.folder
        assignment = Assignment(
            region=name,
            places=self._places,
            log=folder / f"{self._run}-{name}.events",
            database=self._servers.database_from(name),
            schema=self._run if self._resources.accounts_table else None,
            pool_most=pool_size(self._settings),
            kafka=self._kafka(name),
        )
        return start_service(self._design, assignment, folder / f"{self._run}-{name}.log")

    async def _settle(self, topics: RunTopics | None, sandbox: Sandbox | None) -> None:
        """Wait until everything has come everywhere and nobody has noted anything for a while."""
        deadline_ns = now_ns() + _SETTLE_TIMEOUT_NS
        sizes: list[int] = []
        since_ns = now_ns()
        try:
            while now_ns() < deadline_ns:
                seen = [service.size for service in self._services.values()]
                if self._stream is not None:
                    seen += [len(witness.came) for witness in self._stream.witnesses]
                if seen != sizes or not await self._come(topics, sandbox):
                    sizes, since_ns = seen, now_ns()
                elif now_ns() - since_ns > _QUIET_NS:
                    return
                await asyncio.sleep(_POLL_S)
        except asyncio.CancelledError:
            self._history.notes.append(INTERRUPTED)
            return
        self._history.notes.append(
            f"the services were still at work {_SETTLE_TIMEOUT_NS // 10**9} s after the last answer"
        )

    async def _come(self, topics: RunTopics | None, sandbox: Sandbox | None) -> bool:
        """Whether every copy has everything, and the change stream tells the table."""
        if topics is not None and not await topics.caught_up():
            return False
        return self._stream is None or sandbox is None or self._stream.told(await sandbox.finals())

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

    async def _kill(self, kill: KillService) -> None:
        """Kill a service and start it again. No await lies between: who watches sees no dead service."""
        await self._until(kill.at_ns)
        self._services[kill.region].child.kill()
        self._services[kill.region] = self._service(kill.region)
        self._history.count("service_kills")

    async def _restart_connector(self, stream: LiveStream) -> None:
        """Kill the connector's worker when it is to be killed, and start it again."""
        kill = self._kill_connector
        if kill is not None:
            last_ns = max(op.at_ns for op in self._workload)
            while not kill(stream):
                if now_ns() > self._start_ns + last_ns + _KILL_TIMEOUT_NS:
                    return
                await asyncio.sleep(_KILL_POLL_S)
        for at_ns in [0] if kill is not None else sorted(self._settings.cdc.restart_at_ns):
            await self._until(at_ns)
            self._history.count("connector_restarts")
            await stream.restart()

    async def _operate(self, clients: Mapping[str, LiveRegion]) -> None:
        """Let each client begin its operation at its time, and wait for all answers.

        What a client's task ends with that is no outcome ends the run at once: it is a bug.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for kill in self._kills:
                    tasks.create_task(self._kill(kill))
                if self._stream is not None:
                    tasks.create_task(self._restart_connector(self._stream))
                for op in self._workload:
                    await self._until(op.at_ns)
                    tasks.create_task(self._client(op, clients[op.region]))
        except asyncio.CancelledError:
            self._history.notes.append(INTERRUPTED)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _until(self, at_ns: int) -> None:
        """Wait for a time of the run."""
        wait_ns = self._start_ns + at_ns - now_ns()
        if wait_ns > 0:
            await asyncio.sleep(wait_ns / 1e9)

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
        except asyncpg.InterfaceError as error:
            if "closed" not in str(
                error
            ):  # the driver says the same of a wrong call; that is the design's fault
                raise
            return Unknown("the connection was closed")


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


def _cents(balance: Decimal | None) -> int | None:
    return None if balance is None else to_cents(balance)
