"""The stack that all live tests share. Without Java or its jars there is no Kafka, and the tests that need it skip."""

from collections.abc import Iterator

import pytest

from arbsim.runner import designs_of, settings_of
from arbsim.scenario import load_scenario
from arbsim.workload import build_workload
from arbsim.worlds.live.java import fetch
from arbsim.worlds.live.local import local_stack
from arbsim.worlds.virtual.sql import check_statement
from tests.live.stack import SCENARIO, Judge, Live
from tests.postgres import REQUIRED, skip_without_postgres


@pytest.fixture(name="live", scope="session")
def _live() -> Iterator[Live]:
    skip_without_postgres()
    if REQUIRED:
        fetch()
    scenario = load_scenario(str(SCENARIO), check_sql=check_statement)
    settings = settings_of(scenario, scenario.seed)
    needs = [design.resources() for design in designs_of(scenario).values()]
    with local_stack(settings, needs, lambda server: None) as stack:
        yield Live(scenario, settings, build_workload(scenario, scenario.seed), stack)


@pytest.fixture(name="judge", scope="session")
def _judge(live: Live) -> Judge:
    return live.judge


@pytest.fixture(name="kafka", scope="session")
def _kafka(live: Live) -> Live:
    """The same stack, where it has Kafka."""
    if live.stack.servers.kafka is None:
        if REQUIRED:
            pytest.fail(f"ARBSIM_REQUIRE_LIVE=1, but {live.stack.servers.no_kafka}")
        pytest.skip(live.stack.servers.no_kafka)
    return live
