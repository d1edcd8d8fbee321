"""``arbsim live`` on clusters that want TLS, a client's certificate and a password; two small ones for these tests."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from arbsim.cli.app import _run_app as run_app
from arbsim.worlds.live.connect import Connect
from arbsim.worlds.live.java import find_java, run_tool
from arbsim.worlds.live.kafka import Broker
from arbsim.worlds.live.own import cluster_facts
from arbsim.worlds.live.processes import ServerUnavailable, reserved_ports
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity, escaped
from arbsim.worlds.live.watcher import Watcher
from tests.certificates import Certificates
from tests.live.stack import Live

USER, PASSWORD = "somebody, =odd", 'not "to be seen" \\ anywhere'
SCENARIO = """\
name: secure
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
accounts: {1: 100.00}
workload:
  operations:
    - {at: 0 ms, region: west, withdraw: 60.00, account: 1}
    - {at: 0 ms, region: east, withdraw: 10.00, account: 1}
    - {at: 5 ms, region: east, deposit: 1.00, account: 1}
designs: [bus/regional-deltas]
expect:
  bus/regional-deltas: {final: {1: 31.00}, outcomes: {accepted: 3}}
"""
_PATIENCE_S = 120.0
_POLL_S = 0.2


class SecureBroker(Broker):
    """A broker whose one listener for a region wants everything; past it, as ever, there is one that wants nothing."""

    certificates: Certificates

    def _settings(self, links: Mapping[str, int], data: Path) -> dict[str, object]:
        settings = super()._settings(links, data)
        protocols = str(settings["listener.security.protocol.map"])
        modules = "org.apache.kafka.common.security"
        wanted = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certificates.server,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.certificates.authority,
            "ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
            "plain.sasl.jaas.config": f'{modules}.plain.PlainLoginModule required user_plain="simple";',
        }
        return {
            **settings,
            "listener.security.protocol.map": protocols.replace("REGION0:PLAINTEXT", "REGION0:SASL_SSL"),
            **{f"listener.name.region0.{name}": value for name, value in wanted.items()},
        }


@dataclass(frozen=True, slots=True)
class Secured:
    """Two clusters: past all security, and as a client must come to them."""

    brokers: Mapping[str, SecureBroker]
    addresses: Mapping[str, str]
    certificates: Certificates

    @property
    def security(self) -> KafkaSecurity:
        """What lets a client in."""
        files = self.certificates
        return KafkaSecurity(
            "SASL_SSL",
            "SCRAM-SHA-512",
            USER,
            PASSWORD,
            str(files.authority),
            str(files.client),
            files.key_password,
        )

    def config(self, folder: Path, security: KafkaSecurity) -> list[str]:
        """The options of a run on them, with a file as Java has it."""
        file = folder / "client.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in security.java().items()), "ascii")
        clusters = ",".join(f"{region}={address}" for region, address in self.addresses.items())
        return ["--kafka", clusters, "--kafka-config", str(file)]

    def topics(self) -> list[str]:
        """Topics on both, past all security."""

        async def ask() -> list[str]:
            names = []
            for broker in self.brokers.values():
                admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
                await admin.start()
                names += await admin.list_topics()
                await admin.close()
            return names

        return sorted(name for name in asyncio.run(ask()) if not name.startswith("__"))

    def until(self, enough: Callable[[list[str]], bool]) -> None:
        """Wait for topics."""
        deadline = time.monotonic() + _PATIENCE_S
        while not enough(there := self.topics()):
            assert time.monotonic() < deadline, there
            select.select([], [], [], _POLL_S)


@pytest.fixture(name="secured", scope="module")
def _secured(kafka: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Two brokers of their own; ``kafka`` sees to it that Java and its jars are here."""
    java, regions = find_java(), ("east", "west")
    certificates = SecureBroker.certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    home = tmp_path_factory.mktemp("brokers")
    with ExitStack() as stack:
        ports = stack.enter_context(reserved_ports(6))
        brokers: dict[str, SecureBroker] = {}
        addresses = {}
        for number, region in enumerate(regions):
            controller, own, secure = ports[3 * number : 3 * number + 3]
            broker = brokers[region] = SecureBroker(
                region, home / region, (controller, own, secure), (region,)
            )
            addresses[region] = f"127.0.0.1:{secure}"
            broker.start(java, {region: secure}, train=False)
            stack.callback(broker.child.kill)
        credentials = home / "credentials.properties"
        credentials.write_text(f"SCRAM-SHA-512={escaped(f'iterations=4096,password={PASSWORD}')}\n", "ascii")
        for broker in brokers.values():
            asyncio.run(broker.ready())
            where: list[str | Path] = [
                "--bootstrap-server",
                broker.address,
                "--alter",
                "--entity-type",
                "users",
            ]
            who: list[str | Path] = ["--entity-name", USER, "--add-config-file", credentials]
            run_tool(java, "kafka.admin.ConfigCommand", [*where, *who])
        yield Secured(brokers, addresses, certificates)


def test_a_bus_design_runs_with_copies_on_clusters_that_want_tls_a_certificate_and_a_password(
    secured: Secured, tmp_path: Path
) -> None:
    (tmp_path / "secure.yaml").write_text(SCENARIO, encoding="utf-8")
    options = secured.config(tmp_path, secured.security)
    run = subprocess.run(
        [sys.executable, "-m", "arbsim", "live", "secure.yaml", *options],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads((tmp_path / "reports" / "secure_live" / "results.json").read_text(encoding="utf-8"))
    assert told["designs"]["bus/regional-deltas"]["final"]["1"] == {"east": "31.00", "west": "31.00"}
    assert told["live"]["servers"][0]["settings"]["sasl.mechanism"] == "SCRAM-SHA-512"
    assert secured.topics() == []
    written = [file.read_text("utf-8") for file in (tmp_path / "reports").rglob("*") if file.is_file()]
    assert len(written) >= 4
    for text in (*written, run.stdout, run.stderr):
        assert "not to be seen" not in text.replace('"', "").replace("\\", "")
        assert secured.certificates.key_password not in text
    assert sorted(file.name for file in tmp_path.iterdir()) == ["client.properties", "reports", "secure.yaml"]


@pytest.mark.parametrize("what", ["password", "truststore"])
def test_who_is_not_let_in_is_told_why_and_by_which_server(
    what: str,
    secured: Secured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong, why = {
        "password": (
            replace(secured.security, password="not this one"),
            "refuses the user name or the password of sasl.jaas.config",
        ),
        "truststore": (
            replace(secured.security, truststore=str(secured.certificates.stranger)),
            "has a certificate that is not trusted: ",
        ),
    }[what]
    monkeypatch.chdir(tmp_path)
    Path("secure.yaml").write_text(SCENARIO, encoding="utf-8")
    assert run_app(["live", "secure.yaml", *secured.config(tmp_path, wrong)], as_json=False) == 4
    told = capsys.readouterr()
    assert f"error: Kafka east at {secured.addresses['east']} {why}" in told.err
    assert "not this one" not in told.err + told.out
    assert not Path("reports").exists()


def test_every_other_way_not_to_be_let_in_has_its_own_words(secured: Secured) -> None:
    right = secured.security
    ways = [
        ("does not go on after the first words", NO_SECURITY),
        ("does not go on after the first words", replace(right, protocol="SSL")),
        ("refuses TLS as it is (", replace(right, keystore="", key_password="")),
        ("does not take sasl.mechanism=SCRAM-SHA-256", replace(right, mechanism="SCRAM-SHA-256")),
        ("refuses the user name or the password", replace(right, mechanism="PLAIN")),
    ]
    address = secured.addresses["east"]
    for words, wrong in ways:
        with pytest.raises(ServerUnavailable) as refused:
            asyncio.run(cluster_facts("east", address, wrong))
        assert str(refused.value).startswith(f"Kafka east at {address} {words}")
    open_ = secured.brokers["east"].address
    with pytest.raises(ServerUnavailable, match="does not go on after the first words"):
        asyncio.run(cluster_facts("east", open_, right))
    with pytest.raises(ServerUnavailable, match="asks for no password at this port"):
        asyncio.run(cluster_facts("east", open_, KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "me", "pass")))


def test_plain_and_a_certificate_are_enough_where_the_server_takes_them(secured: Secured) -> None:
    plain = replace(secured.security, mechanism="PLAIN", user="plain", password="simple")
    facts = asyncio.run(cluster_facts("west", secured.addresses["west"], plain))
    assert facts.settings["brokers"] == "1"


def test_a_worker_of_connect_is_let_in(secured: Secured, tmp_path: Path) -> None:
    """It makes the last of its topics when it has joined its group."""
    with reserved_ports(1) as (port,):
        address, security = secured.addresses["east"], secured.security
        connect = Connect(find_java(), address, "secure", tmp_path, port, "at least once", 1000, 1, security)
        connect.start()
        try:
            asyncio.run(connect.ready())
            made = ["secure-config", "secure-offset", "secure-status"]
            secured.until(lambda there: [name for name in there if name.startswith("secure-")] == made)
        finally:
            connect.child.kill()


def test_the_watcher_removes_what_stayed_there(secured: Secured) -> None:
    async def make() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=secured.brokers["west"].address)
        await admin.start()
        await admin.create_topics([NewTopic("arbsim_0000-x", 1, 1)])
        await admin.close()

    watcher = Watcher("arbsim_0000", None, secured.addresses, secured.security)
    asyncio.run(make())
    assert "arbsim_0000-x" in secured.topics()
    watcher.take_over()
    secured.until(lambda there: "arbsim_0000-x" not in there)
    with watcher._process as ended:
        ended.wait()
