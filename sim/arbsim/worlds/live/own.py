"""Servers that people already have: asked what they are, used, and left as they were at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from arbsim.results import LinkFacts, ServerFacts
from arbsim.worlds.api import Resources
from arbsim.worlds.live.admission import knock, why_not_let_in
from arbsim.worlds.live.copying import start_copying
from arbsim.worlds.live.database import YUGABYTE, DatabaseServer, product_of, told
from arbsim.worlds.live.endings import keep_quiet, quietly
from arbsim.worlds.live.facts import connect_facts, database_links, facts_of_database
from arbsim.worlds.live.java import KAFKA_VERSION, Java, JavaMissing, find_java
from arbsim.worlds.live.kafka import server_name
from arbsim.worlds.live.links import Links
from arbsim.worlds.live.processes import Child, ServerUnavailable, locked_folder
from arbsim.worlds.live.pulse import Pulse
from arbsim.worlds.live.removal import remove
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity
from arbsim.worlds.live.servers import CONNECTIONS_MOST, OURS, Servers, Stack, mirrors, streams
from arbsim.worlds.live.watcher import LIMIT_S, Watcher
from arbsim.worlds.virtual.settings import Settings

_PREFIX = "arbsim-live-"
_ANSWER_S = 15.0
_REMOVAL_S = 5.0
_REPLICAS_MOST = 3
_CONNECTIONS_SPARE = 10
"""Connections that are left to others, and for administration."""

_BROKER_SETTINGS = (
    "min.insync.replicas",
    "auto.create.topics.enable",
    "group.initial.rebalance.delay.ms",
    "transaction.state.log.replication.factor",
)
_NO_LINK = "none: clients connect to what brokers advertise, so delays are the servers' own"


@dataclass(frozen=True, slots=True)
class OwnServers:
    """Where they are: Kafka's clusters by region, and the database. ``keep``: what runs made stays there.

    ``mirrored``: a MirrorMaker between them copies topics whose name holds MIRRORED; else arbsim starts one.
    ``start``: what helps where one does not answer. ``security``: how all clusters are spoken to.
    """

    kafka: Mapping[str, str] | None = None
    database: DatabaseServer | None = None
    keep: bool = False
    mirrored: bool = False
    start: str = ""
    security: KafkaSecurity = NO_SECURITY


@dataclass(frozen=True, slots=True)
class _Database:
    """What must be known of a database before it is used. ``no_stream``: why no connector can read it."""

    product: str
    connections: int
    no_stream: str


@contextmanager
def own_stack(
    settings: Settings,
    needs: Sequence[Resources],
    own: OwnServers,
    waiting_for: Callable[[str], None],
    tell: Callable[[str], None],
) -> Iterator[Stack]:
    """Ask the servers what they are, put links before the database, and remove at the end all that was made.

    ``tell`` is told what stayed. Raises ServerUnavailable.
    """
    waiting_for("the servers")
    known, clusters = asyncio.run(_ask(own))
    replication = min([_REPLICAS_MOST, *(int(one.settings["brokers"]) for one in clusters.values())])
    java, no_java = _java(needs, own)
    with ExitStack() as stack:
        watcher = stack.enter_context(_watched(own, waiting_for, tell))
        folder = stack.enter_context(locked_folder(_PREFIX))
        links = database_links(own.database, settings) if own.database is not None else []
        relays = stack.enter_context(Links(links, settings.seed, folder / "relay.log"))
        places = {server_name(region): address for region, address in (own.kafka or {}).items()}
        pulse = stack.enter_context(Pulse(places))
        children: list[Child] = [relays.child]
        facts = _clusters_facts(clusters, settings)
        if java is not None and not own.mirrored:
            waiting_for("MirrorMaker's connectors")
            children += _copying(stack, java, own, settings, replication, folder)
            facts.append(_COPYING)

        def check() -> None:
            pulse.check()
            for child in children:
                child.check()
            if watcher is not None:
                watcher.check()

        def ask() -> None:
            asyncio.run(_ask(own))

        servers = Servers(
            own.database,
            relays,
            folder,
            own.kafka,
            "no address was given; --kafka gives them",
            java,
            check,
            ask,
            no_database="no address was given; --dsn gives it",
            no_mirror="" if own.mirrored else no_java,
            no_stream=no_java or (known.no_stream if known is not None else ""),
            product=known.product if known is not None else "",
            connections_most=known.connections if known is not None else 0,
            replication=replication,
            copies="" if own.mirrored else f"{OURS}_",
            security=own.security,
            keep=own.keep,
        )
        measured: tuple[LinkFacts, ...] = ()
        if own.database is not None:
            waiting_for("answers over the links")
            of_database, measured = asyncio.run(facts_of_database(servers, settings))
            facts.insert(0, of_database)
        if streams(needs) and own.kafka is not None and own.database is not None and not servers.no_stream:
            facts.append(connect_facts(settings))
        yield Stack(servers, tuple(facts), measured)


@contextmanager
def _watched(
    own: OwnServers, waiting_for: Callable[[str], None], tell: Callable[[str], None]
) -> Iterator[Watcher | None]:
    """Remove everything at the end, and have it removed where there is no such end."""
    if own.keep:
        yield None
        tell(
            f"Left on the servers: what has {OURS} in its name. A replication slot fills the disk until it goes"
        )
        return
    watcher = Watcher(OURS, own.database, own.kafka or {}, own.security)
    try:
        yield watcher
    finally:
        waiting_for("the servers to be as they were")
        left = asyncio.run(_removed(own))
        if left:
            tell(
                f"Not yet removed; a process goes on trying for {LIMIT_S / 60:.0f} minutes: {', '.join(left)}"
            )
            watcher.take_over()
        else:
            watcher.dismiss()


async def _removed(own: OwnServers) -> list[str]:
    keep_quiet()
    return await remove(OURS, own.database, own.kafka or {}, own.security, limit_s=_REMOVAL_S)


def _java(needs: Sequence[Resources], own: OwnServers) -> tuple[Java | None, str]:
    """Java, where a design needs what runs on it; else why there is none."""
    if own.kafka is None or not mirrors(needs):
        return None, ""
    try:
        return find_java(), ""
    except JavaMissing as missing:
        return None, str(missing)


def _copying(
    stack: ExitStack, java: Java, own: OwnServers, settings: Settings, replication: int, folder: Path
) -> list[Child]:
    """Start what copies topics between the clusters."""
    assert own.kafka is not None
    sources = dict.fromkeys((*settings.client_regions, settings.kafka_leader))
    flows = [(source, target) for source in sources for target in settings.regions if source != target]
    home = folder / "mirror"
    return start_copying(stack, java, own.kafka, flows, OURS, f"{OURS}_", replication, home, own.security)


_COPYING = ServerFacts(
    name="MirrorMaker",
    product="Apache Kafka MirrorMaker 2's source connector",
    version=KAFKA_VERSION,
    settings={
        "started": "by arbsim, in a standalone worker beside each target; it makes no topic but the copies",
        "delivery": "at least once",
        "consumer.isolation.level": "read_committed",
    },
)


# -- asking --------------------------------------------------------------------------------------------


async def _ask(own: OwnServers) -> tuple[_Database | None, dict[str, ServerFacts]]:
    """What the servers are. Raises ServerUnavailable where one does not answer."""
    keep_quiet()
    try:
        clusters = {
            region: await cluster_facts(region, address, own.security)
            for region, address in (own.kafka or {}).items()
        }
        return (None if own.database is None else await _database(own.database)), clusters
    except ServerUnavailable as problem:
        raise ServerUnavailable(f"{problem}\n{own.start}".rstrip()) from None


async def _database(database: DatabaseServer) -> _Database:
    connection = await database.connect()
    try:
        product, _ = product_of(await connection.fetchval("SELECT version()"))
        limit = int(await connection.fetchval("SHOW max_connections"))
        taken = await connection.fetchval("SELECT count(*) FROM pg_stat_activity")
        wal_level = await connection.fetchval("SHOW wal_level")
        may = await connection.fetchval(
            "SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user"
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ServerUnavailable(f"{database}: {told(error)}") from None
    finally:
        await quietly(connection.close)
    no_stream = ""
    if product == YUGABYTE:
        no_stream = "YugabyteDB's connectors for Kafka Connect are in no package registry"
    elif wal_level != "logical":
        no_stream = f"the database's wal_level is {wal_level}, and a change stream needs logical"
    elif not may:
        no_stream = f"the database's user {database.user} may not make replication slots"
    spare = limit - taken - _CONNECTIONS_SPARE
    return _Database(product, max(1, min(CONNECTIONS_MOST, spare)), no_stream)


async def cluster_facts(region: str, address: str, security: KafkaSecurity) -> ServerFacts:
    """What a cluster is. Raises ServerUnavailable with what is wrong, where it does not let us in."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address, **security.client())
    try:
        async with asyncio.timeout(_ANSWER_S):
            await knock(address, security)
            await admin.start()
            brokers = (await admin.describe_cluster())["brokers"]
            wanted = ConfigResource(ConfigResourceType.BROKER, str(brokers[0]["node_id"]))
            (answer,) = await admin.describe_configs([wanted])
    except (KafkaError, OSError, TimeoutError, LookupError) as error:
        raise ServerUnavailable(f"Kafka {region} at {address} {why_not_let_in(error, security)}") from None
    finally:
        await quietly(admin.close)
    return ServerFacts(
        name=server_name(region),
        product="Kafka",
        version="(version not told)",
        settings={
            "link": _NO_LINK,
            "brokers": str(len(brokers)),
            **_spoken(security),
            **_broker_settings(answer),
        },
    )


def _spoken(security: KafkaSecurity) -> dict[str, str]:
    """How the cluster is spoken to, without who does."""
    told_of = {"security.protocol": security.protocol, "sasl.mechanism": security.mechanism}
    return {name: value for name, value in told_of.items() if value}


def _broker_settings(answer: Any) -> dict[str, str]:
    """The settings that matter, where the broker tells them."""
    told_of: dict[str, str] = {}
    for resource in answer.resources:
        values = {entry[0]: entry[1] for entry in resource[4]}
        told_of |= {name: values[name] for name in _BROKER_SETTINGS if values.get(name) is not None}
    return told_of


def _clusters_facts(clusters: Mapping[str, ServerFacts], settings: Settings) -> list[ServerFacts]:
    """The facts of all clusters; the leader's is the stretched one as well."""
    stretched = {"stands_for": "the stretched cluster of all regions as well"}
    return [
        facts.model_copy(update=stretched) if region == settings.kafka_leader else facts
        for region, facts in clusters.items()
    ]
