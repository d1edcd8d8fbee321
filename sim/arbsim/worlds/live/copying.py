"""MirrorMaker 2's source connector in standalone workers: copies the topics of one process between people's clusters.

MirrorMaker as a whole keeps topics of its own on the clusters, one of them ("heartbeats") under a name that cannot be
chosen. A standalone worker of Kafka Connect keeps its position in a file here, and with the syncs of offsets switched
off the connector makes nothing on the clusters but the copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from arbsim.worlds.live.connect import FILE_PROVIDER
from arbsim.worlds.live.java import Java
from arbsim.worlds.live.kafka import MIRRORED, properties
from arbsim.worlds.live.processes import Child, reserved_ports
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity

_MAIN = "org.apache.kafka.connect.cli.ConnectStandalone"
_BYTES = "org.apache.kafka.connect.converters.ByteArrayConverter"


def start_copying(
    stack: ExitStack,
    java: Java,
    clusters: Mapping[str, str],
    flows: Sequence[tuple[str, str]],
    ours: str,
    copies: str,
    replication: int,
    home: Path,
    security: KafkaSecurity = NO_SECURITY,
) -> list[Child]:
    """Start a worker beside each target of the ``flows`` (source, target); the stack ends them. Return their processes.

    They copy topics whose name begins with ``ours`` and holds MIRRORED. A copy is named by ``copies``, the source's
    region, a dot and the topic's name.
    """
    home.mkdir(parents=True)
    targets: dict[str, list[str]] = {}
    for source, target in flows:
        targets.setdefault(target, []).append(source)
    ports = stack.enter_context(reserved_ports(len(targets)))
    children = []
    for port, (target, sources) in zip(ports, targets.items(), strict=True):
        worker = home / f"{target}.properties"
        worker.touch(mode=0o600)  # it has the passwords of Kafka
        settings = _worker(clusters[target], port, home / f"{target}.offsets", security)
        worker.write_text(properties(settings), "utf-8")
        connectors = []
        for source in sources:
            connector = home / f"{source}-{target}.properties"
            settings = _connector(clusters, source, target, ours, copies, replication)
            for cluster in ("source.cluster.", "target.cluster."):
                settings |= security.java(cluster, secrets=worker)
            connector.write_text(properties(settings), "utf-8")
            connectors.append(connector)
        log = home / f"{target}.log"
        name = f"MirrorMaker to {target}"
        children.append(java.start(name, _MAIN, [worker, *connectors], log, heap="192m"))
        stack.callback(children[-1].kill)
    return children


def _worker(target: str, port: int, offsets: Path, security: KafkaSecurity) -> dict[str, object]:
    return {
        "bootstrap.servers": target,
        "listeners": f"http://127.0.0.1:{port}",
        "plugin.discovery": "service_load",
        "config.providers": "file",
        "config.providers.file.class": FILE_PROVIDER,
        "key.converter": _BYTES,
        "value.converter": _BYTES,
        "header.converter": _BYTES,
        "offset.storage.file.filename": offsets,
        "offset.flush.interval.ms": 1000,
        "producer.linger.ms": 0,
        **security.connect_worker(),
    }


def _connector(
    clusters: Mapping[str, str], source: str, target: str, ours: str, copies: str, replication: int
) -> dict[str, object]:
    return {
        "name": f"{source}-{target}",
        "connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector",
        "tasks.max": 1,
        "source.cluster.alias": f"{copies}{source}",
        "target.cluster.alias": f"{copies}{target}",
        "source.cluster.bootstrap.servers": clusters[source],
        "target.cluster.bootstrap.servers": clusters[target],
        # A copy has a dot before MIRRORED, and is not copied again.
        "topics": f"{ours}[^.]*{MIRRORED}.*",
        "replication.factor": replication,
        "emit.offset-syncs.enabled": "false",
        "sync.topic.acls.enabled": "false",
        "sync.topic.configs.enabled": "false",
        "refresh.topics.interval.seconds": 1,
        "consumer.isolation.level": "read_committed",
        "consumer.metadata.max.age.ms": 1000,
    }
