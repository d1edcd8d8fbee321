"""The clients of one run: each begins its operation at its time, and writes down what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal

import asyncpg
from aiokafka.errors import KafkaError

from arbsim.model import Accepted, Cents, Fate, Kind, Operation, Outcome, Unknown, fate_of, to_cents
from arbsim.worlds.live.database import Sandbox
from arbsim.worlds.live.events import OPERATION, Log
from arbsim.worlds.live.premises import Plan
from arbsim.worlds.live.region import LiveRegion

CLIENT_TIMEOUT_S = 60.0
"""How long a client waits for its answer; after that its outcome is unknown."""

_REHEARSAL_CENTS = 10_000


class Callers:
    """All clients, in their regions."""

    def __init__(self, plan: Plan, log: Log, regions: Mapping[str, LiveRegion]) -> None:
        self._design = plan.design
        self._workload = plan.workload
        self._log = log
        self._regions = regions

    async def connect(self) -> None:
        """Let the design open what its clients need."""
        for region in self._regions.values():
            await self._design.connect(region)

    async def call(self, op: Operation) -> None:
        """Invoke, decide, write down the answer. Raises what the design does that is no outcome."""
        OPERATION.set(op.id)
        self._log.add("invoke")
        try:
            outcome = await self._outcome(op)
        except asyncio.CancelledError:
            self._log.add("answer", Fate.UNKNOWN.value, None, "interrupted")
            raise
        told = outcome.balance if isinstance(outcome, Accepted) else None
        reason = "" if isinstance(outcome, Accepted) else outcome.reason
        self._log.add("answer", fate_of(outcome).value, _cents(told), reason)

    async def _outcome(self, op: Operation) -> Outcome:
        """What the design decides; unknown where no answer came, or the connection went."""
        deadline = asyncio.timeout(CLIENT_TIMEOUT_S)
        try:
            async with deadline:
                return await self._design.decide(op, self._regions[op.region])
        except TimeoutError:
            if not deadline.expired():
                raise
            return Unknown(f"no answer in {CLIENT_TIMEOUT_S:g} s")
        except (OSError, asyncpg.PostgresConnectionError, KafkaError) as error:
            return Unknown(type(error).__name__)
        except asyncpg.InterfaceError as error:
            if "closed" not in str(
                error
            ):  # the driver says the same of a wrong call; that is the design's fault
                raise
            return Unknown("the connection was closed")

    async def rehearse(self, sandbox: Sandbox) -> None:
        """Let every open connection do every kind of operation once, on accounts that are then removed.

        The first time a connection meets a statement it pays one more round trip to prepare it. Services that have
        been up for a while do not, and the model does not either.
        """
        kinds = sorted({op.kind for op in self._workload})
        rehearsals: list[tuple[LiveRegion, list[Operation]]] = []
        accounts = 0
        for name, client in self._regions.items():
            connections: int = client.database.get_size()  # type: ignore[attr-defined]
            operations = []
            for _ in range(connections):
                accounts += 2
                to_account = accounts if Kind.TRANSFER in kinds else None
                operations.append(Operation(accounts, 0, name, kinds[0], accounts - 1, 1, to_account))
            rehearsals.append((client, operations))
        await sandbox.seed(dict.fromkeys(range(1, accounts + 1), _REHEARSAL_CENTS))
        for kind in kinds:
            await asyncio.gather(
                *(
                    self._design.decide(_as_kind(op, kind, kinds.index(kind), accounts), client)
                    for client, operations in rehearsals
                    for op in operations
                )
            )


def _as_kind(op: Operation, kind: Kind, round_: int, accounts: int) -> Operation:
    """The same rehearsal as another kind of operation, with an id that none had before."""
    return Operation(
        op.id + round_ * (accounts + 1),
        0,
        op.region,
        kind,
        op.account,
        0 if kind is Kind.READ else op.amount_cents,
        op.to_account if kind is Kind.TRANSFER else None,
    )


def _cents(balance: Decimal | None) -> Cents | None:
    return None if balance is None else to_cents(balance)
