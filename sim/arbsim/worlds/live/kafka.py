"""Kafka brokers on loopback, one for each region's cluster, and MirrorMaker 2 between them.

A broker is its own controller (KRaft). It has a listener for every region, whose advertised port is that region's
link to it, so a client that nobody changed stays on its link; one more listener crosses no link, for administration
and for MirrorMaker beside its target.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from arbsim.worlds.live.java import Java, run_tool
from arbsim.worlds.live.processes import Child, ServerUnavailable

_BROKER_MAIN = "kafka.Kafka"
_MIRROR_MAIN = "org.apache.kafka.connect.mirror.MirrorMaker"
_START_TIMEOUT_S = 90.0
_POLL_S = 0.03

MIRRORED = "-mirrored-"
"""What the name of a topic holds that MirrorMaker is to copy."""


def server_name(cluster: str) -> str:
    """The name of a region's cluster among the servers that links lead to."""
    return f"Kafka {cluster}"


class Broker:
    """One broker, which is a whole cluster."""

    def __init__(self, region: str, home: Path, ports: Sequence[int], regions: Sequence[str]) -> None:
        """``ports``: the controller's, the one for administration, then one for each region."""
        self.region = region
        self._home = home
        self._controller, self._own, *from_regions = ports
        self._ports = dict(zip(regions, from_regions, strict=True))
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """Where administration connects to: past all links."""
        return f"127.0.0.1:{self._own}"

    def port_for(self, region: str) -> int:
        """The port that a region's link leads to."""
        return self._ports[region]

    @property
    def child(self) -> Child:
        """Its process. It must have been started."""
        assert self._child is not None
        return self._child

    def start(self, java: Java, links: Mapping[str, int], train: bool) -> None:
        """Lay out formatted storage and start; ``links`` has the port of each region's link."""
        self._home.mkdir(parents=True)
        data = self._home / "data"
        shutil.copytree(_formatted(java), data)
        (data / "meta.properties").write_text(
            f"version=1\nnode.id=1\ncluster.id={_identity(self.region)}\n"
            f"directory.id={_identity('directory of ' + self.region)}\n",
            encoding="ascii",
        )
        settings = self._home / "server.properties"
        settings.write_text(properties(self._settings(links, data)), encoding="utf-8")
        log = self._home / "broker.log"
        name = f"broker of {self.region}"
        self._child = java.start(name, _BROKER_MAIN, [settings], log, heap="192m", train=train)

    def _settings(self, links: Mapping[str, int], data: Path) -> dict[str, object]:
        names = {region: f"REGION{number}" for number, region in enumerate(self._ports)}
        listeners = [f"CONTROLLER://127.0.0.1:{self._controller}", f"OWN://127.0.0.1:{self._own}"]
        advertised = [f"OWN://127.0.0.1:{self._own}"]
        for region, port in self._ports.items():
            listeners.append(f"{names[region]}://127.0.0.1:{port}")
            advertised.append(f"{names[region]}://127.0.0.1:{links[region]}")
        protocols = [f"{name}:PLAINTEXT" for name in ("CONTROLLER", "OWN", *names.values())]
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "OWN",
            "listener.security.protocol.map": ",".join(protocols),
            "log.dirs": data,
            **_BROKER_SETTINGS,
        }

    async def ready(self) -> None:
        """Return once it names itself a live broker. Raises ServerUnavailable."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            self.child.check()
            try:
                # Once somebody listens; the client would complain to the log of every attempt before.
                _, writer = await asyncio.open_connection("127.0.0.1", self._own)
                writer.close()
                async with asyncio.timeout(5):
                    if await _brokers_of(self.address):
                        return
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(_POLL_S)
        raise ServerUnavailable(
            f"{self.child.name} at {self.address} is not ready after {_START_TIMEOUT_S:g} s:\n{self.child.tail()}"
        )


_BROKER_SETTINGS: dict[str, object] = {
    "num.partitions": 1,
    "default.replication.factor": 1,
    "min.insync.replicas": 1,
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,  # 3 s by default, for every new group
    "group.min.session.timeout.ms": 100,
    "num.network.threads": 1,  # for each listener
    "num.io.threads": 2,
    "background.threads": 2,
    "num.recovery.threads.per.data.dir": 1,
    "log.cleaner.dedupe.buffer.size": 2097152,  # 128 MiB of heap by default
    "log.cleaner.io.buffer.size": 65536,
    "log.index.size.max.bytes": 1048576,
    "controlled.shutdown.enable": "false",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 200,
}


async def _brokers_of(address: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2000)
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()


def _formatted(java: Java) -> Path:
    """Formatted storage without an identity, made once: what the tool writes is the same for every cluster."""
    template = java.jars / "storage"
    if not template.is_dir():
        with tempfile.TemporaryDirectory(dir=java.jars, prefix=".storage-") as name:
            aside = Path(name)
            settings = aside / "format.properties"
            settings.write_text(
                properties(
                    {
                        "process.roles": "broker,controller",
                        "node.id": 1,
                        "controller.quorum.voters": "1@127.0.0.1:1",
                        "listeners": "CONTROLLER://127.0.0.1:1,OWN://127.0.0.1:2",
                        "controller.listener.names": "CONTROLLER",
                        "inter.broker.listener.name": "OWN",
                        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,OWN:PLAINTEXT",
                        "log.dirs": aside / "data",
                    }
                ),
                encoding="utf-8",
            )
            run_tool(java, "kafka.tools.StorageTool", ["format", "-t", _identity("template"), "-c", settings])
            try:
                (aside / "data").rename(template)
            except OSError:  # somebody else was quicker
                if not template.is_dir():
                    raise
    return template


def _identity(name: str) -> str:
    """A name as Kafka's 22 letters of a UUID."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()[:16]).decode().rstrip("=")


def properties(settings: Mapping[str, object]) -> str:
    """A properties file."""
    return "".join(f"{name}={value}\n" for name, value in settings.items())


# -- MirrorMaker ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of copying. ``source_address`` is where the target's region reaches the source."""

    source: str
    target: str
    source_address: str


def start_mirror_maker(
    java: Java, brokers: Mapping[str, Broker], flows: Sequence[Flow], home: Path, train: bool
) -> Child:
    """Start one MirrorMaker for all flows. It copies topics whose name holds MIRRORED, as they are."""
    home.mkdir(parents=True)
    settings = home / "mirror.properties"
    settings.write_text(properties(_mirror_settings(brokers, flows)), encoding="utf-8")
    log = home / "mirror.log"
    return java.start("MirrorMaker", _MIRROR_MAIN, [settings], log, heap="192m", train=train)


def _mirror_settings(brokers: Mapping[str, Broker], flows: Sequence[Flow]) -> dict[str, object]:
    settings: dict[str, object] = {
        "clusters": ", ".join(brokers),
        # No backslashes: a properties file takes them for itself. What begins with a cluster's name is a copy.
        "topics": f".*{MIRRORED}.*",
        "topics.exclude": f"({'|'.join(brokers)})[.].*, __.*",
        "groups": "",
        "tasks.max": 1,
        "replication.factor": 1,
        "checkpoints.topic.replication.factor": 1,
        "heartbeats.topic.replication.factor": 1,
        "offset-syncs.topic.replication.factor": 1,
        "config.storage.replication.factor": 1,
        "offset.storage.replication.factor": 1,
        "status.storage.replication.factor": 1,
        "offset.storage.partitions": 1,
        "status.storage.partitions": 1,
        "emit.heartbeats.enabled": "false",
        "sync.group.offsets.enabled": "false",
        "sync.topic.acls.enabled": "false",
        "sync.topic.configs.enabled": "false",
        "refresh.groups.enabled": "false",
        "refresh.topics.enabled": "true",
        "refresh.topics.interval.seconds": 1,
        "dedicated.mode.enable.internal.rest": "false",
        "plugin.discovery": "service_load",  # here and for each cluster: scans of the class path take a second
    }
    for name, broker in brokers.items():
        settings[f"{name}.bootstrap.servers"] = broker.address
        # Settings of workers and clients are read with the cluster's name in front, and nowhere else.
        settings |= {f"{name}.{key}": value for key, value in _MIRROR_CLUSTER.items()}
    wanted = {(flow.source, flow.target): flow for flow in flows}
    for source in brokers:
        for target in brokers:
            if source == target:
                continue
            flow = wanted.get((source, target))
            settings[f"{source}->{target}.enabled"] = "true" if flow else "false"
            if flow:
                settings[f"{source}->{target}.source.consumer.bootstrap.servers"] = flow.source_address
    return settings


_MIRROR_CLUSTER: dict[str, object] = {
    "plugin.discovery": "service_load",
    "offset.flush.interval.ms": 1000,
    "scheduled.rebalance.max.delay.ms": 0,
    "heartbeat.interval.ms": 100,
    "session.timeout.ms": 1000,
    "rebalance.timeout.ms": 1000,
    "consumer.isolation.level": "read_committed",
    "consumer.metadata.max.age.ms": 1000,
    "producer.linger.ms": 0,
    "producer.transaction.timeout.ms": 2000,
}
