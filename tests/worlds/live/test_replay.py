"""A history is made of what processes noted and what the database kept."""

import pytest

from arbsim.audit import audit
from arbsim.designs.database import OVERWRITE, SELECT, WITHDRAW
from arbsim.history import OPENING, EffectKind, History
from arbsim.model import VIOLATIONS, DesignCard, Fate, FindingKind, Kind, Operation, Verdict, Workload
from arbsim.worlds.live.database import Change
from arbsim.worlds.live.events import Event
from arbsim.worlds.live.replay import DATABASE, replay

CARD = DesignCard(
    name="tested",
    design="tested",
    family="db",
    agreement="synchronous",
    claims=VIOLATIONS,
    summary="A design of a test.",
)
WEST, EAST = 101, 102  # the server's processes of two connections


def history_of(*cents: int) -> History:
    operations = tuple(
        Operation(number, 0, "west", Kind.WITHDRAW, 1, amount) for number, amount in enumerate(cents, start=1)
    )
    return History(CARD, Workload(operations, {1: 10_000}))


def statement(operation: int, process: int, sent: int, answered: int, text: str, *read: int) -> Event:
    return Event(answered, "statement", operation, (sent, process, text, [(1, cents) for cents in read]))


def client(operation: int, begin: int, end: int, fate: str = "accepted") -> list[Event]:
    return [
        Event(begin, "invoke", operation, ()),
        Event(end, "answer", operation, (fate, None, "")),
    ]


def change(number: int, process: int, before: int, after: int, at: int, committed: int) -> Change:
    return Change(1, before, after, process, 700 + number, at, committed)


def in_order(*parts: list[Event]) -> list[Event]:
    return sorted((event for part in parts for event in part), key=lambda event: event.time_ns)


def test_a_change_is_attributed_to_the_operation_whose_statement_was_under_way_on_its_connection() -> None:
    history = history_of(6_000, 3_000)
    events = in_order(
        client(1, 10, 60),
        client(2, 20, 90),
        [statement(1, WEST, 12, 40, WITHDRAW), statement(2, EAST, 22, 80, WITHDRAW)],
    )
    changes = [change(1, WEST, 10_000, 4_000, 30, 50), change(2, EAST, 4_000, 1_000, 70, 85)]
    history.finals[DATABASE] = {1: 1_000}
    replay(history, {"clients": events}, changes, start_ns=10)
    first, second = history.effects()
    assert (first.operation, first.base, first.after_cents, first.time_ns) == (1, OPENING, 4_000, 40)
    assert (second.operation, second.base, second.kind) == (2, first.row, EffectKind.WRITTEN)
    assert [answer.own_order for answer in history.answers()] == [1, 2]
    assert not any(finding.count for finding in audit(history).findings.values())


def test_a_balance_written_over_the_row_is_based_on_what_was_read_so_the_update_between_is_lost() -> None:
    history = history_of(6_000, 7_000)
    events = in_order(
        client(1, 0, 100),
        client(2, 0, 100),
        [
            statement(1, WEST, 1, 10, SELECT, 10_000),
            statement(2, EAST, 2, 11, SELECT, 10_000),
            statement(1, WEST, 20, 30, OVERWRITE),
            statement(2, EAST, 40, 50, OVERWRITE),
        ],
    )
    changes = [change(1, WEST, 10_000, 4_000, 25, 26), change(2, EAST, 4_000, 3_000, 45, 46)]
    history.finals[DATABASE] = {1: 3_000}
    replay(history, {"clients": events}, changes, start_ns=0)
    assert [effect.base for effect in history.effects()] == [OPENING, OPENING]
    findings = audit(history).findings
    assert findings[FindingKind.LOST_UPDATE].count == 1
    assert findings[FindingKind.UNEXPLAINED].count == 0


def test_a_read_saw_the_latest_version_with_its_value_that_was_current_before_the_answer() -> None:
    history = history_of(6_000, 1_000)
    events = in_order(
        client(1, 0, 20),
        client(2, 0, 60),
        [
            statement(1, WEST, 1, 10, WITHDRAW),
            statement(2, EAST, 30, 40, SELECT, 4_000),
        ],
    )
    history.finals[DATABASE] = {1: 4_000}
    replay(history, {"clients": events}, [change(1, WEST, 10_000, 4_000, 5, 8)], start_ns=0)
    assert [(read.operation, read.effect) for read in history.reads()] == [(1, OPENING), (2, 0)]


def test_a_read_whose_value_no_version_had_is_counted_and_left_out() -> None:
    history = history_of(6_000)
    events = in_order(client(1, 0, 20), [statement(1, WEST, 1, 10, SELECT, 123)])
    replay(history, {"clients": events}, [], start_ns=0)
    assert list(history.reads()) == []
    assert history.totals == {"reads_not_placed": 1}


def test_what_was_committed_without_an_answer_is_in_the_history_of_the_unknown_operation() -> None:
    history = history_of(6_000)
    events = in_order(client(1, 0, 90, "unknown"), [statement(1, WEST, 1, 80, WITHDRAW)])
    history.finals[DATABASE] = {1: 4_000}
    replay(history, {"clients": events}, [change(1, WEST, 10_000, 4_000, 40, 41)], start_ns=0)
    assert [effect.operation for effect in history.effects()] == [1]
    assert not any(finding.count for finding in audit(history).findings.values())


def test_a_change_by_somebody_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not of this run"):
        replay(history_of(1), {"clients": []}, [change(1, 999, 10_000, 0, 5, 6)], start_ns=0)


def test_a_service_s_balances_are_told_to_the_same_recorder_as_in_virtual_time() -> None:
    history = history_of(6_000)
    service = [
        Event(0, "open", 0, ("east",)),
        Event(5, "get", 1, ("east", 1)),
        Event(6, "put", 1, ("east", 1, 4_000)),
        Event(7, "decided", 1, ()),
    ]
    other = [
        Event(0, "open", 0, ("west",)),
        Event(9, "adopt", 1, ("west", 1, 4_000, None)),
        Event(9, "decided", 1, ()),
    ]
    replay(history, {"clients": client(1, 1, 8), "east": service, "west": other}, [], start_ns=1)
    wrote, adopted = history.effects()
    assert (wrote.store, wrote.base, wrote.time_ns) == ("east", OPENING, 5)
    assert (adopted.store, adopted.base, adopted.kind) == ("west", wrote.row, EffectKind.ADOPTED)
    assert [(read.store, read.balance_cents) for read in history.reads()] == [("east", 10_000)]


def test_of_a_run_that_was_cut_off_what_was_answered_is_known_and_no_more() -> None:
    """One read of the second operation found what the first had written; who had, the database cannot be asked."""
    history = history_of(6_000, 3_000, 1_000)
    history.cut_off = True
    events = in_order(
        client(1, 10, 60),
        [Event(70, "invoke", 2, ()), statement(2, EAST, 72, 80, SELECT, 4_000)],
        [Event(65, "open", 0, ("east",))],
    )
    replay(history, {"clients": events}, None, start_ns=10)
    assert [history.fate(number) for number in (1, 2, 3)] == [Fate.ACCEPTED, None, None]
    assert history.answer_of(2).invoked_ns == 60
    assert not list(history.effects())
    assert not list(history.reads())
    assert history.finals == {}
    judged = audit(history)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "stopped" in judged.reasons
    assert (judged.outcomes.accepted, judged.outcomes.unknown) == (1, 2)
