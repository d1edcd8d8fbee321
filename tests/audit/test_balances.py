"""Money: each wrong cent is traced, and what is traced adds up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbsim.audit.balances import Balance, divergences, explain_balances, half_transfers, versions_of
from arbsim.history import BLIND, OPENING, EffectKind, History
from arbsim.model import Fate, Kind
from tests.audit.histories import answered, deposit, operations, transfer, withdraw

ANY = [Kind.WITHDRAW, Kind.DEPOSIT, Kind.TRANSFER, Kind.READ]


def explain(history: History) -> dict[int, Balance]:
    return {balance.account: balance for balance in explain_balances(history, versions_of(history))}


@st.composite
def stores(draw: st.DrawFn) -> History:
    """What a real store can do: each effect is computed from any earlier version of the account, or from nothing."""
    ops = draw(st.lists(operations(ANY), max_size=8))
    history = answered(ops)
    values = {(account, OPENING): cents for account, cents in history.workload.accounts.items()}
    newest = dict(history.workload.accounts)
    numbers = draw(st.lists(st.sampled_from(range(1, len(ops) + 1)), max_size=12)) if ops else []
    for number in numbers:
        for account, cents in history.workload[number].deltas():
            known = sorted(row for one, row in values if one == account)
            base = draw(st.sampled_from(known))
            after = values[account, base] + cents
            row = history.effect(number, account, 0, after, base, number)
            values[account, row] = newest[account] = after
    history.finals = {"database": newest}
    return history


@given(stores())
def test_whatever_a_store_does_every_cent_is_explained(history: History) -> None:
    for balance in explain(history).values():
        assert balance.unexplained_cents == 0
        told = (
            sum(cents for _, cents in balance.doubled)
            + sum(cents for _, cents in balance.not_accepted)
            - sum(one.cents for one in balance.lost)
        )
        assert balance.actual_cents - balance.expected_cents == told


@given(stores(), st.integers(-500, 500).filter(bool))
def test_a_cent_that_no_effect_wrote_is_unexplained(history: History, cents: int) -> None:
    history.finals["database"][1] += cents
    assert explain(history)[1].unexplained_cents == cents


def test_a_lost_update_names_who_overwrote_it() -> None:
    history = answered([deposit(20, 0, 5), deposit(30, 1, 6)])
    history.effect(1, 1, 0, 120, OPENING, 2)
    history.effect(2, 1, 0, 130, OPENING, 3)
    history.finals = {"database": {1: 130, 2: 100}}
    (lost,) = explain(history)[1].lost
    assert (lost.operation, lost.by, lost.cents) == (1, 2, 20)


def test_an_effect_that_never_arrived_is_lost_to_nobody() -> None:
    (lost,) = explain(answered([deposit(20, 0, 5)]))[1].lost
    assert (lost.operation, lost.by) == (1, None)


def test_an_effect_that_is_on_the_path_twice_is_doubled() -> None:
    history = answered([deposit(20, 0, 5)])
    first = history.effect(1, 1, 0, 120, OPENING, 2)
    history.effect(1, 1, 0, 140, first, 3)
    history.finals = {"database": {1: 140, 2: 100}}
    assert explain(history)[1].doubled == [(1, 20)]


def test_an_effect_of_a_rejected_operation_is_money_that_nobody_ordered() -> None:
    history = answered([withdraw(20, 0, 5, Fate.REJECTED)])
    history.effect(1, 1, 0, 80, OPENING, 2)
    history.finals = {"database": {1: 80, 2: 100}}
    assert explain(history)[1].not_accepted == [(1, -20)]


def test_what_nobody_knows_counts_as_it_turned_out() -> None:
    history = answered([withdraw(20, 0, 5, Fate.UNKNOWN)])
    assert explain(history)[1].is_right
    history.effect(1, 1, 0, 80, OPENING, 2)
    history.finals = {"database": {1: 80, 2: 100}}
    assert explain(history)[1].is_right


def test_an_adopted_balance_stands_for_the_effect_that_it_was_taken_from() -> None:
    history = answered([deposit(20, 0, 5)])
    west = history.store_code("west")
    written = history.effect(1, 1, 0, 120, OPENING, 2)
    history.effect(1, 1, west, 120, written, 4, EffectKind.ADOPTED)
    history.finals = {"database": {1: 120, 2: 100}, "west": {1: 120, 2: 100}}
    assert all(balance.is_right for balance in explain_balances(history, versions_of(history)))


def test_a_superseded_change_changes_nothing() -> None:
    history = answered([deposit(20, 0, 5), deposit(30, 1, 6)])
    first = history.effect(1, 1, 0, 120, OPENING, 2)
    second = history.effect(2, 1, 0, 150, first, 3)
    history.effect(1, 1, 0, 120, first, 4, EffectKind.SUPERSEDED)
    assert second == 1
    history.finals = {"database": {1: 150, 2: 100}}
    assert explain(history)[1].is_right


def test_a_blind_write_loses_all_that_was_before() -> None:
    history = answered([deposit(20, 0, 5), deposit(30, 1, 6)])
    history.effect(1, 1, 0, 120, OPENING, 2)
    history.effect(2, 1, 0, 130, BLIND, 3)
    history.finals = {"database": {1: 130, 2: 100}}
    assert [lost.operation for lost in explain(history)[1].lost] == [1]


def test_half_a_transfer_creates_or_destroys_money() -> None:
    history = answered([transfer(20, 0, 5)])
    history.effect(1, 1, 0, 80, OPENING, 2)
    history.finals = {"database": {1: 80, 2: 100}}
    balances = list(explain_balances(history, versions_of(history)))
    assert [(half.operation, half.cents) for half in half_transfers(history, balances)] == [(1, -20)]


def test_stores_that_disagree_diverge_by_the_operations_that_only_some_of_them_hold() -> None:
    history = answered([deposit(20, 0, 5)])
    history.store_code("west")
    history.effect(1, 1, 0, 120, OPENING, 2)
    history.finals = {"database": {1: 120, 2: 100}, "west": {1: 100, 2: 100}}
    (found,) = divergences(history, list(explain_balances(history, versions_of(history))))
    assert (found.account, found.operations, found.spread_cents) == (1, (1,), 20)
