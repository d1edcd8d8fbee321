"""When is everything quiet? Every session is idle, or blocked and will stay so until somebody else speaks."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

Tasks = Mapping[str, asyncio.Task[Any]]

TELL_WAITS = "SET log_lock_waits = on; SET lc_messages = 'C'; SET client_min_messages = log"
"""Makes PostgreSQL tell a client when the deadlock check of its wait is over. Needs the right to SET all three."""

_POLL_S = 0.001
_LONG = 50
"""So many times the usual time is long enough, whatever was told."""
_TOLD = re.compile(r"process (\d+) still waiting for \w+ on (.+) after ")
_WAITS = """
SELECT waits.pid, to_jsonb(waits)::text AS wait, pg_blocking_pids(waits.pid) AS blockers
FROM pg_locks AS waits WHERE NOT waits.granted AND waits.pid = ANY($1::int[])
"""


class Judge(Protocol):
    """Says when the sessions are quiet. One judge serves one run of a case."""

    async def quiet(self, tasks: Tasks) -> set[str]:
        """Return when all is quiet; the names of the sessions that were seen blocked. Has no time limit."""


class ToldWaits:
    """Waits whose deadlock check is over, as the connections of a case are told by their server (TELL_WAITS)."""

    def __init__(self) -> None:
        self._waits: set[tuple[int, str]] = set()

    def listen(self, connection: Any) -> None:
        """Hear what a connection is told."""
        connection.add_log_listener(self._hear)

    def forget(self) -> None:
        """Begin anew."""
        self._waits.clear()

    def _hear(self, _: Any, message: Any) -> None:
        if found := _TOLD.match(message.message):
            self._waits.add((int(found[1]), found[2]))

    def tells(self, wait: Mapping[str, Any]) -> bool | None:
        """Whether the check of a wait (a row of pg_locks) is over; None for a kind of wait that is not listened for."""
        if wait["locktype"] == "transactionid":
            target = f"transaction {wait['transactionid']}"
        elif wait["locktype"] == "tuple":
            place = f"({wait['page']},{wait['tuple']})"
            target = f"tuple {place} of relation {wait['relation']} of database {wait['database']}"
        else:
            return None
        return (wait["pid"], target) in self._waits


class LockJudge:
    """Asks the server who waits for whom.

    Quiet: whoever has not answered waits for a lock, the deadlock check of that same wait is over, and nobody waits in
    a ring (whose end is still to come). The check is over where the server told so (``told``), and is taken to be over
    after deadlock_timeout and a little where it tells nothing: on a busy machine that may be too soon.
    """

    def __init__(
        self,
        connection: Any,
        pids: Mapping[str, int],
        deadlock_timeout_s: float,
        told: ToldWaits | None = None,
    ) -> None:
        self._connection = connection
        self._told = told
        self._pids = pids
        self._names = {pid: name for name, pid in pids.items()}
        self._settled_s = deadlock_timeout_s * 1.25 + 0.001
        self._since: dict[tuple[str, str], float] = {}
        self._statement: Any = None

    async def quiet(self, tasks: Tasks) -> set[str]:
        """Return when all is quiet."""
        blocked: set[str] = set()
        while pending := [name for name, task in tasks.items() if not task.done()]:
            await asyncio.wait(
                [tasks[name] for name in pending], timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED
            )
            pending = [name for name in pending if not tasks[name].done()]
            if not pending:
                break
            waits = await self._waits(pending)
            blocked.update(waits)
            if len(waits) == len(pending) and self._settled() and not has_ring(waits):
                break
        return blocked

    async def _waits(self, pending: Iterable[str]) -> dict[str, list[str]]:
        """Who of these waits for a lock, and behind whom."""
        if self._statement is None:
            self._statement = await self._connection.prepare(_WAITS)
        rows = await self._statement.fetch([self._pids[name] for name in pending])
        now = asyncio.get_running_loop().time()
        current = {(self._names[row["pid"]], row["wait"]): row["blockers"] for row in rows if row["blockers"]}
        self._since = {key: self._since.get(key, now) for key in current}
        return {
            name: [self._names[pid] for pid in blockers if pid in self._names]
            for (name, _), blockers in current.items()
        }

    def _settled(self) -> bool:
        now = asyncio.get_running_loop().time()
        return all(self._is_over(wait, now - since) for (_, wait), since in self._since.items())

    def _is_over(self, wait: str, waited_s: float) -> bool:
        told = self._told.tells(json.loads(wait)) if self._told is not None else None
        return told or waited_s > self._settled_s * (1 if told is None else _LONG)


class WaitJudge:
    """For servers that do not tell their locks: silent for so long means blocked."""

    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s

    async def quiet(self, tasks: Tasks) -> set[str]:
        """Return when nobody has answered for so long."""
        while pending := [task for task in tasks.values() if not task.done()]:
            done, _ = await asyncio.wait(pending, timeout=self._silent_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
        return {name for name, task in tasks.items() if not task.done()}


def has_ring(waits: Mapping[str, Iterable[str]]) -> bool:
    """Whether some waits form a ring."""
    left = {name: set(others) for name, others in waits.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return bool(left)
