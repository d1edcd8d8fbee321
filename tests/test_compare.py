"""Designs side by side: expectations, disagreements, the reference, and what weakens a pass."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from arbsim.audit import audit
from arbsim.compare import Expected, Facts, compare, exit_code, reference, run_facts, workload_sha256
from arbsim.history import OPENING, History
from arbsim.model import VIOLATIONS, Fate, FindingKind, Kind, Operation, Workload
from arbsim.results import Expectation, LiveFacts, Results, StreamFacts, results_schema
from tests.audit.histories import answered, in_order, with_card, withdraw

FACTS = Facts("tested", "Does it?", {"name": "tested"}, 1, "0", "arbsim run x.yaml")


def holds() -> History:
    return in_order([withdraw(70, 0, 5), withdraw(60, 3, 9)], [1, 2])


def overdraws() -> History:
    history = with_card(answered([withdraw(70, 0, 5), withdraw(60, 3, 9)]), claims=(), own_order=None)
    row = history.effect(1, 1, 0, 30, OPENING, 1)
    history.effect(2, 1, 0, -30, row, 4)
    history.finals = {"database": {1: -30, 2: 100}}
    return history


def compared(histories: dict[str, History], *expected: Expected, facts: Facts = FACTS) -> Results:
    workload = next(iter(histories.values())).workload
    return compare(
        facts,
        workload,
        {name: audit(history) for name, history in histories.items()},
        expected,
        {name: run_facts(history) for name, history in histories.items()},
    )


def status(history: History, what: str, *words: str, least: int = 0, most: int | None = None) -> str:
    (found,) = compared({"it": history}, Expected("it", what, words, least, most)).expectations
    return found.status


@pytest.mark.parametrize(
    ("what", "words", "expected"),
    [
        ("verdict", ("not-violated",), "met"),
        ("verdict", ("violated",), "broken"),
        ("verdict", ("holds",), "undecided"),
        ("verdict", ("inconclusive",), "broken"),
        ("final 1", ("0.30", "0.40"), "met"),
        ("final 1", ("0.40",), "broken"),
        ("final 7", ("0.40",), "broken"),
        ("operation 1", ("accepted",), "met"),
        ("operation 2", ("accepted",), "broken"),
        ("operation 2", ("accepted", "rejected"), "met"),
    ],
)
def test_words_are_held_against_what_was_observed(what: str, words: tuple[str, ...], expected: str) -> None:
    assert status(holds(), what, *words) == expected


@pytest.mark.parametrize(
    ("what", "least", "most", "expected"),
    [
        ("overdraft", 0, 0, "broken"),
        ("overdraft", 1, 1, "met"),
        ("overdraft", 2, None, "broken"),
        ("outcomes accepted", 2, 2, "met"),
        ("client_retries", 0, 0, "met"),
        ("server_retries", 1, None, "broken"),
        ("totals wan_messages", 0, 0, "met"),
        ("errors 23514", 1, None, "broken"),
    ],
)
def test_counts_are_held_against_their_bounds(what: str, least: int, most: int | None, expected: str) -> None:
    assert status(overdraws(), what, least=least, most=most) == expected


def test_errors_are_counted_by_a_whole_word_of_their_reason() -> None:
    history = holds()
    history.answer(2, 9, Fate.FAILED, reason="23514 acct_balance_check")
    assert status(history, "errors 23514", least=1, most=1) == "met"
    assert status(history, "errors 2351", least=1) == "broken"


def test_a_verdict_that_nothing_decided_is_undecided() -> None:
    alone = in_order([withdraw(70, 0, 5)], [1])
    assert status(alone, "verdict", "not-violated") == "undecided"
    assert status(alone, "verdict", "violated") == "undecided"
    assert status(alone, "verdict", "inconclusive") == "met"


def cut_off(history: History) -> History:
    """The same run without its end."""
    history.cut_off = True
    history.finals = {}
    return history


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("verdict", "not-violated"),
        ("final 1", "0.30"),
        ("operation 2", "accepted"),
        ("outcomes accepted", ""),
    ],
)
def test_a_run_that_was_cut_off_meets_nothing_and_breaks_nothing(what: str, words: str) -> None:
    assert status(cut_off(holds()), what, *words.split()) == "undecided"


def test_a_run_that_was_violated_before_it_was_cut_off_is_violated() -> None:
    history = cut_off(with_card(answered([withdraw(70, 0, 5), withdraw(60, 3, 9)]), own_order=None))
    assert status(history, "verdict", "violated") == "met"
    assert status(history, "verdict", "not-violated") == "broken"


def test_a_run_that_was_cut_off_disagrees_with_nobody() -> None:
    unanswered = cut_off(answered([withdraw(70, 0, 5), withdraw(60, 3, 9, None)]))
    assert compared({"whole": holds(), "part": unanswered}).disagreements.count == 0


def test_a_design_of_which_nothing_is_expected_is_held_to_its_own_claims() -> None:
    histories = {
        "safe": holds(),
        "trap": overdraws(),
        "liar": with_card(overdraws(), claims=VIOLATIONS),
    }
    found = compared(histories).expectations
    assert [(one.design, one.what, one.status) for one in found] == [
        ("safe", "as declared", "met"),
        ("trap", "as declared", "met"),
        ("liar", "as declared", "broken"),
    ]


def side(region: str, differences: dict[str, tuple[str | None, str | None]]) -> StreamFacts:
    return StreamFacts(
        region=region, delivery="at least once", killed=False, changes=2, again=0, missing=0, snapshots=1,
        lag_p50_ms=1.0, lag_p99_ms=2.0, differences=differences,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("differences", "observed", "status", "code"),
    [
        ({}, "the table", "met", 0),
        ({"7": ("30.00", "40.00")}, "account 7 40.00 instead of 30.00 in west", "broken", 1),
        ({"7": ("30.00", None)}, "account 7 missing instead of 30.00 in west", "broken", 1),
    ],
)
def test_a_live_change_stream_must_tell_the_table(
    differences: dict[str, tuple[str | None, str | None]], observed: str, status: str, code: int
) -> None:
    live = LiveFacts(
        began="2026-01-01 00:00 UTC", machine={}, servers=(), own=False, links=(), not_run={}, simulated={},
        streams={"safe": (side("east", {}), side("west", differences))},
    )  # fmt: skip
    found = compared({"safe": holds()}, facts=replace(FACTS, live=live))
    folded = found.expectations[-1]
    assert (folded.design, folded.expected, folded.observed, folded.status) == (
        "safe", "the table", observed, status,
    )  # fmt: skip
    assert found.exit_code == code


def expectation(status: str) -> Expectation:
    return Expectation(design="d", what="w", expected="e", observed="o", status=status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statuses", "code"),
    [([], 0), (["met"], 0), (["met", "undecided"], 3), (["undecided", "broken"], 1), (["broken"], 1)],
)
def test_the_worst_expectation_gives_the_exit_code(statuses: list[str], code: int) -> None:
    assert exit_code([expectation(status) for status in statuses]) == code


def test_operations_on_whose_fate_designs_differ_are_told() -> None:
    found = compared({"safe": holds(), "trap": overdraws()}).disagreements
    assert found.count == 1
    (one,) = found.first
    assert one.operation.id == 2
    assert one.fates == {"safe": Fate.REJECTED, "trap": Fate.ACCEPTED}


def test_the_reference_runs_the_operations_one_at_a_time() -> None:
    assert compared({"trap": overdraws()}).reference == {"1": "0.30", "2": "1.00"}


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Kind)), st.integers(1, 3), st.integers(1, 90), st.integers(1, 3)),
        max_size=12,
    )
)
def test_the_reference_never_overdraws_and_keeps_what_transfers_move(
    rows: list[tuple[Kind, int, int, int]],
) -> None:
    operations = tuple(
        Operation(
            number,
            number,
            "east",
            kind,
            account,
            0 if kind is Kind.READ else cents,
            to if kind is Kind.TRANSFER else None,
        )
        for number, (kind, account, cents, to) in enumerate(rows, start=1)
    )
    workload = Workload(operations, {1: 100, 2: 100, 3: 100})
    balances = reference(workload)
    assert min(balances.values()) >= 0
    if {op.kind for op in operations} <= {Kind.TRANSFER, Kind.READ}:
        assert sum(balances.values()) == 300
    assert workload_sha256(workload) == workload_sha256(Workload(operations, {1: 100, 2: 100, 3: 100}))


def test_a_document_fits_the_published_schema_and_survives_the_way() -> None:
    results = compared({"safe": holds(), "trap": overdraws()})
    text = results.model_dump_json()
    schema = results_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(text))
    assert Results.model_validate_json(text) == results


# -- warnings ------------------------------------------------------------------------------------------


def warnings(history: History) -> set[str]:
    return {warning.id for warning in compared({"it": history}).warnings}


def test_a_good_contended_run_has_no_warning() -> None:
    assert warnings(holds()) == set()


def test_each_weakness_has_a_warning() -> None:
    assert warnings(answered([])) == {"W301"}
    assert "W302" in warnings(in_order([withdraw(170, 0, 5), withdraw(160, 3, 9)], [1, 2]))
    assert "W307" in warnings(in_order([withdraw(70, 0, 5), withdraw(20, 6, 9)], [1, 2]))
    assert "W306" in warnings(with_card(holds(), claims=()))
    stopped = holds()
    stopped.notes.append("the run was stopped")
    assert "W304" in warnings(stopped)


def test_a_lower_bound_is_told() -> None:
    ops = [withdraw(1, 0, 1) for _ in range(12)]
    history = in_order(ops, list(range(1, 13)))
    assert "W305" not in warnings(history)
    moved = Operation(13, 12, "east", Kind.TRANSFER, 1, 1, 2)
    longer = History(history.card, Workload((*history.workload.operations, moved), {1: 100, 2: 100}))
    longer.finals = {"database": {1: 100, 2: 100}}
    for number in range(1, 14):
        longer.invoke(number, 0)
        longer.answer(number, 1, Fate.REJECTED if number < 13 else Fate.ACCEPTED)
    assert audit(longer).findings[FindingKind.OVERDRAFT].exact
    for number in range(1, 14):
        longer.answer(number, 1, Fate.ACCEPTED)
    assert "W305" in warnings(longer)


def test_every_warning_says_what_to_do() -> None:
    for warning in compared({"trap": with_card(holds(), claims=())}).warnings:
        assert warning.next_step
        assert warning.text
