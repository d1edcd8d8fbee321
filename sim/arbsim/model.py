"""The vocabulary: operations, outcomes, and what a design claims.

Everything else imports this module; it imports nothing of ours.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, lru_cache
from operator import eq
from typing import Literal, NamedTuple, NewType, overload

Cents = int
"""Money inside arbsim: hundredths of the account's unit, exact."""

Nanoseconds = NewType("Nanoseconds", int)
"""A duration. In a scenario people write it as ``31 ms``."""

Family = Literal["bus", "db"]
"""What arbitrates: consumers on a log (``bus``) or a database (``db``)."""

Agreement = Literal["asynchronous", "synchronous"]
"""Whether a decision waits until one order per key is agreed between the regions."""


@lru_cache(maxsize=4096)  # a run turns the same amounts and balances over and over, and Decimal is slow
def to_cents(amount: Decimal) -> Cents:
    """Return ``amount`` in cents.

    Raises ValueError where the amount has a fraction of a cent or is not finite.
    """
    if not amount.is_finite():
        raise ValueError(f"{amount} is not a finite amount")
    scaled = amount.scaleb(2)
    cents = int(scaled)
    if cents != scaled:
        raise ValueError(f"{amount} has a fraction of a cent")
    return cents


@lru_cache(maxsize=4096)
def from_cents(cents: Cents) -> Decimal:
    """Return the amount as a Decimal with two digits after the point."""
    return Decimal(cents).scaleb(-2)


class Kind(StrEnum):
    """What a client wants."""

    WITHDRAW = "withdraw"
    DEPOSIT = "deposit"
    TRANSFER = "transfer"
    READ = "read"


class Operation(NamedTuple):
    """One client intent. The same operation goes through every design.

    ``id`` counts from 1 in order of ``at_ns`` and is the idempotency key. ``amount_cents`` is above zero,
    but for a read, where it is 0. A transfer takes from ``account`` and gives to ``to_account``.
    """

    id: int
    at_ns: int
    region: str
    kind: Kind
    account: int
    amount_cents: Cents = 0
    to_account: int | None = None

    @property
    def amount(self) -> Decimal:
        """The amount as a Decimal with two digits after the point."""
        return from_cents(self.amount_cents)

    def deltas(self) -> tuple[tuple[int, Cents], ...]:
        """What the operation does to each account when it is accepted, as (account, cents)."""
        if self.kind is Kind.DEPOSIT:
            return ((self.account, self.amount_cents),)
        if self.kind is Kind.WITHDRAW:
            return ((self.account, -self.amount_cents),)
        if self.kind is Kind.TRANSFER and self.to_account is not None:
            return ((self.account, -self.amount_cents), (self.to_account, self.amount_cents))
        return ()

    def delta(self, account: int) -> Cents:
        """What the operation does to one account when it is accepted; 0 where it does not touch it."""
        return sum(cents for touched, cents in self.deltas() if touched == account)


_KINDS = tuple(Kind)
_KIND_CODES = {kind: code for code, kind in enumerate(_KINDS)}
_NO_ACCOUNT = -(2**63)


class Operations(Sequence[Operation]):
    """Operations with the ids 1, 2, 3, ..., as columns: an object is made when one is asked for.

    So a million of them take 35 MB, where objects take 260.
    """

    __slots__ = ("_account", "_at_ns", "_cents", "_kind", "_names", "_region", "_to_account")

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._at_ns, self._account, self._cents, self._to_account = (array("q") for _ in range(4))
        self._kind, self._region = array("b"), array("h")
        codes: dict[str, int] = {}
        for number, op in enumerate(operations, start=1):
            assert op.id == number, "the ids of operations are their places"
            self._at_ns.append(op.at_ns)
            self._region.append(codes.setdefault(op.region, len(codes)))
            self._kind.append(_KIND_CODES[op.kind])
            self._account.append(op.account)
            self._cents.append(op.amount_cents)
            self._to_account.append(_NO_ACCOUNT if op.to_account is None else op.to_account)
        self._names = tuple(codes)

    def __len__(self) -> int:
        return len(self._at_ns)

    @overload
    def __getitem__(self, place: int) -> Operation: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Operation, ...]: ...
    def __getitem__(self, place: int | slice) -> Operation | tuple[Operation, ...]:
        if isinstance(place, slice):
            return tuple(self[one] for one in range(*place.indices(len(self))))
        to_account = self._to_account[place]
        return Operation(
            place + 1 if place >= 0 else len(self) + place + 1,
            self._at_ns[place],
            self._names[self._region[place]],
            _KINDS[self._kind[place]],
            self._account[place],
            self._cents[place],
            None if to_account == _NO_ACCOUNT else to_account,
        )

    def __iter__(self) -> Iterator[Operation]:
        return map(self.__getitem__, range(len(self)))

    def accounts(self) -> Iterator[tuple[int, int | None]]:
        """The account of each operation, and the one that a transfer gives to."""
        for account, to_account in zip(self._account, self._to_account, strict=True):
            yield account, None if to_account == _NO_ACCOUNT else to_account

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]


class OperationsByAccount(Mapping[int, list[Operation]]):
    """The operations that touch each account, in order of account and of id; a list is made when it is asked for."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        places: dict[int, array[int]] = {}
        for place, (account, to_account) in enumerate(operations.accounts()):
            places.setdefault(account, array("i")).append(place)
            if to_account is not None and to_account != account:
                places.setdefault(to_account, array("i")).append(place)
        self._places = dict(sorted(places.items()))

    def __getitem__(self, account: int) -> list[Operation]:
        return [self._operations[place] for place in self._places[account]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass(frozen=True)
class Workload:
    """The operations of one run in order of ``at_ns``; the same for every design."""

    operations: Sequence[Operation]
    accounts: dict[int, Cents]
    """The opening balance of every account, in order of account."""

    def __post_init__(self) -> None:
        if not isinstance(self.operations, Operations):
            object.__setattr__(self, "operations", Operations(self.operations))

    @cached_property
    def by_account(self) -> OperationsByAccount:
        """The operations by every account that they touch."""
        assert isinstance(self.operations, Operations)
        return OperationsByAccount(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def __getitem__(self, operation_id: int) -> Operation:
        """The operation with this id (ids count from 1)."""
        return self.operations[operation_id - 1]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The operation took effect. ``balance`` is what the client was told, where it was told."""

    balance: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The rule refused the operation; it had no effect."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The system gave an error that guarantees that nothing took effect (a CHECK, retries used up)."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The client cannot know (a timeout, a lost connection): it may have taken effect."""

    reason: str = ""


Outcome = Accepted | Rejected | Failed | Unknown


class Fate(StrEnum):
    """The kinds of answer, as they are counted."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"


def fate_of(outcome: Outcome) -> Fate:
    """Return the kind of ``outcome``."""
    return _FATES[type(outcome)]


_FATES: dict[type[Outcome], Fate] = {
    Accepted: Fate.ACCEPTED,
    Rejected: Fate.REJECTED,
    Failed: Fate.FAILED,
    Unknown: Fate.UNKNOWN,
}


class FindingKind(StrEnum):
    """What an audit can find; every kind is always reported, with its count."""

    OVERDRAFT = "overdraft"
    OVERDRAFT_OWN_ORDER = "overdraft_own_order"
    LOST_UPDATE = "lost_update"
    DUPLICATE_EFFECT = "duplicate_effect"
    DIVERGENCE = "divergence"
    CONSERVATION = "conservation"
    UNEXPLAINED = "unexplained"
    STALE_READ = "stale_read"


VIOLATIONS: tuple[FindingKind, ...] = tuple(
    kind for kind in FindingKind if kind is not FindingKind.STALE_READ
)
"""The kinds that break a single-key rule. A stale read breaks one only where fresh reads are claimed."""


class Verdict(StrEnum):
    """What a run (or a search) lets us say of a design."""

    HOLDS = "holds"
    NONE_SEEN = "none-seen"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class DesignCard:
    """What a design says of itself; the audit judges it by this.

    ``name`` is the name in the scenario (a scenario can list one design twice), ``design`` the name in the
    catalogue. ``claims`` are the kinds of finding that it claims to prevent: an empty tuple is a trap that
    claims nothing. ``cure`` names the design that mends it. ``fresh_reads`` claims that a read sees what was
    acknowledged before. ``summary`` is one sentence; ``steps`` are the statements or the consumer's code that
    are judged, as text; ``replicas`` to ``gateway`` are sentences for the verdict page.
    """

    name: str
    design: str
    family: Family
    agreement: Agreement
    claims: tuple[FindingKind, ...]
    summary: str
    cure: str | None = None
    fresh_reads: bool = False
    own_order: str | None = None
    """The order that the design itself gives to operations: "offset", "commit", or None."""
    steps: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    """The design's parameters as the scenario set them, as text."""
