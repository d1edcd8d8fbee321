"""The boundary: everything that a design can see of the world it runs in.

Names, signatures and exceptions are those of asyncpg and aiokafka (a subset; a test compares them with the
real classes), so a design reads like the service that a team already has. asyncpg counts seconds, aiokafka
milliseconds; that stays so here, and every other duration carries its unit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal, Protocol

from arbsim.model import Agreement, Family, FindingKind, Operation, Outcome

Isolation = Literal["read_committed", "repeatable_read", "serializable"]

# -- the database: a subset of asyncpg -----------------------------------------------------------------


class Record(Protocol):
    """A row, as asyncpg gives it: by name, by position, as a mapping."""

    def __getitem__(self, key: str | int) -> Any: ...
    def __len__(self) -> int: ...
    def __contains__(self, key: object) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...
    def get(self, key: str, default: Any = ...) -> Any: ...
    def keys(self) -> Iterator[str]: ...
    def values(self) -> Iterator[Any]: ...
    def items(self) -> Iterator[tuple[str, Any]]: ...


class Connection(Protocol):
    """One connection to the database. A statement outside a transaction commits by itself."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...
    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Any]: ...
    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any: ...
    async def fetchval(
        self, query: str, *args: object, column: int = 0, timeout: float | None = None
    ) -> Any: ...
    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> AbstractAsyncContextManager[Any]: ...


class Pool(Protocol):
    """The connections that the clients or the services of one region keep open."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]: ...
    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...
    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Any]: ...
    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any: ...
    async def fetchval(
        self, query: str, *args: object, column: int = 0, timeout: float | None = None
    ) -> Any: ...


# -- Kafka: a subset of aiokafka -----------------------------------------------------------------------


class ConsumerRecord(Protocol):
    """A record as aiokafka gives it. ``timestamp`` is in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: Any
    value: Any
    headers: Sequence[tuple[str, bytes]]


class Producer(Protocol):
    """An ``AIOKafkaProducer`` that has been started."""

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> Awaitable[Any]: ...
    async def send_and_wait(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> Any: ...
    async def flush(self) -> None: ...
    def transaction(self) -> AbstractAsyncContextManager[Any]: ...
    async def begin_transaction(self) -> None: ...
    async def commit_transaction(self) -> None: ...
    async def abort_transaction(self) -> None: ...
    async def send_offsets_to_transaction(self, offsets: Mapping[Any, int], group_id: str) -> None: ...
    async def stop(self) -> None: ...


class Consumer(Protocol):
    """An ``AIOKafkaConsumer`` that has been started."""

    async def getmany(
        self, *partitions: Any, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]: ...
    async def getone(self, *partitions: Any) -> Any: ...
    def __aiter__(self) -> AsyncIterator[Any]: ...
    async def commit(self, offsets: Mapping[Any, int] | None = None) -> None: ...
    async def committed(self, partition: Any) -> int | None: ...
    def assign(self, partitions: Sequence[Any]) -> None: ...
    def assignment(self) -> frozenset[Any]: ...
    async def position(self, partition: Any) -> int: ...
    def seek(self, partition: Any, offset: int) -> None: ...
    async def seek_to_beginning(self, *partitions: Any) -> bool: ...
    async def end_offsets(self, partitions: Sequence[Any]) -> dict[Any, int]: ...
    async def stop(self) -> None: ...


class Kafka(Protocol):
    """The Kafka clusters as this region reaches them.

    ``cluster`` is ``"local"`` (the region's own, as MirrorMaker users have it) or ``"stretched"`` (one
    cluster over all regions). The keyword arguments are those of ``AIOKafkaProducer`` and
    ``AIOKafkaConsumer``. Within one process a second producer with the same settings is the first one, as a
    service would keep it open.
    """

    async def producer(
        self,
        cluster: str = "local",
        *,
        acks: int | str = 1,
        enable_idempotence: bool = False,
        transactional_id: str | None = None,
        linger_ms: int = 0,
    ) -> Producer: ...
    async def consumer(
        self,
        *topics: str,
        cluster: str = "local",
        group_id: str | None = None,
        auto_offset_reset: str = "latest",
        enable_auto_commit: bool = True,
        isolation_level: str = "read_uncommitted",
        max_poll_records: int | None = None,
        listener: Any = None,
    ) -> Consumer: ...


# -- a region ------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The wall clock of a region's machines."""

    def time_ns(self) -> int:
        """Nanoseconds since the epoch, as ``time.time_ns``."""


class Store(Protocol):
    """The balances that a service of this region keeps: a state store, as Kafka Streams calls it.

    It begins with the opening balances. Other processes and other regions do not see it.
    """

    def get(self, account: int) -> Decimal:
        """Return the balance. Raises KeyError for an unknown account."""

    def put(self, account: int, balance: Decimal) -> None:
        """Write a balance that was computed from the last ``get`` of this account."""

    def adopt(self, account: int, balance: Decimal, transaction: int | None = None) -> None:
        """Take over the balance that the operation at work wrote in another store.

        A reader of the change stream knows no operation: it passes the database's transaction id instead.
        """

    def supersede(self, account: int) -> None:
        """Note that the operation at work arrived here and was dropped, because a later writer had won."""


class Replies(Protocol):
    """What a region's clients hear back over Kafka: request and reply, matched by the operation's id."""

    async def wait_for(self, operation_id: int) -> Mapping[str, Any]:
        """Return the reply to this operation."""


class Region(Protocol):
    """One region, as its clients or its services see it."""

    name: str
    regions: Sequence[str]
    """All regions, in the order of the scenario."""
    client_regions: Sequence[str]
    leader: str
    """The region that the scenario prefers for Kafka's leaders, and for a service that runs once."""
    opening_balances: Mapping[int, Decimal]

    @property
    def database(self) -> Pool: ...
    @property
    def kafka(self) -> Kafka: ...
    @property
    def clock(self) -> Clock: ...

    async def sleep(self, seconds: float) -> None: ...
    async def gather(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]: ...
    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Any]: ...
    def working_on(self, operation_id: int, own_order: int | None = None) -> AbstractContextManager[None]:
        """Say which operation the code within works on: a trace context.

        ``own_order`` is its place in the design's own order. Clients need not say it: ``decide`` is traced.
        """

    def recorded(self) -> None:
        """Say that the operation at work is durable, though its fate may be open."""

    def retried(self) -> None:
        """Count one more attempt of the operation at work by the client."""

    def evaluate(self, query: str, values: Sequence[object]) -> Any:
        """Compute a SELECT over ``$1``, ``$2``, ... in the client: no table, no trip to the database.

        Raises ``asyncpg.PostgresError`` as a server would (a division by zero).
        """

    def store(self) -> Store:
        """Open the balances that this region's service keeps. They begin with the opening balances."""

    async def replies(self, topic: str, cluster: str = "local") -> Replies:
        """Listen to the replies that arrive on a topic; the listener is shared by the region's clients."""


# -- a design ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that a design needs.

    ``cluster``: "local" makes it in every region's own cluster, "stretched" in the one over all regions.
    ``mirrored``: MirrorMaker copies it to every other region, where it is named ``<cluster>.<topic>``.
    ``seeded``: it begins with one record an account, keyed by account:
    ``{"account":1,"balance":"100.00","op":0}``.
    """

    name: str
    cluster: Literal["local", "stretched"] = "local"
    partitions: int = 1
    mirrored: bool = False
    seeded: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """What must exist before a design starts.

    ``accounts_table``: the scenario's ``acct`` table with the opening balances; ``check=False`` leaves out
    its CHECK constraints. ``tables`` are further CREATE TABLE statements. ``universes``: "one" database with
    replicas in every region, or one "per-region", linked by asynchronous replication. ``change_stream`` sends
    committed changes of the accounts table to ``yb.public.acct`` in the local cluster of the leader's region,
    mirrored to the others.
    """

    topics: tuple[Topic, ...] = ()
    accounts_table: bool = False
    check: bool = True
    tables: tuple[str, ...] = ()
    universes: Literal["one", "per-region"] = "one"
    change_stream: bool = False
    dialect: Literal["postgres", "yugabyte"] | None = None
    """Overrides the scenario's dialect: "postgres" or "yugabyte"."""


class Design(ABC):
    """One way to process operations: a frozen dataclass whose fields are its parameters.

    The three parts share nothing but the world: what ``serve`` keeps in memory, ``decide`` cannot see, and no
    object crosses from one region to another. Everything else could not be deployed.
    """

    name: ClassVar[str]
    family: ClassVar[Family]
    agreement: ClassVar[Agreement]
    summary: ClassVar[str]
    claims: ClassVar[tuple[FindingKind, ...]] = ()
    """The kinds of finding that this design claims to prevent; a trap claims nothing."""
    cure: ClassVar[str | None] = None
    """For a trap: the name of the design that mends it."""
    fresh_reads: ClassVar[bool] = False
    """Whether it claims that a read sees all that was acknowledged before."""
    own_order: ClassVar[str | None] = None
    """The order that the design itself gives to operations: "offset" or "commit"."""
    isolated_tasks: ClassVar[bool] = False
    """Whether tasks that run side by side in one part share nothing but the world, or only what belongs to an account
    whose balance in the store they read or write in the same step. It lets a search through all orders tell more steps
    apart. A subclass does not inherit it: it has to say so itself."""

    @abstractmethod
    def resources(self) -> Resources:
        """Say what must exist before the design starts."""

    async def serve(self, region: Region) -> None:
        """Run the services of one region; they run as long as the region does."""

    def serves(self) -> bool:
        """Whether ``serve`` has something to do: on real servers each region's services are a process of their own."""
        return type(self).serve is not Design.serve

    async def connect(self, region: Region) -> None:
        """Open, before the first operation, what the clients of one region keep open."""

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the functions that decide, for the report to show."""
        return (self.decide,)

    @abstractmethod
    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Do what a client in this region does with one operation, and return what it was told."""
