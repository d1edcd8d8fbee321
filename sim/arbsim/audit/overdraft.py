"""Overdrafts: accepted withdrawals that no order explains.

A legal order keeps an operation that was answered before another was invoked in front of it (real time, as in
linearizability: Herlihy and Wing, TOPLAS 12(3), 1990). For operations on one account the test is exact and needs no
search: in the kindest legal order every deposit stands as early as it may, right at its invocation, and every
withdrawal as late as it may, right at its answer. The balance goes below zero in every legal order if and only if it
does in this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    touching = list(_touching(history))
    kind = _replay(history, _kindest_changes(touching))
    harsh = _replay(history, _harshest_changes(touching)) if _any_unknown(touching) else kind
    accepted = [(op, answer) for op, answer in touching if answer.fate is Fate.ACCEPTED]
    unknown = [(op, answer) for op, answer in touching if answer.fate is not Fate.ACCEPTED]
    exact = True
    for accounts in _joined_by_transfers(op for op, _ in touching):
        together = [(op, answer) for op, answer in accepted if op.account in accounts]
        open_ = [(op, answer) for op, answer in unknown if op.account in accounts]
        if len(together) + len(open_) > SEARCH_LIMIT:
            exact = False
        elif any(one.account in accounts for one in kind):
            continue
        elif not _some_order_holds(together, open_, history.workload.accounts):
            kind.append(_of_the_whole(together))
    kind.sort(key=lambda one: (one.time_ns, one.operations))
    return Overdrafts(tuple(kind), exact, undecided=not kind and bool(harsh))


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

    Offsets of different partitions cannot be compared, so with transfers an order by offset is not judged.
    """
    card = history.card
    changes: dict[int, list[_Change]] = {}
    exact = True
    for op, answer in _touching(history):
        if answer.fate is not Fate.ACCEPTED or answer.own_order == MISSING:
            continue
        if op.to_account is not None and card.own_order == "offset":
            exact = False
            continue
        for account, cents in op.deltas():
            changes.setdefault(account, []).append(_Change((answer.own_order, 0, op.id), op.id, cents))
    found = _replay(history, changes) if card.own_order and exact else ()
    return Overdrafts(tuple(found), exact, undecided=False)


def _touching(history: History) -> Iterable[tuple[Operation, Answer]]:
    """The operations that may have changed a balance; one that was never answered is unknown."""
    for op, answer in zip(history.workload, history.answers(), strict=True):
        if op.amount_cents and answer.fate in (Fate.ACCEPTED, Fate.UNKNOWN, None) and answer.invoked_ns >= 0:
            yield op, answer


def _any_unknown(touching: Sequence[tuple[Operation, Answer]]) -> bool:
    return any(answer.fate is not Fate.ACCEPTED for _, answer in touching)


def _kindest_changes(touching: Iterable[tuple[Operation, Answer]]) -> dict[int, list[_Change]]:
    """Unknown deposits happened, unknown withdrawals did not."""
    changes: dict[int, list[_Change]] = {}
    for op, answer in touching:
        for account, cents in op.deltas():
            if cents > 0:
                change = _Change((answer.invoked_ns, 0, op.id), op.id, cents)
            elif answer.fate is Fate.ACCEPTED:
                change = _Change((answer.answered_ns, 1, op.id), op.id, cents)
            else:
                continue
            changes.setdefault(account, []).append(change)
    return changes


def _harshest_changes(touching: Iterable[tuple[Operation, Answer]]) -> dict[int, list[_Change]]:
    """Unknown withdrawals happened, unknown deposits did not."""
    changes: dict[int, list[_Change]] = {}
    for op, answer in touching:
        known = answer.fate is Fate.ACCEPTED
        for account, cents in op.deltas():
            if cents > 0 and known:
                change = _Change((answer.invoked_ns, 0, op.id), op.id, cents)
            elif cents < 0:
                at_ns = answer.answered_ns if known else 2**62
                change = _Change((at_ns, 1, op.id), op.id, cents)
            else:
                continue
            changes.setdefault(account, []).append(change)
    return changes


def _replay(history: History, changes: dict[int, list[_Change]]) -> list[Overdraft]:
    """Add up each account's changes in their order; a withdrawal that ends below zero is an overdraft."""
    found = []
    for account in sorted(changes):
        balance = history.workload.accounts.get(account, 0)
        earlier: list[_Change] = []
        for change in sorted(changes[account], key=lambda change: change.place):
            balance += change.cents
            if change.cents >= 0:
                continue
            if balance < 0:
                names = _without_which_covered(change, earlier, -balance)
                time_ns = history.answer_of(change.operation).answered_ns
                found.append(Overdraft(names, account, -change.cents, -balance, time_ns))
            earlier.append(change)
    found.sort(key=lambda one: (one.time_ns, one.operations))
    return found


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
