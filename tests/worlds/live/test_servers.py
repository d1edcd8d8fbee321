"""How many connections a live run opens, and what servers cannot stand for."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from arbsim.runner import settings_of
from arbsim.scenario import load_scenario
from arbsim.worlds.api import Resources, Topic
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.links import Links
from arbsim.worlds.live.servers import CONNECTIONS_MOST, Servers, pool_size, why_not

SCENARIO = Path(__file__).parents[3] / "scenarios" / "two_regions_postgres.yaml"


@pytest.mark.parametrize("regions", [1, 2, 3, 10, 60])
def test_the_pools_of_all_regions_together_have_no_more_connections_than_a_relay_can_hold(
    regions: int,
) -> None:
    settings = settings_of(load_scenario(SCENARIO), 1)
    many = replace(
        settings,
        regions=tuple(f"region{number}" for number in range(regions)),
        database=replace(settings.database, pool_size=100_000),
    )
    assert pool_size(many) >= 1
    assert 2 * regions * pool_size(many) <= CONNECTIONS_MOST


def test_a_pool_is_as_large_as_the_scenario_wants_it_where_that_can_be() -> None:
    settings = settings_of(load_scenario(SCENARIO), 1)
    assert pool_size(settings) == settings.database.pool_size


def servers(**known: Any) -> Servers:
    """Servers with everything, but for what is said."""
    everything: dict[str, Any] = {
        "database": DatabaseServer("host", 1, "me", "data"),
        "links": cast(Links, None),
        "folder": Path(),
        "kafka": {"east": "host:2"},
        "no_kafka": "",
        "java": None,
        "check": lambda: None,
        "ask": lambda: None,
    }
    return Servers(**{**everything, **known})


TOPIC = Resources(topics=(Topic("t"),))
MIRRORED = Resources(topics=(Topic("t", mirrored=True),))
TABLE = Resources(accounts_table=True)
STREAM = Resources(accounts_table=True, change_stream=True)


@pytest.mark.parametrize(
    ("asked", "known", "told"),
    [
        (TABLE, {"database": None, "no_database": "none was named"}, "it needs a database: none was named"),
        (TOPIC, {"kafka": None, "no_kafka": "none was named"}, "it needs Kafka: none was named"),
        (
            MIRRORED,
            {"no_mirror": "no Java"},
            "it needs topics copied between the clusters: no Java",
        ),
        (STREAM, {"no_stream": "no slots"}, "it needs a change stream: no slots"),
        (STREAM, {"no_mirror": "no Java"}, "it needs topics copied between the clusters: no Java"),
        (
            replace(TABLE, dialect="yugabyte"),
            {},
            "it asks for YugabyteDB's behaviour, and the server is PostgreSQL",
        ),
        (
            replace(TABLE, dialect="postgres"),
            {"product": "YugabyteDB"},
            "it asks for PostgreSQL's behaviour, and the server is YugabyteDB",
        ),
    ],
)
def test_what_is_not_there_is_the_reason_why_a_design_is_not_run(
    asked: Resources, known: dict[str, Any], told: str
) -> None:
    assert why_not(asked, servers(**known)) == told


@pytest.mark.parametrize("asked", [TOPIC, MIRRORED, TABLE, STREAM, replace(TABLE, dialect="postgres")])
def test_a_design_is_run_where_everything_is_there(asked: Resources) -> None:
    assert why_not(asked, servers()) is None


def test_what_a_design_does_not_ask_for_is_no_reason() -> None:
    assert why_not(TOPIC, servers(database=None, no_mirror="no Java", no_stream="no slots")) is None
    assert why_not(TABLE, servers(kafka=None)) is None
