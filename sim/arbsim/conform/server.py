"""Playing a case on a real server: one connection a session, in a schema of its own that is dropped at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg

from arbsim.worlds.virtual.sql.parsing import parse

from .cases import Answer, Case, Observed, Step
from .leftovers import claim, drop_leftovers, new_schema
from .model import NotPlayable
from .quiet import TELL_WAITS, Judge, LockJudge, ToldWaits, WaitJudge
from .values import json_rows

STEP_LIMIT_S = 30.0
CONNECT_LIMIT_S = 15.0
_DEADLOCK_TIMEOUT_MS = 8
_APPLICATION = "arbsim conform"


class ServerUnreachable(Exception):
    """The server refused, went away, or did not answer in time. The text names it, never the password."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says of itself, and how `blocked` is judged there."""

    version: str
    yugabyte: bool
    deadlock_timeout_ms: int
    blocked: str


@dataclass(slots=True)
class Server:
    """A real server. `open` it, `play` cases on it one after the other, `close` it.

    `blocked_after_s` is how long a step must be silent to count as blocked, on servers that do not tell their locks.
    """

    dsn: str
    blocked_after_s: float = 1.0
    step_limit_s: float = STEP_LIMIT_S
    schema: str = field(default_factory=new_schema)
    _admin: Any = None
    _connections: list[Any] = field(default_factory=list)
    _orphans: list[int] = field(default_factory=list)
    _told: ToldWaits | None = None
    _facts: Facts | None = None
    _silent: bool = False  # it did not even answer a connection: not asked again

    @property
    def facts(self) -> Facts:
        """What the server says of itself; known once it is open."""
        assert self._facts is not None
        return self._facts

    @property
    def place(self) -> str:
        """The server as messages name it: host, port and database."""
        try:
            parts = urlsplit(self.dsn)
            host, port = parts.hostname or "the local host", parts.port or 5432
        except ValueError:
            return "the server"
        return f"{host}:{port}{parts.path if parts.path != '/' else ''}"

    async def __aenter__(self) -> Self:
        """Connect and learn what server it is."""
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop the schema and disconnect."""
        await self.close()

    async def open(self) -> None:
        """Connect, drop what killed runs have left, and learn what server it is. Raises ServerUnreachable."""
        try:
            async with self._within_limit("it did not say what it is"):
                await self._reconnect()
                await drop_leftovers(self._admin)
                version = str(await self._admin.fetchval("SELECT version()"))
                timeout_ms = await self._deadlock_timeout_ms()
                self._told = ToldWaits() if await self._tells_waits() else None
        except BaseException:
            self._disconnect()
            raise
        yugabyte = "-YB-" in version
        blocked = (
            f"judged by a wait of {self.blocked_after_s:g} s"
            if yugabyte
            else f"told by pg_blocking_pids, deadlock_timeout {timeout_ms} ms"
        )
        self._facts = Facts(version, yugabyte, timeout_ms, blocked)

    @asynccontextmanager
    async def _within_limit(self, failed: str) -> AsyncIterator[None]:
        """Do what must be done in `step_limit_s`. Raises ServerUnreachable where it is not, or the server is lost."""
        try:
            async with asyncio.timeout(self.step_limit_s):
                yield
        except TimeoutError:  # an OSError, too
            raise ServerUnreachable(f"{self.place}: {failed} in {self.step_limit_s:g} s") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise ServerUnreachable(f"{self.place}: {_why(error)}") from None

    def _no_connection(self) -> ServerUnreachable:
        return ServerUnreachable(f"{self.place} did not answer in {CONNECT_LIMIT_S:.0f} s")

    async def _connect(self) -> Any:
        if self._silent:
            raise self._no_connection()
        try:
            return await asyncpg.connect(
                self.dsn,
                timeout=CONNECT_LIMIT_S,
                statement_cache_size=0,
                server_settings={"application_name": _APPLICATION},
            )
        except asyncpg.PostgresError as error:  # the server's own words hold no password
            raise ServerUnreachable(f"{self.place} refuses: {error}") from None
        except TimeoutError:
            self._silent = True
            raise self._no_connection() from None
        except OSError as error:
            why = error.strerror or "no connection"
            raise ServerUnreachable(f"{self.place} cannot be reached: {why}") from None
        except (asyncpg.InterfaceError, ValueError):
            raise ServerUnreachable(f"{self.place}: the address of the server is not valid") from None

    async def _deadlock_timeout_ms(self) -> int:
        """Make the deadlock check come soon, where the server lets us; return when it comes."""
        with suppress(asyncpg.PostgresError):
            await self._admin.execute(f"SET deadlock_timeout = {_DEADLOCK_TIMEOUT_MS}")
        shown = await self._admin.fetchval(
            "SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'"
        )
        return int(shown or 1000)

    async def _tells_waits(self) -> bool:
        """Whether connections are told of their waits."""
        try:
            await self._admin.execute(f"BEGIN; {TELL_WAITS}; ROLLBACK")
        except asyncpg.PostgresError:
            await self._admin.execute("ROLLBACK")
            return False
        return True

    # -- a case --------------------------------------------------------------------------------

    async def play(self, case: Case) -> Observed:
        """Play a case: set-up, then each step followed by quiet, then the final query.

        Raises NotPlayable where the set-up or a session's settings fail, ServerUnreachable where the server
        goes away or a step takes longer than the limit; the next case gets new connections then.
        """
        try:
            async with self._within_limit("the case was not set up"):
                await self._set_up(case)
            run = _Run(self, case)
            for number, step in enumerate(case.steps):
                told = f"step {number} ({step.session}: {step.sql})"
                async with self._within_limit(
                    f"{told} was not answered, nor blocked by another session of the case,"
                ):
                    await run.step(number, step)
            async with self._within_limit("the sessions were not ended, nor the final query answered,"):
                return await run.finish()
        except ServerUnreachable:
            self._disconnect()
            raise

    async def _set_up(self, case: Case) -> None:
        if self._admin is None or self._admin.is_closed():
            await self._reconnect()
        while len(self._connections) < len(case.sessions):
            self._connections.append(await self._connect())
            if self._told is not None:
                self._told.listen(self._connections[-1])
        await self._admin.execute(
            f"RESET ALL; SET client_min_messages = warning; DROP SCHEMA IF EXISTS {self.schema} CASCADE; "
            f"CREATE SCHEMA {self.schema}; SET search_path = {self.schema}"
        )
        for sql in case.setup:
            await self._required(self._admin, sql, "the set-up")
        common = f"ROLLBACK; RESET ALL; SET client_min_messages = error; SET search_path = {self.schema}"
        if self.facts.deadlock_timeout_ms == _DEADLOCK_TIMEOUT_MS:
            common += f"; SET deadlock_timeout = {_DEADLOCK_TIMEOUT_MS}"
        if self._told is not None:
            self._told.forget()
            common += f"; {TELL_WAITS}"
        for connection in self._connections[: len(case.sessions)]:
            await connection.execute(common)
            for sql in case.session_settings:
                await self._required(connection, sql, "a session's settings")

    async def _required(self, connection: Any, sql: str, what: str) -> None:
        try:
            await connection.execute(sql)
        except asyncpg.PostgresError as error:
            if connection.is_closed():
                raise
            raise NotPlayable(f"{what} fails at {sql!r}: {error}") from None

    def judge(self, pids: dict[str, int]) -> Judge:
        """Who says, for one run, whether a session is blocked."""
        if self.facts.yugabyte:
            return WaitJudge(self.blocked_after_s)
        return LockJudge(self._admin, pids, self.facts.deadlock_timeout_ms / 1000, self._told)

    # -- the end -------------------------------------------------------------------------------

    def _disconnect(self) -> None:
        """Drop all connections at once: what they were doing is not known."""
        for connection in (self._admin, *self._connections):
            if connection is not None:
                self._orphans.append(connection.get_server_pid())
                connection.terminate()
        self._admin = None
        self._connections = []

    async def _reconnect(self) -> None:
        """A new connection to administer by, which first ends what dropped connections still do on the server."""
        self._admin = await self._connect()
        orphans, self._orphans = self._orphans, []
        if orphans:
            await self._admin.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = $1 AND pid = ANY($2::int[])",
                _APPLICATION,
                orphans,
            )
        await claim(self._admin, self.schema)  # afterwards: a dropped connection may still hold it

    async def close(self) -> None:
        """Drop the schema and disconnect. A server that is gone is left alone."""
        self._disconnect()
        try:
            async with self._within_limit("the schema was not dropped"):
                await self._reconnect()
                await self._admin.execute(
                    f"SET client_min_messages = warning; DROP SCHEMA IF EXISTS {self.schema} CASCADE"
                )
                await self._admin.close()
        except ServerUnreachable:
            pass  # nobody is there who could keep anything, or the next run drops it
        finally:
            if self._admin is not None:
                self._admin.terminate()


class _Run:
    """One run of one case: the answers so far, and the steps that have not answered."""

    def __init__(self, server: Server, case: Case) -> None:
        self.server = server
        self.case = case
        self.connections = dict(zip(case.sessions, server._connections, strict=False))
        self.pids = {name: one.get_server_pid() for name, one in self.connections.items()}
        self.judge = server.judge(self.pids)
        self.answers: list[Answer] = []
        self.pending: dict[str, tuple[int, asyncio.Task[Answer]]] = {}

    async def step(self, number: int, step: Step) -> None:
        if step.session in self.pending:
            self.answers.append(Answer(skipped=True))
            return
        self.answers.append(Answer())
        task = asyncio.create_task(_ask(self.connections[step.session], step.sql))
        task.add_done_callback(_retrieve)
        self.pending[step.session] = (number, task)
        tasks = {name: task for name, (_, task) in self.pending.items()}
        blocked = await self.judge.quiet(tasks)
        for name, (issued, task) in list(self.pending.items()):
            if not task.done():
                self.answers[issued] = Answer(blocks=True, unfinished=True)
                continue
            del self.pending[name]
            answer = task.result()
            waited = issued != number or name in blocked or answer.error == "40P01"
            if waited:
                answer = replace(answer, blocks=True, unblocks_after=number)
            self.answers[issued] = answer

    async def finish(self) -> Observed:
        """End every session (what still waits stays `unfinished`) and ask for the final state."""
        for name in self.case.sessions:  # in a stated order: the end of one lets others finish
            if name in self.pending:
                await self._cancel(name, self.pending[name][1])
        for connection in self.connections.values():
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        final = None
        if self.case.final is not None:
            final = (await _ask(self.server._admin, self.case.final.sql)).rows
        return Observed(self.answers, final)

    async def _cancel(self, name: str, task: asyncio.Task[Answer]) -> None:
        while not task.done():
            await self.server._admin.execute(f"SELECT pg_cancel_backend({self.pids[name]})")
            await asyncio.wait([task], timeout=0.05)
        if self.connections[name].is_in_transaction():
            await self.connections[name].execute("ROLLBACK")


def _retrieve(task: asyncio.Task[Answer]) -> None:
    """A step whose run was given up ends unheard."""
    if not task.cancelled():
        task.exception()


async def _ask(connection: Any, sql: str) -> Answer:
    """Ask one text; a server's error is an answer. The connection's end is raised."""
    try:
        if len(parse(sql)) > 1:  # the simple protocol: no rows, the last statement's tag
            return _tagged(await connection.execute(sql))
        statement = await connection.prepare(sql)
        records = await statement.fetch()
    except asyncpg.PostgresError as error:
        if connection.is_closed() or error.sqlstate is None or error.sqlstate.startswith("08"):
            raise
        return Answer(
            error=error.sqlstate,
            message=error.args[0] if error.args else None,
            constraint=getattr(error, "constraint_name", None),
        )
    answer = _tagged(statement.get_statusmsg())
    columns = [attribute.name for attribute in statement.get_attributes()]
    if not columns:
        return answer
    return replace(answer, rows=json_rows(records), rowcount=len(records) or None, columns=columns)


def _tagged(tag: str) -> Answer:
    count = tag.rpartition(" ")[2]
    return Answer(tag=tag, rowcount=(int(count) or None) if count.isdigit() else None)


def _why(error: Exception) -> str:
    if isinstance(error, asyncpg.PostgresError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "the connection was lost"
