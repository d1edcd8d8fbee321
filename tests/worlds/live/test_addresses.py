"""Addresses of people's own servers: what is understood, and what is said of what is not."""

import pytest

from arbsim.worlds.live.addresses import BadAddress, parse_dsn, parse_kafka
from arbsim.worlds.live.compose import ComposeFileError, compose_servers
from arbsim.worlds.live.database import DatabaseServer

REGIONS = ("east", "west")
SECRET = "hidden/word"


def test_clusters_come_in_the_regions_order() -> None:
    found = parse_kafka(" west=[::1]:9092 , east=kafka.example:19092", REGIONS)
    assert list(found.items()) == [("east", "kafka.example:19092"), ("west", "[::1]:9092")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' is not region=host:port"),
        ("east", "'east' is not region=host:port"),
        ("east=a:1,west=b", "'west=b' is not region=host:port"),
        ("east=a:1,west=b:70000", "'west=b:70000' is not region=host:port"),
        ("east=a:1,west=b:0", "'west=b:0' is not region=host:port"),
        ("east=a:1,west=SASL://b:2", "is not region=host:port"),
        ("east=a:1,north=b:2", "the scenario has no region 'north'"),
        ("east=a:1,east=b:2", "east is there twice"),
        ("east=a:1", "west has no address"),
    ],
)
def test_what_is_no_address_of_each_region_is_refused_with_what_is_expected(text: str, told: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_kafka(text, REGIONS)
    assert told in str(refused.value)
    assert "expected an address for each region, east=host:port,west=host:port" in str(refused.value)


def test_a_dsn_gives_the_server_and_keeps_its_password_out_of_sight() -> None:
    server = parse_dsn("postgresql://me%40here:hidden%2Fword@[::1]:6543/data?sslmode=require", {})
    assert server == DatabaseServer("::1", 6543, "me@here", "data", SECRET, "require")
    assert SECRET not in f"{server} {server!r}"
    assert parse_dsn(server.dsn, {}) == server


def test_what_the_url_leaves_out_comes_from_libpq_s_variables() -> None:
    environment = {"PGPASSWORD": SECRET, "PGSSLMODE": "disable"}
    server = parse_dsn("postgres://me@host/data", environment)
    assert server == DatabaseServer("host", 5432, "me", "data", SECRET, "disable")
    assert parse_dsn("postgres://me:@host/data", environment).password == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "mysql://me:hidden/word@host/data",
        "postgresql://me:hidden%2Fword@host",
        "postgresql://host/data",
        "postgresql:///data",
        "postgresql://me:hidden%2Fword@one,two/data",
        "postgresql://me:hidden%2Fword@one:1,two:2/data",
        "postgresql://me:hidden%2Fword@host:port/data",
        "postgresql://me:hidden%2Fword@host:99999/data",
        "postgresql://me:hidden%2Fword@[::1/data",
        "postgresql://me@host/data#part",
        "postgresql://me@host/data/more",
        "postgresql://me:hidden%2Fword@host/data?sslmode",
    ],
)
def test_what_is_no_url_of_one_server_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_dsn(text, {})
    assert "expected postgresql://user@host:port/database" in str(refused.value)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("sslmode=verify-full", "verify-ca checks the certificate without the name"),
        ("sslmode=sometimes", "not 'sometimes'"),
        ("options=-csearch_path%3Dx", "only sslmode can follow the ?, not 'options'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(option: str, told: str) -> None:
    with pytest.raises(BadAddress, match="--dsn") as refused:
        parse_dsn(f"postgresql://me@host/data?{option}", {})
    assert told in str(refused.value)


def test_the_compose_file_s_servers_are_those_of_its_addresses() -> None:
    servers = compose_servers(("east", "west"), "west", keep=True)
    assert servers.kafka == {"east": "127.0.0.1:19192", "west": "127.0.0.1:19292"}
    assert servers.database == DatabaseServer("127.0.0.1", 5434, "yugabyte", "yugabyte")
    assert servers.mirrored
    assert servers.keep


def test_a_region_that_the_compose_file_has_not_is_told() -> None:
    with pytest.raises(
        ComposeFileError, match="Kafka in east and west; the scenario's regions are east, nor"
    ):
        compose_servers(("east", "north"), "east", keep=False)
