"""What a connector is told is kept in a topic, so the password is not in it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from arbsim.worlds.live.connect import Connect
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.java import Java
from arbsim.worlds.live.security import KafkaSecurity


class Asked(Connect):
    """A worker that only notes what it is asked."""

    def __init__(self, home: Path) -> None:
        super().__init__(cast(Java, None), "127.0.0.1:1", "group", home, 1, "at least once", 1000)
        self.told: list[Mapping[str, str]] = []

    async def _until(self, ask: Any, enough: Any) -> None:
        ask()

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        if body is not None:
            self.told.append(body)


def test_the_connector_is_told_a_file_of_ours_that_nobody_else_can_read(tmp_path: Path) -> None:
    worker = Asked(tmp_path)
    source = DatabaseServer("host", 1, "me", "data", "undisclosed", "verify-ca")
    asyncio.run(worker.follow("run", source, "schema.acct", "topic", 10))
    (told,) = worker.told
    secret = tmp_path / "secret.properties"
    assert told["database.password"] == f"${{file:{secret}:password}}"
    assert told["database.sslmode"] == "verify-ca"
    assert "undisclosed" not in str(told)
    assert secret.stat().st_mode & 0o077 == 0


def test_the_worker_s_own_file_has_kafka_s_password_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    class NoJava:
        plugins = tmp_path

        def start(self, *_: object, **__: object) -> None:
            """Nothing is started."""

    security = KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "me", "undisclosed")
    java = cast(Java, NoJava())
    Connect(java, "host:1", "group", tmp_path, 1, "at least once", 1000, 1, security).start()
    file = tmp_path / "worker.properties"
    assert file.stat().st_mode & 0o077 == 0
    written = file.read_text("ascii").splitlines()
    for prefix in ("", "producer.", "consumer.", "admin."):
        assert f"{prefix}sasl.jaas.config={security.java()['sasl.jaas.config']}" in written
