"""Where the money went: which operations each final balance contains, and why it is not what was accepted.

The effects of one account in all stores form a tree (see ``arbsim.history``). The path from a final value back to
the opening balance names the operations that this value contains. What was accepted and is not on the path got
lost; what is on it twice was doubled; what is on it without having been accepted, or changes the balance by
another amount than the operation's, is money that nobody ordered.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from arbsim.history import BLIND, OPENING, EffectKind, History
from arbsim.model import Cents, Fate, Kind


@dataclass(frozen=True, slots=True)
class Lost:
    """An accepted effect that a final balance does not contain; ``by`` is who overwrote it, None if never applied."""

    operation: int
    by: int | None
    cents: Cents


@dataclass(slots=True)
class Balance:
    """One account in one store at the end, explained to the cent.

    ``actual - expected`` is always the sum of: minus each lost effect, plus each doubled one, plus each that was never
    accepted, plus ``unexplained_cents``.
    """

    account: int
    store: str
    opening_cents: Cents
    expected_cents: Cents
    actual_cents: Cents
    time_ns: int
    contained: array[int] = field(default_factory=lambda: array("i"))
    lost: list[Lost] = field(default_factory=list)
    doubled: list[tuple[int, Cents]] = field(default_factory=list)
    not_accepted: list[tuple[int, Cents]] = field(default_factory=list)
    unexplained_cents: Cents = 0

    @property
    def is_right(self) -> bool:
        """Whether the balance is what was accepted, and for the right reasons."""
        return not (self.lost or self.doubled or self.not_accepted or self.unexplained_cents)


@dataclass(frozen=True, slots=True)
class Versions:
    """The effects by store and account, in order, as rows of the history."""

    rows: dict[tuple[str, int], array[int]]
    operation: array[int]
    after: array[int]
    base: array[int]
    kind: array[int]
    time_ns: array[int]


def versions_of(history: History) -> Versions:
    """Group the history's effects by store and account."""
    operation, account, store, after, base, kind, time_ns = history.effect_columns()
    rows: dict[tuple[str, int], array[int]] = {}
    names = history.stores
    for row, (code, number) in enumerate(zip(store, account, strict=True)):
        place = (names[code], number)
        found = rows.get(place)
        if found is None:
            found = rows[place] = array("i")
        found.append(row)
    return Versions(rows, operation, after, base, kind, time_ns)


def explain_balances(history: History, versions: Versions) -> list[Balance]:
    """Explain every account in every store, in order of store and account."""
    places = {store: place for place, store in enumerate(history.finals)}
    return sorted(_by_account(history, versions), key=lambda balance: places[balance.store])


def _by_account(history: History, versions: Versions) -> Iterator[Balance]:
    operations = history.workload.by_account
    for account in sorted({account for balances in history.finals.values() for account in balances}):
        opening = history.workload.accounts.get(account, 0)
        deltas = {
            op.id: op.delta(account)
            for op in operations.get(account, ())
            if op.kind is not Kind.READ and history.fate(op.id) is Fate.ACCEPTED
        }
        expected = opening + sum(deltas.values())
        for store, balances in history.finals.items():
            if account in balances:
                balance = Balance(account, store, opening, expected, balances[account], history.quiet_ns)
                _explain(history, versions, balance, deltas)
                yield balance


def _explain(history: History, versions: Versions, balance: Balance, deltas: dict[int, Cents]) -> None:
    place = (balance.store, balance.account)
    rows = versions.rows.get(place, array("i"))
    final = _last_version(versions, rows)
    path = _path(versions, final)
    names = [versions.operation[row] for row in path]
    balance.contained = array("i", names)
    times = Counter(names)
    if rows:
        balance.time_ns = versions.time_ns[rows[-1]]
    for operation, count in times.items():
        cents = _ordered_cents(history, operation, balance.account)
        if operation not in deltas:
            if history.fate(operation) not in (Fate.UNKNOWN, None):
                balance.not_accepted.append((operation, count * cents))
            else:  # nobody knows: what it did counts as expected
                balance.expected_cents += cents
                balance.doubled += [(operation, cents)] * (count - 1)
        else:
            balance.doubled += [(operation, cents)] * (count - 1)
    missing = [operation for operation in deltas if operation not in times]
    if missing:
        overwriter = _Overwriters(versions, rows, path)
        balance.lost = [Lost(operation, overwriter.of(operation), deltas[operation]) for operation in missing]
    balance.unexplained_cents = balance.actual_cents - balance.expected_cents - _explained(balance)


def _explained(balance: Balance) -> Cents:
    return (
        sum(cents for _, cents in balance.doubled)
        + sum(cents for _, cents in balance.not_accepted)
        - sum(one.cents for one in balance.lost)
    )


def _ordered_cents(history: History, operation: int, account: int) -> Cents:
    return history.workload[operation].delta(account) if operation else 0


def _last_version(versions: Versions, rows: array[int]) -> int:
    for row in reversed(rows):
        if versions.kind[row] != EffectKind.SUPERSEDED:
            return row
    return OPENING


def _path(versions: Versions, row: int) -> list[int]:
    """The rows that were computed one from the other, oldest first; what was adopted is named once."""
    path = []
    base, kind = versions.base, versions.kind
    while row not in (OPENING, BLIND):
        if kind[row] == EffectKind.WRITTEN:
            path.append(row)
        elif base[row] == BLIND:  # adopted from nowhere: it stands for itself
            path.append(row)
            break
        row = base[row]
    path.reverse()
    return path


class _Overwriters:
    """Who overwrote a lost effect in one store: the first value on the final path that came after it."""

    def __init__(self, versions: Versions, rows: array[int], path: list[int]) -> None:
        self._versions = versions
        self._arrived = {versions.operation[row]: row for row in reversed(rows)}
        on_path = {versions.operation[row] for row in path}
        self._kept = [row for row in rows if versions.operation[row] in on_path]

    def of(self, operation: int) -> int | None:
        """The operation whose value replaced it; None where it never arrived here."""
        arrived = self._arrived.get(operation)
        if arrived is None:
            return None
        if not self._kept:
            return None
        later = min(bisect_right(self._kept, arrived), len(self._kept) - 1)
        return self._versions.operation[self._kept[later]]


@dataclass(frozen=True, slots=True)
class Divergence:
    """One account on which stores disagree at the end; ``operations`` are in some of them and not in others."""

    account: int
    operations: tuple[int, ...]
    spread_cents: Cents
    time_ns: int


def divergences(history: History, balances: list[Balance]) -> list[Divergence]:
    """The accounts on which the stores disagree after everything is quiet."""
    by_account: dict[int, list[Balance]] = {}
    for balance in balances:
        by_account.setdefault(balance.account, []).append(balance)
    found = []
    for account, same in sorted(by_account.items()):
        values = [balance.actual_cents for balance in same]
        if min(values) != max(values):
            times = Counter(name for balance in same for name in set(balance.contained))
            odd = sorted(name for name, count in times.items() if count < len(same))
            time_ns = max(balance.time_ns for balance in same)
            found.append(Divergence(account, tuple(odd[:10]), max(values) - min(values), time_ns))
    return found


@dataclass(frozen=True, slots=True)
class HalfTransfer:
    """An accepted transfer of which a store holds one half more often than the other."""

    operation: int
    store: str
    cents: Cents


def half_transfers(history: History, balances: list[Balance]) -> list[HalfTransfer]:
    """The transfers that created (above zero) or destroyed (below zero) money in a store."""
    is_transfer = bytearray(chain((0,), (op.to_account is not None for op in history.workload)))
    if 1 not in is_transfer:
        return []
    net: Counter[tuple[int, str]] = Counter()
    for balance in balances:
        for operation in balance.contained:
            if is_transfer[operation]:
                net[operation, balance.store] += history.workload[operation].delta(balance.account)
    # A transfer between an account and itself moves nothing.
    return [HalfTransfer(op, store, cents) for (op, store), cents in sorted(net.items()) if cents]
