"""Where the servers of docker-compose.yml are, read from that file. Nothing is started here.

The file is the one place for names and ports. Kafka clients connect to what a broker advertises, so a broker has a
listener for the clients of each region: the advertised port is that of a relay, which this machine must run, and the
relay leads to the published port. Only the listener OWN crosses no relay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.own import OwnServers

CLIENT_REGIONS = ("east", "west")
REPLICA_REGIONS = ("east", "west", "central")
"""Where YugabyteDB and the stretched cluster have their replicas; central serves no clients."""

LEADER = "east"
"""The region that YugabyteDB's leaders prefer, and whose Kafka gets the change stream."""

_FILE = "docker-compose.yml"
_YSQL_PORT = 5433
_CONNECT_PORT = 8083


class ComposeFileError(ValueError):
    """The compose file lacks something that arbsim needs; the text says what, and in which service."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A broker's listener for the clients of one region: a relay on ``advertised`` has to lead to ``published``."""

    advertised: str
    published: str


@dataclass(frozen=True, slots=True)
class Broker:
    """One Kafka broker. ``own`` is its address without a relay; ``listeners`` are by region of the clients."""

    region: str
    own: str
    listeners: Mapping[str, Listener]


@dataclass(frozen=True, slots=True)
class ComposeStack:
    """Addresses on this machine, each ``host:port`` unless said otherwise.

    ``clusters`` has the one broker of each region's own cluster, ``stretched`` the brokers of the cluster over all
    regions, ``databases`` YugabyteDB's node in each region, ``dsns`` the same as connection strings (authentication
    is off, so they have no password). ``connect_url`` is Kafka Connect's REST interface.
    """

    clusters: Mapping[str, Broker]
    stretched: Mapping[str, Broker]
    databases: Mapping[str, str]
    connect_url: str

    @property
    def dsns(self) -> dict[str, str]:
        """The database's connection strings by region of the node."""
        return {region: f"postgresql://yugabyte@{at}/yugabyte" for region, at in self.databases.items()}

    @property
    def bootstrap(self) -> dict[str, str]:
        """Each region's cluster without a relay, for administration."""
        return {region: broker.own for region, broker in self.clusters.items()}

    @property
    def stretched_bootstrap(self) -> str:
        """The brokers of the stretched cluster without a relay, separated by commas."""
        return ",".join(broker.own for broker in self.stretched.values())


def compose_file() -> Path:
    """The compose file: in an installed package beside this module, in a checkout at the top."""
    packed = Path(__file__).with_name("stack") / _FILE
    return packed if packed.is_file() else Path(__file__).parents[4] / _FILE


def compose_stack(path: Path | None = None) -> ComposeStack:
    """Read the addresses. Raises ComposeFileError, and OSError where the file cannot be read."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = path or compose_file()
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        services = document["services"]
    except (YAMLError, TypeError, KeyError):
        raise ComposeFileError(f"{path.name}: not a compose file with services") from None
    servers = _Services(path.name, services)
    return ComposeStack(
        clusters={region: servers.broker(f"kafka-{region}", region) for region in CLIENT_REGIONS},
        stretched={region: servers.broker(f"kafka-stretched-{region}", region) for region in REPLICA_REGIONS},
        databases={region: servers.published(f"yugabyte-{region}", _YSQL_PORT) for region in REPLICA_REGIONS},
        connect_url=f"http://{servers.published('connect', _CONNECT_PORT)}",
    )


def compose_servers(regions: Sequence[str], leader: str, keep: bool) -> OwnServers:
    """The stack as servers that are there: the node of YugabyteDB in the leader's region, Kafka in each region.

    Its MirrorMaker copies what runs want copied. Raises ComposeFileError where a region is none of the file's.
    """
    stack = compose_stack()
    if not set(regions) <= set(stack.clusters):
        raise ComposeFileError(
            f"{_FILE} has Kafka in {' and '.join(stack.clusters)}; the scenario's regions are {', '.join(regions)}"
        )
    host, _, port = stack.databases[leader].rpartition(":")
    return OwnServers(
        {region: stack.clusters[region].own for region in regions},
        DatabaseServer(host, int(port), "yugabyte", "yugabyte"),
        keep,
        mirrored=True,
        start="the servers of docker-compose.yml must be up: docker compose up --detach",
    )


@dataclass(frozen=True, slots=True)
class _Services:
    file: str
    services: Mapping[str, Any]

    def published(self, name: str, target: int) -> str:
        """The address on this machine of a container's port, from the form ``address:published:target``."""
        for port in self._service(name).get("ports", ()):
            address, _, inside = str(port).rpartition(":")
            if inside == str(target) and address.count(":") == 1:
                return address
        raise ComposeFileError(f'{self.file}: {name} has no "127.0.0.1:<port>:{target}" among its ports')

    def broker(self, name: str, region: str) -> Broker:
        listening = self._listeners(name, "KAFKA_LISTENERS")
        advertised = self._listeners(name, "KAFKA_ADVERTISED_LISTENERS")

        def listener(clients: str) -> Listener:
            key = clients.upper()
            try:
                inside = int(listening[key].rpartition(":")[2])
                return Listener(advertised[key], self.published(name, inside))
            except (KeyError, ValueError):
                raise ComposeFileError(f"{self.file}: {name} has no listener {key}") from None

        return Broker(
            region, listener("own").published, {clients: listener(clients) for clients in CLIENT_REGIONS}
        )

    def _listeners(self, name: str, variable: str) -> dict[str, str]:
        """Listeners as Kafka writes them: ``NAME://host:port,NAME://host:port``."""
        text = str(self._service(name).get("environment", {}).get(variable, ""))
        pairs = (one.strip().partition("://") for one in text.split(","))
        return {key: at for key, _, at in pairs}

    def _service(self, name: str) -> Mapping[str, Any]:
        try:
            service: Mapping[str, Any] = self.services[name]
        except (KeyError, TypeError):
            raise ComposeFileError(f"{self.file}: there is no service {name}") from None
        return service
