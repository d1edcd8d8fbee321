"""One region of a virtual world, as its clients or its services see it."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from arbsim.worlds.api import Kafka, Pool, Replies
from arbsim.worlds.virtual.database import to_exception
from arbsim.worlds.virtual.draws import purpose
from arbsim.worlds.virtual.kernel import NS_PER_S, Deadline, Kernel, Trace
from arbsim.worlds.virtual.recorder import Recorder, RegionStore
from arbsim.worlds.virtual.replies import Replies as RepliesReader
from arbsim.worlds.virtual.sql.engine import Engine, Session
from arbsim.worlds.virtual.sql.errors import SqlError
from arbsim.worlds.virtual.sql.results import Result

if TYPE_CHECKING:
    from arbsim.worlds.virtual.kafka.clusters import RegionKafka

M = TypeVar("M")

EPOCH_NS = 1_767_225_600_000_000_000
"""Virtual time begins on 2026-01-01 at midnight UTC."""


class VirtualClock:
    """A region's wall clock. All regions' clocks agree."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def time_ns(self) -> int:
        """Nanoseconds since the epoch; the workload begins at EPOCH_NS."""
        return EPOCH_NS + self._recorder.clock_ns()


@dataclass(frozen=True, slots=True)
class Places:
    """Which regions there are and what they begin with: the same for every region of a run."""

    regions: tuple[str, ...]
    client_regions: tuple[str, ...]
    leader: str
    opening: Mapping[int, Decimal]


class PlacedRegion(Generic[M]):
    """What a region is in every world: its place among the others, and what the design asked for."""

    def __init__(self, name: str, places: Places, database: Pool | None, messaging: M | None) -> None:
        self.name = name
        self.regions: Sequence[str] = places.regions
        self.client_regions: Sequence[str] = places.client_regions
        self.leader = places.leader
        self.opening_balances = places.opening
        self._database = database
        self._messaging = messaging
        self._expressions = Expressions()

    @property
    def database(self) -> Pool:
        """The region's pool. Raises LookupError where the design asked for no table."""
        if self._database is None:
            raise LookupError("this design has no database: name a table in its resources")
        return self._database

    @property
    def _messages(self) -> M:
        """The way to the clusters. Raises LookupError where the design asked for no topic."""
        if self._messaging is None:
            raise LookupError("this design has no Kafka: name a topic in its resources")
        return self._messaging

    def evaluate(self, query: str, values: Sequence[object]) -> Any:
        """Compute a SELECT over values in the client."""
        return self._expressions.evaluate(query, values)


class VirtualRegion(PlacedRegion["Messaging"]):
    """One region, for one role: "client" or "service". The roles share nothing but the world."""

    def __init__(
        self,
        name: str,
        role: str,
        places: Places,
        recorder: Recorder,
        database: Pool | None,
        messaging: Messaging | None,
        open_store: Callable[[str], RegionStore] | None,
    ) -> None:
        super().__init__(name, places, database, messaging)
        self.clock = VirtualClock(recorder)
        self._recorder = recorder
        self._kernel: Kernel = recorder.kernel
        self._open_store = open_store
        # A part of a design draws its own network weather, whatever the other parts do.
        self.salt = purpose(f"{role}/{name}") >> 16

    @property
    def kafka(self) -> Kafka:
        """The clusters. Raises LookupError where the design asked for no topic."""
        return self._messages.kafka

    async def replies(self, topic: str, cluster: str = "local") -> Replies:
        """Listen to replies; the listener is shared by the region's clients."""
        return self._messages.replies(topic, cluster)

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await self._kernel.sleep_ns(round(seconds * NS_PER_S))

    async def gather(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run coroutines side by side."""
        return await self._kernel.gather(*coroutines)

    def timeout(self, seconds: float) -> Deadline:
        """Return an async context manager that raises TimeoutError when its body takes longer."""
        return self._kernel.timeout_ns(round(seconds * NS_PER_S))

    def working_on(self, operation_id: int, own_order: int | None = None) -> AbstractContextManager[None]:
        """Say which operation the code within works on."""
        return self._recorder.working_on(operation_id, self.salt, own_order)

    def recorded(self) -> None:
        """Say that the operation at work is durable."""
        self._recorder.history.recorded(self._kernel.trace.operation, self._recorder.now_ns)

    def retried(self) -> None:
        """Count a retry; what was read before it is forgotten."""
        trace = self._kernel.trace
        trace.decided_on.clear()
        trace.reads.clear()
        self._recorder.history.retried(trace.operation, client=1)

    def store(self) -> RegionStore:
        """The balances that this region's service keeps. Raises LookupError for a client."""
        if self._open_store is None:
            raise LookupError("a client has no store: only serve() may keep balances")
        return self._open_store(self.name)


class Expressions:
    """SQL expressions over values, computed by an engine without tables."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def evaluate(self, query: str, values: Sequence[object]) -> Any:
        """Return the first column; a value's type is that of the Python object, NULL is typed by its place."""
        if self._session is None:
            self._session = Engine().session()

        passed: list[object] = []

        def typed(match: re.Match[str]) -> str:
            value = values[int(match[1]) - 1]
            if value is None:
                return "NULL"
            passed.append(value)
            return f"${len(passed)}::{_SQL_TYPES[type(value)]}"

        answer = self._session.execute(_PARAMETER.sub(typed, query), passed)
        if isinstance(answer, SqlError):
            raise to_exception(answer)
        assert isinstance(answer, Result)
        return answer.rows[0][0]


_PARAMETER = re.compile(r"\$([0-9]+)")
_SQL_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "bigint",
    Decimal: "numeric",
    str: "text",
    datetime: "timestamptz",
}


class Messaging:
    """A region's way to the clusters for one role; each reply topic has one reader."""

    replies_type = RepliesReader

    def __init__(
        self, kernel: Kernel, kafka: RegionKafka, region: str, is_ours: Callable[[int], bool]
    ) -> None:
        """``is_ours`` says whether an operation is one of this region's clients'."""
        self.kafka = kafka
        self._kernel = kernel
        self._is_ours = is_ours
        self._replies: dict[tuple[str, str], RepliesReader] = {}
        self._mark = kernel.mark()

    def replies(self, topic: str, cluster: str) -> RepliesReader:
        """Open the reader of a reply topic, or return the one that is open."""
        place = (topic, cluster)
        self._kernel.touch(self._mark, write=place not in self._replies)
        if place not in self._replies:
            reader = self._replies[place] = self.replies_type(self._kernel)
            self._kernel.spawn(reader.read(self.kafka, topic, cluster, self._is_ours), Trace(0))
        return self._replies[place]
