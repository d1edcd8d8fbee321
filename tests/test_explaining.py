"""Explanations: what is followed, what is marked, and that nothing in them is made up."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from arbsim.audit import audit
from arbsim.explanation import Explanation, Side
from arbsim.explore.every_order import every_order
from arbsim.history import History
from arbsim.model import Cents, FindingKind, Verdict, Workload
from arbsim.runner import card_of, designs_of, run_scenario, settings_of
from arbsim.scenario import Scenario, load_scenario
from arbsim.steps import StepKind
from arbsim.workload import build_workload
from arbsim.worlds.virtual.world import run_design, run_watched
from tests.report.results import SCENARIOS, shipped

TWO_REGIONS = load_scenario(SCENARIOS / "two_regions.yaml")
BROKEN = [name for name, one in shipped("two_regions").designs.items() if one.verdict is Verdict.VIOLATED]


def explained(name: str, scenario: str = "two_regions") -> Explanation:
    explanation = shipped(scenario).designs[name].explanation
    assert explanation is not None
    return explanation


def twin_of(name: str, scenario: str = "two_regions") -> Side:
    twin = explained(name, scenario).twin
    assert twin is not None
    return twin


def sides() -> list[Side]:
    scenarios = ("two_regions", "lost_update_trap", "cdc_distribution")
    found = []
    for scenario in scenarios:
        for one in shipped(scenario).designs.values():
            if one.explanation is not None:
                found += [one.explanation.broken, *filter(None, [one.explanation.twin])]
    return found


def test_every_violated_design_is_explained_and_no_other() -> None:
    for scenario in ("two_regions", "lost_update_trap", "cdc_distribution", "one_region"):
        for one in shipped(scenario).designs.values():
            assert (one.explanation is not None) == (one.verdict is Verdict.VIOLATED)


# -- what a world records ------------------------------------------------------------------------------


def watched(name: str, scenario: Scenario = TWO_REGIONS) -> tuple[History, History]:
    """The history of an ordinary run, and of one that is watched."""
    design, workload = designs_of(scenario, [name])[name], build_workload(scenario)
    settings, card = settings_of(scenario, scenario.seed), card_of(name, design)
    plain = run_design(design, card, workload, settings)
    history, steps = run_watched(design, card, workload, settings, {1, 2})
    assert steps
    return plain, history


@pytest.mark.parametrize("name", list(shipped("two_regions").designs))
def test_who_watches_changes_nothing(name: str) -> None:
    plain, history = watched(name)
    assert list(plain.effects()) == list(history.effects())
    assert list(plain.answers()) == list(history.answers())
    assert plain.totals == history.totals
    assert audit(plain) == audit(history)


def test_a_run_that_is_cut_short_has_the_same_steps_up_to_there() -> None:
    name = "bus/regional-deltas"
    design, workload = designs_of(TWO_REGIONS, [name])[name], build_workload(TWO_REGIONS)
    settings, card = settings_of(TWO_REGIONS, 42), card_of(name, design)
    _, whole = run_watched(design, card, workload, settings, {1, 2})
    _, short = run_watched(design, card, workload, settings, {1, 2}, 17_600_000)
    assert short == whole[: len(short)]
    assert short[-1].time_ns <= 17_600_000 < whole[-1].time_ns


def test_only_the_operations_that_are_asked_about_are_recorded() -> None:
    name = "bus/single-writer"
    design, workload = designs_of(TWO_REGIONS, [name])[name], build_workload(TWO_REGIONS)
    _, steps = run_watched(design, card_of(name, design), workload, settings_of(TWO_REGIONS, 42), {2})
    assert {step.operation for step in steps} == {2}


# -- what is told --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", sides(), ids=lambda side: side.design)
def test_steps_stand_in_order_of_time_and_messages_arrive_after_they_were_sent(side: Side) -> None:
    lanes = {lane.id for lane in side.lanes}
    assert [step.number for step in side.steps] == list(range(1, len(side.steps) + 1))
    assert [step.time_ms for step in side.steps] == sorted(step.time_ms for step in side.steps)
    for step in side.steps:
        assert step.lane in lanes
        assert (step.source is None) == (step.sent_ms is None)
        if step.source is not None and step.sent_ms is not None:
            assert step.source in lanes
            assert step.sent_ms <= step.time_ms


@pytest.mark.parametrize("side", sides(), ids=lambda side: side.design)
def test_every_operation_begins_is_decided_once_and_is_answered(side: Side) -> None:
    for decision in side.decisions:
        mine = [step for step in side.steps if step.operation == decision.operation]
        assert [step.kind for step in mine].count(StepKind.INVOKED) == 1
        assert [step.kind for step in mine].count(StepKind.ANSWERED) == 1
        assert [step.number for step in mine if "decision" in step.marks] == [decision.decided_step]


@pytest.mark.parametrize("name", BROKEN)
def test_the_true_balance_ends_at_what_was_accepted(name: str) -> None:
    for side, expected in ((explained(name).broken, "-30.00"), (twin_of(name), "30.00")):
        assert [step.true for step in side.steps if step.true is not None][-1] == expected


def test_what_the_regions_believe_at_the_end_is_what_their_stores_hold() -> None:
    for name in ("bus/regional-deltas", "bus/regional-snapshots"):
        side = explained(name).broken
        believed = dict(side.opening)
        for step in side.steps:
            believed |= step.believed
        assert believed == {region: side.final[region] for region in believed}


@pytest.mark.parametrize("name", BROKEN)
def test_the_first_finding_is_explained_by_two_decisions_of_which_one_had_not_seen_the_other(
    name: str,
) -> None:
    explanation = explained(name)
    first, second = explanation.broken.decisions
    assert explanation.kind is FindingKind.OVERDRAFT
    found = shipped("two_regions").designs[name].findings[FindingKind.OVERDRAFT].first
    assert found is not None
    assert explanation.witness == found.operations
    assert first.unseen == ()
    assert [one.operation for one in second.unseen] == [first.operation]
    assert second.believed == "100.00"
    marks = explanation.broken.steps[(second.read_step or 0) - 1].marks
    assert "stale-read" in marks


@pytest.mark.parametrize("name", BROKEN)
def test_the_twin_is_the_cure_and_refuses_the_second_withdrawal(name: str) -> None:
    explanation, twin = explained(name), twin_of(name)
    assert explanation.is_cure
    assert twin.design == shipped("two_regions").designs[name].cure
    assert twin.verdict is Verdict.HOLDS
    refused = twin.steps[(twin.stopped_step or 0) - 1]
    assert "refusal" in refused.marks
    assert refused.operation == twin.stopped
    assert refused.balance == "30.00"
    assert not any(step.marks and "stale-read" in step.marks for step in twin.steps)


def test_the_read_and_the_decision_are_apart_where_the_application_thinks() -> None:
    decision = explained("db/select-then-update").broken.decisions[-1]
    steps = explained("db/select-then-update").broken.steps
    assert decision.read_step is not None
    assert decision.decided_step is not None
    read, decided = steps[decision.read_step - 1], steps[decision.decided_step - 1]
    assert (read.kind, decided.kind) == (StepKind.EXECUTED, StepKind.DECIDED)
    assert decided.time_ms - read.time_ms >= 50
    assert (decision.true, decision.true_at_effect) == ("100.00", "30.00")


def test_a_wait_for_a_lock_is_a_step_and_names_who_is_waited_for() -> None:
    twin = twin_of("db/select-then-update")
    (blocked,) = [step for step in twin.steps if step.kind is StepKind.BLOCKED]
    assert (blocked.operation, blocked.blocker) == (1, 2)
    assert twin.decisions[-1].waited_for == (2,)


def test_a_copy_of_a_topic_is_told_as_a_message_from_the_original() -> None:
    broken = explained("bus/regional-deltas").broken
    copied = [step for step in broken.steps if step.via == "west.deltas-0"]
    assert [step.source for step in copied] == ["west/deltas-0"]
    assert all(lane.kind in ("client", "service", "log") for lane in broken.lanes)
    assert "central" not in {lane.region for lane in broken.lanes}


def test_where_the_cure_is_not_in_the_scenario_the_shipped_one_is_run_and_judged_as_in_a_scenario() -> None:
    name = "bus/regional-deltas"
    designs = designs_of(TWO_REGIONS, [name])
    alone = run_scenario(TWO_REGIONS, build_workload(TWO_REGIONS), 42, designs, "x", search=every_order)
    assert alone.results.designs[name].explanation == explained(name)


def test_two_explanations_of_the_same_run_are_the_same() -> None:
    workload, designs = build_workload(TWO_REGIONS), designs_of(TWO_REGIONS)
    again = run_scenario(TWO_REGIONS, workload, 42, designs, "x", search=every_order).results
    for name, one in again.designs.items():
        assert one.explanation == shipped("two_regions").designs[name].explanation


# -- in a long run -------------------------------------------------------------------------------------

BUSY = """\
name: busy
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
accounts: {count: 3, balance: 60.00}
workload:
  generate:
    operations: 300
    arrivals: {process: poisson, rate: 40/s}
    accounts: {distribution: uniform}
    amounts: {from: 5.00, to: 40.00}
    mix: {withdraw: 55 %, deposit: 35 %, read: 10 %}
designs: [bus/regional-deltas, bus/regional-snapshots, db/active-active, db/select-then-update]
"""


def true_balance(workload: Workload, history: History, account: int, before_ns: int) -> Cents:
    """The opening balance and every effect that was made anywhere before a time."""
    made: dict[int, int] = {}
    for effect in history.effects():
        if effect.account == account and effect.time_ns < before_ns:
            made.setdefault(effect.operation, workload[effect.operation].delta(account))
    return workload.accounts[account] + sum(made.values())


def test_in_a_long_run_what_went_before_is_summed_up_and_few_operations_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "busy.yaml"
    path.write_text(BUSY, encoding="utf-8")
    scenario = load_scenario(path)
    workload = build_workload(scenario)
    done = run_scenario(scenario, workload, scenario.seed, designs_of(scenario), "x")
    histories = {one.card.name: one for one in done.saved.histories}
    for name, result in done.results.designs.items():
        explanation = result.explanation
        assert explanation is not None, name
        assert len(explanation.operations) <= 5
        assert len(explanation.broken.steps) < 100
        assert set(explanation.witness[:5]) <= {op.id for op in explanation.operations}
        assert explanation.account is not None
        begun_ns = round(explanation.broken.steps[0].time_ms * 1_000_000)
        true = true_balance(workload, histories[name], explanation.account, begun_ns)
        assert Decimal(explanation.broken.opening_true) == Decimal(true) / 100


def test_every_operation_that_is_followed_is_told_up_to_its_answer_on_both_sides(tmp_path: Path) -> None:
    cures = "bus/single-writer, bus/log-fold, db/atomic-update, db/select-for-update"
    path = tmp_path / "busy.yaml"
    text = BUSY.replace("update]", f"update, {cures}]").replace("operations: 300", "operations: 60")
    path.write_text(text, encoding="utf-8")
    scenario = load_scenario(path)
    for seed in range(1, 9):
        done = run_scenario(scenario, build_workload(scenario, seed), seed, designs_of(scenario), "x")
        histories = {one.card.name: one for one in done.saved.histories}
        for explanation in done.saved.explanations.values():
            for side in filter(None, (explanation.broken, explanation.twin)):
                told = {step.operation for step in side.steps if step.kind is StepKind.ANSWERED}
                followed = {op.id for op in explanation.operations}
                assert told == {one for one in followed if histories[side.design].fate(one) is not None}
