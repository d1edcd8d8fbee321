"""Good histories, and the same histories with one bug planted.

The story: account 1 holds 100.00 and account 2 holds 50.00. Somebody withdraws 70.00, somebody else wants 60.00 and
is refused, 20.00 is deposited, 25.00 is transferred from account 2, the balance is read, 10.00 is withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from arbsim.history import OPENING, EffectKind, History
from arbsim.model import VIOLATIONS, Cents, DesignCard, Fate, FindingKind, Kind, Operation, Workload

MS = 1_000_000

CARD = DesignCard(
    name="planted",
    design="planted",
    family="db",
    agreement="synchronous",
    claims=VIOLATIONS,
    summary="A history that was written by hand.",
    fresh_reads=True,
    own_order="commit",
)

OPERATIONS = (
    Operation(1, 0, "east", Kind.WITHDRAW, 1, 7000),
    Operation(2, 10 * MS, "west", Kind.WITHDRAW, 1, 6000),
    Operation(3, 30 * MS, "east", Kind.DEPOSIT, 1, 2000),
    Operation(4, 60 * MS, "west", Kind.TRANSFER, 2, 2500, 1),
    Operation(5, 90 * MS, "east", Kind.READ, 1),
    Operation(6, 120 * MS, "west", Kind.WITHDRAW, 1, 1000),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a balance. ``base`` is the place of the change that it was computed from, or OPENING."""

    operation: int
    account: int
    after: Cents
    base: int
    store: str = "database"
    kind: EffectKind = EffectKind.WRITTEN


@dataclass(frozen=True, slots=True)
class Story:
    """What the history is made of; ``seen`` is the change that the read saw."""

    card: DesignCard = CARD
    operations: tuple[Operation, ...] = OPERATIONS
    fates: dict[int, Fate] = field(default_factory=lambda: {2: Fate.REJECTED})
    changes: tuple[Change, ...] = (
        Change(1, 1, 3000, OPENING),
        Change(3, 1, 5000, 0),
        Change(4, 2, 2500, OPENING),
        Change(4, 1, 7500, 1),
        Change(6, 1, 6500, 3),
    )
    finals: dict[str, dict[int, Cents]] = field(default_factory=lambda: {"database": {1: 6500, 2: 2500}})
    seen: int = 3
    order: tuple[int, ...] = (1, 2, 3, 4, 5, 6)

    def history(self) -> History:
        """Write it down: each operation takes 15 ms, so the first two overlap."""
        history = History(
            self.card, Workload(self.operations, {1: 10_000, 2: 5_000}), stores=tuple(self.finals)
        )
        for op in self.operations:
            history.invoke(op.id, op.at_ns)
            told = self.changes[self.seen].after if op.kind is Kind.READ else None
            history.answer(op.id, op.at_ns + 15 * MS, self.fates.get(op.id, Fate.ACCEPTED), told)
            history.place(op.id, self.order.index(op.id) + 1)
        for change in self.changes:
            time_ns = self.operations[change.operation - 1].at_ns + 10 * MS
            code = history.store_code(change.store)
            history.effect(
                change.operation, change.account, code, change.after, change.base, time_ns, change.kind
            )
        for op in self.operations:
            if op.kind is Kind.READ:
                store = history.store_code("database")
                balance = self.changes[self.seen].after
                history.read(op.id, op.account, store, self.seen, balance, op.at_ns + 10 * MS)
        history.finals = {store: dict(balances) for store, balances in self.finals.items()}
        history.quiet_ns = self.operations[-1].at_ns + 20 * MS
        return history


GOOD = Story()


@dataclass(frozen=True, slots=True)
class Planted:
    """A history with one bug: its kind, and what was planted in a sentence.

    ``also`` are kinds that follow of necessity: where one region lacks an effect, the regions diverge, and the effect
    is lost there; half a transfer is a lost half.
    """

    kind: FindingKind
    sentence: str
    story: Callable[[], Story]
    also: tuple[FindingKind, ...] = ()


def planted() -> Iterator[Planted]:
    """A history for every kind of finding."""
    yield Planted(FindingKind.OVERDRAFT, "the second withdrawal is accepted as well", _overdraft)
    yield Planted(
        FindingKind.OVERDRAFT_OWN_ORDER,
        "the commits stand in an order in which the money is not there yet",
        _overdraft_own_order,
    )
    yield Planted(
        FindingKind.LOST_UPDATE, "the transfer is computed from a balance without the deposit", _lost
    )
    yield Planted(FindingKind.DUPLICATE_EFFECT, "the deposit takes effect twice", _doubled)
    lost = (FindingKind.LOST_UPDATE,)
    yield Planted(FindingKind.DIVERGENCE, "a region never hears of the last withdrawal", _diverged, lost)
    yield Planted(FindingKind.CONSERVATION, "the transfer's sender keeps the money", _half_transfer, lost)
    yield Planted(FindingKind.UNEXPLAINED, "a cent too much stands in the table", _unexplained)
    yield Planted(FindingKind.STALE_READ, "the read sees the balance before the transfer", _stale)


def _overdraft() -> Story:
    return replace(
        GOOD,
        card=replace(CARD, own_order=None),
        fates={},
        changes=(
            Change(1, 1, 3000, OPENING),
            Change(2, 1, -3000, 0),
            Change(3, 1, -1000, 1),
            Change(4, 2, 2500, OPENING),
            Change(4, 1, 1500, 2),
            Change(6, 1, 500, 4),
        ),
        finals={"database": {1: 500, 2: 2500}},
        seen=4,
    )


def _overdraft_own_order() -> Story:
    """A withdrawal of 110.00 beside a deposit of 20.00: real time allows it, the order of the commits does not."""
    return Story(
        operations=(
            Operation(1, 0, "east", Kind.WITHDRAW, 1, 11_000),
            Operation(2, 5 * MS, "west", Kind.DEPOSIT, 1, 2000),
        ),
        fates={},
        changes=(Change(1, 1, -1000, OPENING), Change(2, 1, 1000, 0)),
        finals={"database": {1: 1000, 2: 5000}},
        order=(1, 2),
    )


def _lost() -> Story:
    changes = list(GOOD.changes)
    changes[3] = Change(4, 1, 5500, 0)
    changes[4] = Change(6, 1, 4500, 3)
    return replace(GOOD, changes=tuple(changes), finals={"database": {1: 4500, 2: 2500}})


def _doubled() -> Story:
    return replace(
        GOOD,
        changes=(
            Change(1, 1, 3000, OPENING),
            Change(3, 1, 5000, 0),
            Change(3, 1, 7000, 1),
            Change(4, 2, 2500, OPENING),
            Change(4, 1, 9500, 2),
            Change(6, 1, 8500, 4),
        ),
        finals={"database": {1: 8500, 2: 2500}},
        seen=4,
    )


def _diverged() -> Story:
    followed = tuple(
        Change(change.operation, change.account, change.after, place, "west", EffectKind.ADOPTED)
        for place, change in enumerate(GOOD.changes)
        if change.operation != 6
    )
    finals = {"database": {1: 6500, 2: 2500}, "west": {1: 7500, 2: 2500}}
    return replace(GOOD, changes=(*GOOD.changes, *followed), finals=finals)


def _half_transfer() -> Story:
    return replace(
        GOOD,
        changes=(
            Change(1, 1, 3000, OPENING),
            Change(3, 1, 5000, 0),
            Change(4, 1, 7500, 1),
            Change(6, 1, 6500, 2),
        ),
        finals={"database": {1: 6500, 2: 5000}},
        seen=2,
    )


def _unexplained() -> Story:
    return replace(GOOD, finals={"database": {1: 6501, 2: 2500}})


def _stale() -> Story:
    return replace(GOOD, seen=1)
