"""Small histories for tests, from one line per operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from arbsim.history import OPENING, History
from arbsim.model import VIOLATIONS, Cents, DesignCard, Fate, Kind, Operation, Workload

CARD = DesignCard(
    name="tested",
    design="tested",
    family="db",
    agreement="synchronous",
    claims=VIOLATIONS,
    summary="A history of a test.",
    fresh_reads=True,
    own_order="commit",
)

STORE = "database"


@dataclass(frozen=True, slots=True)
class Op:
    """One operation as it went: what, how much, from when to when, and how it ended."""

    kind: Kind
    cents: Cents
    start: int
    end: int
    fate: Fate | None = Fate.ACCEPTED
    account: int = 1
    to: int | None = None


def withdraw(cents: Cents, start: int, end: int, fate: Fate | None = Fate.ACCEPTED, account: int = 1) -> Op:
    return Op(Kind.WITHDRAW, cents, start, end, fate, account)


def deposit(cents: Cents, start: int, end: int, fate: Fate | None = Fate.ACCEPTED, account: int = 1) -> Op:
    return Op(Kind.DEPOSIT, cents, start, end, fate, account)


def transfer(cents: Cents, start: int, end: int, fate: Fate | None = Fate.ACCEPTED) -> Op:
    return Op(Kind.TRANSFER, cents, start, end, fate, 1, 2)


def read(start: int, end: int) -> Op:
    return Op(Kind.READ, 0, start, end)


def answered(ops: Sequence[Op], opening: dict[int, Cents] | None = None, card: DesignCard = CARD) -> History:
    """A history of what clients saw, with no effects; operations are numbered as they are given."""
    operations = tuple(
        Operation(number, op.start, "east", op.kind, op.account, op.cents, op.to)
        for number, op in enumerate(ops, start=1)
    )
    accounts = opening if opening is not None else {1: 100, 2: 100}
    history = History(card, Workload(operations, accounts), stores=(STORE,))
    for number, op in enumerate(ops, start=1):
        history.invoke(number, op.start)
        if op.fate is not None:
            history.answer(number, op.end, op.fate)
    history.finals = {STORE: dict(accounts)}
    return history


def in_order(ops: Sequence[Op], order: Sequence[int], opening: dict[int, Cents] | None = None) -> History:
    """What a correct database would do: the operations take effect one at a time, in this order of their numbers.

    Fates of withdrawals and transfers are those that the balance gives; each operation has a place in the order.
    """
    history = answered(ops, opening)
    balances = dict(history.workload.accounts)
    rows = dict.fromkeys(balances, OPENING)
    for place, number in enumerate(order, start=1):
        op, span = history.workload[number], ops[number - 1]
        now = place  # the instant of the decision; only its order matters here
        history.read(number, op.account, 0, rows[op.account], balances[op.account], now)
        allowed = op.kind in (Kind.DEPOSIT, Kind.READ) or balances[op.account] >= op.amount_cents
        history.answer(number, span.end, Fate.ACCEPTED if allowed else Fate.REJECTED)
        history.place(number, place)
        for account, cents in op.deltas() if allowed else ():
            balances[account] += cents
            rows[account] = history.effect(number, account, 0, balances[account], rows[account], now)
    history.finals = {STORE: balances}
    return history


def with_card(history: History, **changes: object) -> History:
    """The same history for a design that says other things of itself."""
    history.card = replace(history.card, **changes)  # type: ignore[arg-type]
    return history


times = st.integers(0, 12)
amounts = st.integers(1, 120)
fates = st.sampled_from([Fate.ACCEPTED, Fate.ACCEPTED, Fate.REJECTED, Fate.UNKNOWN, None])


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(times)
    return start, start + draw(st.integers(1, 12))


@st.composite
def operations(draw: st.DrawFn, kinds: Sequence[Kind], fates: st.SearchStrategy[Fate | None] = fates) -> Op:
    """Any operation on account 1; a transfer may go either way between accounts 1 and 2."""
    start, end = draw(spans())
    kind = draw(st.sampled_from(kinds))
    cents = 0 if kind is Kind.READ else draw(amounts)
    account, to = (1, None)
    if kind is Kind.TRANSFER:
        account, to = draw(st.sampled_from([(1, 2), (2, 1)]))
    return Op(kind, cents, start, end, draw(fates), account, to)
