"""What was known when: contention, stale reads, rejections, each as counting one by one would have it."""

from __future__ import annotations

from itertools import combinations, permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from arbsim.audit.balances import versions_of
from arbsim.audit.decisions import meetings, refusals, stale_reads
from arbsim.history import OPENING, EffectKind, History
from arbsim.model import Fate, Kind
from tests.audit.histories import Op, answered, deposit, in_order, operations, read, with_card, withdraw

ONE_ACCOUNT = [Kind.WITHDRAW, Kind.DEPOSIT]


def contention(history: History) -> tuple[int, int, int]:
    met = meetings(history, versions_of(history))
    return met.overlapping_pairs, met.unseen_pairs, met.waits


@given(st.lists(operations([Kind.WITHDRAW, Kind.DEPOSIT, Kind.TRANSFER, Kind.READ]), max_size=8))
def test_overlapping_pairs_are_those_that_overlap(ops: list[Op]) -> None:
    history = answered(ops)
    counted = 0
    for same in history.workload.by_account.values():
        spans = [ops[op.id - 1] for op in same if op.kind is not Kind.READ]
        for one, other in combinations(spans, 2):
            ends = [span.end if span.fate is not None else 10**9 for span in (one, other)]
            counted += one.start <= ends[1] and other.start <= ends[0]
    assert contention(history)[0] == counted


@st.composite
def regions(draw: st.DrawFn) -> History:
    """Two regions with a view each: every operation decides on its own region's, and arrives in the other later."""
    ops = draw(st.lists(operations(ONE_ACCOUNT, st.just(Fate.ACCEPTED)), min_size=1, max_size=7))
    history = answered(ops)
    stores = (history.store_code("east"), history.store_code("west"))
    events = [(draw(st.integers(0, 50)), 0, number) for number in range(1, len(ops) + 1)]
    events += [(at + draw(st.integers(1, 50)), 1, number) for at, _, number in events]
    homes = {number: draw(st.integers(0, 1)) for number in range(1, len(ops) + 1)}
    newest = dict.fromkeys(stores, (OPENING, 100))
    written: dict[int, int] = {}
    for at, step, number in sorted(events):
        store = stores[homes[number] if step == 0 else 1 - homes[number]]
        row, cents = newest[store]
        after = cents + history.workload[number].delta(1)
        if step == 0:
            history.read(number, 1, store, row, cents, at)
            written[number] = history.effect(number, 1, store, after, row, at)
            newest[store] = (written[number], after)
        else:
            newest[store] = (history.effect(number, 1, store, after, row, at), after)
    return history


@given(regions())
@settings(max_examples=200)
def test_unseen_pairs_are_those_of_which_neither_had_seen_the_other(history: History) -> None:
    reads = {found.operation: found for found in history.reads()}
    arrivals = {(effect.operation, effect.store): effect.row for effect in history.effects()}

    def saw(one: int, other: int) -> bool:
        return arrivals[other, reads[one].store] <= reads[one].effect

    pairs = sum(not saw(one, other) and not saw(other, one) for one, other in combinations(sorted(reads), 2))
    assert contention(history)[1] == pairs


def test_a_wait_is_contention_even_where_the_loser_saw_the_winner() -> None:
    history = in_order([withdraw(70, 0, 5), withdraw(60, 6, 9)], [1, 2])
    assert contention(history) == (0, 0, 0)
    history.wait(2, 1, 6, 8)
    assert contention(history) == (0, 0, 1)
    assert meetings(history, versions_of(history)).contended


def test_operations_on_different_accounts_do_not_meet() -> None:
    assert contention(answered([withdraw(1, 0, 9), withdraw(1, 0, 9, account=2)])) == (0, 0, 0)


# -- stale reads ---------------------------------------------------------------------------------------


def test_a_read_that_misses_what_was_acknowledged_before_it_is_stale() -> None:
    history = in_order([deposit(20, 0, 5), read(6, 9)], [2, 1])
    (found,) = stale_reads(history, versions_of(history))
    assert (found.operation, found.missed, found.cents) == (2, 1, 20)


def test_a_read_that_began_before_the_answer_may_miss_it() -> None:
    history = in_order([deposit(20, 0, 5), read(5, 9)], [2, 1])
    assert stale_reads(history, versions_of(history)) == []


@given(
    st.lists(operations([*ONE_ACCOUNT, Kind.TRANSFER, Kind.READ], st.just(Fate.ACCEPTED)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_a_correct_database_gives_no_stale_read(ops: list[Op], random: object) -> None:
    order = sorted(
        range(1, len(ops) + 1),
        key=lambda number: (random.uniform(ops[number - 1].start, ops[number - 1].end), number),  # type: ignore[attr-defined]
    )
    history = in_order(ops, order)
    assert stale_reads(history, versions_of(history)) == []


def test_a_view_that_lags_gives_stale_reads_to_its_own_region() -> None:
    history = with_card(answered([deposit(20, 0, 5), read(6, 9)]), fresh_reads=False)
    west = history.store_code("west")
    row = history.effect(1, 1, 0, 120, OPENING, 3)
    history.read(2, 1, west, OPENING, 100, 7)
    history.effect(1, 1, west, 120, row, 30, EffectKind.ADOPTED)
    assert [found.operation for found in stale_reads(history, versions_of(history))] == [2]


# -- rejections ----------------------------------------------------------------------------------------


def possible(ops: list[Op], rejected: int) -> set[bool]:
    """Whether the money was there at the rejected operation's place, over all legal orders of what was accepted."""
    them = [number for number, op in enumerate(ops) if op.fate is Fate.ACCEPTED or number == rejected]
    found = set()
    for order in permutations(them):
        spans = [ops[number] for number in order]
        if any(
            later.end < earlier.start for place, earlier in enumerate(spans) for later in spans[place + 1 :]
        ):
            continue
        balance = 100
        for number in order:
            if number == rejected:
                found.add(balance >= ops[number].cents)
                break
            balance += ops[number].cents if ops[number].kind is Kind.DEPOSIT else -ops[number].cents
    return found


@given(
    st.lists(operations(ONE_ACCOUNT, st.just(Fate.ACCEPTED)), max_size=4),
    operations([Kind.WITHDRAW], st.just(Fate.REJECTED)),
)
@settings(max_examples=300)
def test_a_rejection_is_certain_where_every_legal_order_says_so(ops: list[Op], refused: Op) -> None:
    told = refusals(answered([*ops, refused]))
    allowed = possible([*ops, refused], len(ops))
    # What is called certain is certain; what depends on the order may be bound by what other operations need.
    if told.certainly_right:
        assert allowed == {False}
    elif told.certainly_wrong:
        assert allowed == {True}
    else:
        assert told.order_dependent == 1
    if len(ops) <= 1:
        assert len(allowed) == 2 or not told.order_dependent


def test_a_refusal_with_money_in_the_account_is_certainly_wrong() -> None:
    assert refusals(answered([withdraw(60, 0, 5, Fate.REJECTED)])).certainly_wrong == (1,)


def test_a_refusal_beside_another_withdrawal_depends_on_the_order() -> None:
    told = refusals(answered([withdraw(70, 0, 5), withdraw(60, 3, 9, Fate.REJECTED)]))
    assert (told.certainly_right, told.certainly_wrong, told.order_dependent) == (0, (), 1)


def test_a_refusal_after_the_other_was_answered_is_certainly_right() -> None:
    assert refusals(answered([withdraw(70, 0, 5), withdraw(60, 6, 9, Fate.REJECTED)])).certainly_right == 1
