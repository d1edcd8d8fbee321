"""Overdrafts: found exactly where no legal order has the money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbsim.audit.overdraft import SEARCH_LIMIT, in_own_order, in_real_time
from arbsim.model import Fate, Kind
from tests.audit.histories import (
    Op,
    answered,
    deposit,
    in_order,
    operations,
    transfer,
    with_card,
    withdraw,
)


def legal_orders(ops: Sequence[Op]) -> Iterator[Sequence[Op]]:
    """Every order of the accepted operations, with any of the unknown ones, that respects real time."""
    accepted = [op for op in ops if op.fate is Fate.ACCEPTED]
    unknown = [op for op in ops if op.fate in (Fate.UNKNOWN, None)]
    chosen = chain.from_iterable(combinations(unknown, count) for count in range(len(unknown) + 1))
    for some in chosen:
        for order in permutations([*accepted, *some]):
            if not any(
                later.fate is Fate.ACCEPTED and later.end < earlier.start
                for place, earlier in enumerate(order)
                for later in order[place + 1 :]
            ):
                yield order


def explained(ops: Sequence[Op], opening: int = 100) -> bool:
    """Whether some legal order never goes below zero, by trying them all."""
    for order in legal_orders(ops):
        balances = {1: opening, 2: opening}
        for op in order:
            balances[op.account] += op.cents if op.kind is Kind.DEPOSIT else -op.cents
            if op.to is not None:
                balances[op.to] += op.cents
            if balances[op.account] < 0:
                break
        else:
            return True
    return False


@given(st.lists(operations([Kind.WITHDRAW, Kind.DEPOSIT]), max_size=6))
@settings(max_examples=400)
def test_on_one_account_it_agrees_with_trying_every_order(ops: list[Op]) -> None:
    found = in_real_time(answered(ops))
    assert found.exact
    assert bool(found.found) == (not explained(ops))


@given(st.lists(operations([Kind.WITHDRAW, Kind.DEPOSIT, Kind.TRANSFER]), max_size=5))
@settings(max_examples=400)
def test_with_transfers_it_agrees_where_all_orders_are_tried(ops: list[Op]) -> None:
    found = in_real_time(answered(ops))
    assert found.exact
    assert bool(found.found) == (not explained(ops))


@given(
    st.lists(operations([Kind.WITHDRAW, Kind.DEPOSIT, Kind.TRANSFER], st.just(Fate.ACCEPTED)), max_size=20),
    st.randoms(use_true_random=False),
)
def test_a_correct_database_that_answers_slowly_is_never_blamed(ops: list[Op], random: object) -> None:
    # It decides at some instant between invocation and answer; the answers come whenever they come.
    decided = sorted(
        range(1, len(ops) + 1),
        key=lambda number: (random.uniform(ops[number - 1].start, ops[number - 1].end), number),  # type: ignore[attr-defined]
    )
    history = in_order(ops, decided)
    assert in_real_time(history).found == ()
    assert in_own_order(history).found == ()


def test_two_overlapping_withdrawals_of_one_sum_are_an_overdraft() -> None:
    (one,) = in_real_time(answered([withdraw(70, 0, 10), withdraw(60, 5, 12)])).found
    assert (one.operations, one.account, one.amount_cents, one.missing_cents) == ((2, 1), 1, 60, 30)


def test_a_deposit_that_began_before_the_answer_may_come_first() -> None:
    assert in_real_time(answered([withdraw(150, 0, 10), deposit(50, 10, 20)])).found == ()
    assert len(in_real_time(answered([withdraw(150, 0, 10), deposit(50, 11, 20)])).found) == 1


def test_an_unknown_deposit_may_have_happened_and_an_unknown_withdrawal_may_not() -> None:
    assert in_real_time(answered([deposit(50, 0, 1, Fate.UNKNOWN), withdraw(150, 5, 9)])).found == ()
    found = in_real_time(answered([withdraw(60, 0, 1, None), withdraw(70, 5, 9)]))
    assert found.found == ()
    assert found.undecided


def test_unknown_outcomes_that_change_nothing_leave_it_decided() -> None:
    assert not in_real_time(answered([withdraw(10, 0, 1, Fate.UNKNOWN), withdraw(70, 5, 9)])).undecided


def test_money_that_goes_round_between_two_accounts_can_be_spent_once_only() -> None:
    # Each account by itself has an order; both together have none.
    ops = [transfer(150, 0, 10), Op(Kind.TRANSFER, 150, 0, 10, Fate.ACCEPTED, 2, 1)]
    assert len(in_real_time(answered(ops)).found) == 1


def test_many_transfers_make_it_a_lower_bound_of_the_accounts_that_they_join() -> None:
    ops = [transfer(1, 0, 1) for _ in range(SEARCH_LIMIT + 1)]
    assert not in_real_time(answered(ops)).exact
    assert in_real_time(answered(ops[1:])).exact


def test_transfers_elsewhere_do_not_make_an_account_inexact() -> None:
    ops = [*(withdraw(1, 0, 1, account=3) for _ in range(SEARCH_LIMIT + 5)), transfer(1, 0, 1)]
    assert in_real_time(answered(ops, {1: 100, 2: 100, 3: 100})).exact


def test_in_its_own_order_a_deposit_that_nobody_was_told_of_may_have_paid_for_a_withdrawal() -> None:
    history = answered([deposit(50, 0, 10, None), withdraw(150, 0, 10), withdraw(10, 0, 10, None)])
    for number in (1, 2, 3):
        history.place(number, number)
    assert in_own_order(history).found == ()


@pytest.mark.parametrize("own_order", ["commit", "offset"])
def test_in_its_own_order_a_design_is_held_to_its_word(own_order: str) -> None:
    history = with_card(answered([withdraw(150, 0, 10), deposit(50, 0, 10)]), own_order=own_order)
    history.place(1, 1)
    history.place(2, 2)
    assert in_real_time(history).found == ()
    assert [one.operations for one in in_own_order(history).found] == [(1,)]


def test_offsets_of_different_partitions_do_not_order_transfers() -> None:
    history = with_card(answered([transfer(50, 0, 10)]), own_order="offset")
    history.place(1, 1)
    assert in_own_order(history).found == ()
    assert not in_own_order(history).exact
