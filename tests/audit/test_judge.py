"""Verdicts: what was found, held against what the design claims, and never green on nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.audit import ShortAudits, audit, short_audit
from arbsim.history import OPENING, History
from arbsim.model import VIOLATIONS, Fate, FindingKind, Kind, Verdict
from tests.audit.histories import Op, answered, deposit, in_order, operations, read, with_card, withdraw


def test_every_kind_is_always_reported() -> None:
    assert list(audit(answered([])).findings) == list(FindingKind)


def test_a_run_without_operations_is_inconclusive() -> None:
    result = audit(answered([]))
    assert (result.verdict, result.reasons, result.as_declared) == (
        Verdict.INCONCLUSIVE,
        ("empty",),
        "undecided",
    )


def test_a_run_without_contention_is_inconclusive() -> None:
    result = audit(in_order([withdraw(70, 0, 5), withdraw(20, 6, 9)], [1, 2]))
    assert (result.verdict, result.reasons) == (Verdict.INCONCLUSIVE, ("no-contention",))


def test_a_violation_outranks_the_lack_of_contention() -> None:
    history = answered([withdraw(170, 0, 5)])
    history.effect(1, 1, 0, -70, OPENING, 1)
    history.finals = {"database": {1: -70, 2: 100}}
    result = audit(history)
    assert result.verdict is Verdict.VIOLATED
    assert result.as_declared == "no"


def test_contention_without_a_finding_is_none_seen() -> None:
    result = audit(in_order([withdraw(70, 0, 5), withdraw(60, 3, 9)], [1, 2]))
    assert (result.verdict, result.as_declared) == (Verdict.NONE_SEEN, "yes")


def test_unknown_outcomes_that_decide_it_are_inconclusive() -> None:
    ops = [withdraw(70, 0, 5), withdraw(60, 3, 9, Fate.UNKNOWN), deposit(1, 4, 8)]
    history = answered(ops)
    row = history.effect(1, 1, 0, 30, OPENING, 1)
    history.effect(3, 1, 0, 31, row, 5)
    history.finals = {"database": {1: 31, 2: 100}}
    result = audit(history)
    assert (result.verdict, result.reasons) == (Verdict.INCONCLUSIVE, ("undecided-outcomes",))


def broken(claims: tuple[FindingKind, ...]) -> str:
    history = with_card(answered([withdraw(70, 0, 5), withdraw(60, 3, 9)]), claims=claims, own_order=None)
    row = history.effect(1, 1, 0, 30, OPENING, 1)
    history.effect(2, 1, 0, -30, row, 4)
    history.finals = {"database": {1: -30, 2: 100}}
    return audit(history).as_declared


def test_a_trap_that_breaks_what_it_does_not_claim_is_as_declared() -> None:
    assert broken(()) == "yes"
    assert broken((FindingKind.LOST_UPDATE,)) == "yes"


def test_a_design_that_breaks_what_it_claims_is_not_as_declared() -> None:
    assert broken(VIOLATIONS) == "no"
    assert broken((FindingKind.OVERDRAFT,)) == "no"


def test_a_trap_that_holds_is_undecided_news() -> None:
    history = with_card(in_order([withdraw(70, 0, 5), withdraw(60, 3, 9)], [1, 2]), claims=())
    result = audit(history)
    assert (result.verdict, result.as_declared) == (Verdict.NONE_SEEN, "undecided")


@pytest.mark.parametrize(("fresh", "verdict"), [(True, Verdict.VIOLATED), (False, Verdict.NONE_SEEN)])
def test_a_stale_read_violates_only_a_claim_of_fresh_reads(fresh: bool, verdict: Verdict) -> None:
    ops = [deposit(20, 0, 5), read(6, 9), deposit(5, 4, 7)]
    history = with_card(in_order(ops, [2, 1, 3]), fresh_reads=fresh)
    result = audit(history)
    assert result.findings[FindingKind.STALE_READ].count == 1
    assert result.verdict is verdict


def test_first_worst_and_last_are_told() -> None:
    ops = [withdraw(cents, start, start + 5) for cents, start in ((130, 0), (10, 10), (190, 20), (20, 30))]
    history = with_card(answered(ops), own_order=None)
    row, balance = OPENING, 100
    for number, op in enumerate(ops, start=1):
        balance -= op.cents
        row = history.effect(number, 1, 0, balance, row, op.start + 1)
    history.finals = {"database": {1: balance, 2: 100}}
    found = audit(history).findings[FindingKind.OVERDRAFT]
    assert found.count == 4
    assert found.first is not None
    assert found.worst is not None
    assert found.last is not None
    assert (found.first.operations[0], found.last.operations[0]) == (1, 4)
    assert found.worst.amount == "1.90"


def test_outcomes_and_reasons_of_failure_are_counted() -> None:
    history = answered([withdraw(1, 0, 5), withdraw(1, 1, 5, Fate.REJECTED), withdraw(1, 2, 6, None)])
    history.answer(2, 7, Fate.FAILED, reason="23514 acct_balance_check")
    result = audit(history)
    ends = result.outcomes
    assert (ends.accepted, ends.rejected, ends.failed, ends.unknown) == (1, 0, 1, 1)
    assert result.failures == {"23514 acct_balance_check": 1}


@given(st.lists(operations(list(Kind)), max_size=6), st.booleans())
def test_the_short_audit_says_the_same_in_short(ops: list[Op], in_some_order: bool) -> None:
    history = in_order(ops, range(1, len(ops) + 1)) if in_some_order else answered(ops)
    short, full = short_audit(history), audit(history)
    met = full.contention
    assert short.broken == tuple(kind for kind, finding in full.findings.items() if finding.count)
    assert short.verdict is full.verdict
    assert short.contended is bool(met.overlapping_pairs or met.unseen_pairs or met.waits)
    assert short.undecided is ("undecided-outcomes" in full.reasons)


@given(st.lists(operations(list(Kind)), max_size=6), st.booleans(), st.integers(1, 1000))
def test_what_has_one_essence_is_judged_alike(ops: list[Op], in_some_order: bool, tick: int) -> None:
    slower = [replace(op, start=tick * op.start + 7, end=tick * op.end + 7) for op in ops]
    both = []
    for some in (ops, slower):
        history = in_order(some, range(1, len(ops) + 1)) if in_some_order else answered(some)
        essence = history.essence()
        bare = History.of_essence(history.card, history.workload, essence)
        assert bare.essence() == essence
        audits = ShortAudits(history.card, history.workload)
        assert short_audit(bare) == audits.of(history) == audits.of(history) == short_audit(history)
        both.append(essence)
    assert both[0] == both[1]


def test_another_answer_another_order_and_another_effect_are_another_essence() -> None:
    plain = answered([withdraw(70, 0, 5), withdraw(60, 3, 9)])
    answers = answered([withdraw(70, 0, 5), withdraw(60, 3, 9, Fate.REJECTED)])
    order = answered([withdraw(70, 0, 5), withdraw(60, 6, 9)])
    effect = answered([withdraw(70, 0, 5), withdraw(60, 3, 9)])
    effect.effect(1, 1, 0, 30, OPENING, 1)
    assert len({history.essence() for history in (plain, answers, order, effect)}) == 4


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbsim.audit.judge.MOST_KNOWN", 2)
    history = answered([withdraw(70, 0, 5), withdraw(60, 3, 9)])
    audits = ShortAudits(history.card, history.workload)
    for cents in (100, 30, -30, 40, 100):
        history.finals = {"database": {1: cents, 2: 100}}
        assert audits.of(history) == short_audit(history)


def test_what_is_remembered_of_one_workload_is_not_said_of_another() -> None:
    history, other = (answered([withdraw(cents, 0, 5)]) for cents in (70, 60))
    with pytest.raises(AssertionError, match="another workload"):
        ShortAudits(history.card, history.workload).of(other)
