"""A live run, from a scenario to results: the same designs, workload, audit and comparison, on real servers."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count

from arbsim.audit import audit
from arbsim.audit.costs import EVERYWHERE
from arbsim.conform.check import ServerExecutor
from arbsim.conform.server import Server, ServerUnreachable
from arbsim.conform.verify import verify
from arbsim.delivery import TRIALS, UNDISTURBED, run_trial, stream_facts
from arbsim.history import History
from arbsim.model import Workload
from arbsim.repeating.designs import Repetitions
from arbsim.repeating.pairs import NothingToRepeat, race_of
from arbsim.repeating.probes import Live
from arbsim.results import DesignResult, FamilyFacts, LiveFacts, ServerFacts, Simulated, StreamFacts
from arbsim.runner import DesignFailed, Judged, Run, card_of, designs_failing, facts_of, finish, settings_of
from arbsim.scenario import Scenario
from arbsim.worlds.api import Design
from arbsim.worlds.live.change_stream import Delivered
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.java import JavaMissing, fetch
from arbsim.worlds.live.local import Stack, local_stack, train
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.servers import pool_size, why_not
from arbsim.worlds.live.world import INTERRUPTED, run_design
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design as run_model

__all__ = ["JavaMissing", "LiveRun", "NothingToRepeat", "ServerUnavailable", "run_live", "set_up"]


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What a live run gives. Some designs are missing where it ended early.

    ``interrupted``: Ctrl-C ended it. ``unavailable``: a server did, and this tells which.
    """

    run: Run
    interrupted: bool
    unavailable: str | None


def run_live(
    scenario: Scenario,
    workload: Workload,
    seed: int,
    designs: Mapping[str, Design],
    replay: str,
    on_design: Callable[[str, DesignResult | None], None] = lambda name, result: None,
    repeat: int = 0,
) -> LiveRun:
    """Run every design on servers of this machine, judge each, and put the model's word beside it.

    ``repeat``: how often the workload's first race is repeated through each design, live and simulated. Raises
    NothingToRepeat where it has none.

    ``on_design`` is told when a design begins (result None) and when it is judged, and before that which server is
    being waited for. Raises ServerUnavailable where no design was judged before, and DesignFailed for a bug in one.
    """
    began = datetime.now(UTC)
    settings = settings_of(scenario, seed)
    race = race_of(workload) if repeat else None
    repetitions: Repetitions | None = None

    def waiting_for(server: str) -> None:
        on_design(f"waiting for {server}", None)

    judged: list[Judged] = []
    not_run: dict[str, str] = {}
    streams: dict[str, tuple[StreamFacts, ...]] = {}
    end: BaseException | None = None
    needs = [design.resources() for design in designs.values()]
    with local_stack(settings, needs, waiting_for) as stack:
        waiting_for("the isolation levels of PostgreSQL")
        levels = asyncio.run(isolation_levels(stack.servers.database))
        try:
            for number, (name, design) in enumerate(designs.items(), start=1):
                reason = why_not(design.resources(), stack.servers)
                if reason is not None:
                    not_run[name] = reason
                    continue
                on_design(name, None)
                one = _judge(name, design, workload, settings, stack, _run_name(number), streams)
                judged.append(one)
                on_design(name, one.result)
                if INTERRUPTED in one.history.notes:
                    raise KeyboardInterrupt
            for number, trial in enumerate(TRIALS if streams else (), start=len(designs) + 1):
                on_design(f"the change stream, {trial.name}", None)
                sides = run_trial(trial, settings, stack.servers, _run_name(number))
                reached = trial is UNDISTURBED or all(one.killed for one in sides)
                streams[trial.name if reached else f"{trial.name}: too slow here, it was not killed"] = sides
            if race is not None:
                numbers = count(len(designs) + len(TRIALS) + 1)
                repetitions = Repetitions(
                    race, repeat, as_the_servers(settings), _live_play(settings, stack, numbers)
                )
                ran = {one.name: designs[one.name] for one in judged}
                repetitions.run(ran, stack.servers, lambda what: on_design(what, None))
        except (KeyboardInterrupt, ServerUnavailable) as error:
            if not judged:
                raise
            end = error
    beside, cut_short = _simulations(judged, designs, workload, as_the_servers(settings))
    database, *others = stack.facts
    live = LiveFacts(
        began=began.strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine_facts(),
        servers=(database.model_copy(update={"settings": {**database.settings, **levels}}), *others),
        links=stack.links,
        not_run=not_run,
        simulated=beside,
        streams=streams,
        agreement=repetitions.found() if repetitions is not None else None,
    )
    facts = replace(
        facts_of(scenario, seed, replay), live=live, families=tuple(_families(settings, stack, database))
    )
    return LiveRun(
        finish(scenario, workload, facts, designs, judged),
        interrupted=cut_short or isinstance(end, KeyboardInterrupt),
        unavailable=str(end) if isinstance(end, ServerUnavailable) else None,
    )


def set_up(waiting_for: Callable[[str], None]) -> str:
    """Fetch the jars, and start and stop everything once so that later starts are fast.

    Returns what is there now. Raises JavaMissing and ServerUnavailable.
    """
    waiting_for("Fetching Kafka and Debezium with Maven")
    folder = fetch()
    train(waiting_for)
    return f"Kafka and Debezium are in {folder.name} of arbsim's cache folder"


def _run_name(number: int) -> str:
    """What a run's tables, topics and slots are named by."""
    return f"arbsim_{os.getpid()}_{number}"


def _judge(
    name: str,
    design: Design,
    workload: Workload,
    settings: Settings,
    stack: Stack,
    run: str,
    streams: dict[str, tuple[StreamFacts, ...]],
) -> Judged:
    def on_delivered(delivered: Sequence[Delivered]) -> None:
        killed = bool(settings.cdc.restart_at_ns)
        streams[name] = tuple(stream_facts(delivered, "at least once", killed=killed))

    history = _played(name, design, workload, settings, stack, run, on_delivered)
    return Judged(name, history, audit(history))


def _played(
    name: str,
    design: Design,
    workload: Workload,
    settings: Settings,
    stack: Stack,
    run: str,
    on_delivered: Callable[[Sequence[Delivered]], None] = lambda delivered: None,
) -> History:
    """Run a design on the servers. Raises ServerUnavailable, and DesignFailed for what it raises that is no outcome."""
    try:
        card = card_of(name, design)
        return run_design(design, card, workload, settings, stack.servers, run, on_delivered=on_delivered)
    except ServerUnavailable:
        raise
    except Exception as error:
        stack.servers.check()  # what a server's end looks like to a client is no fault of the design
        raise DesignFailed(name, error) from error


def _live_play(settings: Settings, stack: Stack, numbers: Iterator[int]) -> Live:
    """What runs a design on the servers that are up, each time under another name."""

    def play(name: str, design: Design, workload: Workload) -> History:
        history = _played(name, design, workload, settings, stack, _run_name(next(numbers)))
        if INTERRUPTED in history.notes:
            raise KeyboardInterrupt
        return history

    return play


async def isolation_levels(database: DatabaseServer) -> dict[str, str]:
    """What the database gives for each level that is asked for, by the anomalies that it lets happen.

    A YugabyteDB without ``yb_enable_read_committed_isolation`` runs READ COMMITTED as snapshot isolation and says
    nothing; here it shows. Raises ServerUnavailable.
    """
    try:
        async with Server(database.dsn) as server:
            executor = ServerExecutor(server)
            found = await verify(executor.target, server.facts.yugabyte, server.play)
    except ServerUnreachable as error:
        raise ServerUnavailable(str(error)) from None
    return {f"{level.requested.upper()} in force": level.gives for level in found.levels}


def _simulations(
    judged: Sequence[Judged], designs: Mapping[str, Design], workload: Workload, settings: Settings
) -> tuple[dict[str, Simulated], bool]:
    """What the models say of the designs that ran, and whether Ctrl-C ended it.

    A design that fails on them has nothing beside it: the live run is not thrown away for that.
    """
    beside: dict[str, Simulated] = {}
    try:
        for one in judged:
            with suppress(DesignFailed), designs_failing(one.name):
                design = designs[one.name]
                history = run_model(design, card_of(one.name, design), workload, settings)
                beside[one.name] = simulated(audit(history))
    except KeyboardInterrupt:
        return beside, True
    return beside, False


def simulated(result: DesignResult) -> Simulated:
    """What is shown of a simulated run beside the live one."""
    everywhere = next(row for row in result.costs.latency if row.region == EVERYWHERE)
    return Simulated(
        verdict=result.verdict,
        final=result.final,
        outcomes=result.outcomes,
        findings={kind: finding.count for kind, finding in result.findings.items() if finding.count},
        p99_ms=everywhere.fate.p99_ms,
    )


def as_the_servers(settings: Settings) -> Settings:
    """The model of the servers that are really there: one of each, and the database is PostgreSQL."""
    database = replace(settings.database, dialect="postgres", gateway="leader", pool_size=pool_size(settings))
    return replace(settings, database=database, replicated=False)


# -- facts ---------------------------------------------------------------------------------------------


def machine_facts() -> dict[str, str]:
    """What this machine is, in words that identify nobody."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{pages * size / 2**30:.0f} GiB",
        "Python": platform.python_version(),
    }


def _families(settings: Settings, stack: Stack, database: ServerFacts) -> Iterator[FamilyFacts]:
    leader = settings.database.leader
    yield FamilyFacts(
        family="db",
        replicas=f"one {database.product} {database.version} in {leader}, without replicas",
        quorum="none: a commit waits for the one server",
        recovery_point="none is shown: there is no second copy",
        gateway=f"clients connect to the server in {leader}, each over its region's link",
    )
    if stack.servers.kafka is not None:
        yield FamilyFacts(
            family="bus",
            replicas=f"one broker a region; the one in {settings.kafka_leader} is the stretched cluster as well",
            quorum="acks=all waits for the one broker",
            recovery_point="none is shown: there is no second copy, but what MirrorMaker copies",
            gateway="producers and consumers talk to a broker over their region's link to it",
        )
