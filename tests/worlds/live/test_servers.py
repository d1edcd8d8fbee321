"""How many connections a live run opens."""

from dataclasses import replace
from pathlib import Path

import pytest

from arbsim.runner import settings_of
from arbsim.scenario import load_scenario
from arbsim.worlds.live.servers import CONNECTIONS_MOST, pool_size

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
