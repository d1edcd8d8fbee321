"""A run that saw nothing, and the other orders of its operations: what its verdict then stands on."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.explore.every_order import MOST_OPERATIONS, every_order
from arbsim.explore.run import RING_BOUND
from arbsim.history_file import load, save
from arbsim.model import FindingKind, Operation, Outcome, Verdict, Workload
from arbsim.report.console import render
from arbsim.results import DesignResult, EveryOrder
from arbsim.runner import Run, card_of, designs_of, judge_again, run_scenario, settings_of
from arbsim.scenario import Scenario, load_scenario
from arbsim.scenario.sweep_check import changed
from arbsim.workload import build_workload
from arbsim.worlds.api import Design, Region

SCENARIOS = Path(__file__).parents[2] / "scenarios"
NS_PER_MS = 1_000_000


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario(SCENARIOS / "two_regions.yaml")


def with_gap(scenario: Scenario, milliseconds: int) -> Workload:
    """The withdrawals of two regions, the second so much later than the first."""
    whole = build_workload(scenario)
    first, second = (
        op._replace(at_ns=at * NS_PER_MS) for op, at in zip(whole, (0, milliseconds), strict=True)
    )
    return Workload((first, second), whole.accounts)


def run(scenario: Scenario, workload: Workload, *names: str, own: Design | None = None) -> Run:
    designs = {**designs_of(scenario, names or ["db/atomic-update"]), **({"own": own} if own else {})}
    return run_scenario(scenario, workload, 42, designs, "arbsim run x.yaml", search=every_order)


def result(scenario: Scenario, workload: Workload, name: str) -> DesignResult:
    return run(scenario, workload, name).results.designs[name]


def test_a_run_that_saw_nothing_holds_where_every_order_does(scenario: Scenario) -> None:
    held = result(scenario, build_workload(scenario), "db/atomic-update")
    found = held.evidence.every_order
    assert (held.verdict, held.as_declared) == (Verdict.HOLDS, "yes")
    assert found is not None
    assert (found.complete, found.orders, found.violating_orders) == (True, 4, 0)
    assert found.bounds


@pytest.mark.parametrize(
    ("dialect", "name", "left_out"),
    [
        ("yugabyte", "db/serializable", True),
        ("yugabyte", "db/select-for-update", False),
        ("yugabyte", "bus/single-writer", False),
        ("postgres", "db/serializable", False),
    ],
    ids=["first statements wait", "later statements wait", "no database", "no YugabyteDB"],
)
def test_that_rings_of_waits_are_left_to_other_orders_is_said_where_they_are(
    scenario: Scenario, dialect: str, name: str, left_out: bool
) -> None:
    there = changed(scenario, {"database.dialect": dialect})
    found = result(there, build_workload(there), name).evidence.every_order
    assert found is not None
    assert (RING_BOUND in found.bounds) == left_out


def test_delays_that_let_a_trap_off_do_not_make_it_hold(scenario: Scenario) -> None:
    lucky = with_gap(scenario, 340)
    alone = run_scenario(scenario, lucky, 42, designs_of(scenario, ["db/select-then-update"]), "x").results
    assert alone.designs["db/select-then-update"].verdict is Verdict.NONE_SEEN

    done = run(scenario, lucky, "db/select-then-update").results
    trap = done.designs["db/select-then-update"]
    found = trap.evidence.every_order
    assert (trap.verdict, trap.as_declared, trap.explanation) == (Verdict.VIOLATED, "yes", None)
    assert found is not None
    assert (found.violating_orders, found.orders) == (12, 14)
    assert FindingKind.LOST_UPDATE in found.broken
    assert not any(finding.count for finding in trap.findings.values())
    assert "W310" in [warning.id for warning in done.warnings]
    assert "x violated: 12 of 14 orders " in render(done)
    assert "arbsim explore --operations 2 shows the shortest" in " ".join(render(done).split())


def test_a_violation_in_another_order_of_what_a_design_claims_to_prevent_is_a_bug(scenario: Scenario) -> None:
    class Boasting(type(designs_of(scenario, ["db/select-then-update"])["db/select-then-update"])):  # type: ignore[misc]
        claims = AtomicUpdate.claims

    done = run(scenario, with_gap(scenario, 340), own=Boasting()).results
    assert done.designs["own"].as_declared == "no"
    assert done.exit_code == 1


def test_a_search_that_finds_a_violation_and_does_not_end_says_that_it_tried_some(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arbsim.explore.every_order.STEPS_IN_ALL", 20)
    done = run(scenario, with_gap(scenario, 340), "db/select-then-update").results
    trap = done.designs["db/select-then-update"]
    assert trap.verdict is Verdict.VIOLATED
    assert trap.evidence.every_order is not None
    assert not trap.evidence.every_order.complete
    assert " orders tried " in render(done)


def test_a_trap_that_holds_in_every_order_is_news(scenario: Scenario) -> None:
    done = run(scenario, build_workload(scenario), "db/select-then-decrement").results
    held = done.designs["db/select-then-decrement"]
    assert (held.verdict, held.as_declared) == (Verdict.HOLDS, "undecided")
    assert [warning.id for warning in done.warnings] == ["W306"]


def refuse(*_: object) -> EveryOrder | None:
    raise AssertionError("nobody should have searched")


@pytest.mark.parametrize(
    ("name", "gap_ms", "verdict"),
    [
        ("db/select-then-update", 0, Verdict.VIOLATED),
        ("db/atomic-update", 5_000, Verdict.INCONCLUSIVE),
    ],
    ids=["violated", "without contention"],
)
def test_only_a_run_with_contention_and_no_violation_is_searched(
    scenario: Scenario, name: str, gap_ms: int, verdict: Verdict
) -> None:
    searched: list[str] = []
    done = run_scenario(
        scenario,
        with_gap(scenario, gap_ms),
        42,
        designs_of(scenario, [name]),
        "x",
        search=lambda design, card, *_: searched.append(card.name),
    ).results
    assert done.designs[name].verdict is verdict
    assert name not in searched


def test_a_search_that_needs_more_steps_than_there_are_decides_nothing(scenario: Scenario) -> None:
    first, second = build_workload(scenario)
    more = tuple(op._replace(id=number) for number, op in enumerate([first, second] * 2, start=1))
    held = result(scenario, Workload(more, {1: 10_000}), "db/select-for-update")
    assert held.verdict is Verdict.NONE_SEEN
    assert held.evidence.every_order is None


def test_more_operations_than_there_are_steps_are_not_begun(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arbsim.explore.every_order.explore_design", refuse)
    one = build_workload(scenario)[1]
    many = tuple(one._replace(id=number) for number in range(1, MOST_OPERATIONS + 2))
    design = AtomicUpdate()
    card = card_of("own", design)
    assert every_order(design, card, Workload(many, {1: 10_000}), settings_of(scenario, 42)) is None


class Alternates(AtomicUpdate):
    """Holds, but takes one step more in every second run of two operations."""

    decisions = 0

    async def decide(self, op: Operation, region: Region) -> Outcome:
        Alternates.decisions += 1
        if Alternates.decisions % 4 > 1:
            async with region.database.acquire() as connection:
                await connection.fetchval("SELECT balance FROM acct WHERE id = $1", op.account)
        return await super().decide(op, region)


def test_a_design_that_keeps_state_between_runs_is_not_said_to_hold(scenario: Scenario) -> None:
    done = run(scenario, build_workload(scenario), own=Alternates()).results
    assert done.designs["own"].verdict is Verdict.NONE_SEEN


@pytest.mark.parametrize("names", [("db/atomic-update",), ("db/select-then-update",)])
def test_a_saved_run_is_judged_by_the_same_orders_again(
    scenario: Scenario, names: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(scenario, with_gap(scenario, 340 if "then" in names[0] else 5), *names)
    text = StringIO()
    save(done.saved, text)
    (tmp_path / "history.jsonl").write_text(text.getvalue())
    assert judge_again(load(tmp_path / "history.jsonl")) == done.results
