"""The servers that a run can use, what is known of them, and what they cannot stand for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arbsim.results import LinkFacts, ServerFacts
from arbsim.worlds.api import Resources
from arbsim.worlds.live.database import YUGABYTE, DatabaseServer
from arbsim.worlds.live.java import Java
from arbsim.worlds.live.kafka import server_name
from arbsim.worlds.live.links import Links
from arbsim.worlds.live.replay import DATABASE
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity
from arbsim.worlds.virtual.settings import Settings

OURS = f"arbsim_{secrets.token_hex(4)}"
"""In the name of everything that this process makes on servers. Nobody else's name has it: it is random."""

CONNECTIONS_MOST = 300
"""Connections of all pools to the database: a server has a limit, and the relay (links.py) can hold about 500."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What a run can use. Clients go over ``links`` where there is one; administration goes past them.

    The reasons are told where a design needs what is not there; empty where it is.
    """

    database: DatabaseServer | None
    links: Links
    folder: Path
    """Where processes write their logs."""
    kafka: Mapping[str, str] | None
    """The address of each region's cluster, past the links; None where there is no Kafka."""
    no_kafka: str
    java: Java | None
    """What starts Kafka Connect for a run; there where a change stream can be."""
    check: Callable[[], None]
    """Raises ServerUnavailable where a process that was started here has ended."""
    ask: Callable[[], None]
    """Raises ServerUnavailable where a server does not answer."""
    no_database: str = ""
    no_mirror: str = ""
    """Why nothing copies topics between the clusters."""
    no_stream: str = ""
    """Why no connector can read the database."""
    product: str = "PostgreSQL"
    """What the database is."""
    connections_most: int = CONNECTIONS_MOST
    """How many connections to the database all pools together may have."""
    replication: int = 1
    """Replicas of each topic."""
    copies: str = ""
    """What the name of a copy has before the name of the region that it comes from."""
    security: KafkaSecurity = NO_SECURITY
    """How all clusters are spoken to."""
    keep: bool = False
    """Whether what a run made stays on the servers."""

    def database_from(self, region: str) -> DatabaseServer | None:
        """The database as a region reaches it: over its link."""
        if self.database is None:
            return None
        return replace(self.database, host="127.0.0.1", port=self.links.port(region, DATABASE))

    def kafka_from(self, region: str) -> dict[str, str]:
        """Each cluster's address as a region reaches it: over its link, where brokers advertise one for it."""
        return {
            cluster: f"127.0.0.1:{self.links.port(region, server_name(cluster))}"
            if self.links.leads(region, server_name(cluster))
            else address
            for cluster, address in (self.kafka or {}).items()
        }

    def pool_size(self, settings: Settings) -> int:
        """Connections that one region's clients may open, and its services: the scenario's, if there are enough."""
        return pool_size(settings, self.connections_most)


@dataclass(frozen=True, slots=True)
class Stack:
    """Servers that are up, and what is known of them."""

    servers: Servers
    facts: tuple[ServerFacts, ...]
    links: tuple[LinkFacts, ...]


def pool_size(settings: Settings, most: int = CONNECTIONS_MOST) -> int:
    """Connections of one pool, where clients and services of every region have one and ``most`` is for all."""
    return min(settings.database.pool_size, max(1, most // (2 * len(settings.regions))))


def why_not(resources: Resources, servers: Servers) -> str | None:
    """Say why these servers cannot stand for what a design asks for; None where they can."""
    if resources.accounts_table and servers.database is None:
        return f"it needs a database: {servers.no_database}"
    if resources.universes != "one":
        return (
            "it needs two databases that replicate to each other asynchronously (YugabyteDB xCluster);"
            f" one {servers.product} cannot stand for them"
        )
    if resources.dialect is not None and (resources.dialect == "yugabyte") != (servers.product == YUGABYTE):
        asked = "YugabyteDB" if resources.dialect == "yugabyte" else "PostgreSQL"
        return f"it asks for {asked}'s behaviour, and the server is {servers.product}"
    if (resources.topics or resources.change_stream) and servers.kafka is None:
        return f"it needs Kafka: {servers.no_kafka}"
    if resources.change_stream and servers.no_stream:
        return f"it needs a change stream: {servers.no_stream}"
    if mirrors([resources]) and servers.no_mirror:
        return f"it needs topics copied between the clusters: {servers.no_mirror}"
    return None


def mirrors(needs: Sequence[Resources]) -> bool:
    """Whether topics are to be copied between clusters."""
    return streams(needs) or any(topic.mirrored for one in needs for topic in one.topics)


def streams(needs: Sequence[Resources]) -> bool:
    """Whether changes of the database are to be sent to Kafka."""
    return any(one.change_stream for one in needs)
