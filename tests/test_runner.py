"""One run brings everything together: the same weather for every design, whoever else runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbsim.designs import catalogue
from arbsim.designs.select_then_update import SelectThenUpdate
from arbsim.model import DesignCard, Verdict, Workload
from arbsim.parameters import PARAMETERS
from arbsim.results import Results
from arbsim.runner import card_of, designs_of, explain_design, facts_of, run_scenario, settings_of
from arbsim.scenario import Scenario, load_scenario
from arbsim.workload import build_workload
from arbsim.worlds.api import Design

SCENARIOS = Path(__file__).parents[1] / "scenarios"


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario(SCENARIOS / "two_regions.yaml")


def results_of(scenario: Scenario, names: list[str], seed: int = 42) -> Results:
    designs = designs_of(scenario, names)
    ordered = {name: designs[name] for name in names}
    return run_scenario(scenario, build_workload(scenario, seed), seed, ordered, "replay").results


THREE = ["bus/regional-deltas", "db/atomic-update", "bus/single-writer"]


def test_a_design_fares_the_same_whoever_else_is_run_and_in_whatever_order(scenario: Scenario) -> None:
    together = results_of(scenario, THREE).designs
    for name in THREE:
        assert results_of(scenario, [name]).designs[name] == together[name]
    assert results_of(scenario, THREE[::-1]).designs == together


def test_the_same_seed_gives_the_same_results_and_another_seed_other_weather(scenario: Scenario) -> None:
    again = results_of(scenario, THREE)
    assert results_of(scenario, THREE) == again
    other = results_of(scenario, THREE, seed=43).designs["db/atomic-update"]
    assert other.costs.latency != again.designs["db/atomic-update"].costs.latency


def test_listeners_hear_of_each_design_twice(scenario: Scenario) -> None:
    heard: list[tuple[str, bool]] = []
    run_scenario(
        scenario,
        build_workload(scenario),
        42,
        designs_of(scenario, ["db/serializable"]),
        "replay",
        lambda name, result: heard.append((name, result is not None)),
    )
    assert heard == [("db/serializable", False), ("db/serializable", True)]


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("bus/regional-deltas", ["bus/single-writer"]),
        ("db/select-then-decrement", []),
        ("own", ["db/active-active", "db/atomic-update"]),
    ],
    ids=["its cure alone", "nothing where it holds", "the nearest until one holds"],
)
def test_to_explain_a_design_no_more_are_run_and_searched_than_may_stand_beside_it(
    scenario: Scenario, name: str, run: list[str]
) -> None:
    class Own(SelectThenUpdate):
        cure = None

    heard: list[str] = []
    searched: list[str] = []

    def search(design: Design, card: DesignCard, *_: object) -> None:
        searched.append(card.name)

    results = explain_design(
        scenario,
        build_workload(scenario),
        42,
        name,
        {**designs_of(scenario), "own": Own()},
        "replay",
        lambda name, result: heard.append(name) if result else None,
        search,
    )
    assert heard == [name, *run]
    assert set(results.designs) == set(heard)
    assert searched == [one for one in heard if results.designs[one].verdict is Verdict.NONE_SEEN]


def test_a_design_that_the_scenario_does_not_list_is_a_key_error(scenario: Scenario) -> None:
    with pytest.raises(KeyError, match="nope"):
        designs_of(scenario, ["nope"])


def test_an_empty_workload_is_inconclusive_for_every_design(scenario: Scenario) -> None:
    run = run_scenario(scenario, Workload((), {1: 10_000}), 42, designs_of(scenario), "replay")
    assert {result.verdict.value for result in run.results.designs.values()} == {"inconclusive"}
    assert [warning.id for warning in run.results.warnings] == ["W301"]


def test_a_warning_can_be_silenced_by_its_id(scenario: Scenario) -> None:
    loud = results_of(scenario, ["db/select-then-decrement"])
    quiet = results_of(scenario.model_copy(update={"silence": ("W306",)}), ["db/select-then-decrement"])
    assert [warning.id for warning in loud.warnings] == ["W306"]
    assert quiet.warnings == ()


def test_a_card_says_what_a_design_claims_and_shows_the_code_that_decides() -> None:
    for name, design in catalogue().items():
        card = card_of("under another name", design())
        assert (card.name, card.design) == ("under another name", name)
        assert card.steps
        assert all(step.startswith(("async def ", "def ")) for step in card.steps)
        assert "claims" not in dict(card.parameters)


def test_a_cure_is_a_design_that_claims_what_its_trap_does_not() -> None:
    designs = catalogue()
    for design in designs.values():
        if design.cure is not None:
            assert set(designs[design.cure].claims) > set(design.claims)


def test_every_parameter_of_the_models_is_in_the_report(scenario: Scenario) -> None:
    rows = {row.name: row for row in facts_of(scenario, 42, "replay").parameters}
    assert set(rows) == {parameter.name for parameter in PARAMETERS}
    assert all(row.source for row in rows.values())
    assert rows["kafka.mirror_lag"].value == rows["kafka.mirror_lag"].default


def test_what_a_scenario_sets_reaches_the_world(scenario: Scenario) -> None:
    settings = settings_of(scenario, 7)
    assert settings.seed == 7
    assert settings.regions == ("east", "west", "central")
    assert settings.client_regions == ("east", "west")
    assert settings.round_trip_ns["east", "west"] > settings.round_trip_ns["east", "central"] > 0
