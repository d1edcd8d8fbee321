"""What the code reads from the compose file."""

import re
from pathlib import Path

import pytest

from arbsim.worlds.live.compose import (
    CLIENT_REGIONS,
    REPLICA_REGIONS,
    ComposeFileError,
    compose_file,
    compose_stack,
)
from tests.compose.files import MAIN, ROOT, SERVICES, WITH_GRPC

STACK = compose_stack()
BROKERS = [*STACK.clusters.values(), *STACK.stretched.values()]


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = MAIN.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "docker-compose.yml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_it_is_the_file_at_the_top_of_the_checkout() -> None:
    assert compose_file() == MAIN


def test_each_region_has_its_cluster_its_node_and_a_replica_of_the_stretched_cluster() -> None:
    assert STACK.bootstrap == {"east": "127.0.0.1:19192", "west": "127.0.0.1:19292"}
    assert STACK.stretched_bootstrap == "127.0.0.1:19392,127.0.0.1:19492,127.0.0.1:19592"
    assert STACK.databases == {
        "east": "127.0.0.1:5433",
        "west": "127.0.0.1:5434",
        "central": "127.0.0.1:5435",
    }
    assert STACK.dsns["west"] == "postgresql://yugabyte@127.0.0.1:5434/yugabyte"
    assert STACK.connect_url == "http://127.0.0.1:8083"
    assert tuple(STACK.stretched) == REPLICA_REGIONS


def test_every_address_is_published_by_somebody() -> None:
    published = {
        port.rpartition(":")[0] for service in SERVICES.values() for port in service.get("ports", ())
    }
    told = [*STACK.databases.values(), STACK.connect_url.removeprefix("http://")]
    for broker in BROKERS:
        told += [broker.own, *(listener.published for listener in broker.listeners.values())]
    assert len(set(told)) == len(told)
    assert set(told) == published


def test_no_relay_has_to_listen_where_something_else_does() -> None:
    relays = [listener.advertised for broker in BROKERS for listener in broker.listeners.values()]
    published = {port.rpartition(":")[0] for one in SERVICES.values() for port in one.get("ports", ())}
    assert len(set(relays)) == len(relays) == 2 * len(BROKERS)
    assert set(relays) & published == set()
    assert all(relay.startswith("127.0.0.1:") for relay in relays)


def test_every_broker_has_a_way_in_for_the_clients_of_each_region() -> None:
    assert all(tuple(broker.listeners) == CLIENT_REGIONS for broker in BROKERS)


def test_another_port_in_the_file_is_another_address(tmp_path: Path) -> None:
    path = changed(tmp_path, "127.0.0.1:5433:5433", "127.0.0.1:15433:5433")
    assert compose_stack(path).databases["east"] == "127.0.0.1:15433"


def test_the_document_has_the_same_addresses_and_images() -> None:
    text = (ROOT / "docs" / "compose.md").read_text(encoding="utf-8")
    for address in (*STACK.databases.values(), *STACK.bootstrap.values(), STACK.connect_url):
        assert address in text
    assert ", ".join(STACK.stretched_bootstrap.split(",")) in text
    brokers = {f"kafka-{region}": broker for region, broker in STACK.clusters.items()}
    brokers |= {f"kafka-stretched-{region}": broker for region, broker in STACK.stretched.items()}
    for name, broker in brokers.items():
        ways = [
            f"{way.advertised.split(':')[1]}, {way.published.split(':')[1]}"
            for way in broker.listeners.values()
        ]
        assert f"| `{name}` | {' | '.join(ways)} |" in text
    images = {service["image"].rpartition(":")[::2] for service in WITH_GRPC.values()}
    assert all(re.search(rf"\| {re.escape(name)} \| {re.escape(tag)}\b", text) for name, tag in images)
    assert all(f"`{name}`" in text for name in SERVICES)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("127.0.0.1:5434:5433", "5433", 'yugabyte-west has no "127.0.0.1:<port>:5433" among its ports'),
        ("127.0.0.1:5434:5433", "5434:5433", 'yugabyte-west has no "127.0.0.1:<port>:5433" among its ports'),
        ("  kafka-west:\n    <<", "  kafka-wset:\n    <<", "there is no service kafka-west"),
        ("WEST://127.0.0.1:23292", "FAR://127.0.0.1:23292", "kafka-west has no listener WEST"),
        ("services:\n", "servers:\n", "not a compose file with services"),
        ("services:\n", "services: [\n", "not a compose file with services"),
    ],
)
def test_a_file_that_lacks_something_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    with pytest.raises(ComposeFileError) as refused:
        compose_stack(changed(tmp_path, old, new))
    assert str(refused.value) == f"docker-compose.yml: {told}"
