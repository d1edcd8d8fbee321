"""Repeating a race: each time on its own account, with gaps that cover both outcomes, paired live and simulated."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.agreement import Agreement
from arbsim.audit import audit, broken_accounts
from arbsim.history import History
from arbsim.model import Fate, Kind, Operation, Verdict, Workload
from arbsim.repeating.pairs import NothingToRepeat, as_invoked, plan, race_of, repeated, slowest_ns
from arbsim.repeating.run import WARM_UP, repeat
from tests.repeating.support import LONGEST_NS, MS, WORKLOAD, play, with_kafka

RACE = race_of(WORKLOAD)


def agreement(live: str, model: str, count: int = 100) -> Agreement:
    found = repeat(RACE, count, 7, LONGEST_NS, live=play(live), model=play(model))
    assert found is not None
    return found


def test_the_race_is_the_first_two_operations_on_an_account_from_two_regions() -> None:
    assert [(op.region, op.amount_cents) for op in (RACE.first, RACE.second)] == [
        ("west", 6000),
        ("east", 7000),
    ]
    assert RACE.opening_cents == 10_000


def test_without_two_regions_on_one_account_there_is_nothing_to_repeat() -> None:
    alone = [
        Operation(1, 0, "east", Kind.WITHDRAW, 1, 1),
        Operation(2, 0, "east", Kind.WITHDRAW, 1, 1),
        Operation(3, 0, "west", Kind.WITHDRAW, 2, 1),
        Operation(4, 0, "west", Kind.TRANSFER, 1, 1, 2),
    ]
    with pytest.raises(NothingToRepeat):
        race_of(Workload(alone, {1: 100, 2: 100}))


@given(st.lists(st.integers(-500 * MS, 500 * MS), min_size=1, max_size=20), st.integers(1, 10**9))
def test_every_repetition_has_its_account_and_its_gap(gaps_ns: list[int], every_ns: int) -> None:
    workload = repeated(RACE, gaps_ns, every_ns)
    assert [op.at_ns for op in workload] == sorted(op.at_ns for op in workload)
    assert min(op.at_ns for op in workload) >= 0
    for account, gap_ns in enumerate(gaps_ns, start=1):
        first, second = sorted(workload.by_account[account], key=lambda op: op.region != RACE.first.region)
        assert (first.region, second.region) == ("west", "east")
        assert second.at_ns - first.at_ns == gap_ns
        assert workload.accounts[account] == RACE.opening_cents
    firsts = [op.at_ns for op in workload if op.region == "west"]
    assert all(later - earlier == every_ns for earlier, later in pairwise(firsts))


@pytest.mark.parametrize("name", ["bus/regional-deltas", "bus/shared-table", "db/select-then-update"])
def test_gaps_cover_both_outcomes_about_evenly_and_repetitions_do_not_meet(name: str) -> None:
    chosen = plan(RACE, LONGEST_NS, play(name))
    gaps_ns = chosen.gaps_ns(200, 1)
    assert all(chosen.from_ns <= gap_ns < chosen.to_ns for gap_ns in gaps_ns)
    history = play(name)(repeated(RACE, gaps_ns, chosen.every_ns))
    assert 0.4 < len(broken_accounts(history)) / 200 < 0.6
    assert chosen.to_ns - chosen.from_ns + slowest_ns(history) < chosen.every_ns


def test_a_design_that_never_breaks_is_raced_around_no_gap_at_all() -> None:
    chosen = plan(RACE, LONGEST_NS, play("db/atomic-update"))
    assert (chosen.from_ns, chosen.to_ns) == (-2 * LONGEST_NS, 2 * LONGEST_NS)


def test_the_same_model_agrees_with_itself_in_every_repetition() -> None:
    found = agreement("bus/regional-deltas", "bus/regional-deltas")
    assert found.verdict == "agree"
    assert (found.repetitions, found.unanswered, found.only_live, found.only_simulated) == (100, 0, 0, 0)
    assert found.live == found.simulated
    assert 30 <= found.live.count <= 70


def test_a_design_that_holds_agrees_with_a_rate_of_nothing() -> None:
    found = agreement("db/atomic-update", "db/atomic-update")
    assert found.verdict == "agree"
    assert found.live.count == found.simulated.count == 0


def test_a_model_that_is_told_half_the_lag_disagrees() -> None:
    slow = play("bus/regional-deltas", with_kafka(mirror_lag_ns=40 * MS))
    quick = play("bus/regional-deltas", with_kafka(mirror_lag_ns=5 * MS))
    found = repeat(RACE, 100, 7, LONGEST_NS, live=slow, model=quick)
    assert found is not None
    assert found.verdict == "disagree"
    assert found.only_live == found.live.count - found.simulated.count > 0
    assert found.difference > 0.1


def test_repetitions_with_an_unknown_outcome_are_left_out_on_both_sides() -> None:
    def live(workload: Workload) -> History:
        history = play("bus/regional-deltas")(workload)
        for account in (WARM_UP, WARM_UP + 1, WARM_UP + 5):
            lost = workload.by_account[account][0].id
            history.answer(lost, history.answer_of(lost).answered_ns, Fate.UNKNOWN)
        return history

    found = repeat(RACE, 20, 7, LONGEST_NS, live=live, model=play("bus/regional-deltas"))
    assert found is not None
    assert (found.repetitions, found.unanswered) == (18, 2)
    assert found.only_live == found.only_simulated == 0


def test_the_model_gets_the_gaps_as_they_were() -> None:
    """Clients in the east wake up 30 ms late."""
    history = play("bus/regional-deltas")(repeated(RACE, [-20 * MS, 10 * MS], 500 * MS))
    for op in history.workload:
        history.invoke(op.id, op.at_ns + (30 * MS if op.region == "east" else 0))
    late = as_invoked(history)
    gaps_ns = []
    for account in (1, 2):
        west, east = sorted(late.by_account[account], key=lambda op: op.region, reverse=True)
        gaps_ns.append(east.at_ns - west.at_ns)
    assert gaps_ns == [10 * MS, 40 * MS]
    assert [op.at_ns for op in late] == sorted(op.at_ns for op in late)
    assert late.accounts == history.workload.accounts


def test_where_nobody_was_answered_nothing_is_compared() -> None:
    def live(workload: Workload) -> History:
        return History(play("bus/regional-deltas")(workload).card, workload)

    assert repeat(RACE, 5, 7, LONGEST_NS, live=live, model=play("bus/regional-deltas")) is None


@pytest.mark.parametrize("name", ["bus/regional-deltas", "bus/regional-snapshots", "db/select-then-update"])
def test_an_account_is_broken_where_a_run_of_its_own_is_violated(name: str) -> None:
    gaps_ns = [-300 * MS, -20 * MS, 10 * MS, 150 * MS, 500 * MS]
    together = broken_accounts(play(name)(repeated(RACE, gaps_ns, 3_000 * MS)))
    alone = {
        number
        for number, gap_ns in enumerate(gaps_ns, start=1)
        if audit(play(name)(repeated(RACE, [gap_ns], 0))).verdict is Verdict.VIOLATED
    }
    assert together == alone
    assert 0 < len(alone) < len(gaps_ns)
