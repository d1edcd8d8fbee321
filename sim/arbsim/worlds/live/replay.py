"""From what the processes noted and the database kept, the history: through the virtual world's own recorder.

The events of all processes and the database's commits are put in order of time and told to the recorder one by one,
as a virtual run tells them while it happens. Three things a live run cannot see, so they are worked out:

- which version of a row a SELECT returned: of the versions that were current at some time between sending and answer,
  the latest with the balance that came back;
- what an UPDATE looked at that changed no row: such a look is not in the history;
- who waited for whose lock, and how often the server itself tried again: neither is in the history.

Of a run that was cut off nothing is final, so its history has no final balances of services' stores. Where the
database cannot be asked what it committed, nobody knows which version an operation read: no reads are in it either.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arbsim.history import BLIND, OPENING, History
from arbsim.model import Cents, Fate, from_cents
from arbsim.worlds.live.database import Change
from arbsim.worlds.live.events import Event
from arbsim.worlds.live.statements import meaning_of
from arbsim.worlds.virtual.kernel import Kernel, Trace
from arbsim.worlds.virtual.recorder import Recorder, RegionStore

DATABASE = "database"


class _Moment(Kernel):
    """A kernel that stands still: the time and the trace of one event of a history that is written afterwards."""

    def move_to(self, time_ns: int) -> None:
        """Go on to the time of the next event."""
        self.now_ns = time_ns


@dataclass(slots=True)
class _Version:
    """One committed version of an account; ``row`` is its row in the history once that is written."""

    committed_ns: int
    cents: Cents
    row: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """A statement on one connection."""

    sent_ns: int
    answered_ns: int
    operation: int
    writer: str
    overwrites: bool


@dataclass(slots=True)
class _Commit:
    """One committed transaction."""

    time_ns: int
    transaction: int
    changes: list[tuple[Change, _Sent]] = field(default_factory=list)


def replay(
    history: History, logs: Mapping[str, Sequence[Event]], changes: Sequence[Change] | None, start_ns: int
) -> None:
    """Write the history of a run. ``start_ns`` is when the workload began.

    ``logs`` has the events of each process by its name; ``changes`` is None where the database cannot
    be asked. The final balances of the services' stores are what they noted last, unless the run was cut off; those of
    the database are the caller's to read. Raises ValueError for a change of a balance on a connection
    that sent nothing: somebody else wrote to the run's tables.
    """
    _Replay(history, logs, changes, start_ns).run()


class _Replay:
    def __init__(
        self,
        history: History,
        logs: Mapping[str, Sequence[Event]],
        changes: Sequence[Change] | None,
        start_ns: int,
    ) -> None:
        self._history = history
        self._moment = _Moment()
        self._recorder = Recorder(self._moment, history)
        self._recorder.start_ns = start_ns
        self._code = history.store_code(DATABASE) if changes or _asked(logs) else 0
        self._stores: dict[str, RegionStore] = {}
        # What an operation read counts for the process that read it alone.
        self._traces: dict[tuple[str, int], Trace] = {}
        self._versions: dict[int, list[_Version]] = {
            account: [_Version(-(2**62), cents, OPENING)]
            for account, cents in history.workload.accounts.items()
        }
        self._unplaced = 0
        self._knows_versions = changes is not None
        self._writer = ""
        self._logs = logs
        self._commits = _commits(changes or (), _statements_by_process(logs))
        self._start_ns = start_ns

    def run(self) -> None:
        """Tell everything in order of time; of what happened at the same instant commits come first."""
        moments: list[tuple[int, int, int, str, Event | _Commit]] = [
            (commit.time_ns, 0, place, "", commit) for place, commit in enumerate(self._commits)
        ]
        moments += (
            (event.time_ns, 1, place, writer, event)
            for writer, events in self._logs.items()
            for place, event in enumerate(events)
        )
        moments.sort(key=lambda moment: moment[:4])
        place = 0
        for time_ns, _, _, writer, told in moments:
            self._moment.move_to(max(time_ns, self._start_ns))
            if isinstance(told, _Commit):
                place += 1
                self._commit(told, place)
            elif told.kind in _TELLERS:
                self._writer = writer
                self._moment.trace = self._trace(writer, told.operation)
                _TELLERS[told.kind](self, told, *told.values)
        if not self._history.cut_off:
            self._history.finals |= {region: store.finals() for region, store in self._stores.items()}
        if self._unplaced:
            self._history.count("reads_not_placed", self._unplaced)

    def _trace(self, writer: str, operation: int) -> Trace:
        trace = self._traces.get((writer, operation))
        if trace is None:
            trace = self._traces[writer, operation] = Trace(operation)
        return trace

    # -- the database ------------------------------------------------------------------------------

    def _commit(self, commit: _Commit, place: int) -> None:
        recorder, rows = self._recorder, dict[int, int]()
        for change, sent in commit.changes:
            operation = sent.operation
            versions = self._versions.setdefault(change.account, [])
            if not operation:  # a design may write for no operation: that is money without an explanation
                versions.append(
                    _Version(
                        commit.time_ns, change.after_cents or 0, versions[-1].row if versions else OPENING
                    )
                )
                continue
            self._moment.trace = trace = self._trace(sent.writer, operation)
            recorder.operation_of_transaction[commit.transaction] = operation
            self._history.place(operation, place)
            previous = rows.get(change.account, versions[-1].row if versions else BLIND)
            if sent.overwrites and change.account not in rows:
                base = trace.reads.get((self._code, change.account), BLIND)
            else:
                base = previous
                if change.before_cents is not None and change.account not in rows:
                    recorder.saw(trace, self._code, change.account, previous, change.before_cents)
            if change.after_cents is None:
                continue
            row = recorder.wrote(operation, change.account, self._code, change.after_cents, base)
            rows[change.account] = row
            versions.append(_Version(commit.time_ns, change.after_cents, row))

    def _statement(
        self, event: Event, sent_ns: int, _: int, text: str, read: Iterable[tuple[int, int]]
    ) -> None:
        self._history.executed(text)
        if not event.operation or not self._knows_versions:
            return
        for account, cents in read:
            row = self._seen(account, cents, sent_ns)
            if row is None:
                self._unplaced += 1
            else:
                self._recorder.saw(self._moment.trace, self._code, account, row, cents)

    def _seen(self, account: int, cents: Cents, sent_ns: int) -> int | None:
        """The version that a read returned; None where none fits (its own transaction's, not yet committed).

        What was committed after the answer has not been told yet.
        """
        for version in reversed(self._versions.get(account, [])):
            if version.cents == cents:
                return version.row
            if version.committed_ns < sent_ns:
                return None
        return None

    # -- the processes -----------------------------------------------------------------------------

    def _invoke(self, event: Event) -> None:
        self._history.invoke(event.operation, self._recorder.now_ns)

    def _recorded(self, event: Event) -> None:
        self._history.recorded(event.operation, self._recorder.now_ns)

    def _answer(self, event: Event, fate: str, told: Cents | None, reason: str) -> None:
        self._history.answer(event.operation, self._recorder.now_ns, Fate(fate), told, reason)
        self._decided(event)

    def _retried(self, event: Event) -> None:
        trace = self._moment.trace
        trace.decided_on.clear()
        trace.reads.clear()
        self._history.retried(event.operation, client=1)

    def _place(self, event: Event, own_order: int) -> None:
        self._history.place(event.operation, own_order)

    def _decided(self, event: Event) -> None:
        if self._knows_versions:
            self._recorder.decided(self._moment.trace)
        self._traces.pop((self._writer, event.operation), None)

    # -- what a region's service keeps -------------------------------------------------------------

    def _store(self, region: str) -> RegionStore:
        store = self._stores.get(region)
        if store is None:
            store = self._stores[region] = RegionStore(
                self._recorder, region, self._history.workload.accounts
            )
        return store

    def _open(self, _: Event, region: str) -> None:
        """A service opens its balances; one that is started again begins with the opening ones."""
        self._stores[region] = RegionStore(self._recorder, region, self._history.workload.accounts)

    def _get(self, _: Event, region: str, account: int) -> None:
        self._store(region).get(account)

    def _put(self, _: Event, region: str, account: int, cents: Cents) -> None:
        self._store(region).put(account, from_cents(cents))

    def _adopt(self, _: Event, region: str, account: int, cents: Cents, transaction: int | None) -> None:
        self._store(region).adopt(account, from_cents(cents), transaction)

    def _supersede(self, _: Event, region: str, account: int) -> None:
        self._store(region).supersede(account)


_TELLERS: dict[str, Any] = {
    "statement": _Replay._statement,
    "invoke": _Replay._invoke,
    "recorded": _Replay._recorded,
    "answer": _Replay._answer,
    "retried": _Replay._retried,
    "place": _Replay._place,
    "decided": _Replay._decided,
    "open": _Replay._open,
    "get": _Replay._get,
    "put": _Replay._put,
    "adopt": _Replay._adopt,
    "supersede": _Replay._supersede,
}


def _asked(logs: Mapping[str, Sequence[Event]]) -> bool:
    """Whether anybody sent a statement."""
    return any(event.kind == "statement" for events in logs.values() for event in events)


def _statements_by_process(logs: Mapping[str, Sequence[Event]]) -> dict[int, list[_Sent]]:
    """The statements of each server process, that is of each connection, in order."""
    statements: dict[int, list[_Sent]] = {}
    for writer, events in logs.items():
        for event in events:
            if event.kind == "statement":
                sent_ns, process, text, _ = event.values
                one = _Sent(sent_ns, event.time_ns, event.operation, writer, meaning_of(text).overwrites)
                statements.setdefault(process, []).append(one)
    for sent in statements.values():
        sent.sort(key=lambda one: one.sent_ns)
    return statements


def _commits(changes: Sequence[Change], statements: Mapping[int, Sequence[_Sent]]) -> list[_Commit]:
    """The committed transactions in an order that the changes allow: by commit time, then by their last change."""
    commits: dict[int, _Commit] = {}
    for change in changes:
        commit = commits.setdefault(change.transaction, _Commit(change.committed_ns, change.transaction))
        commit.changes.append((change, _sender_of(change, statements)))
    return sorted(commits.values(), key=lambda one: (one.time_ns, one.changes[-1][0].at_ns))


def _sender_of(change: Change, statements: Mapping[int, Sequence[_Sent]]) -> _Sent:
    """The statement that made a change: on its connection, the one under way when the row changed.

    The server's clock is known to half of a round trip, so the closest one counts.
    """
    sent = statements.get(change.process, ())
    if not sent:
        raise ValueError(f"account {change.account} was changed on a connection that is not of this run")
    place = bisect_right(sent, change.at_ns, key=lambda one: one.sent_ns)
    around = sent[max(0, place - 1) : place + 1]
    return min(around, key=lambda one: max(one.sent_ns - change.at_ns, change.at_ns - one.answered_ns, 0))
