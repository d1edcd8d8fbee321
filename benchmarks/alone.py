"""What a design's own code and the event loop take by themselves: on a database whose statements only wait.

No SQL, no locks, no network's weather, no history: whatever a model does comes on top of this.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any, Self, TypeVar

from arbsim.worlds.api import Design
from arbsim.worlds.virtual.kernel import Kernel
from benchmarks.measures import Load, bare_simpy_s, count, hot_account

T = TypeVar("T")

_THERE_NS, _BACK_NS = 5, 7
_BALANCE = Decimal("100.00")


class _Waits:
    """A pool, its connection and its transaction in one: a statement is a way there and a way back."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.database = self

    def acquire(self) -> _Lent:
        return _Lent(self)

    def transaction(self, isolation: str | None = None) -> Self:
        return self

    def __aenter__(self) -> Awaitable[None]:
        return self._statement(None)

    def __aexit__(self, *_: object) -> Awaitable[None]:
        return self._statement(None)

    def fetchval(self, query: str, *args: object) -> Awaitable[Decimal]:
        return self._statement(_BALANCE)

    async def _statement(self, answer: T) -> T:
        await self._kernel.sleep_ns(_THERE_NS)
        await self._kernel.sleep_ns(_BACK_NS)
        return answer


class _Lent:
    """Lends the connection and takes it back at once."""

    def __init__(self, connection: _Waits) -> None:
        self._connection = connection

    async def __aenter__(self) -> _Waits:
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        pass


def design_alone(operations: int, rounds: int) -> dict[str, Any]:
    """CPU time of ``db/atomic-update`` without a database, over that of bare SimPy with the events of a whole run.

    Both in turn, the median of the rounds' ratios.
    """
    load = hot_account(operations)
    design = load.designs["db/atomic-update"]
    events, live = count("db/atomic-update", design, load)
    ratios = [_alone_s(design, load) / bare_simpy_s(events, round(live)) for _ in range(rounds)]
    return {
        "times_bare_simpy_per_event": round(statistics.median(ratios), 2),
        "rounds": [round(ratio, 2) for ratio in ratios],
        "events_per_operation": round(events / operations, 1),
    }


def _alone_s(design: Design, load: Load) -> float:
    kernel = Kernel()
    region: Any = _Waits(kernel)

    async def clients() -> None:
        for op in load.workload:
            await kernel.sleep_ns(_THERE_NS)
            kernel.spawn(design.decide(op, region))

    kernel.spawn(clients())
    start = time.process_time()
    kernel.run_until_quiet(sys.maxsize)
    return time.process_time() - start
