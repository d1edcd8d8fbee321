"""What one run needs on real servers: what is planned, and how it is made there and removed again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property

import asyncpg

from arbsim import cdc
from arbsim.model import Workload, from_cents
from arbsim.worlds.api import Design, Resources, Topic
from arbsim.worlds.live.change_stream import LiveStream
from arbsim.worlds.live.clients import KafkaSettings, LiveMessaging, Names
from arbsim.worlds.live.connect import Connect, Delivery
from arbsim.worlds.live.database import Sandbox, close_pool, open_pool, told
from arbsim.worlds.live.endings import quietly
from arbsim.worlds.live.events import Log
from arbsim.worlds.live.processes import ServerUnavailable, reserved_ports
from arbsim.worlds.live.region import LiveRegion, Messaging
from arbsim.worlds.live.servers import Servers
from arbsim.worlds.live.topics import RunTopics
from arbsim.worlds.virtual.region import Places
from arbsim.worlds.virtual.settings import Settings

_CONNECTIONS_LEAST = 10


@dataclass(frozen=True)
class Plan:
    """What is run, and where. ``run`` is in the name of everything that is made for it on the servers."""

    design: Design
    workload: Workload
    settings: Settings
    servers: Servers
    run: str

    @cached_property
    def resources(self) -> Resources:
        """What the design asks for."""
        return self.design.resources()

    @cached_property
    def topics(self) -> tuple[Topic, ...]:
        """The design's topics, and that of its change stream."""
        if self.resources.change_stream:
            return (*self.resources.topics, Topic(cdc.TOPIC, partitions=cdc.PARTITIONS, mirrored=True))
        return self.resources.topics

    @cached_property
    def places(self) -> Places:
        """What clients and services know of the regions and the accounts."""
        settings = self.settings
        opening = {account: from_cents(cents) for account, cents in self.workload.accounts.items()}
        return Places(settings.regions, settings.client_regions, settings.kafka_leader, opening)

    @cached_property
    def names(self) -> Names:
        """How topics, groups and transactional ids are called on the brokers."""
        mirrored = frozenset(topic.name for topic in self.topics if topic.mirrored)
        return Names(self.run, self.settings.regions, mirrored, self.servers.copies)

    def kafka(self, region: str) -> tuple[Names, KafkaSettings] | None:
        """What a process of a region needs to reach the clusters; None where the design has no topic."""
        if not self.topics:
            return None
        kafka = self.settings.kafka
        return self.names, KafkaSettings(
            self.servers.kafka_from(region),
            self.topics,
            self.settings.kafka_leader,
            kafka.linger_ns // 1_000_000,
            max(1, kafka.fetch_max_wait_ns // 1_000_000),
            max(1, kafka.rebalance_ns // 1_000_000),
            kafka.max_poll_records,
            self.servers.security,
        )


async def make_sandbox(plan: Plan, stack: AsyncExitStack) -> Sandbox | None:
    """Make the tables; None where the design asked for none."""
    if not plan.resources.accounts_table:
        return None
    database = plan.servers.database
    assert database is not None
    connection = await database.connect()
    stack.push_async_callback(quietly, connection.close)
    sandbox = Sandbox(connection, plan.run)
    if not plan.servers.keep:
        stack.push_async_callback(quietly, sandbox.drop)
    try:
        await sandbox.create((plan.settings.database.table, *plan.resources.tables), plan.resources.check)
        await sandbox.watch()
    except (OSError, asyncpg.PostgresError) as error:
        raise ServerUnavailable(f"{database} does not make the run's tables: {told(error)}") from None
    return sandbox


async def make_topics(plan: Plan, stack: AsyncExitStack) -> RunTopics | None:
    """Make the design's topics, and wait until MirrorMaker keeps their copies; None where it asked for none."""
    if not plan.topics:
        return None
    settings = plan.settings
    assert plan.servers.kafka is not None
    topics = RunTopics(
        plan.servers.kafka,
        settings.kafka_leader,
        settings.client_regions,
        plan.names,
        plan.topics,
        plan.servers.replication,
        plan.servers.security,
    )
    await topics.open(stack)
    if not plan.servers.keep:
        stack.push_async_callback(quietly, topics.delete)
    await topics.create(plan.workload.accounts)
    await topics.mirrored()
    return topics


async def make_clients(plan: Plan, stack: AsyncExitStack, log: Log) -> dict[str, LiveRegion]:
    """Each region as its clients see it: a pool where there are tables, Kafka's clients where there are topics."""
    return {name: await _client_region(plan, stack, log, name) for name in plan.settings.client_regions}


async def _client_region(plan: Plan, stack: AsyncExitStack, log: Log, name: str) -> LiveRegion:
    pool = None
    if plan.resources.accounts_table:
        operations = sum(op.region == name for op in plan.workload)
        most = plan.servers.pool_size(plan.settings)
        least = min(most, max(operations, 1), _CONNECTIONS_LEAST)
        database = plan.servers.database_from(name)
        assert database is not None
        pool = await open_pool(database, plan.run, log, least=least, most=most)
        stack.push_async_callback(close_pool, pool)
    return LiveRegion(name, plan.places, log, pool, _messaging(plan, stack, name), serves=False)


def _messaging(plan: Plan, stack: AsyncExitStack, name: str) -> Messaging | None:
    kafka = plan.kafka(name)
    if kafka is None:
        return None
    operations = plan.workload.operations
    messaging = LiveMessaging(name, *kafka, lambda number: operations[number - 1].region == name)
    stack.push_async_callback(quietly, messaging.close)
    return messaging


def make_stream(plan: Plan, stack: AsyncExitStack, sandbox: Sandbox, delivery: Delivery) -> LiveStream:
    """The connector beside the leader's cluster, reading over that region's link, and who watches it."""
    servers, names = plan.servers, plan.names
    assert servers.java is not None
    assert servers.kafka is not None
    leader, settings = plan.settings.kafka_leader, plan.settings.cdc
    connect = Connect(
        servers.java,
        servers.kafka[leader],
        names.ours("connect"),
        servers.folder / f"{plan.run}-connect",
        stack.enter_context(reserved_ports(1))[0],
        delivery,
        max(1, settings.offset_flush_interval_ns // 1_000_000),
        servers.replication,
        servers.security,
    )
    sides = {leader: (servers.kafka[leader], names.real(cdc.TOPIC, "local"))}
    for region in plan.settings.regions:
        if region != leader:
            sides[region] = (servers.kafka[region], names.real(f"{leader}.{cdc.TOPIC}", "local"))
    poll_ms = max(1, settings.poll_interval_ns // 1_000_000)
    source = servers.database_from(leader)
    assert source is not None
    return LiveStream(
        connect, source, poll_ms, sides, plan.run, sandbox, keep=servers.keep, security=servers.security
    )
