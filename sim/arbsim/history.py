"""What happened in one design's run, as columns.

A world appends to a History while a design runs; the audit reads it. Rows are kept in ``array`` columns, not
in objects, so that a million operations fit in memory (under 300 bytes an operation).

A *store* is a place that holds balances: the one database (``database``), a database per region
(``database@east``), or the view that a region's service keeps (the region's name).

Every change of a balance in a store is an *effect*. Its ``base`` is the effect from whose value the new one
was computed, so the effects of one account form a tree; the operations on the path from the final value back
to the opening balance are the ones that the final balance contains. That is how lost money is traced.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from arbsim.model import Cents, DesignCard, Fate, Workload

OPENING = -1
"""The base of an effect that was computed from the opening balance."""

BLIND = -2
"""The base of an effect that was computed from no balance at all."""

MISSING = -1
"""A time or an order that there is none of."""

_NO_CENTS = -(2**63)
_FATES: tuple[Fate | None, ...] = (None, Fate.ACCEPTED, Fate.REJECTED, Fate.FAILED, Fate.UNKNOWN)
_FATE_CODES = {fate: code for code, fate in enumerate(_FATES)}


class EffectKind(IntEnum):
    """How a balance in a store came to change."""

    WRITTEN = 0
    """Computed here, from the balance that was read here."""
    ADOPTED = 1
    """Taken over from the store in which the same operation wrote it."""
    SUPERSEDED = 2
    """Arrived here and was dropped, because a later writer had won already. The balance did not change."""


class Effect(NamedTuple):
    """One change of one account in one store. ``row`` is its place in the history."""

    row: int
    operation: int
    account: int
    store: str
    after_cents: Cents
    base: int
    kind: EffectKind
    time_ns: int


class Read(NamedTuple):
    """A balance that an operation read before it decided. ``effect`` is the version it saw, or OPENING."""

    operation: int
    account: int
    store: str
    effect: int
    balance_cents: Cents
    time_ns: int


class Wait(NamedTuple):
    """One operation waited for another's lock, or for its turn behind it."""

    operation: int
    blocker: int
    start_ns: int
    end_ns: int


class Answer(NamedTuple):
    """What the client of one operation saw. Times are virtual; MISSING where there was none.

    ``recorded_ns``: the client knew that the operation is durable. ``answered_ns``: it knew the fate.
    ``told_cents``: the balance in the answer. ``own_order``: the place in the design's own order (offset,
    commit).
    """

    operation: int
    invoked_ns: int
    recorded_ns: int
    answered_ns: int
    fate: Fate | None
    told_cents: Cents | None
    own_order: int
    client_retries: int
    server_retries: int
    reason: str


class ReadsByAccount(Mapping[int, list[Read]]):
    """What was read of each account, in the order in which it happened; a list is made when it is asked for."""

    def __init__(self, columns: tuple[array[int], ...], stores: tuple[str, ...]) -> None:
        self._columns = columns
        self._stores = stores
        self.rows: dict[int, array[int]] = {}
        for row, account in enumerate(columns[1]):
            self.rows.setdefault(account, array("i")).append(row)

    def __getitem__(self, account: int) -> list[Read]:
        operations, accounts, stores, effects, balances, times = self._columns
        return [
            Read(
                operations[row],
                accounts[row],
                self._stores[stores[row]],
                effects[row],
                balances[row],
                times[row],
            )
            for row in self.rows[account]
        ]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self.rows))

    def __len__(self) -> int:
        return len(self.rows)


def _longs(length: int, value: int) -> array[int]:
    return array("q", [value]) * length


def _in_order(*columns: array[int]) -> list[array[int]]:
    """Columns of times with the place of each among all of them in its stead."""
    times = sorted({time_ns for column in columns for time_ns in column if time_ns != MISSING})
    places = {time_ns: place for place, time_ns in enumerate(times)}
    places[MISSING] = MISSING
    return [array("q", [places[time_ns] for time_ns in column]) for column in columns]


Essence = tuple[
    tuple[tuple[str, tuple[tuple[int, Cents], ...]], ...], tuple[str, ...], tuple[str, ...], tuple[bytes, ...]
]
"""Final balances by store, notes, the names of the stores, and columns."""


@dataclass(slots=True)
class History:
    """Everything the audit may look at, for one design.

    ``finals`` are the balances that the stores held at the end, read from the stores themselves.
    ``totals`` counts what the run cost: messages, wan_messages, and what else a world counts.
    ``quiet_ns`` is the time at which nothing was under way any more; ``agreed_ns`` the last change of any
    store. ``cut_off``: the run ended before its operations did; what has no final balance there, was still changing.
    """

    card: DesignCard
    workload: Workload
    stores: tuple[str, ...] = ()
    finals: dict[str, dict[int, Cents]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Facts about the run that weaken or explain a verdict, as sentences ("the west client saturated
    ...")."""
    statements: dict[str, int] = field(default_factory=dict)
    """SQL texts that were executed, with how often."""
    quiet_ns: int = 0
    cut_off: bool = False
    _invoked: array[int] = field(init=False)
    _recorded: array[int] = field(init=False)
    _answered: array[int] = field(init=False)
    _fate: array[int] = field(init=False)
    _told: array[int] = field(init=False)
    _own_order: array[int] = field(init=False)
    _client_retries: array[int] = field(init=False)
    _server_retries: array[int] = field(init=False)
    _reasons: dict[int, str] = field(init=False, default_factory=dict)
    _effects: tuple[array[int], ...] = field(init=False)
    _reads: tuple[array[int], ...] = field(init=False)
    _waits: tuple[array[int], ...] = field(init=False)
    _store_codes: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.workload) + 1
        self._invoked = _longs(size, MISSING)
        self._recorded = _longs(size, MISSING)
        self._answered = _longs(size, MISSING)
        self._told = _longs(size, _NO_CENTS)
        self._own_order = _longs(size, MISSING)
        self._fate = array("b", bytes(size))
        self._client_retries = array("H", bytes(2 * size))
        self._server_retries = array("H", bytes(2 * size))
        # operation, account, store, after, base, kind, time
        self._effects = tuple(array(code) for code in "iqbqibq")
        # operation, account, store, effect, balance, time
        self._reads = tuple(array(code) for code in "iqbiqq")
        # operation, blocker, start, end
        self._waits = tuple(array(code) for code in "iiqq")
        stores, self.stores = self.stores, ()
        for store in stores:
            self.store_code(store)

    # -- written by a world ------------------------------------------------------------------------

    def store_code(self, store: str) -> int:
        """Return the number that stands for ``store`` in the columns; a new store is added."""
        code = self._store_codes.get(store)
        if code is None:
            code = self._store_codes[store] = len(self._store_codes)
            self.stores = (*self.stores, store)
        return code

    def invoke(self, operation: int, time_ns: int) -> None:
        """The client of ``operation`` begins."""
        self._invoked[operation] = time_ns

    def recorded(self, operation: int, time_ns: int) -> None:
        """The client knows that the operation is durable; its fate may be open."""
        if self._recorded[operation] == MISSING:
            self._recorded[operation] = time_ns

    def answer(
        self, operation: int, time_ns: int, fate: Fate, told_cents: Cents | None = None, reason: str = ""
    ) -> None:
        """The client knows the fate."""
        self._answered[operation] = time_ns
        self._fate[operation] = _FATE_CODES[fate]
        if self._recorded[operation] == MISSING and fate is not Fate.UNKNOWN:
            self._recorded[operation] = time_ns
        if told_cents is not None:
            self._told[operation] = told_cents
        if reason:
            self._reasons[operation] = reason

    def place(self, operation: int, own_order: int) -> None:
        """Note the operation's place in the design's own order (log offset, commit sequence)."""
        self._own_order[operation] = own_order

    def retried(self, operation: int, *, client: int = 0, server: int = 0) -> None:
        """Count retries by the client or inside the server."""
        self._client_retries[operation] = min(65535, self._client_retries[operation] + client)
        self._server_retries[operation] = min(65535, self._server_retries[operation] + server)

    def effect(
        self,
        operation: int,
        account: int,
        store: int,
        after_cents: Cents,
        base: int,
        time_ns: int,
        kind: EffectKind = EffectKind.WRITTEN,
    ) -> int:
        """Append a change of a balance; return its index."""
        columns = self._effects
        index = len(columns[0])
        columns[0].append(operation)
        columns[1].append(account)
        columns[2].append(store)
        columns[3].append(after_cents)
        columns[4].append(base)
        columns[5].append(kind)
        columns[6].append(time_ns)
        return index

    def read(
        self, operation: int, account: int, store: int, effect: int, balance_cents: Cents, time_ns: int
    ) -> None:
        """Append a balance that an operation read; ``effect`` is the version it saw, or OPENING."""
        columns = self._reads
        columns[0].append(operation)
        columns[1].append(account)
        columns[2].append(store)
        columns[3].append(effect)
        columns[4].append(balance_cents)
        columns[5].append(time_ns)

    def wait(self, operation: int, blocker: int, start_ns: int, end_ns: int) -> None:
        """Append that one operation waited for another."""
        for column, value in zip(self._waits, (operation, blocker, start_ns, end_ns), strict=True):
            column.append(value)

    def executed(self, statement: str) -> None:
        """Count a SQL statement."""
        self.statements[statement] = self.statements.get(statement, 0) + 1

    def count(self, what: str, times: int = 1) -> None:
        """Add to a total."""
        self.totals[what] = self.totals.get(what, 0) + times

    # -- read by the audit -------------------------------------------------------------------------

    def answer_of(self, operation: int) -> Answer:
        """What the client of ``operation`` saw."""
        told = self._told[operation]
        return Answer(
            operation,
            self._invoked[operation],
            self._recorded[operation],
            self._answered[operation],
            _FATES[self._fate[operation]],
            None if told == _NO_CENTS else told,
            self._own_order[operation],
            self._client_retries[operation],
            self._server_retries[operation],
            self._reasons.get(operation, ""),
        )

    def answers(self) -> Iterator[Answer]:
        """What each client saw, in order of operation id."""
        return map(self.answer_of, range(1, len(self.workload) + 1))

    def fate(self, operation: int) -> Fate | None:
        """The operation's fate; None where the client was never answered."""
        return _FATES[self._fate[operation]]

    def effects(self) -> Iterator[Effect]:
        """All changes of balances in the order in which they happened."""
        stores = self.stores
        for index, (operation, account, store, after, base, kind, time_ns) in enumerate(
            zip(*self._effects, strict=True)
        ):
            yield Effect(index, operation, account, stores[store], after, base, EffectKind(kind), time_ns)

    def effect_columns(self) -> tuple[array[int], ...]:
        """The effects as columns: operation, account, code of the store, after, base, kind, time."""
        return self._effects

    def reads(self) -> Iterator[Read]:
        """All balances that operations read before they decided, in the order in which it happened."""
        stores = self.stores
        for operation, account, store, effect, balance, time_ns in zip(*self._reads, strict=True):
            yield Read(operation, account, stores[store], effect, balance, time_ns)

    def reads_by_account(self) -> ReadsByAccount:
        """The same by account."""
        return ReadsByAccount(self._reads, self.stores)

    def waits(self) -> Iterator[Wait]:
        """All waits of one operation for another."""
        return (Wait(*row) for row in zip(*self._waits, strict=True))

    def essence(self) -> Essence:
        """What a verdict goes by: histories that have this in common, and card and workload, are judged alike.

        Beginnings and answers are places in one order, reads in another. Left out are when a balance changed, when an
        operation was recorded, how long a wait took, and what the run cost.
        """
        columns = (
            *_in_order(self._invoked, self._answered),
            self._fate,
            self._told,
            self._own_order,
            *self._effects[:-1],
            *self._reads[:-1],
            *_in_order(self._reads[-1]),
            *self._waits[:-2],
        )
        return (
            tuple([(store, tuple(balances.items())) for store, balances in self.finals.items()]),
            tuple(self.notes),
            self.stores,
            tuple([column.tobytes() for column in columns]),
        )

    @classmethod
    def of_essence(cls, card: DesignCard, workload: Workload, essence: Essence) -> History:
        """The history that has an essence and nothing more: what it leaves out is 0."""
        finals, notes, stores, columns = essence
        history = cls(
            card, workload, stores, {store: dict(pairs) for store, pairs in finals}, notes=list(notes)
        )
        history._invoked, history._answered = array("q"), array("q")
        history._fate, history._told, history._own_order = array("b"), array("q"), array("q")
        filled = (
            history._invoked,
            history._answered,
            history._fate,
            history._told,
            history._own_order,
            *history._effects[:-1],
            *history._reads,
            *history._waits[:-2],
        )
        for column, content in zip(filled, columns, strict=True):
            column.frombytes(content)
        for rows, times in (
            (history._effects[0], history._effects[-1:]),
            (history._waits[0], history._waits[-2:]),
        ):
            for column in times:
                column.extend(_longs(len(rows), 0))
        return history

    def nbytes(self) -> int:
        """Memory of the columns in bytes."""
        columns = (
            *self._effects,
            *self._reads,
            *self._waits,
            self._invoked,
            self._recorded,
            self._answered,
            self._fate,
            self._told,
            self._own_order,
            self._client_retries,
            self._server_retries,
        )
        return sum(column.buffer_info()[1] * column.itemsize for column in columns)
