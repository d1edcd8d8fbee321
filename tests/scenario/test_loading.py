"""A scenario is read, or everything that is wrong with it is told with its place."""

from pathlib import Path

from arbsim.scenario import load_scenario
from arbsim.workload import build_workload

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def test_two_regions_is_read() -> None:
    scenario = load_scenario(SCENARIOS / "two_regions.yaml")

    assert scenario.client_regions == ("east", "west")
    assert [op.amount_cents for op in build_workload(scenario)] == [7000, 6000]
    assert len(scenario.designs) == 13
