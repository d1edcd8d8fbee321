"""The servers that a run can use, and what they cannot stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from arbsim.worlds.api import Resources
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.java import Java
from arbsim.worlds.live.links import Links
from arbsim.worlds.live.replay import DATABASE
from arbsim.worlds.virtual.settings import Settings

CONNECTIONS_MOST = 300
"""Connections of all pools to the database: a server has a limit, and the relay (links.py) can hold about 500."""


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
