"""A live world: gives a design what it asks for on real servers, runs the workload through it, returns the history."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import asyncpg

from arbsim.history import History
from arbsim.model import DesignCard, Fate, Workload
from arbsim.worlds.api import Design
from arbsim.worlds.live.callers import Callers
from arbsim.worlds.live.change_stream import Delivered, LiveStream
from arbsim.worlds.live.connect import Delivery
from arbsim.worlds.live.database import SERVER_FAULTS, Change, Sandbox, told
from arbsim.worlds.live.endings import keep_quiet
from arbsim.worlds.live.events import Event, Log, no_pauses, now_ns
from arbsim.worlds.live.premises import Plan, make_clients, make_sandbox, make_stream, make_topics
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.replay import DATABASE, replay
from arbsim.worlds.live.servers import Servers
from arbsim.worlds.live.serving import KillService, Services
from arbsim.worlds.live.topics import RunTopics
from arbsim.worlds.virtual.settings import Settings

INTERRUPTED = "the run was interrupted; who was not answered has an unknown outcome"
"""The note of a run that Ctrl-C ended."""

_SETTLE_TIMEOUT_NS = 60_000_000_000
_QUIET_NS = 1_000_000_000
_POLL_S = 0.1
_WATCH_S = 0.25
_GIVE_UP_S = 5.0
_KILL_POLL_S = 0.01
_KILL_TIMEOUT_NS = 10_000_000_000


def run_design(
    design: Design,
    card: DesignCard,
    workload: Workload,
    settings: Settings,
    servers: Servers,
    run: str,
    kills: Sequence[KillService] = (),
    delivery: Delivery = "at least once",
    kill_connector: Callable[[LiveStream], bool] | None = None,
    on_delivered: Callable[[Sequence[Delivered]], None] = lambda delivered: None,
    on_cut_off: Callable[[History], None] = lambda history: None,
) -> History:
    """Run one design on the workload in real time. ``run`` names what is made for it on the servers.

    ``delivery`` is that of the change stream, where the design has one; its connector is killed and started again at
    the scenario's times, or instead once ``kill_connector`` says so. ``on_delivered`` is told at the end what came on
    each side of MirrorMaker.

    Ctrl-C ends the run early: the history has a note of it, and who was not answered has an unknown outcome. Raises
    ServerUnavailable, and whatever the design raises that is no outcome; before that ``on_cut_off`` is told the history
    so far, where operations had begun.
    """
    plan = Plan(design, workload, settings, servers, run)
    world = _LiveWorld(
        plan, History(card, workload), kills, delivery, kill_connector, on_delivered, on_cut_off
    )
    return asyncio.run(world.run())


class _LiveWorld:
    """Everything that exists in one run."""

    def __init__(
        self,
        plan: Plan,
        history: History,
        kills: Sequence[KillService],
        delivery: Delivery,
        kill_connector: Callable[[LiveStream], bool] | None,
        on_delivered: Callable[[Sequence[Delivered]], None],
        on_cut_off: Callable[[History], None],
    ) -> None:
        self._plan = plan
        self._history = history
        self._kills = kills
        self._delivery: Delivery = delivery
        self._kill_connector = kill_connector
        self._on_delivered = on_delivered
        self._on_cut_off = on_cut_off
        self._log = Log()
        self._start_ns = 0
        self._services = Services(plan)
        self._sandbox: Sandbox | None = None
        self._topics: RunTopics | None = None
        self._stream: LiveStream | None = None
        self._over = False

    async def run(self) -> History:
        """Run the design; where a server or a service ends, do not wait for what will never come.

        Raises ServerUnavailable, ServiceFailed and what the design raises, with a note of what became of operations.
        """
        try:
            return await self._watched()
        except Exception as error:
            error.add_note(self._account())
            if self._start_ns:
                self._on_cut_off(self._so_far())
            raise

    async def _watched(self) -> History:
        keep_quiet()
        body = asyncio.create_task(self._body())
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({body, watch}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # Ctrl-C: the run goes to its end, and tells what happened so far
            body.cancel()
        if watch.done():
            body.cancel()
            await asyncio.wait({body}, timeout=_GIVE_UP_S)
            watch.result()
        try:
            return await body
        finally:
            watch.cancel()

    def _account(self) -> str:
        """What became of the operations of a run that was cut off."""
        fates = Counter(event.values[0] for event in self._log.events if event.kind == "answer")
        total = len(self._plan.workload.operations)
        if not self._start_ns:
            return f"None of its {total} operations had begun"
        decided = [f"{fates[fate]} {fate.value}" for fate in (Fate.ACCEPTED, Fate.REJECTED, Fate.FAILED)]
        unknown = total - sum(fates[fate] for fate in (Fate.ACCEPTED, Fate.REJECTED, Fate.FAILED))
        return f"Of its {total} operations: {', '.join(decided)}, {unknown} unknown"

    async def _watch(self) -> None:
        while True:
            if not self._over:
                self._plan.servers.check()
                self._services.check()
                if self._stream is not None:
                    self._stream.check()
            await asyncio.sleep(_WATCH_S)

    async def _body(self) -> History:
        """Make what the design needs, run the clients, read what came of it, and remove everything."""
        async with AsyncExitStack() as stack:
            try:
                await self._through(stack)
            except SERVER_FAULTS as error:
                raise ServerUnavailable(f"{self._plan.servers.database}: {told(error)}") from error
            finally:
                self._over = True  # whoever ends from here on is ended by us
        return self._history

    async def _through(self, stack: AsyncExitStack) -> None:
        plan = self._plan
        accounts = plan.workload.accounts
        sandbox = self._sandbox = await make_sandbox(plan, stack)
        self._topics = await make_topics(plan, stack)
        if sandbox is not None and plan.resources.change_stream:
            self._stream = make_stream(plan, stack, sandbox, self._delivery)
            await self._stream.open(stack)
        callers = Callers(plan, self._log, await make_clients(plan, stack, self._log))
        if sandbox is not None:
            await sandbox.seed(accounts)
        stack.callback(self._services.end)
        await self._services.start()
        await callers.connect()
        if sandbox is not None and self._topics is None and not self._services:
            await callers.rehearse(sandbox)
        if self._stream is not None:
            await self._stream.begin(accounts)
        self._log.forget()
        with no_pauses():
            self._start_ns = now_ns()
            await self._operate(callers)
        if self._services and not self._history.cut_off:
            await self._settle()
        if self._services and self._history.cut_off:
            self._history = self._so_far()
        else:
            await self._read()

    # -- the run -----------------------------------------------------------------------------------

    async def _operate(self, callers: Callers) -> None:
        """Let each client begin its operation at its time, and wait for all answers.

        What a client's task ends with that is no outcome ends the run at once: it is a bug.
        """
        late = asyncio.create_task(callers.give_up())
        try:
            async with asyncio.TaskGroup() as tasks:
                for kill in self._kills:
                    tasks.create_task(self._kill(kill))
                if self._stream is not None:
                    tasks.create_task(self._restart_connector(self._stream))
                for op in self._plan.workload:
                    await self._until(op.at_ns)
                    callers.begin(op, tasks)
        except asyncio.CancelledError:
            self._interrupted()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            late.cancel()

    async def _until(self, at_ns: int) -> None:
        """Wait for a time of the run."""
        wait_ns = self._start_ns + at_ns - now_ns()
        if wait_ns > 0:
            await asyncio.sleep(wait_ns / 1e9)

    async def _kill(self, kill: KillService) -> None:
        """Kill a service and start it again. No await lies between: who watches sees no dead service."""
        await self._until(kill.at_ns)
        self._services.restart(kill.region)
        self._history.count("service_kills")

    async def _restart_connector(self, stream: LiveStream) -> None:
        """Kill the connector's worker when it is to be killed, and start it again."""
        kill = self._kill_connector
        if kill is not None:
            last_ns = max(op.at_ns for op in self._plan.workload)
            while not kill(stream):
                if now_ns() > self._start_ns + last_ns + _KILL_TIMEOUT_NS:
                    return
                await asyncio.sleep(_KILL_POLL_S)
        for at_ns in [0] if kill is not None else sorted(self._plan.settings.cdc.restart_at_ns):
            await self._until(at_ns)
            self._history.count("connector_restarts")
            await stream.restart()

    # -- the end -----------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Wait until everything has come everywhere and nobody has noted anything for a while."""
        deadline_ns = now_ns() + _SETTLE_TIMEOUT_NS
        sizes: list[int] = []
        since_ns = now_ns()
        try:
            while now_ns() < deadline_ns:
                seen = self._services.sizes()
                if self._stream is not None:
                    seen += [len(witness.came) for witness in self._stream.witnesses]
                if seen != sizes or not await self._come():
                    sizes, since_ns = seen, now_ns()
                elif now_ns() - since_ns > _QUIET_NS:
                    return
                await asyncio.sleep(_POLL_S)
        except asyncio.CancelledError:
            self._interrupted()
            return
        self._history.notes.append(
            f"the services were still at work {_SETTLE_TIMEOUT_NS // 10**9} s after the last answer"
        )

    async def _come(self) -> bool:
        """Whether every copy has everything, and the change stream tells the table."""
        if self._topics is not None and not await self._topics.caught_up():
            return False
        return (
            self._stream is None or self._sandbox is None or self._stream.told(await self._sandbox.finals())
        )

    def _interrupted(self) -> None:
        self._history.cut_off = True
        self._history.notes.append(INTERRUPTED)

    def _so_far(self) -> History:
        """The history of a run that was cut off while services or servers were at work: what was noted, no more.

        What the database committed cannot be told apart by operation: who sent it may not have noted it yet.
        """
        self._services.end()
        history = History(self._history.card, self._plan.workload, notes=self._history.notes, cut_off=True)
        history.totals = self._history.totals
        history.quiet_ns = now_ns() - self._start_ns
        replay(history, self._logs(), None if self._plan.resources.accounts_table else [], self._start_ns)
        return history

    def _logs(self) -> dict[str, Sequence[Event]]:
        return {"clients": self._log.events, **self._services.logs()}

    async def _read(self) -> None:
        """Make the history of what was noted and kept."""
        self._history.quiet_ns = now_ns() - self._start_ns
        changes: list[Change] = []
        if self._sandbox is not None:
            try:
                changes = await self._sandbox.changes()
                self._history.finals[DATABASE] = await self._sandbox.finals()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                database = self._plan.servers.database
                raise ServerUnavailable(f"{database} went away: {told(error)}") from None
        if self._stream is not None:
            delivered = self._stream.delivered(changes, self._history.finals[DATABASE])
            self._history.count("change_events", delivered[0].changes)
            self._history.count("change_events_again", delivered[0].again)
            self._history.count("change_events_missing", delivered[0].missing)
            self._on_delivered(delivered)
        replay(self._history, self._logs(), changes, self._start_ns)
