"""Kafka Connect with Debezium's PostgreSQL connector: a worker on loopback, in distributed mode, beside one cluster."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.java import Java
from arbsim.worlds.live.kafka import properties
from arbsim.worlds.live.processes import Child, ServerUnavailable
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity, escaped

Delivery = Literal["at least once", "exactly once"]
"""Exactly once: the connector's position is stored in the transaction that sends the events."""

FILE_PROVIDER = "org.apache.kafka.common.config.provider.FileConfigProvider"
"""What lets a connector be told where a secret is, and not the secret."""

_MAIN = "org.apache.kafka.connect.cli.ConnectDistributed"
_START_TIMEOUT_S = 90.0
_REQUEST_TIMEOUT_S = 30.0
_POLL_S = 0.05


class Connect:
    """One worker. It can be killed and started again: what it knows is in its cluster's topics."""

    def __init__(
        self,
        java: Java,
        cluster: str,
        group: str,
        home: Path,
        port: int,
        delivery: Delivery,
        flush_ms: int,
        replication: int = 1,
        security: KafkaSecurity = NO_SECURITY,
    ) -> None:
        """``cluster`` is the cluster's address, ``group`` the worker's group and the beginning of its topics' names.

        It answers questions at ``port``. ``flush_ms``: how often the position is stored, where it is not stored with
        the events.
        """
        self._java = java
        self._cluster = cluster
        self._group = group
        self._home = home
        self._delivery = delivery
        self._flush_ms = flush_ms
        self._replication = replication
        self._security = security
        self._port = port
        self._child: Child | None = None

    @property
    def positions(self) -> str:
        """The topic in which the connector's position is stored."""
        return f"{self._group}-offset"

    @property
    def child(self) -> Child:
        """Its process. It must have been started."""
        assert self._child is not None
        return self._child

    def start(self, train: bool = False) -> None:
        """Start it, or start it again after it was killed."""
        self._home.mkdir(parents=True, exist_ok=True)
        settings = self._home / "worker.properties"
        settings.touch(mode=0o600)  # it has the passwords of Kafka
        settings.write_text(properties(self._settings()), encoding="utf-8")
        log = self._home / "connect.log"
        self._child = self._java.start("Connect", _MAIN, [settings], log, heap="192m", train=train)

    def _settings(self) -> dict[str, object]:
        settings: dict[str, object] = {
            "bootstrap.servers": self._cluster,
            "listeners": f"http://127.0.0.1:{self._port}",
            "rest.advertised.host.name": "127.0.0.1",
            "plugin.path": self._java.plugins,
            "plugin.discovery": "service_load",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "key.converter.schemas.enable": "false",
            "value.converter.schemas.enable": "false",
            "config.providers": "file",
            "config.providers.file.class": FILE_PROVIDER,
            "offset.flush.interval.ms": self._flush_ms,
            "producer.linger.ms": 0,
            "group.id": self._group,
            "scheduled.rebalance.max.delay.ms": 0,
            "session.timeout.ms": 1000,
            "heartbeat.interval.ms": 100,
            "rebalance.timeout.ms": 2000,
            **self._security.connect_worker(),
        }
        for kind in ("config", "offset", "status"):
            settings[f"{kind}.storage.topic"] = f"{self._group}-{kind}"
            settings[f"{kind}.storage.replication.factor"] = self._replication
            if kind != "config":
                settings[f"{kind}.storage.partitions"] = 1
        if self._delivery == "exactly once":
            settings["exactly.once.source.support"] = "enabled"
            # A worker that was killed leaves a transaction open; nobody can go on before the broker has ended it.
            settings["producer.transaction.timeout.ms"] = 2000
        return settings

    async def ready(self) -> None:
        """Return once it answers. Raises ServerUnavailable."""
        await self._until(lambda: self._ask("GET", "/connectors"), lambda answer: answer is not None)

    async def follow(self, name: str, source: DatabaseServer, table: str, topic: str, poll_ms: int) -> None:
        """Start a connector from a table to a topic, and return once its task runs. Raises ServerUnavailable.

        The password stays in a file of the worker's: what a connector is told is kept in a topic.
        """
        secret = self._home / "secret.properties"
        secret.touch(mode=0o600)
        secret.write_text(f"password={escaped(source.password)}\n", encoding="ascii")
        config = {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "tasks.max": "1",
            "plugin.name": "pgoutput",
            "slot.name": name,
            "slot.retry.delay.ms": "500",
            "retriable.restart.connector.wait.ms": "500",
            "publication.name": name,
            "publication.autocreate.mode": "filtered",
            "database.hostname": source.host,
            "database.port": str(source.port),
            "database.user": source.user,
            "database.password": f"${{file:{secret}:password}}",
            "database.dbname": source.database,
            "database.sslmode": source.sslmode,
            "table.include.list": table,
            "topic.prefix": "yb",
            "snapshot.mode": "initial",
            "decimal.handling.mode": "string",
            "poll.interval.ms": str(poll_ms),
            # The topic is the run's own, whatever schema the table is in.
            "transforms": "topic",
            "transforms.topic.type": "org.apache.kafka.connect.transforms.RegexRouter",
            "transforms.topic.regex": ".*",
            "transforms.topic.replacement": topic,
        }
        if self._delivery == "exactly once":
            config["exactly.once.support"] = "required"
        await self._until(
            lambda: self._ask("PUT", f"/connectors/{name}/config", config), lambda answer: answer is not None
        )
        await self._until(lambda: self._ask("GET", f"/connectors/{name}/status"), _runs)

    async def _until(self, ask: Any, enough: Any) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            self.child.check()
            if enough(await asyncio.to_thread(ask)):
                return
            await asyncio.sleep(_POLL_S)
        raise ServerUnavailable(
            f"Connect at 127.0.0.1:{self._port} is not ready after {_START_TIMEOUT_S:g} s:\n{self.child.tail()}"
        )

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        """The answer of the REST interface; None where it cannot say yet. Raises ServerUnavailable where it refuses."""
        request = Request(
            f"http://127.0.0.1:{self._port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=_REQUEST_TIMEOUT_S) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except HTTPError as error:
            if error.code == 400:
                raise ServerUnavailable(f"Connect refuses the connector: {error.reason}") from None
            return None  # it is still joining its group, or the connector has no status yet
        except (OSError, HTTPException):
            return None


def _runs(status: Any) -> bool:
    """Whether the connector's task runs. Raises ServerUnavailable where it has failed."""
    tasks = status["tasks"] if status else []
    for task in tasks:
        if task["state"] == "FAILED":
            raise ServerUnavailable(f"Debezium's connector failed:\n{task.get('trace', '')[:2000]}")
    return bool(tasks) and all(task["state"] == "RUNNING" for task in tasks)
