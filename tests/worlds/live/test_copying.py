"""The connectors that copy topics are told where Kafka's passwords are, and not the passwords."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from arbsim.worlds.live.copying import start_copying
from arbsim.worlds.live.java import Java
from arbsim.worlds.live.security import KafkaSecurity


class NoJava:
    """Notes what it is to start."""

    def __init__(self) -> None:
        self.started: list[list[Path]] = []

    def start(self, name: str, main: str, arguments: list[Path], log: Path, **options: object) -> Any:
        self.started.append(arguments)
        return self

    def kill(self) -> None:
        """Nothing was started."""


def test_passwords_are_in_files_of_ours_alone_and_connectors_are_told_where(tmp_path: Path) -> None:
    java, security = NoJava(), KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "me", "undisclosed")
    clusters, flows = {"east": "a:1", "west": "b:2"}, [("east", "west")]
    with ExitStack() as stack:
        start_copying(
            stack, cast(Java, java), clusters, flows, "ours", "copies_", 1, tmp_path / "home", security
        )
    ((worker, connector),) = java.started
    login = security.java()["sasl.jaas.config"]
    assert worker.stat().st_mode & 0o077 == 0
    assert f"\nproducer.sasl.jaas.config={login}\n" in worker.read_text("ascii")
    told = connector.read_text("ascii")
    assert login not in told
    for cluster in ("source", "target"):
        assert f"\n{cluster}.cluster.sasl.jaas.config=${{file:{worker}:sasl.jaas.config}}\n" in told
        assert f"\n{cluster}.cluster.security.protocol={security.java()['security.protocol']}\n" in told
