"""Row locks: four strengths, queues, and who waits for whom.

Conflicts are PostgreSQL's (manual, section 13.3.2, table "Conflicting Row-Level Locks"). A newcomer
whose lock fits with the holders' passes the queue, one that does not stands behind it, and a holder
that wants more passes it too (heapam.c, heap_lock_tuple).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, TypeAlias

from .errors import failure

if TYPE_CHECKING:
    from .storage import Row, Version
    from .transactions import Transaction

KEY_SHARE, SHARE, NO_KEY_UPDATE, UPDATE = 1, 2, 3, 4
LOCK_NAMES = {KEY_SHARE: "KEY SHARE", SHARE: "SHARE", NO_KEY_UPDATE: "NO KEY UPDATE", UPDATE: "UPDATE"}
CONFLICTS: dict[int, frozenset[int]] = {
    KEY_SHARE: frozenset({UPDATE}),
    SHARE: frozenset({NO_KEY_UPDATE, UPDATE}),
    NO_KEY_UPDATE: frozenset({SHARE, NO_KEY_UPDATE, UPDATE}),
    UPDATE: frozenset({KEY_SHARE, SHARE, NO_KEY_UPDATE, UPDATE}),
}
BLOCK, NOWAIT, SKIP = "block", "nowait", "skip"
GRANTED, CHANGED, SKIPPED = "granted", "changed", "skipped"

Sleep: TypeAlias = "tuple[Waiter, int]"
"""One sleep of a wait, and how many there have been of it."""


class Waiter(ABC):
    """A statement that waits for something; `seq` is the order of arrival.

    `sleeps` counts whom it has slept on, one after the other: each sleep has a deadlock check of its own.
    """

    __slots__ = ("seq", "sleeps", "tx")

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.seq = tx.engine.next_wait()
        self.sleeps = 1

    @property
    def sleep(self) -> Sleep:
        """The wait as it is now: for the deadlock check that belongs to this sleep alone."""
        return self, self.sleeps

    @abstractmethod
    def blockers(self) -> Iterable[Transaction]:
        """The transactions that must end or move on first; one can come twice."""

    def first_blocker(self) -> Transaction | None:
        """One of the transactions that must end or move on first, or None."""
        return next(iter(self.blockers()), None)

    def ready(self) -> bool:
        """Whether trying again can get anywhere."""
        return self.first_blocker() is None


class Pause(Waiter):
    """Waits for nobody in particular: goes on when nobody else can."""

    __slots__ = ()

    def blockers(self) -> list[Transaction]:
        """Nobody."""
        return []


class Trip(Waiter):
    """Waits for nobody, but for the caller: YugabyteDB reads a row in one call and writes it in another."""

    __slots__ = ("arrived",)

    def __init__(self, tx: Transaction) -> None:
        super().__init__(tx)
        self.arrived = False

    def blockers(self) -> list[Transaction]:
        """Nobody."""
        return []

    def ready(self) -> bool:
        """Whether the write call is there."""
        return self.arrived

    def arrive(self) -> None:
        """Let the statement go on."""
        self.arrived = True
        self.tx.engine.retry([self])
        self.tx.engine.settle()


class TransactionWait(Waiter):
    """Waits for another transaction to end, as an insert does that meets its key."""

    __slots__ = ("holds", "other")

    def __init__(self, tx: Transaction, other: Transaction, holds: Callable[[], bool]) -> None:
        super().__init__(tx)
        self.other = other
        self.holds = holds
        other.waiters.append(self)

    def blockers(self) -> list[Transaction]:
        """The other transaction, until it ends or takes back what it did to the key."""
        return [] if self.other.ended or not self.holds() else [self.other]

    def leave(self) -> None:
        """Stop waiting."""
        if self in self.other.waiters:
            self.other.waiters.remove(self)


class RowWait(Waiter):
    """Waits for a row lock. `jumps` marks a holder that wants a stronger lock, `follows` a locking SELECT.

    The first in line is `asleep_on` one holder, the others wait for the first (heapam.c: the tuple's lock, then
    XactLockTableWait, or MultiXactIdWait for one member after the other). Who has locked the row meanwhile is seen
    only on waking up, and so is a deadlock with that one. YugabyteDB waits for all at once.

    `chain` is the writer whose update a FOR KEY SHARE has passed, to wait for its later lock: once that is rolled
    back the lock is granted whoever else has got the row meanwhile, because PostgreSQL does not look again
    (heapam.c, heap_lock_tuple: after heap_lock_updated_tuple there is no further sleep).
    """

    __slots__ = ("asleep_on", "chain", "follows", "jumps", "row", "seen", "strength")

    def __init__(
        self, tx: Transaction, row: Row, seen: Version, strength: int, jumps: bool, follows: bool
    ) -> None:
        super().__init__(tx)
        self.row = row
        self.seen = seen
        self.strength = strength
        self.jumps = jumps
        self.follows = follows and row.pending is not None and not tx.engine.yugabyte
        passed = _passes_update(row, strength) and not tx.engine.yugabyte
        self.chain = row.pending.tx if passed and row.pending is not None else None
        self.asleep_on: Transaction | None = None

    def blockers(self) -> list[Transaction]:
        """Whom it waits for now."""
        if self.tx.keeps_snapshot and replaced(self.row, self.seen, self.strength):
            return self._after_update()
        if self.chain is not None and self.row.current is self.seen:
            return [self.chain] if self.row.lockers.get(self.chain) == UPDATE else []
        held_by, ahead = holders(self.row, self.tx, self.strength), self._ahead()
        if self.tx.engine.yugabyte:
            return held_by + ahead
        if ahead:
            return ahead
        if self.asleep_on is None and held_by:
            self.asleep_on = _oldest(held_by)
        return [self.asleep_on] if self.asleep_on in held_by else []

    def sleep_again(self) -> bool:
        """After waking up: whether somebody else holds the row now; if so it waits for that one."""
        held_by = holders(self.row, self.tx, self.strength)
        passes = self.chain is not None and self.row.current is self.seen
        fails = self.tx.keeps_snapshot and replaced(self.row, self.seen, self.strength)
        if not held_by or self.asleep_on is None or passes or fails or self.outdated():
            return False
        self.asleep_on = _oldest(held_by)
        self.sleeps += 1
        return True

    def _ahead(self) -> list[Transaction]:
        """Who stands in line before, with a wish that conflicts; a holder that wants more stands in no line."""
        ahead: list[Transaction] = []
        if not self.jumps:
            for other in self.row.queue or ():
                if other is self:
                    break
                if (
                    isinstance(other, RowWait)
                    and other.strength in CONFLICTS[self.strength]
                    and not other.jumps
                ):
                    ahead.append(other.tx)
        return ahead

    def _after_update(self) -> list[Transaction]:
        """Whom a wait that will end in 40001 still waits for.

        UPDATE and DELETE fail at once. A locking SELECT that waited for the update follows the row to its newest
        version and waits for whoever has locked that, before it fails (heapam.c, heap_lock_updated_tuple).
        """
        if self.follows:
            return holders(self.row, self.tx, self.strength)
        return lingering(self.row, self.seen, self.tx, self.strength)

    def outdated(self) -> bool:
        """The row is gone for good, so that waiting on has no point."""
        current = self.row.current
        gone = current is None or current.deleted
        return gone and replaced(self.row, self.seen, self.strength)

    def ready(self) -> bool:
        """Whether the lock is free, or no longer of use."""
        return self.outdated() or not self.blockers()

    def leave(self) -> None:
        """Leave the queue."""
        if self.row.queue is not None and self in self.row.queue:
            self.row.queue.remove(self)
            if not self.row.queue:
                self.row.queue = None


def holders(row: Row, tx: Transaction, strength: int) -> list[Transaction]:
    """The other transactions whose lock on the row conflicts."""
    if not row.lockers:
        return []
    conflicts = CONFLICTS[strength]
    return [other for other, held in row.lockers.items() if other is not tx and held in conflicts]


def _oldest(transactions: list[Transaction]) -> Transaction:
    """The one that was first to lock or write anything: PostgreSQL waits for members in the order of their xids."""
    return min(transactions, key=lambda tx: tx.xid)


def replaced(row: Row, seen: Version, strength: int) -> bool:
    """Whether a committed newer version stands in the way of locking the row as `seen`.

    FOR KEY SHARE only protects the key: an update that took no stronger lock than FOR NO KEY UPDATE
    needs neither wait nor re-check (heapam.c, heap_lock_tuple).
    """
    version = row.current
    if version is seen or row.pending is seen:
        return False
    if strength != KEY_SHARE or version is None:
        return True
    while version is not None and version is not seen:
        if version.strong:
            return True
        version = version.older
    return False


def lingering(row: Row, seen: Version, tx: Transaction, strength: int) -> list[Transaction]:
    """Who locked the replaced version `seen` FOR KEY SHARE and has not ended: FOR UPDATE of it waits for them.

    Only then does the waiter learn that the version was replaced (heapam_visibility.c, HeapTupleSatisfiesUpdate: a
    multixact with a running member is "being modified", whatever became of its updater).
    """
    if strength != UPDATE or not seen.survivors or tx.engine.yugabyte:
        return []
    return [other for other in seen.survivors if other is not tx and other in row.lockers]


def _passes_update(row: Row, strength: int) -> bool:
    """Whether FOR KEY SHARE passes an update of the row, and meets a lock that its writer took later.

    It then waits even with NOWAIT or SKIP LOCKED: while PostgreSQL follows the chain of versions it knows no
    policy (heapam.c, heap_lock_updated_tuple_rec).
    """
    version = row.pending
    if strength != KEY_SHARE or version is None:
        return False
    while version.older is not None and version.older is not row.current:
        version = version.older
    return not version.strong


def grant(row: Row, tx: Transaction, strength: int) -> None:
    """Give `tx` the lock, remembered for undo."""
    held = row.lockers.get(tx, 0)
    if held < strength:
        row.lockers[tx] = strength
        tx.undo.append((row, None, held))
        if not tx.xid:
            tx.xid = tx.engine.next_xid()


def acquire(
    tx: Transaction,
    row: Row,
    seen: Version,
    strength: int,
    policy: str = BLOCK,
    *,
    follows: bool = False,
    first: bool = False,
) -> Generator[Waiter, None, str]:
    """Lock `row` for `tx`, which saw its version `seen`; a generator that yields while it must wait.

    Returns GRANTED; CHANGED where another transaction committed a newer version than `seen`; or
    SKIPPED (SKIP LOCKED). NOWAIT raises 55P03. `follows` is for a locking SELECT; `first` for one that comes
    from an older version of the row, and so passes those who queue there.
    """
    wait: RowWait | None = None
    try:
        while True:
            held = row.lockers.get(tx, 0)
            changed = row.current is not seen and replaced(row, seen, strength)
            if held >= strength and not changed:
                return GRANTED
            if wait is not None:
                blocked = not wait.ready() or wait.sleep_again()
            elif changed:
                blocked = bool(lingering(row, seen, tx, strength))
            else:
                blocked = _newcomer_blocked(row, tx, strength, held or first)
            if changed and not blocked:
                return CHANGED
            if not blocked:
                grant(row, tx, strength)
                return GRANTED
            if policy == SKIP and not _passes_update(row, strength):
                return SKIPPED
            if policy == NOWAIT and not _passes_update(row, strength):
                raise failure("55P03", f'could not obtain lock on row in relation "{seen.table}"')
            if wait is None:
                wait = RowWait(tx, row, seen, strength, jumps=held > 0, follows=follows)
                _enqueue(row, wait)
            yield wait
    finally:
        if wait is not None:
            wait.leave()
            tx.engine.touched(row)


def _newcomer_blocked(row: Row, tx: Transaction, strength: int, first: int) -> bool:
    """A newcomer waits for conflicting holders; the queue matters only once it has to wait.

    `first` is one that holds a lock of the row, or comes from an older version of it. Otherwise a row whose holder
    has just ended belongs to the first in line (measured on PostgreSQL 18.6: in 33 to 38 of 40 runs a waiter kept
    its row against one that came from another row).
    """
    if holders(row, tx, strength):
        return True
    if row.lockers or first or not row.queue:
        return False
    return any(isinstance(other, RowWait) and other.strength in CONFLICTS[strength] for other in row.queue)


def _enqueue(row: Row, wait: RowWait) -> None:
    """First come, first served; YugabyteDB queues by the start of the transaction."""
    queue: list[Waiter] = row.queue if row.queue is not None else []
    row.queue = queue
    place, engine = len(queue), wait.tx.engine
    if engine.yugabyte:
        while place and engine.began_before(wait.tx, queue[place - 1].tx):
            place -= 1
    queue.insert(place, wait)


def cycle_through(waiter: Waiter, waiting: dict[Transaction, Waiter]) -> list[Transaction]:
    """A ring of transactions, each waiting for the next, that begins with the waiter's own; empty if there is none."""
    came_from: dict[Transaction, Transaction] = {}
    stack = [waiter]
    while stack:
        one = stack.pop()
        for other in one.blockers():
            if other is waiter.tx:
                ring = [one.tx]
                while ring[-1] is not waiter.tx:
                    ring.append(came_from[ring[-1]])
                return ring[::-1]
            if other not in came_from:
                came_from[other] = one.tx
                if other in waiting:
                    stack.append(waiting[other])
    return []
