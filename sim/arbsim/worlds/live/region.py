"""One region of the live world, as its clients or its services see it: the real libraries' objects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any, Protocol

from arbsim.model import to_cents
from arbsim.worlds.api import Kafka, Pool, Replies
from arbsim.worlds.live.events import Log
from arbsim.worlds.virtual.region import PlacedRegion, Places


class Messaging(Kafka, Protocol):
    """A region's way to the clusters for one role; each reply topic has one reader."""

    async def replies(self, topic: str, cluster: str = "local") -> Replies:
        """Open the reader of a reply topic, or return the one that is open."""


class WallClock:
    """This machine's clock: here all regions' clocks agree."""

    def time_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return time.time_ns()


class LiveRegion(PlacedRegion[Messaging]):
    """One region, for its clients or for its services; what they do is noted in a log."""

    def __init__(
        self,
        name: str,
        places: Places,
        log: Log,
        database: Pool | None,
        messaging: Messaging | None,
        *,
        serves: bool,
    ) -> None:
        super().__init__(name, places, database, messaging)
        self.clock = WallClock()
        self._log = log
        self._serves = serves
        self._store: LiveStore | None = None

    @property
    def kafka(self) -> Kafka:
        """The clusters. Raises LookupError where the design asked for no topic."""
        return self._messages

    async def replies(self, topic: str, cluster: str = "local") -> Replies:
        """Listen to replies; the listener is shared by the region's clients."""
        return await self._messages.replies(topic, cluster)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def gather(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run coroutines side by side."""
        return await asyncio.gather(*coroutines)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """Return an async context manager that raises TimeoutError when its body takes longer."""
        return asyncio.timeout(seconds)

    def working_on(self, operation_id: int, own_order: int | None = None) -> AbstractContextManager[None]:
        """Say which operation the code within works on."""
        return self._log.working_on(operation_id, own_order)

    def recorded(self) -> None:
        """Say that the operation at work is durable."""
        self._log.add("recorded")

    def retried(self) -> None:
        """Count a retry; what was read before it is forgotten."""
        self._log.add("retried")

    def store(self) -> LiveStore:
        """The balances that this region's service keeps. Raises LookupError for a client."""
        if not self._serves:
            raise LookupError("a client has no store: only serve() may keep balances")
        if self._store is None:
            self._store = LiveStore(self._log, self.name, self.opening_balances)
        return self._store


class LiveStore:
    """The balances that one region's service keeps, in its process."""

    def __init__(self, log: Log, region: str, opening: Mapping[int, Decimal]) -> None:
        self._log = log
        self._region = region
        self._balances = dict(opening)
        log.add("open", region)

    def get(self, account: int) -> Decimal:
        """Return the balance."""
        balance = self._balances[account]
        self._log.add("get", self._region, account)
        return balance

    def put(self, account: int, balance: Decimal) -> None:
        """Write a balance that was computed from the last ``get``."""
        self._balances[account] = balance
        self._log.add("put", self._region, account, to_cents(balance))

    def adopt(self, account: int, balance: Decimal, transaction: int | None = None) -> None:
        """Take over the balance that the operation at work, or a database's transaction, wrote elsewhere."""
        self._balances[account] = balance
        self._log.add("adopt", self._region, account, to_cents(balance), transaction)

    def supersede(self, account: int) -> None:
        """Note that the operation at work arrived here too late."""
        self._log.add("supersede", self._region, account)
