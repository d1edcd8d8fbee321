"""Servers that arbsim starts itself, on loopback, and throws away at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

from arbsim.results import LinkFacts, ServerFacts
from arbsim.worlds.api import Resources, Topic
from arbsim.worlds.live.clients import Names
from arbsim.worlds.live.connect import Connect
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.facts import connect_facts, database_links, facts_of_database
from arbsim.worlds.live.java import (
    KAFKA_VERSION,
    Java,
    JavaMissing,
    find_java,
    keep_archive,
)
from arbsim.worlds.live.kafka import Broker, Flow, server_name, start_mirror_maker
from arbsim.worlds.live.links import Link, Links
from arbsim.worlds.live.postgres import EmbeddedPostgres
from arbsim.worlds.live.processes import Child, locked_folder, reserved_ports
from arbsim.worlds.live.servers import Servers, Stack, mirrors, pool_size, streams
from arbsim.worlds.live.topics import RunTopics
from arbsim.worlds.virtual.settings import Settings

_PREFIX = "arbsim-live-"


@contextmanager
def local_stack(
    settings: Settings, needs: Sequence[Resources], waiting_for: Callable[[str], None]
) -> Iterator[Stack]:
    """Start what the designs need, side by side; ``waiting_for`` is told which server is being waited for.

    Raises ServerUnavailable.
    """
    java, no_kafka = _java(needs)
    with ExitStack() as stack:
        folder = stack.enter_context(locked_folder(_PREFIX))
        # Ports must be known before the relay, and the relay's before the brokers: they advertise it.
        own_port, *ports = stack.enter_context(reserved_ports(1 + _ports_of_brokers(settings.regions)))
        brokers = _brokers(settings.regions, folder, ports) if java is not None else {}
        postgres = EmbeddedPostgres(_postgres_options(settings), own_port)
        database = DatabaseServer(
            postgres.host, postgres.port, postgres.user, postgres.database, postgres.password
        )
        waiting_for("the links between the regions")
        links = stack.enter_context(
            _links(
                settings, database, {server_name(name): broker for name, broker in brokers.items()}, folder
            )
        )
        if java is not None:
            _start_brokers(stack, java, brokers, settings, links)
        waiting_for("PostgreSQL")  # the brokers come up meanwhile
        stack.enter_context(postgres)
        children = [postgres.child, links.child, *(broker.child for broker in brokers.values())]

        def check() -> None:
            for child in children:
                child.check()

        kafka = {name: broker.address for name, broker in brokers.items()} or None
        servers = Servers(database, links, folder, kafka, no_kafka, java, check, ask=check)
        waiting_for("Kafka" if brokers else "answers over the links")
        of_database, measured = asyncio.run(_all_answer(brokers, servers, settings))
        facts: list[ServerFacts] = []
        if java is not None:
            children += _start_mirroring(stack, java, brokers, settings, links, folder, needs)
            facts += _facts_of_kafka(brokers, settings, java, needs)
        yield Stack(servers, (of_database, *facts), measured)


def train(waiting_for: Callable[[str], None]) -> None:
    """Start and stop the Java programs once in an orderly way: they leave archives of their loaded classes.

    Raises JavaMissing and ServerUnavailable.
    """
    java = find_java()
    regions = ("east", "west")
    with ExitStack() as stack:
        folder = stack.enter_context(locked_folder(_PREFIX))
        ports = stack.enter_context(reserved_ports(_ports_of_brokers(regions) + 1))
        brokers = _brokers(regions, folder, ports[1:])
        waiting_for("Starting and stopping Kafka, MirrorMaker and Connect once")
        for place, broker in enumerate(brokers.values()):
            no_links = {region: broker.port_for(region) for region in regions}
            broker.start(java, no_links, train=place == 0)
            stack.callback(_end, java, broker.child, "broker", place == 0)
        asyncio.run(_all_ready(brokers))
        flows = [Flow("east", "west", brokers["east"].address)]
        mirror = start_mirror_maker(java, brokers, flows, folder / "mirror", train=True)
        stack.callback(_end, java, mirror, "mirrormaker", True)
        asyncio.run(_copied(brokers, mirror))
        connect = Connect(
            java, brokers["east"].address, "arbsim", folder / "connect", ports[0], "at least once", 1000
        )
        connect.start(train=True)
        stack.callback(_end, java, connect.child, "connect", True)
        asyncio.run(connect.ready())


async def _copied(brokers: Mapping[str, Broker], mirror: Child) -> None:
    """Let a record come through MirrorMaker, so that all that it uses is loaded."""
    names = Names("arbsim_training", tuple(brokers), frozenset({"topic"}))
    addresses = {name: broker.address for name, broker in brokers.items()}
    async with AsyncExitStack() as stack:
        topics = RunTopics(addresses, "east", ("east",), names, (Topic("topic", mirrored=True),))
        await topics.open(stack)
        await topics.create({})
        await topics.mirrored()
    mirror.check()


def _java(needs: Sequence[Resources]) -> tuple[Java | None, str]:
    """Java, where a design needs Kafka; else why there is none."""
    if not any(one.topics or one.change_stream for one in needs):
        return None, "no design asked for it"
    try:
        return find_java(), ""
    except JavaMissing as missing:
        return None, str(missing)


def _postgres_options(settings: Settings) -> dict[str, str]:
    connections = 20 + 2 * len(settings.regions) * pool_size(settings)
    return {
        "wal_level": "logical",
        "max_connections": str(connections),
        "track_commit_timestamp": "on",  # so that a history knows when a transaction committed
        "wal_sender_timeout": "5s",
    }


def _links(
    settings: Settings, database: DatabaseServer, brokers: Mapping[str, Broker], folder: Path
) -> Links:
    """Relays for the ways that clients, services and MirrorMaker take."""
    links = database_links(database, settings)
    links += [
        Link(
            region,
            name,
            broker.port_for(region),
            settings.round_trip_ns[region, broker.region] // 2,
            settings.jitter_ppm,
        )
        for region in settings.regions
        for name, broker in brokers.items()
    ]
    return Links(links, settings.seed, folder / "relay.log")


# -- Kafka ---------------------------------------------------------------------------------------------


def _ports_of_brokers(regions: Sequence[str]) -> int:
    return (2 + len(regions)) * len(regions)


def _brokers(regions: Sequence[str], folder: Path, ports: Sequence[int]) -> dict[str, Broker]:
    each = 2 + len(regions)
    return {
        region: Broker(
            region, folder / f"broker-{number}", ports[number * each : (number + 1) * each], regions
        )
        for number, region in enumerate(regions)
    }


def _start_brokers(
    stack: ExitStack, java: Java, brokers: Mapping[str, Broker], settings: Settings, links: Links
) -> None:
    """Start all of them at once, and wait for none."""
    for broker in brokers.values():
        ports = {region: links.port(region, server_name(broker.region)) for region in settings.regions}
        broker.start(java, ports, train=False)
        stack.callback(broker.child.kill)


def _start_mirroring(
    stack: ExitStack,
    java: Java,
    brokers: Mapping[str, Broker],
    settings: Settings,
    links: Links,
    folder: Path,
    needs: Sequence[Resources],
) -> list[Child]:
    """Start MirrorMaker where a topic is to be mirrored to somewhere. Return its process."""
    sources = dict.fromkeys((*settings.client_regions, settings.kafka_leader))
    flows = [
        Flow(source, target, f"127.0.0.1:{links.port(target, server_name(source))}")
        for source in sources
        for target in settings.regions
        if source != target
    ]
    if not flows or not mirrors(needs):
        return []
    mirror = start_mirror_maker(java, brokers, flows, folder / "mirror", train=False)
    stack.callback(mirror.kill)
    return [mirror]


async def _all_ready(brokers: Mapping[str, Broker]) -> None:
    await asyncio.gather(*(broker.ready() for broker in brokers.values()))


async def _all_answer(
    brokers: Mapping[str, Broker], servers: Servers, settings: Settings
) -> tuple[ServerFacts, tuple[LinkFacts, ...]]:
    """Ask the database over the links while the brokers come up, for that is mostly waiting; then measure the links."""
    brokers_up = asyncio.create_task(_all_ready(brokers))
    return await facts_of_database(servers, settings, brokers_up)


def _end(java: Java, child: Child, name: str, train: bool) -> None:
    """End a program; one in training ends in order, and leaves its archive."""
    if train:
        child.stop(30)
        keep_archive(java, name)
    else:
        child.kill()


def _facts_of_kafka(
    brokers: Mapping[str, Broker], settings: Settings, java: Java, needs: Sequence[Resources]
) -> Iterator[ServerFacts]:
    for name in brokers:
        stretched = (
            "the stretched cluster of all regions as well: one broker, so acks=all waits for no replica"
            if name == settings.kafka_leader
            else None
        )
        told = {"mode": "KRaft, one broker", "replication factor": "1", "Java": java.version}
        yield ServerFacts(
            name=server_name(name),
            product="Apache Kafka",
            version=KAFKA_VERSION,
            stands_for=stretched,
            settings=told,
        )
    if mirrors(needs):
        told = {
            "flows": "one process; for each flow it reads over the target's link to the source",
            "delivery": "at least once",
            "consumer.isolation.level": "read_committed",
        }
        yield ServerFacts(
            name="MirrorMaker", product="Apache Kafka MirrorMaker 2", version=KAFKA_VERSION, settings=told
        )
    if streams(needs):
        yield connect_facts(settings)
