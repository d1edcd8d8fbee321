"""The designs: what each does with the story that everybody tells, and what no workload makes the safe ones do."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbsim.audit import audit
from arbsim.designs import catalogue
from arbsim.model import VIOLATIONS, Fate, FindingKind, Kind, Operation, Verdict, Workload
from arbsim.results import DesignResult
from tests.worlds.virtual.worlds import MS, SETTINGS, deposit, fates, run, withdraw, workload

ALL = sorted(catalogue())
SAFE = [name for name in ALL if set(VIOLATIONS) <= set(catalogue()[name].claims)]
TRAPS = [name for name in ALL if name not in SAFE]
RACE = workload(withdraw(0, "west", 6000), withdraw(5, "east", 7000))
"""Account 1 holds 100.00; west wants 60.00 and east wants 70.00."""


@cache
def raced(name: str) -> DesignResult:
    return audit(run(catalogue()[name](), RACE))


def test_there_are_seven_safe_designs_and_seven_traps() -> None:
    assert SAFE == [
        "bus/log-fold",
        "bus/shared-table-atomic",
        "bus/single-writer",
        "db/atomic-update",
        "db/atomic-update-autocommit",
        "db/select-for-update",
        "db/serializable",
    ]
    assert len(TRAPS) == 7


@pytest.mark.parametrize("name", SAFE)
def test_a_safe_design_lets_exactly_one_withdrawal_win(name: str) -> None:
    result = raced(name)
    assert (result.outcomes.accepted, result.outcomes.rejected) == (1, 1)
    assert set(result.final["1"].values()) <= {"30.00", "40.00"}
    assert result.verdict is Verdict.NONE_SEEN


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("bus/regional-deltas", {FindingKind.OVERDRAFT}),
        ("bus/regional-snapshots", {FindingKind.OVERDRAFT, FindingKind.LOST_UPDATE}),
        ("bus/shared-table", {FindingKind.OVERDRAFT, FindingKind.LOST_UPDATE}),
        ("db/active-active", {FindingKind.OVERDRAFT, FindingKind.LOST_UPDATE}),
        (
            "db/select-then-update",
            {FindingKind.OVERDRAFT, FindingKind.OVERDRAFT_OWN_ORDER, FindingKind.LOST_UPDATE},
        ),
        ("db/select-then-decrement", set()),
        ("db/read-model", set()),
    ],
)
def test_each_trap_fails_in_its_own_way(name: str, kinds: set[FindingKind]) -> None:
    result = raced(name)
    assert {kind for kind, finding in result.findings.items() if finding.count} == kinds
    assert result.as_declared != "no"


def test_the_bus_alone_ends_at_minus_thirty_in_every_region() -> None:
    assert set(raced("bus/regional-deltas").final["1"].values()) == {"-30.00"}


@pytest.mark.parametrize("name", ["db/select-then-decrement", "db/read-model"])
def test_without_its_check_the_table_goes_to_minus_thirty(name: str) -> None:
    unchecked: Any = catalogue()[name]
    history = run(unchecked(check=False), RACE)
    assert history.finals["database"] == {1: -3000}
    assert audit(history).verdict is Verdict.VIOLATED


def test_the_check_stops_the_relative_form_with_23514() -> None:
    history = run(catalogue()["db/select-then-decrement"](), RACE)
    assert sorted(fates(history)) == ["accepted", "failed"]
    assert audit(history).failures == {"23514 acct_balance_check": 1}


EVERYTHING = Workload(
    tuple(
        Operation(number, at_ms * MS, region, kind, account, cents, to)
        for number, (at_ms, region, kind, account, cents, to) in enumerate(
            [
                (0, "east", Kind.WITHDRAW, 1, 4000, None),
                (5000, "west", Kind.DEPOSIT, 1, 1000, None),
                (10000, "east", Kind.TRANSFER, 1, 5000, 2),
                (15000, "west", Kind.WITHDRAW, 1, 9000, None),
                (20000, "east", Kind.READ, 2, 0, None),
            ],
            start=1,
        )
    ),
    {1: 10_000, 2: 0},
)


@pytest.mark.parametrize("name", ALL)
def test_every_design_does_everything_when_nobody_is_in_the_way(name: str) -> None:
    """The "sometimes" beside the "nevers": a design that refuses everything would be safe as well."""
    history = run(catalogue()[name](), EVERYTHING)
    assert fates(history) == ["accepted", "accepted", "accepted", "rejected", "accepted"]
    assert all(balances == {1: 2000, 2: 5000} for balances in history.finals.values())
    result = audit(history)
    assert result.differences == ()
    assert not any(finding.count for finding in result.findings.values())
    assert history.answer_of(5).told_cents == 5000


@pytest.mark.parametrize("name", ALL)
def test_a_client_knows_that_it_is_recorded_no_later_than_its_fate(name: str) -> None:
    for answer in run(catalogue()[name](), RACE).answers():
        assert 0 <= answer.invoked_ns <= answer.recorded_ns <= answer.answered_ns


@pytest.mark.parametrize("name", ["bus/regional-deltas", "bus/single-writer", "bus/log-fold"])
def test_on_a_log_recorded_comes_before_fate(name: str) -> None:
    working = replace(SETTINGS, kafka=replace(SETTINGS.kafka, append_ns=1 * MS))
    for answer in run(catalogue()[name](), RACE, working).answers():
        assert answer.recorded_ns < answer.answered_ns


@pytest.mark.parametrize("name", ALL)
def test_transfers_that_cross_are_decided_though_a_deadlock_ends_one_of_them(name: str) -> None:
    for apart_ms in range(0, 240, 20):
        cross = Workload(
            (
                Operation(1, 0, "west", Kind.TRANSFER, 2, 100, 1),
                Operation(2, apart_ms * MS, "east", Kind.TRANSFER, 1, 100, 2),
            ),
            {1: 10000, 2: 10000},
        )
        assert audit(run(catalogue()[name](), cross, dialect="postgres")).outcomes.unknown == 0


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """A few operations on a few accounts, close enough to meet."""
    accounts = dict.fromkeys(range(1, draw(st.integers(1, 3)) + 1), 10000)
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 400),
                st.sampled_from(["east", "west"]),
                st.sampled_from([Kind.WITHDRAW, Kind.WITHDRAW, Kind.DEPOSIT, Kind.TRANSFER, Kind.READ]),
                st.sampled_from(sorted(accounts)),
                st.integers(1, 90).map(lambda units: units * 100),
                st.sampled_from(sorted(accounts)),
            ),
            min_size=2,
            max_size=10,
        )
    )
    operations = tuple(
        Operation(
            number,
            at_ms * MS,
            region,
            kind if kind is not Kind.TRANSFER or to != account else Kind.WITHDRAW,
            account,
            0 if kind is Kind.READ else cents,
            to if kind is Kind.TRANSFER and to != account else None,
        )
        for number, (at_ms, region, kind, account, cents, to) in enumerate(
            sorted(rows, key=lambda row: row[0]), 1
        )
    )
    return Workload(operations, accounts)


@pytest.mark.parametrize("dialect", ["yugabyte", "postgres"])
@pytest.mark.parametrize("name", ALL)
@given(operations=workloads(), seed=st.integers(0, 2**32))
@settings(max_examples=50)
def test_no_workload_makes_a_design_break_what_it_claims(
    name: str, dialect: str, operations: Workload, seed: int
) -> None:
    jittery = replace(SETTINGS, seed=seed, jitter_ppm=200_000)
    result = audit(run(catalogue()[name](), operations, jittery, dialect=dialect))
    claimed = (
        *catalogue()[name].claims,
        *((FindingKind.STALE_READ,) if catalogue()[name].fresh_reads else ()),
    )
    assert {kind: result.findings[kind].first for kind in claimed if result.findings[kind].count} == {}
    assert result.findings[FindingKind.UNEXPLAINED].count == 0
    assert result.outcomes.unknown == 0


@pytest.mark.parametrize("name", SAFE)
@pytest.mark.parametrize("pause_ms", [0, 20, 61, 130])
def test_a_safe_design_keeps_the_rule_however_the_two_meet(name: str, pause_ms: int) -> None:
    for first, second in (("east", "west"), ("west", "east")):
        history = run(
            catalogue()[name](), workload(withdraw(0, first, 6000), withdraw(pause_ms, second, 7000))
        )
        assert sorted(fates(history)) == ["accepted", "rejected"]


def test_a_deposit_in_time_lets_the_refused_one_through() -> None:
    history = run(
        catalogue()["db/atomic-update"](), workload(deposit(0, "east", 5000), withdraw(1000, "west", 14000))
    )
    assert history.fate(2) is Fate.ACCEPTED
