"""Overdrafts: accepted withdrawals that no order explains.

A legal order keeps an operation that was answered before another was invoked in front of it (real time, as in
linearizability: Herlihy and Wing, TOPLAS 12(3), 1990). For operations on one account the test is exact and needs no
search: in the kindest legal order every deposit stands as early as it may, right at its invocation, and every
withdrawal as late as it may, right at its answer. The balance goes below zero in every legal order if and only if it
does in this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from arbsim.history import MISSING, Answer, History
from arbsim.model import Cents, Fate, Operation

SEARCH_LIMIT = 9
"""Operations on accounts that transfers join, up to which all orders are tried."""


@dataclass(frozen=True, slots=True)
class Overdraft:
    """One accepted withdrawal at whose place the money was not there.

    ``operations``: the withdrawal, then the earlier ones without which it would have been covered.
    ``missing_cents`` is how far below zero the account was after it.
    """

    operations: tuple[int, ...]
    account: int
    amount_cents: Cents
    missing_cents: Cents
    time_ns: int


@dataclass(frozen=True, slots=True)
class Overdrafts:
    """What was found. ``exact``: false where it is a lower bound. ``undecided``: unknown outcomes decide it."""

    found: tuple[Overdraft, ...]
    exact: bool
    undecided: bool


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of a balance at its place in an order: ties go to the deposits, which is the kinder reading."""

    place: tuple[int, int, int]
    operation: int
    cents: Cents


def in_real_time(history: History) -> Overdrafts:
    """Find the overdrafts that no real-time order explains."""
    found: list[Overdraft] = []
    harsh = False
    for account, operations in history.workload.by_account.items():
        touching = list(_touching(history, operations))
        found += _replay(history, account, _kindest_changes(account, touching))
        if _any_unknown(touching):
            harsh = harsh or any(_replay(history, account, _harshest_changes(account, touching)))
    exact = True
    for accounts in _joined_by_transfers(op for op, _ in _touching(history, history.workload)):
        together = _of_group(history, accounts)
        if len(together) > SEARCH_LIMIT:
            exact = False
        elif not any(one.account in accounts for one in found):
            found += _searched(together, history.workload.accounts)
    found.sort(key=lambda one: (one.time_ns, one.operations))
    return Overdrafts(tuple(found), exact, undecided=not found and harsh)


def _of_group(history: History, accounts: set[int]) -> list[tuple[Operation, Answer]]:
    """The operations on accounts that transfers join, in order; one more than can be searched is enough."""
    ours = (
        (op, answer)
        for account in sorted(accounts)
        for op, answer in _touching(history, history.workload.by_account[account])
        if op.account == account
    )
    return sorted(islice(ours, SEARCH_LIMIT + 1), key=lambda pair: pair[0].id)


def _searched(together: Sequence[tuple[Operation, Answer]], opening: dict[int, Cents]) -> list[Overdraft]:
    """Try all orders of a few operations; what none of them explains."""
    accepted = [pair for pair in together if pair[1].fate is Fate.ACCEPTED]
    unknown = [pair for pair in together if pair[1].fate is not Fate.ACCEPTED]
    return [] if _some_order_holds(accepted, unknown, opening) else [_of_the_whole(accepted)]


def _joined_by_transfers(operations: Iterable[Operation]) -> list[set[int]]:
    """The groups of accounts between which money moved; an account without transfers is in none."""
    groups: list[set[int]] = []
    for op in operations:
        if op.to_account is not None:
            group = {op.account, op.to_account}
            for other in [one for one in groups if one & group]:
                groups.remove(other)
                group |= other
            groups.append(group)
    return groups


def in_own_order(history: History) -> Overdrafts:
    """Find the overdrafts in the order that the design itself gave to the accepted operations.

    Offsets of different partitions cannot be compared, so with transfers an order by offset is not judged. A deposit of
    which nobody knows whether it happened did, if it has a place.
    """
    card = history.card
    if not card.own_order:
        return Overdrafts((), True, undecided=False)
    found: list[Overdraft] = []
    for account, operations in history.workload.by_account.items():
        changes = []
        for op, answer in _touching(history, operations):
            if answer.own_order != MISSING:
                if op.to_account is not None and card.own_order == "offset":
                    return Overdrafts((), False, undecided=False)
                changes += [
                    _Change((answer.own_order, 0, op.id), op.id, cents)
                    for cents in _cents(op, account)
                    if cents > 0 or answer.fate is Fate.ACCEPTED
                ]
        found += _replay(history, account, changes)
    found.sort(key=lambda one: (one.time_ns, one.operations))
    return Overdrafts(tuple(found), True, undecided=False)


def _touching(history: History, operations: Iterable[Operation]) -> Iterator[tuple[Operation, Answer]]:
    """The operations that may have changed a balance; one that was never answered is unknown."""
    for op in operations:
        answer = history.answer_of(op.id)
        if op.amount_cents and answer.fate in (Fate.ACCEPTED, Fate.UNKNOWN, None) and answer.invoked_ns >= 0:
            yield op, answer


def _cents(op: Operation, account: int) -> Iterator[Cents]:
    """What an operation adds to one account and takes from it; both where a transfer stays there."""
    return (cents for touched, cents in op.deltas() if touched == account)


def _any_unknown(touching: Sequence[tuple[Operation, Answer]]) -> bool:
    return any(answer.fate is not Fate.ACCEPTED for _, answer in touching)


def _kindest_changes(account: int, touching: Iterable[tuple[Operation, Answer]]) -> list[_Change]:
    """Unknown deposits happened, unknown withdrawals did not."""
    changes = []
    for op, answer in touching:
        for cents in _cents(op, account):
            if cents > 0:
                change = _Change((answer.invoked_ns, 0, op.id), op.id, cents)
            elif answer.fate is Fate.ACCEPTED:
                change = _Change((answer.answered_ns, 1, op.id), op.id, cents)
            else:
                continue
            changes.append(change)
    return changes


def _harshest_changes(account: int, touching: Iterable[tuple[Operation, Answer]]) -> list[_Change]:
    """Unknown withdrawals happened, unknown deposits did not."""
    changes = []
    for op, answer in touching:
        known = answer.fate is Fate.ACCEPTED
        for cents in _cents(op, account):
            if cents > 0 and known:
                change = _Change((answer.invoked_ns, 0, op.id), op.id, cents)
            elif cents < 0:
                at_ns = answer.answered_ns if known else 2**62
                change = _Change((at_ns, 1, op.id), op.id, cents)
            else:
                continue
            changes.append(change)
    return changes


def _replay(history: History, account: int, changes: Iterable[_Change]) -> Iterator[Overdraft]:
    """Add up an account's changes in their order; a withdrawal that ends below zero is an overdraft."""
    balance = history.workload.accounts.get(account, 0)
    earlier: list[_Change] = []
    for change in sorted(changes, key=lambda change: change.place):
        balance += change.cents
        if change.cents >= 0:
            continue
        if balance < 0:
            names = _without_which_covered(change, earlier, -balance)
            time_ns = history.answer_of(change.operation).answered_ns
            yield Overdraft(names, account, -change.cents, -balance, time_ns)
        earlier.append(change)


def _without_which_covered(change: _Change, earlier: Sequence[_Change], missing: Cents) -> tuple[int, ...]:
    """The withdrawal, and the latest ones before it that took what it lacked (at most nine of them)."""
    names = [change.operation]
    for other in reversed(earlier):
        if missing <= 0 or len(names) == 10:
            break
        names.append(other.operation)
        missing += other.cents
    return tuple(names)


def _some_order_holds(
    accepted: Sequence[tuple[Operation, Answer]],
    unknown: Sequence[tuple[Operation, Answer]],
    opening: dict[int, Cents],
) -> bool:
    """Try the real-time orders of all accepted operations; whether one never goes below zero.

    An operation whose outcome nobody knows may stand in the order or not, anywhere after it was invoked.
    """
    operations = [*accepted, *unknown]
    before = [
        frozenset(
            j for j, (_, other) in enumerate(accepted) if other.answered_ns < operations[i][1].invoked_ns
        )
        for i in range(len(operations))
    ]
    needed = frozenset(range(len(accepted)))
    dead: set[frozenset[int]] = set()

    def extend(done: frozenset[int], balances: dict[int, Cents]) -> bool:
        if needed <= done:
            return True
        if done in dead:
            return False
        for i, (op, _) in enumerate(operations):
            if i in done or not before[i] <= done:
                continue
            after = dict(balances)
            for account, cents in op.deltas():
                after[account] = after.get(account, 0) + cents
            if after.get(op.account, 0) >= 0 and extend(done | {i}, after):
                return True
        dead.add(done)
        return False

    return extend(frozenset(), dict(opening))


def _of_the_whole(accepted: Sequence[tuple[Operation, Answer]]) -> Overdraft:
    """No order of all operations holds, though each account by itself has one: name the last withdrawal."""
    withdrawals = [(answer.answered_ns, op) for op, answer in accepted if op.delta(op.account) < 0]
    time_ns, last = max(withdrawals, key=lambda pair: (pair[0], pair[1].id))
    others = tuple(op.id for _, op in withdrawals if op.id != last.id)
    return Overdraft((last.id, *others[:9]), last.account, last.amount_cents, 0, time_ns)
