"""The clients of one run: each begins its operation at its time, and writes down what it was told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from itertools import count
from typing import Any

import asyncpg
from aiokafka.errors import KafkaError

from arbsim.model import Accepted, Cents, Fate, Kind, Operation, Outcome, Unknown, fate_of, to_cents
from arbsim.worlds.live.database import Sandbox
from arbsim.worlds.live.events import OPERATION, Log, now_ns
from arbsim.worlds.live.premises import Plan
from arbsim.worlds.live.region import LiveRegion

CLIENT_TIMEOUT_S = 60.0
"""How long a client waits for its answer, within a second; after that its outcome is unknown."""

_LOOK_S = 1.0

_REHEARSAL_CENTS = 10_000


class Callers:
    """All clients, in their regions."""

    def __init__(self, plan: Plan, log: Log, regions: Mapping[str, LiveRegion]) -> None:
        self._design = plan.design
        self._workload = plan.workload
        self._log = log
        self._regions = regions
        self._waiting: deque[tuple[int, asyncio.Task[Any]]] = deque()
        self._given_up: set[asyncio.Task[Any]] = set()

    async def connect(self) -> None:
        """Let the design open what its clients need."""
        for region in self._regions.values():
            await self._design.connect(region)

    def begin(self, op: Operation, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Let the operation's client begin. Its task raises what the design does that is no outcome."""
        task = tasks.create_task(self._call(op))
        self._waiting.append((now_ns(), task))
        return task

    async def _call(self, op: Operation) -> None:
        """Invoke, decide, write down the answer."""
        OPERATION.set(op.id)
        self._log.add("invoke")
        try:
            outcome = await self._design.decide(op, self._regions[op.region])
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task not in self._given_up:
                self._log.add("answer", Fate.UNKNOWN, None, "interrupted")
                raise
            task.uncancel()
            outcome = Unknown(f"no answer in {CLIENT_TIMEOUT_S:g} s")
        except Exception as error:
            outcome = _unknown(error)
        told = outcome.balance if isinstance(outcome, Accepted) else None
        reason = "" if isinstance(outcome, Accepted) else outcome.reason
        self._log.add("answer", fate_of(outcome), _cents(told), reason)

    async def give_up(self) -> None:
        """Look again and again for clients that have waited too long, and let them wait no more.

        A timer for each would take a tenth of the time that this process has for a client of a bus design.
        """
        while True:
            await asyncio.sleep(_LOOK_S)
            oldest_ns = now_ns() - CLIENT_TIMEOUT_S * 1e9
            while self._waiting and self._waiting[0][0] <= oldest_ns:
                _, task = self._waiting.popleft()
                if not task.done():
                    self._given_up.add(task)
                    task.cancel()

    async def rehearse(self, sandbox: Sandbox) -> None:
        """Let every open connection do every kind of operation once, on accounts that are then removed.

        The first time a connection meets a statement it pays one more round trip to prepare it. Services that have
        been up for a while do not, and the model does not either.
        """
        kinds = sorted({op.kind for op in self._workload})
        free = (account for account in count(1) if account not in self._workload.accounts)
        guests: list[int] = []
        rehearsals: list[tuple[LiveRegion, Operation]] = []
        for name, client in self._regions.items():
            for _ in range(client.database.get_size()):  # type: ignore[attr-defined]
                account, other = next(free), next(free)
                guests += (account, other)
                to_account = other if Kind.TRANSFER in kinds else None
                op = Operation(len(guests), 0, name, kinds[0], account, 1, to_account)
                rehearsals.append((client, op))
        await sandbox.insert(dict.fromkeys(guests, _REHEARSAL_CENTS))
        for round_, kind in enumerate(kinds):
            taken = round_ * len(guests)
            await asyncio.gather(
                *(self._design.decide(_as_kind(op, kind, taken + op.id), client) for client, op in rehearsals)
            )
        await sandbox.forget(guests)


def _unknown(error: Exception) -> Outcome:
    """The outcome where no answer came, or the connection went. Raises the error where it is no such thing."""
    if isinstance(
        error, TimeoutError
    ):  # an OSError, too; but a design set this timeout and did not handle it
        raise error
    if isinstance(error, OSError | asyncpg.PostgresConnectionError | KafkaError):
        return Unknown(type(error).__name__)
    if isinstance(error, asyncpg.InterfaceError) and "closed" in str(error):  # it also tells of a wrong call
        return Unknown("the connection was closed")
    raise error


def _as_kind(op: Operation, kind: Kind, number: int) -> Operation:
    """The same rehearsal as another kind of operation, with an id of its own."""
    return Operation(
        number,
        0,
        op.region,
        kind,
        op.account,
        0 if kind is Kind.READ else op.amount_cents,
        op.to_account if kind is Kind.TRANSFER else None,
    )


def _cents(balance: Decimal | None) -> Cents | None:
    return None if balance is None else to_cents(balance)
