"""Writes the history of one run: who read what, who changed what, and when."""

from __future__ import annotations

from array import array
from decimal import Decimal

from arbsim.history import BLIND, OPENING, EffectKind, History
from arbsim.model import Cents, from_cents, to_cents
from arbsim.worlds.virtual.kernel import Kernel, Trace

_NONE = -3


class Recorder:
    """The history, with what is needed to say on which version a change was based."""

    def __init__(self, kernel: Kernel, history: History) -> None:
        self.kernel = kernel
        self.history = history
        self.start_ns = 0
        size = len(history.workload) + 1
        self._authored = array("i", [_NONE]) * size
        self._authored_second: dict[tuple[int, int], int] = {}
        self._decided = bytearray(size)
        self.operation_of_transaction: dict[int, int] = {}
        """By the database's transaction id, for those who follow its changes."""

    @property
    def now_ns(self) -> int:
        """Virtual time since the workload began."""
        return self.kernel.now_ns - self.start_ns

    def clock_ns(self, *, order_only: bool = False) -> int:
        """What a clock shows, in nanoseconds since the workload began (see the kernel)."""
        return self.kernel.clock_ns(order_only=order_only) - self.start_ns

    def working_on(self, operation: int, salt: int, own_order: int | None) -> WorkingOn:
        """Let the running task work on an operation; note what it decided on when it is done."""
        if own_order is not None and operation:
            self.history.place(operation, own_order)
        return WorkingOn(self, Trace(operation, salt))

    def decided(self, trace: Trace) -> None:
        """Write what the operation decided on; the first part of a design to decide is the one that counts."""
        if trace.operation and trace.decided_on and not self._decided[trace.operation]:
            self._decided[trace.operation] = 1
            for (store, account), (row, cents, time_ns) in trace.decided_on.items():
                self.history.read(trace.operation, account, store, row, cents, time_ns)

    def saw(self, trace: Trace, store: int, account: int, row: int, cents: Cents) -> None:
        """Note the version that a read gave; the first one since the last retry is what is decided on."""
        place = (store, account)
        trace.reads[place] = row
        if place not in trace.decided_on:
            trace.decided_on[place] = (row, cents, self.now_ns)

    def wrote(self, operation: int, account: int, store: int, cents: Cents, base: int) -> int:
        """Note a balance that an operation computed here; return its row."""
        row = self.history.effect(operation, account, store, cents, base, self.now_ns)
        if self.kernel.steps is not None:
            name = self.history.stores[store]
            self.kernel.steps.changed(operation, account, name, cents, row, EffectKind.WRITTEN)
        if self._authored[operation] == _NONE:
            self._authored[operation] = row
        else:
            self._authored_second[operation, account] = row
        return row

    def adopted(
        self, operation: int, account: int, store: int, cents: Cents, kind: EffectKind = EffectKind.ADOPTED
    ) -> int:
        """Note a balance that was taken over from (or lost to) the store in which it was computed."""
        base = self._authored_second.get((operation, account), self._authored[operation])
        row = self.history.effect(
            operation, account, store, cents, BLIND if base == _NONE else base, self.now_ns, kind
        )
        if self.kernel.steps is not None:
            self.kernel.steps.changed(operation, account, self.history.stores[store], cents, row, kind)
        return row


class WorkingOn:
    """Lets the running task work on an operation for as long as its body runs."""

    __slots__ = ("_outer", "_recorder", "_task", "_trace")

    def __init__(self, recorder: Recorder, trace: Trace) -> None:
        self._recorder = recorder
        self._trace = trace

    def __enter__(self) -> None:
        self._task = task = self._recorder.kernel.task
        self._outer = task.trace
        task.work_on(self._trace)

    def __exit__(self, *_: object) -> None:
        self._task.work_on(self._outer)
        self._recorder.decided(self._trace)


class RegionStore:
    """The balances that one region's service keeps."""

    def __init__(self, recorder: Recorder, region: str, opening: dict[int, Cents]) -> None:
        self._recorder = recorder
        self._kernel = recorder.kernel
        self._region = region
        self._code = recorder.history.store_code(region)
        self._balances = {account: from_cents(cents) for account, cents in opening.items()}
        self._cents = dict(opening)
        self._rows = dict.fromkeys(opening, OPENING)
        self._mark = self._kernel.mark()

    def get(self, account: int) -> Decimal:
        """Return the balance."""
        self._kernel.touch(self._mark, account, write=False)
        balance = self._balances[account]
        trace = self._kernel.trace
        if trace.operation:
            self._recorder.saw(trace, self._code, account, self._rows[account], self._cents[account])
            steps = self._kernel.steps
            if steps is not None:
                steps.read(trace, self._region, account, self._rows[account], self._cents[account])
        return balance

    def put(self, account: int, balance: Decimal) -> None:
        """Write a balance that was computed from the last ``get``."""
        self._kernel.touch(self._mark, account)
        self._balances[account] = balance
        cents = self._cents[account] = to_cents(balance)
        trace = self._kernel.trace
        if trace.operation:
            base = trace.reads.get((self._code, account), BLIND)
            self._rows[account] = self._recorder.wrote(trace.operation, account, self._code, cents, base)

    def adopt(self, account: int, balance: Decimal, transaction: int | None = None) -> None:
        """Take over the balance that the operation at work, or a database's transaction, wrote elsewhere."""
        self._kernel.touch(self._mark, account)
        self._balances[account] = balance
        cents = self._cents[account] = to_cents(balance)
        if transaction is None:
            operation = self._kernel.trace.operation
        else:
            operation = self._recorder.operation_of_transaction.get(transaction, 0)
        if operation:
            self._rows[account] = self._recorder.adopted(operation, account, self._code, cents)

    def supersede(self, account: int) -> None:
        """Note that the operation at work arrived here too late."""
        self._kernel.touch(self._mark, account)
        operation = self._kernel.trace.operation
        cents = self._cents[account]
        self._recorder.adopted(operation, account, self._code, cents, EffectKind.SUPERSEDED)

    def finals(self) -> dict[int, Cents]:
        """The balances at the end."""
        return dict(self._cents)
