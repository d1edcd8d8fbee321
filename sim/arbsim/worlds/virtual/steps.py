"""Writes down, step by step, what happens to a few operations.

The models ask ``kernel.steps`` whether anybody wants to know; where it is None, as in every ordinary run, that is all
it costs. Who acts is known by the trace's salt, which names a part of the design in one region.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from arbsim.history import EffectKind
from arbsim.model import Cents, Fate, Workload
from arbsim.steps import Lane, LaneKind, Step, StepKind
from arbsim.worlds.virtual.kernel import Trace

if TYPE_CHECKING:
    from arbsim.worlds.virtual.recorder import Recorder
    from arbsim.worlds.virtual.sql.results import Result

_EFFECTS = {
    EffectKind.WRITTEN: StepKind.WROTE,
    EffectKind.ADOPTED: StepKind.ADOPTED,
    EffectKind.SUPERSEDED: StepKind.SUPERSEDED,
}


class StepRecorder:
    """The steps of some operations, in the order in which they happened."""

    def __init__(self, recorder: Recorder, workload: Workload, operations: Collection[int]) -> None:
        self.steps: list[Step] = []
        self._recorder = recorder
        self._workload = workload
        self._operations = frozenset(operations)
        self._actors: dict[int, Lane] = {}
        self._leaders: dict[str, str] = {}
        self._queued: dict[object, tuple[Lane, int]] = {}
        self._under_way: dict[int, tuple[Lane, int, str]] = {}
        self._elsewhere: set[int] = set()  # operations whose statement was about another table

    # -- who is who ------------------------------------------------------------------------------------

    def actor(self, salt: int, role: LaneKind, region: str) -> None:
        """Whoever works under this salt is the region's client or service."""
        self._actors[salt] = Lane(role, region, role)

    def database(self, store: str, leader: str) -> None:
        """The rows of this store have their leader there."""
        self._leaders[store] = leader

    def _row_lane(self, store: str, account: int) -> Lane:
        return Lane("row", self._leaders[store], f"account {account}")

    def _actor_of(self, trace: Trace) -> Lane:
        return self._actors.get(trace.salt) or Lane("carrier", "", "carrier")

    def _add(self, kind: StepKind, operation: int, lane: Lane, **facts: Any) -> None:
        self.steps.append(Step(kind, self._recorder.now_ns, operation, lane, **facts))

    # -- clients ---------------------------------------------------------------------------------------

    def invoked(self, operation: int, region: str) -> None:
        """A client begins."""
        if operation in self._operations:
            self._add(StepKind.INVOKED, operation, Lane("client", region, "client"))

    def answered(self, operation: int, region: str, fate: Fate) -> None:
        """A client knows the fate."""
        if operation in self._operations:
            self._add(StepKind.ANSWERED, operation, Lane("client", region, "client"), text=fate.value)

    # -- logs ------------------------------------------------------------------------------------------

    def queued(self, record: Any, trace: Trace) -> None:
        """Somebody handed a record to a producer."""
        if record.operation in self._operations:
            self._queued[record] = (self._actor_of(trace), self._recorder.now_ns)

    def appended(self, leader: str, records: Sequence[Any]) -> None:
        """A partition's leader appended records."""
        for record in records:
            if record.operation in self._operations:
                source, sent_ns = self._queued.pop(record)
                self._add(
                    StepKind.APPENDED,
                    record.operation,
                    _log_lane(leader, record),
                    source=source,
                    sent_ns=sent_ns,
                    offset=record.offset,
                )

    def delivered(
        self, leader: str, reader: LaneKind, region: str, records: Sequence[Any], sent_ns: int
    ) -> None:
        """Records reached a reader. A client hears the replies to its own region's operations alone."""
        for record in records:
            operation = record.operation
            if operation not in self._operations:
                continue
            if reader == "client" and self._workload[operation].region != region:
                continue
            self._add(
                StepKind.DELIVERED,
                operation,
                Lane(reader, region, reader),
                source=_log_lane(leader, record),
                sent_ns=sent_ns - self._recorder.start_ns,
                offset=record.offset,
            )

    # -- balances --------------------------------------------------------------------------------------

    def read(self, trace: Trace, region: str, account: int, row: int, cents: Cents) -> None:
        """A service looked up a balance of its own."""
        if trace.operation in self._operations:
            self._add(
                StepKind.READ,
                trace.operation,
                Lane("service", region, "service"),
                account=account,
                balance_cents=cents,
                store=region,
                row=row,
            )

    def changed(
        self, operation: int, account: int, store: str, cents: Cents, row: int, kind: EffectKind
    ) -> None:
        """A balance changed in a store, or came too late to change it."""
        if operation not in self._operations:
            return
        source, sent_ns = None, None
        if store in self._leaders:
            lane = self._row_lane(store, account)
            if operation in self._under_way:
                source, sent_ns, _ = self._under_way.pop(operation)
        else:
            lane = Lane("service", store, "service")
        self._add(
            _EFFECTS[kind],
            operation,
            lane,
            source=source,
            sent_ns=sent_ns,
            account=account,
            balance_cents=cents,
            store=store,
            row=row,
        )

    def carries(self, operation: int, store: str, account: int, sent_ns: int) -> None:
        """Replication brings a row from another database, where it left at ``sent_ns`` of the kernel's time."""
        if operation in self._operations:
            sent_ns -= self._recorder.start_ns
            self._under_way[operation] = (self._row_lane(store, account), sent_ns, "")

    # -- statements ------------------------------------------------------------------------------------

    def sends(self, trace: Trace, statement: str) -> None:
        """A statement, COMMIT or ROLLBACK leaves for the database."""
        if trace.operation in self._operations:
            self._under_way[trace.operation] = (self._actor_of(trace), self._recorder.now_ns, statement)

    def blocked(self, trace: object, store: str, blocker: int) -> None:
        """A statement has to wait for another operation."""
        if isinstance(trace, Trace) and trace.operation in self._operations:
            self._at_row(StepKind.BLOCKED, trace, store, None, blocker=blocker)

    def executed(self, trace: Trace, store: str, answer: Result, seen: tuple[int, int, Cents] | None) -> None:
        """A statement was executed. ``seen``: account, row and cents of the version that it went by."""
        if trace.operation not in self._operations:
            return
        account, row, cents = seen or (None, None, None)
        work = answer.work
        if seen is None and (work.reads or work.writes):
            self._under_way.pop(trace.operation, None)
            self._elsewhere.add(trace.operation)
            return
        self._at_row(
            StepKind.EXECUTED,
            trace,
            store,
            account,
            row=row,
            balance_cents=cents,
            rows=answer.rowcount,
            writes=work.kind == "write",
        )

    def refused(self, trace: Trace, store: str, sqlstate: str) -> None:
        """A statement ended in an error."""
        if trace.operation in self._operations:
            self._at_row(StepKind.REFUSED, trace, store, None, text=sqlstate)

    def rolled_back(self, trace: Trace, store: str) -> None:
        """A transaction was rolled back."""
        if trace.operation in self._operations:
            self._at_row(StepKind.ROLLED_BACK, trace, store, None)

    def returned(self, trace: Trace, store: str, sent_ns: int) -> None:
        """The answer reached who had sent the statement; it left the row at ``sent_ns`` of the kernel's time."""
        if trace.operation in self._operations:
            self._under_way.pop(trace.operation, None)
            if trace.operation in self._elsewhere:
                self._elsewhere.remove(trace.operation)
                return
            lane = self._row_lane(store, self._workload[trace.operation].account)
            sent_ns -= self._recorder.start_ns
            actor = self._actor_of(trace)
            self._add(StepKind.RETURNED, trace.operation, actor, source=lane, sent_ns=sent_ns)

    def _at_row(self, kind: StepKind, trace: Trace, store: str, account: int | None, **facts: Any) -> None:
        account = account or self._workload[trace.operation].account
        source, sent_ns, statement = self._under_way.pop(trace.operation, (None, None, ""))
        facts.setdefault("text", statement)
        lane = self._row_lane(store, account)
        self._add(
            kind, trace.operation, lane, source=source, sent_ns=sent_ns, account=account, store=store, **facts
        )


def _log_lane(leader: str, record: Any) -> Lane:
    return Lane("log", leader, f"{record.topic}-{record.partition}")
