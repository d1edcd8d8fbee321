"""What happened to a few operations, step by step: the facts that an explanation is made from.

A world writes steps while a design runs, for the operations that somebody asks about. Explanations order them, mark
them and tell them; they never add to them. Steps are plain values: they can be saved, compared and replayed against.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from arbsim.model import Cents

LaneKind = Literal["client", "service", "log", "row", "carrier"]


class Lane(NamedTuple):
    """Where a step happens: a region's clients or service, one partition of a log, or one row of a database.

    ``region`` is where its node is (of a partition or a row: the leader). ``name`` tells lanes of one kind apart:
    "commands-0", "account 1". A ``carrier`` (MirrorMaker, a connector) moves records and decides nothing.
    """

    kind: LaneKind
    region: str
    name: str


class StepKind(StrEnum):
    """What can happen in a step."""

    INVOKED = "invoked"
    """A client begins its operation."""
    APPENDED = "appended"
    """A partition's leader appended a record."""
    DELIVERED = "delivered"
    """A record reached somebody who reads the partition."""
    READ = "read"
    """A service looked up a balance that it keeps itself."""
    BLOCKED = "blocked"
    """A statement is at the database and has to wait for another operation."""
    EXECUTED = "executed"
    """A statement was executed at the row's leader; what it read and wrote is not committed by that."""
    REFUSED = "refused"
    """A statement ended in an error."""
    RETURNED = "returned"
    """The answer to a statement or a COMMIT reached who had sent it."""
    DECIDED = "decided"
    """An application held the rule against what a statement had told it. Worlds do not see that; it follows from what
    the application does next."""
    WROTE = "wrote"
    """A balance changed: in a service's own store, or by a commit."""
    ADOPTED = "adopted"
    """A balance that was computed elsewhere was taken over."""
    SUPERSEDED = "superseded"
    """A balance that was computed elsewhere came too late: a later writer had won."""
    ROLLED_BACK = "rolled-back"
    """A transaction ended without effect; its locks are free."""
    ANSWERED = "answered"
    """The client knows the fate."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one operation. Times are virtual nanoseconds since the workload began.

    Where a message brought the step about, it left ``source`` at ``sent_ns`` and arrived at ``time_ns``. ``store``
    and ``row`` name the version that was read or written, as the history has it (``row``: place of the effect, or
    OPENING). ``text`` is a statement, an error's code, or a fate. ``rows`` is what a statement matched.
    ``blocker`` is the operation that is waited for.
    """

    kind: StepKind
    time_ns: int
    operation: int
    lane: Lane
    source: Lane | None = None
    sent_ns: int | None = None
    account: int | None = None
    balance_cents: Cents | None = None
    store: str | None = None
    row: int | None = None
    offset: int | None = None
    text: str = ""
    rows: int | None = None
    writes: bool = False
    blocker: int | None = None
