"""A real SQL database: pools of asyncpg connections that note what they do, and the tables of one run.

The connections are asyncpg's own; a subclass notes each statement, when it was sent and answered, and by which server
process. What changed, and in which order, is told by the database itself: a trigger writes each change of a balance to
a table beside, in the same transaction, so that what was rolled back is not there, and what was committed is, even
where the answer was lost. While a transaction changes a row nobody else can, so the times at which the trigger ran on
an account are in the order of its versions. A sequence would tell the order, too, but all changes would wait for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import asyncpg

from arbsim.model import Cents, from_cents, to_cents
from arbsim.worlds.live.events import Log, now_ns
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.statements import ACCOUNTS, meaning_of

CHANGES = "arbsim_changes"
"""The table beside; the trigger's function has the same name."""

YUGABYTE = "YugabyteDB"
"""The product, where the server is one."""

_CONNECT_TIMEOUT_S = 15.0
_COMMAND_TIMEOUT_S = 60.0
"""For what is asked past the links: a server that has gone without a word is noticed."""

_NOT_CONNECTED = (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""ValueError: a file of certificates that sslmode needs is not there."""

SERVER_FAULTS = (asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError)
"""What a database answers that has run out of something, its disk for example, or that is broken."""

_CLOCK_PROBES = 20

# ruff: noqa: S608 - the names in these statements are our own
_WATCH = f"""
CREATE TABLE {{schema}}.{CHANGES} (
  account BIGINT NOT NULL, before NUMERIC, after NUMERIC,
  process INT NOT NULL, transaction BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL
);
CREATE FUNCTION {{schema}}.{CHANGES}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO {{schema}}.{CHANGES} (account, before, after, process, transaction, at)
  VALUES (COALESCE(NEW.id, OLD.id), OLD.balance, NEW.balance,
          pg_backend_pid(), txid_current(), clock_timestamp());
  RETURN NULL;
END $$;
CREATE TRIGGER {CHANGES} AFTER INSERT OR UPDATE OR DELETE ON {{schema}}.{ACCOUNTS}
  FOR EACH ROW EXECUTE FUNCTION {{schema}}.{CHANGES}();
"""


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """Where a database is. The password is in no text that is made of this."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False, default="")
    sslmode: str = "prefer"
    """libpq's word; "verify-full" alone cannot be, since a link has another name than the server."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What asyncpg is called with."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password or None,
            "database": self.database,
            "ssl": self.sslmode,
            "timeout": _CONNECT_TIMEOUT_S,
        }

    async def connect(self) -> asyncpg.Connection:
        """Open a connection. Raises ServerUnavailable, with the place and never with the password."""
        try:
            return await asyncpg.connect(**self.arguments, command_timeout=_COMMAND_TIMEOUT_S)
        except _NOT_CONNECTED as error:
            raise ServerUnavailable(f"{self}: {told(error)}") from None

    @property
    def dsn(self) -> str:
        """The URL, password included: it belongs into no report and no message."""
        who = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"{host}:{self.port}/{quote(self.database, safe='')}"
        return f"postgresql://{who}@{where}?sslmode={self.sslmode}"

    def __str__(self) -> str:
        return f"the database {self.database} at {self.host}:{self.port}"


def told(error: BaseException) -> str:
    """What went wrong, without the driver's own text, which may repeat what was to be secret."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__} (SQLSTATE {error.sqlstate})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__


# -- connections that note what they do ----------------------------------------------------------------


def _observed(log: Log) -> type[asyncpg.Connection]:
    """asyncpg's connection, with a log. A pool makes its connections of a class, so each log has one."""

    class ObservedConnection(asyncpg.Connection):  # type: ignore[misc]
        """Notes each statement with the balances that came back."""

        async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
            sent_ns = now_ns()
            try:
                status: str = await super().execute(query, *args, timeout=timeout)
                return status
            finally:
                log.statement(sent_ns, self.get_server_pid(), query, ())

        async def fetch(
            self, query: str, *args: object, timeout: float | None = None, record_class: Any = None
        ) -> list[Any]:
            sent_ns = now_ns()
            rows: list[Any] = []
            try:
                rows = await super().fetch(query, *args, timeout=timeout, record_class=record_class)
                return rows
            finally:
                self._note(sent_ns, query, args, rows)

        async def fetchrow(
            self, query: str, *args: object, timeout: float | None = None, record_class: Any = None
        ) -> Any:
            sent_ns = now_ns()
            row = None
            try:
                row = await super().fetchrow(query, *args, timeout=timeout, record_class=record_class)
                return row
            finally:
                self._note(sent_ns, query, args, () if row is None else (row,))

        async def fetchval(
            self, query: str, *args: object, column: int = 0, timeout: float | None = None
        ) -> Any:
            # asyncpg's own fetchval is the same fetchrow with one column taken; here the row is needed as well.
            sent_ns = now_ns()
            row = None
            try:
                row = await super().fetchrow(query, *args, timeout=timeout)
                return None if row is None else row[column]
            finally:
                self._note(sent_ns, query, args, () if row is None else (row,))

        def _note(self, sent_ns: int, query: str, args: Sequence[object], rows: Sequence[Any]) -> None:
            log.statement(sent_ns, self.get_server_pid(), query, meaning_of(query).balances(rows, args))

    return ObservedConnection


async def open_pool(server: DatabaseServer, schema: str, log: Log, *, least: int, most: int) -> asyncpg.Pool:
    """Open a pool whose connections see the run's tables and note what they do. Raises ServerUnavailable."""
    try:
        pool: asyncpg.Pool = await asyncpg.create_pool(
            **server.arguments,
            min_size=least,
            max_size=most,
            max_inactive_connection_lifetime=0,
            connection_class=_observed(log),
            server_settings={"search_path": schema, "application_name": schema},
            # By default a connection pays one more round trip when it goes back, to reset what a session may have
            # set. Designs set nothing, and the model has no such trip either.
            reset=_keep,
        )
    except _NOT_CONNECTED as error:
        raise ServerUnavailable(f"{server}: {told(error)}") from None
    return pool


async def _keep(_: object) -> None:
    """Leave a session as it is."""


# -- the tables of one run -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change of a balance, as the database itself noted it.

    ``process`` is the server process of the connection, ``transaction`` the transaction's id. ``at_ns`` is when the
    row changed and ``committed_ns`` when the transaction committed (the same where the server does not keep commit
    times), on this machine's monotonic clock.
    """

    account: int
    before_cents: Cents | None
    after_cents: Cents | None
    process: int
    transaction: int
    at_ns: int
    committed_ns: int


class Sandbox:
    """A schema with the tables of one run, over a connection that crosses no link."""

    def __init__(self, connection: asyncpg.Connection, schema: str) -> None:
        self._connection = connection
        self.schema = schema

    async def create(self, tables: Sequence[str], check: bool) -> None:
        """Create the tables, the first of which is the accounts'; without ``check`` it loses its CHECKs."""
        connection, schema = self._connection, self.schema
        await connection.execute(f"CREATE SCHEMA {schema}; SET search_path TO {schema}")
        for text in tables:
            await connection.execute(text)
        if not check:
            await self._drop_checks()
        await connection.execute(f"ALTER TABLE {ACCOUNTS} REPLICA IDENTITY FULL")

    async def watch(self) -> None:
        """Let the accounts' table note its changes from now on. Needed before anything below."""
        await self._connection.execute(_WATCH.format(schema=self.schema))

    async def _drop_checks(self) -> None:
        names = await self._connection.fetch(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = $1::regclass", ACCOUNTS
        )
        for row in names:
            name = row["conname"].replace('"', '""')
            await self._connection.execute(f'ALTER TABLE {ACCOUNTS} DROP CONSTRAINT "{name}"')

    async def seed(self, opening: Mapping[int, Cents]) -> None:
        """Empty all tables and insert the opening balances; nothing of that is a change."""
        tables = ", ".join(await self._tables())
        await self._connection.execute(f"TRUNCATE {tables}")
        await self.insert(opening)
        await self._connection.execute(f"DELETE FROM {CHANGES}; ANALYZE {tables}")

    async def insert(self, opening: Mapping[int, Cents]) -> None:
        """Insert accounts."""
        await self._connection.executemany(
            f"INSERT INTO {ACCOUNTS} (id, balance) VALUES ($1, $2)",
            [(account, from_cents(cents)) for account, cents in opening.items()],
        )

    async def forget(self, accounts: Collection[int]) -> None:
        """Remove accounts, all changes, and what designs wrote to tables of their own.

        To empty the accounts' table and the changes' at once, or to make the trigger anew, would take from every
        connection what it knows: each would plan and compile again at its next statement.
        """
        if others := await self._tables(besides=(ACCOUNTS, CHANGES)):
            await self._connection.execute(f"TRUNCATE {', '.join(others)}")
        await self._connection.execute(f"DELETE FROM {ACCOUNTS} WHERE id = ANY($1)", list(accounts))
        await self._connection.execute(f"DELETE FROM {CHANGES}")

    async def _tables(self, besides: Sequence[str] = ()) -> list[str]:
        """The names of the run's tables, quoted where they must be."""
        rows = await self._connection.fetch(
            "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = $1 AND tablename <> ALL($2)",
            self.schema,
            besides,
        )
        return [row["name"] for row in rows]

    async def changes(self) -> list[Change]:
        """All committed changes, in the order in which they were made."""
        connection = self._connection
        keeps = await connection.fetchval("SHOW track_commit_timestamp") == "on"
        committed = "pg_xact_commit_timestamp((transaction % 4294967296)::text::xid)" if keeps else "at"
        rows = await connection.fetch(
            "SELECT account, before, after, process, transaction,"
            " (extract(epoch FROM at) * 1000000)::bigint AS at_us,"
            f" (extract(epoch FROM {committed}) * 1000000)::bigint AS committed_us"
            f" FROM {CHANGES} ORDER BY at"
        )
        behind_ns = await self.clock_ns()
        return [
            Change(
                row["account"],
                _cents(row["before"]),
                _cents(row["after"]),
                row["process"],
                row["transaction"],
                row["at_us"] * 1000 - behind_ns,
                row["committed_us"] * 1000 - behind_ns,
            )
            for row in rows
        ]

    async def clock_ns(self) -> int:
        """What must be taken from the server's time to have this machine's monotonic time.

        Of a few questions the one that was answered fastest counts; half of its time is the greatest error.
        """
        best: tuple[int, int] | None = None
        for _ in range(_CLOCK_PROBES):
            sent_ns = now_ns()
            server_us = await self._connection.fetchval(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            )
            answered_ns = now_ns()
            probe = (answered_ns - sent_ns, server_us * 1000 - (sent_ns + answered_ns) // 2)
            best = probe if best is None else min(best, probe)
        assert best is not None
        return best[1]

    async def finals(self) -> dict[int, Cents]:
        """The committed balances."""
        rows = await self._connection.fetch(f"SELECT id, balance FROM {ACCOUNTS} ORDER BY id")
        return {row["id"]: to_cents(row["balance"]) for row in rows}

    async def is_streamed(self, name: str) -> bool:
        """Whether somebody reads a replication slot at this moment."""
        query = "SELECT active FROM pg_replication_slots WHERE slot_name = $1"
        return bool(await self._connection.fetchval(query, name))

    async def forget_stream(self, name: str) -> None:
        """Remove a replication slot and its publication. Raises asyncpg.PostgresError while somebody reads it."""
        await self._connection.fetch(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", name
        )
        await self._connection.execute(f"DROP PUBLICATION IF EXISTS {name}")

    async def drop(self) -> None:
        """Remove the schema with all that is in it."""
        await self._connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


def _cents(balance: Any) -> Cents | None:
    return None if balance is None else to_cents(balance)


async def close_pool(pool: asyncpg.Pool) -> None:
    """Close a pool; connections that do not end in time are cut."""
    with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        async with asyncio.timeout(5):
            await pool.close()
            return
    pool.terminate()


_VERSION = re.compile(r"^(\S+) (\d+(?:\.\d+)*)(?:-YB-(\S+))?")


def product_of(version: str) -> tuple[str, str]:
    """The product and its version, from what ``SELECT version()`` says."""
    match = _VERSION.match(version)
    if match is None:
        return version.split(" on ", maxsplit=1)[0], ""
    if match[3]:
        return YUGABYTE, match[3]
    return match[1], match[2]
