"""One account in one history: what was decided on it, unseen by whom, and what was true when."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from arbsim.history import Effect, History, Read
from arbsim.model import VIOLATIONS, Cents, FindingKind
from arbsim.results import DesignResult, Witness

MOST_OPERATIONS = 5
"""Operations that an explanation follows; a picture of more is no picture."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an explanation is asked for: a finding, its account, and the operations to follow, by id."""

    kind: FindingKind
    witness: Witness
    account: int
    operations: tuple[int, ...]
    omitted: int


def first_finding(result: DesignResult) -> tuple[FindingKind, Witness] | None:
    """The finding that a verdict rests on: the first case of the first kind that counts against this design."""
    kinds = (*VIOLATIONS, FindingKind.STALE_READ) if result.fresh_reads else VIOLATIONS
    for kind in kinds:
        first = result.findings[kind].first
        if first is not None:
            return kind, first
    return None


def asked_of(history: History, kind: FindingKind, witness: Witness) -> Asked:
    """Follow the operations of the witness and those that decided unseen by them, the latest first.

    What all of them had seen is their common past: it is told as the balance that they began with.
    """
    account = witness.account
    if account is None:
        account = history.workload[witness.operations[0]].account if witness.operations else 0
    facts = AccountFacts(history, account)
    chosen = list(witness.operations[:MOST_OPERATIONS])
    for operation in tuple(chosen):
        for other in reversed(facts.unseen_by(operation)):
            if other not in chosen and len(chosen) < MOST_OPERATIONS:
                chosen.append(other)
    return Asked(
        kind,
        witness,
        account,
        tuple(sorted(chosen)),
        len(witness.operations) - len(witness.operations[:MOST_OPERATIONS]),
    )


class AccountFacts:
    """The effects and reads of one account."""

    def __init__(self, history: History, account: int) -> None:
        self.history = history
        self.account = account
        self.effects = [one for one in history.effects() if one.account == account]
        self._authors = {one.row: one.operation for one in self.effects}
        self.first: dict[int, Effect] = {}
        """The first effect of each operation, in any store."""
        self._arrived: dict[tuple[str, int], Effect] = {}
        for effect in self.effects:
            if effect.operation:
                self.first.setdefault(effect.operation, effect)
                self._arrived.setdefault((effect.store, effect.operation), effect)
        self._reads: dict[int, Read] = {}
        for read in history.reads():
            earlier = self._reads.get(read.operation)
            if read.account == account and (earlier is None or read.time_ns < earlier.time_ns):
                self._reads[read.operation] = read
        deltas = [(one.time_ns, one.row, self._delta(one.operation)) for one in self.first.values()]
        self._moments = [(time_ns, row) for time_ns, row, _ in deltas]
        self._true = list(accumulate((cents for *_, cents in deltas), initial=self.opening_cents))

    @property
    def opening_cents(self) -> Cents:
        """The balance before the workload."""
        return self.history.workload.accounts.get(self.account, 0)

    def _delta(self, operation: int) -> Cents:
        return self.history.workload[operation].delta(self.account)

    def read_of(self, operation: int) -> Read | None:
        """What the operation was decided on."""
        return self._reads.get(operation)

    def arrived(self, operation: int, store: str) -> Effect | None:
        """With which effect an operation first arrived in a store."""
        return self._arrived.get((store, operation))

    def author_of(self, row: int) -> int:
        """The operation that made a version; 0 for the opening balance."""
        return self._authors.get(row, 0)

    def true_at(self, time_ns: int, row: int) -> Cents:
        """The opening balance and everything that took effect anywhere, up to this row of this instant."""
        return self._true[bisect_right(self._moments, (time_ns, row))]

    def unseen_by(self, operation: int) -> list[int]:
        """The operations that took effect before this one did (or read), and that it had not seen; in their order."""
        read, own = self._reads.get(operation), self.first.get(operation)
        if read is None:
            return []
        found = []
        for other, effect in self.first.items():
            if other == operation or not self._delta(other):
                continue
            before = effect.row < own.row if own is not None else effect.time_ns < read.time_ns
            arrived = self.arrived(other, read.store)
            if before and (arrived is None or arrived.row > read.effect):
                found.append(other)
        return found

    def all_over_ns(self, operations: Sequence[int]) -> int:
        """When each of these has been answered, and has arrived wherever it ever arrives."""
        wanted = set(operations)
        times = [self.history.answer_of(one).answered_ns for one in operations]
        times += [effect.time_ns for effect in self.effects if effect.operation in wanted]
        return max(times, default=0)

    def earlier_than(self, time_ns: int, operations: tuple[int, ...]) -> int:
        """How many other operations on the account were invoked before a time."""
        return sum(
            0 <= self.history.answer_of(op.id).invoked_ns < time_ns and op.id not in operations
            for op in self.history.workload.by_account.get(self.account, ())
        )
