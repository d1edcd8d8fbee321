"""The vocabulary: operations, outcomes, and what a design claims.

Everything else imports this module; it imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Literal, NewType

Cents = int
"""Money inside arbsim: hundredths of the account's unit, exact."""

Nanoseconds = NewType("Nanoseconds", int)
"""A duration. In a scenario people write it as ``31 ms``."""

Family = Literal["bus", "db"]
"""What arbitrates: consumers on a log (``bus``) or a database (``db``)."""

Agreement = Literal["asynchronous", "synchronous"]
"""Whether a decision waits until one order per key is agreed between the regions."""


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


def from_cents(cents: Cents) -> Decimal:
    """Return the amount as a Decimal with two digits after the point."""
    return Decimal(cents).scaleb(-2)


class Kind(StrEnum):
    """What a client wants."""

    WITHDRAW = "withdraw"
    DEPOSIT = "deposit"
    TRANSFER = "transfer"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Operation:
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


@dataclass(frozen=True, slots=True)
class Workload:
    """The operations of one run in order of ``at_ns``; the same for every design."""

    operations: tuple[Operation, ...]
    accounts: dict[int, Cents]
    """The opening balance of every account, in order of account."""

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


def operations_by_account(operations: Iterable[Operation]) -> dict[int, list[Operation]]:
    """Group operations by every account that they touch, in order of id."""
    grouped: dict[int, list[Operation]] = {}
    for operation in operations:
        grouped.setdefault(operation.account, []).append(operation)
        if operation.to_account is not None:
            grouped.setdefault(operation.to_account, []).append(operation)
    return dict(sorted(grouped.items()))
