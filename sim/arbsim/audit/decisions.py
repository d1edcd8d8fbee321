"""What was known when an operation was decided: contention, stale reads, beliefs, and rejections."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from arbsim.audit.balances import Versions
from arbsim.history import MISSING, Answer, History, Read
from arbsim.model import Cents, Fate, Kind, Operation

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Met:
    """Two operations that met on an account: the second did not see the first, or waited for it."""

    first: int
    second: int
    account: int
    waited: bool


@dataclass(frozen=True, slots=True)
class Meetings:
    """How often operations on one account met, and the first few that did.

    ``overlapping_pairs``: each was invoked before the other was answered. ``unseen_pairs``: neither had seen the
    other's effect when it decided (they need not overlap: a region's answer can be quick and its news slow).
    ``waits``: one waited for the other's lock.
    """

    overlapping_pairs: int
    unseen_pairs: int
    waits: int
    examples: tuple[Met, ...]

    @property
    def contended(self) -> bool:
        """Whether any two operations met."""
        return bool(self.overlapping_pairs or self.unseen_pairs or self.waits)


@dataclass(frozen=True, slots=True)
class _Decision:
    """``seen``: the last row of the store that the decider knew of this account. ``writes``: it had an effect."""

    time_ns: int
    operation: int
    store: str
    seen: int
    writes: bool


def meetings(history: History, versions: Versions) -> Meetings:
    """Count the pairs on one account of which neither had seen the other's effect, and the waits.

    Who decides later cannot have been seen by who decided earlier. So an operation met every earlier one with an
    effect that had not arrived in its store; their number is that of all earlier ones less those that it saw.
    Rejected operations have no effect to be seen, so they can only be the later one. Linear after sorting.
    """
    pairs = 0
    examples: list[Met] = []
    for account, decisions in _decisions(history, versions):
        writers = 0
        arrivals = _Arrivals(versions, account)
        for place, decision in enumerate(decisions):
            unseen = writers - arrivals.seen_by(decision)
            if unseen > 0:
                pairs += unseen
                if len(examples) < EXAMPLES:
                    examples += _unseen(arrivals, decisions[:place], decision, account)
            writers += decision.writes
    waits = 0
    waited: list[Met] = []
    for wait in history.waits():
        if wait.blocker and wait.operation:
            waits += 1
            if len(waited) < EXAMPLES:
                account = history.workload[wait.operation].account
                waited.append(Met(wait.blocker, wait.operation, account, True))
    overlaps, overlapping = _overlapping_pairs(history)
    met = (*waited, *examples[:EXAMPLES]) or tuple(overlapping)
    return Meetings(overlaps, pairs, waits, met)


def _overlapping_pairs(history: History) -> tuple[int, list[Met]]:
    """Count the pairs of operations that change one account and overlap in real time."""
    pairs = 0
    examples: list[Met] = []
    for account, operations in history.workload.by_account.items():
        spans = sorted(
            (answer.invoked_ns, answer.answered_ns if answer.answered_ns != MISSING else 2**62, op.id)
            for op in operations
            if op.kind is not Kind.READ and (answer := history.answer_of(op.id)).invoked_ns != MISSING
        )
        ends = sorted(end for _, end, _ in spans)
        for place, (start, _, operation) in enumerate(spans):
            # Of those invoked before, the ones answered before this one began do not overlap.
            overlaps = place - bisect_left(ends, start)
            pairs += max(0, overlaps)
            if overlaps > 0 and len(examples) < EXAMPLES:
                other = next(one for _, end, one in reversed(spans[:place]) if end >= start)
                examples.append(Met(other, operation, account, False))
    return pairs, examples


def _decisions(history: History, versions: Versions) -> Iterator[tuple[int, list[_Decision]]]:
    """The decisions on each account that is written to, in order of time."""
    wrote = bytearray(len(history.workload) + 1)
    for operation in versions.operation:
        wrote[operation] = True
    for account, reads in history.reads_by_account().items():
        decisions = [
            _Decision(read.time_ns, read.operation, read.store, read.effect, bool(wrote[read.operation]))
            for read in reads
            if history.workload[read.operation].kind is not Kind.READ
        ]
        yield account, sorted(decisions, key=lambda one: (one.time_ns, one.operation))


class _Arrivals:
    """When the operations of one account first arrived in each store, as rows in order."""

    def __init__(self, versions: Versions, account: int) -> None:
        self._versions = versions
        self._account = account
        self._first: dict[str, dict[int, int]] = {}
        self._rows: dict[str, list[int]] = {}

    def _load(self, store: str) -> None:
        first: dict[int, int] = {}
        for row in self._versions.rows.get((store, self._account), ()):
            first.setdefault(self._versions.operation[row], row)
        self._first[store] = first
        self._rows[store] = sorted(first.values())

    def seen_by(self, decision: _Decision) -> int:
        """How many operations had arrived in the decider's store when it looked."""
        if decision.store not in self._rows:
            self._load(decision.store)
        return bisect_right(self._rows[decision.store], decision.seen) if decision.seen >= 0 else 0

    def arrived(self, operation: int, store: str) -> int | None:
        """The row with which an operation arrived in a store."""
        if store not in self._first:
            self._load(store)
        return self._first[store].get(operation)


def _unseen(
    arrivals: _Arrivals, earlier: Sequence[_Decision], decision: _Decision, account: int
) -> Iterator[Met]:
    for other in earlier[-100:]:
        arrived = arrivals.arrived(other.operation, decision.store)
        if other.writes and (arrived is None or arrived > decision.seen):
            yield Met(other.operation, decision.operation, account, False)


# -- stale reads ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StaleRead:
    """A read that misses ``missed``, which was acknowledged before the read was invoked."""

    operation: int
    missed: int
    account: int
    cents: Cents
    time_ns: int


def stale_reads(history: History, versions: Versions) -> list[StaleRead]:
    """Find the accepted reads that miss what had been acknowledged before them, in order of time."""
    found: list[tuple[int, StaleRead]] = []
    by_account = history.reads_by_account()
    for account, reads in by_account.items():
        acknowledged = _Acknowledged(history, versions, account)
        for row, read in zip(by_account.rows[account], reads, strict=True):
            op = history.workload[read.operation]
            if op.kind is Kind.READ and history.fate(op.id) is Fate.ACCEPTED:
                missed = acknowledged.missed_by(read)
                if missed is not None:
                    cents = abs(history.workload[missed].delta(account))
                    found.append((row, StaleRead(op.id, missed, account, cents, read.time_ns)))
    return [stale for _, stale in sorted(found, key=lambda pair: pair[0])]


class _Acknowledged:
    """One account's accepted operations by store, in order of their answers, and where the latest arrived."""

    def __init__(self, history: History, versions: Versions, account: int) -> None:
        self._history = history
        self._account = account
        self._arrivals = _Arrivals(versions, account)
        self._known: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}

    def missed_by(self, read: Read) -> int | None:
        """An operation that the read ought to have seen and did not; None where it saw everything."""
        answered, latest = self._of(read.store)
        invoked_ns = self._history.answer_of(read.operation).invoked_ns
        place = bisect_left(answered, invoked_ns)
        if place == 0:
            return None
        row, operation = latest[place - 1]
        return operation if row > read.effect else None

    def _of(self, store: str) -> tuple[list[int], list[tuple[int, int]]]:
        if store not in self._known:
            rows = []
            for op in self._history.workload.by_account.get(self._account, ()):
                answer = self._history.answer_of(op.id)
                if answer.fate is Fate.ACCEPTED and op.delta(self._account):
                    arrived = self._arrivals.arrived(op.id, store)
                    rows.append((answer.answered_ns, (2**62 if arrived is None else arrived, op.id)))
            rows.sort()
            self._known[store] = ([at for at, _ in rows], list(accumulate((row for _, row in rows), max)))
        return self._known[store]


# -- beliefs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Believed:
    """What a decider believed of an account, and what was true by then of everything decided anywhere."""

    time_ns: int
    place: str
    operation: int
    account: int
    believed_cents: Cents
    true_cents: Cents


def beliefs(history: History, versions: Versions, account: int, around_ns: int, most: int) -> list[Believed]:
    """The decisions on one account: the ``most`` of them that lie closest before ``around_ns``."""
    reads = sorted(history.reads_by_account().get(account, ()), key=lambda read: read.time_ns)
    until = bisect_right([read.time_ns for read in reads], around_ns)
    last = max(until, min(most, len(reads)))
    truth = _Truth(history, versions, account)
    return [
        Believed(read.time_ns, read.store, read.operation, account, read.balance_cents, truth.before(read))
        for read in reads[max(0, last - most) : last]
    ]


class _Truth:
    """The balance as somebody would know it who sees every effect the moment it is made."""

    def __init__(self, history: History, versions: Versions, account: int) -> None:
        made: dict[int, int] = {}
        for (_, number), rows in versions.rows.items():
            if number == account:
                for row in rows:
                    operation = versions.operation[row]
                    made[operation] = min(row, made.get(operation, row))
        ordered = sorted(
            (versions.time_ns[row], row, operation) for operation, row in made.items() if operation
        )
        self._moments = [(at, row) for at, row, _ in ordered]
        opening = history.workload.accounts.get(account, 0)
        deltas = (history.workload[operation].delta(account) for _, _, operation in ordered)
        self._balances = list(accumulate(deltas, initial=opening))

    def before(self, read: Read) -> Cents:
        """The true balance when the read was made; of what happened at the same instant, what it could see."""
        return self._balances[bisect_right(self._moments, (read.time_ns, read.effect))]


# -- rejections ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusals:
    """Rejected withdrawals and transfers, by what the legal orders would have allowed."""

    certainly_right: int
    certainly_wrong: tuple[int, ...]
    order_dependent: int


def refusals(history: History) -> Refusals:
    """Classify each rejection by the least and the most money that a real-time order can give the account."""
    right, wrong, open_ = 0, [], 0
    for account, operations in history.workload.by_account.items():
        answers = [(op, history.answer_of(op.id)) for op in operations]
        rejected = [
            (op, answer) for op, answer in answers if answer.fate is Fate.REJECTED and op.account == account
        ]
        if not rejected:
            continue
        bounds = _Bounds(history.workload.accounts.get(account, 0), account, answers)
        for op, answer in rejected:
            least, most = bounds.of(answer)
            if most < op.amount_cents:
                right += 1
            elif least >= op.amount_cents:
                wrong.append(op.id)
            else:
                open_ += 1
    return Refusals(right, tuple(sorted(wrong)), open_)


class _Bounds:
    """The least and the most that an account can hold at an operation's place in a legal order.

    What was answered before it was invoked stands before it; what was invoked after it was answered stands
    behind; everything else may stand on either side. Unknown outcomes may or may not have happened.
    """

    def __init__(self, opening: Cents, account: int, answers: Sequence[tuple[Operation, Answer]]) -> None:
        self._opening = opening
        income: list[tuple[int, int, Cents]] = []
        spending: list[tuple[int, int, Cents]] = []
        for op, answer in answers:
            cents = op.delta(account)
            if answer.fate in (Fate.REJECTED, Fate.FAILED) or not cents:
                continue
            known = answer.fate is Fate.ACCEPTED
            answered = answer.answered_ns if known and answer.answered_ns != MISSING else 2**62
            (income if cents > 0 else spending).append((answer.invoked_ns, answered, abs(cents)))
        self._invoked_income = _Sums((invoked, cents) for invoked, _, cents in income)
        self._answered_income = _Sums((answered, cents) for _, answered, cents in income)
        self._invoked_spending = _Sums((invoked, cents) for invoked, _, cents in spending)
        self._answered_spending = _Sums((answered, cents) for _, answered, cents in spending)

    def of(self, answer: Answer) -> tuple[Cents, Cents]:
        """Least and most before this operation."""
        start, end = answer.invoked_ns, answer.answered_ns
        least = self._opening + self._answered_income.before(start) - self._invoked_spending.up_to(end)
        most = self._opening + self._invoked_income.up_to(end) - self._answered_spending.before(start)
        return least, most


class _Sums:
    """Amounts by time, to be summed up to a time in O(log n)."""

    def __init__(self, amounts: Iterator[tuple[int, Cents]]) -> None:
        ordered = sorted(amounts)
        self._times = [at for at, _ in ordered]
        self._sums = list(accumulate((cents for _, cents in ordered), initial=0))

    def before(self, time_ns: int) -> Cents:
        """The sum strictly before a time."""
        return self._sums[bisect_left(self._times, time_ns)]

    def up_to(self, time_ns: int) -> Cents:
        """The sum up to and including a time."""
        return self._sums[bisect_right(self._times, time_ns)]
