"""A live run, from a scenario to results: the same designs, workload, audit and comparison, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count

from arbsim.audit import audit
from arbsim.audit.costs import EVERYWHERE
from arbsim.conform.check import ServerExecutor
from arbsim.conform.server import Server, ServerUnreachable
from arbsim.conform.verify import VerifyResults, verify
from arbsim.delivery import TRIALS, UNDISTURBED, run_trial, stream_facts
from arbsim.history import History
from arbsim.machine import machine_facts
from arbsim.model import Workload
from arbsim.repeating.designs import Repetitions
from arbsim.repeating.pairs import NothingToRepeat, race_of
from arbsim.repeating.probes import Live
from arbsim.results import DesignResult, FamilyFacts, LiveFacts, ServerFacts, Simulated, StreamFacts
from arbsim.runner import DesignFailed, Judged, Run, card_of, designs_failing, facts_of, finish, settings_of
from arbsim.scenario import Scenario
from arbsim.worlds.api import Design, Resources
from arbsim.worlds.live.change_stream import Delivered
from arbsim.worlds.live.database import YUGABYTE, DatabaseServer
from arbsim.worlds.live.java import JavaMissing, fetch
from arbsim.worlds.live.local import local_stack, train
from arbsim.worlds.live.own import OwnServers, own_stack
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.replay import DATABASE
from arbsim.worlds.live.servers import OURS, Servers, Stack, why_not
from arbsim.worlds.live.world import INTERRUPTED, run_design
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design as run_model

__all__ = [
    "JavaMissing",
    "LiveRun",
    "NothingToRepeat",
    "OwnServers",
    "ServerUnavailable",
    "run_live",
    "set_up",
]


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What a live run gives. Some designs are missing where it ended early, and one may have been cut off.

    ``end``: what ended it, where that was Ctrl-C, a server or a bug in a design.
    """

    run: Run
    end: KeyboardInterrupt | ServerUnavailable | DesignFailed | None


def run_live(
    scenario: Scenario,
    workload: Workload,
    seed: int,
    designs: Mapping[str, Design],
    replay: str,
    on_design: Callable[[str, DesignResult | None], None] = lambda name, result: None,
    own: OwnServers | None = None,
    tell: Callable[[str], None] = lambda text: None,
    repeat: int = 0,
) -> LiveRun:
    """Run every design on real servers, judge each, and put the model's word beside it.

    The servers are started here, or somebody's ``own``; ``tell`` is told what stays there. ``on_design`` is told when
    a design begins (result None) and when it is judged, and before that which server is being waited for. Raises
    ServerUnavailable and DesignFailed where no operation had begun before.

    ``repeat``: how often the workload's first race is repeated through each design, live and simulated. Raises
    NothingToRepeat where it has none.
    """
    began = datetime.now(UTC)
    settings = settings_of(scenario, seed)
    race = race_of(workload) if repeat else None
    repetitions: Repetitions | None = None

    judged: list[Judged] = []
    so_far: list[History] = []
    streams: dict[str, tuple[StreamFacts, ...]] = {}
    end: KeyboardInterrupt | ServerUnavailable | DesignFailed | None = None
    needs = [design.resources() for design in designs.values()]
    with _opened(settings, needs, own, on_design, tell) as (stack, levels):
        model = as_the_servers(settings, stack.servers, levels)
        not_run = _cannot_run(designs, stack.servers)
        try:
            for number, name in enumerate((one for one in designs if one not in not_run), start=1):
                on_design(name, None)
                design, run = designs[name], _run_name(number)
                judged.append(_judge(name, design, workload, settings, stack, run, streams, so_far.append))
                on_design(name, judged[-1].result)
                if INTERRUPTED in judged[-1].history.notes:
                    raise KeyboardInterrupt
            if streams:
                _try_delivery(settings, stack, len(designs) + 1, streams, on_design)
            if race is not None:
                numbers = count(len(designs) + len(TRIALS) + 1)
                repetitions = Repetitions(race, repeat, model, _live_play(settings, stack, numbers))
                ran = {one.name: designs[one.name] for one in judged}
                repetitions.run(ran, stack.servers, lambda what: on_design(what, None))
        except (KeyboardInterrupt, ServerUnavailable, DesignFailed) as error:
            judged += _cut_off(so_far, error)
            if not judged:
                raise
            end = error
            not_run |= _not_reached(designs, judged, not_run, error)
    beside, cut_short = _simulations(judged, designs, workload, model)
    live = LiveFacts(
        began=began.strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine_facts(),
        servers=tuple(_with_levels(one, levels) for one in stack.facts),
        own=own is not None,
        links=stack.links,
        not_run=not_run,
        simulated=beside,
        streams=streams,
        agreement=repetitions.found() if repetitions is not None else None,
    )
    families = tuple(_families(settings, stack, own is not None))
    facts = replace(facts_of(scenario, seed, replay), live=live, families=families)
    done = finish(scenario, workload, facts, designs, judged)
    return LiveRun(done, KeyboardInterrupt() if cut_short else end)


@contextmanager
def _opened(
    settings: Settings,
    needs: Sequence[Resources],
    own: OwnServers | None,
    on_design: Callable[[str, DesignResult | None], None],
    tell: Callable[[str], None],
) -> Iterator[tuple[Stack, dict[str, str]]]:
    """Servers that are up, and what the isolation levels of the database are. Raises ServerUnavailable."""

    def waiting_for(server: str) -> None:
        on_design(f"waiting for {server}", None)

    opened: AbstractContextManager[Stack] = (
        local_stack(settings, needs, waiting_for)
        if own is None
        else own_stack(settings, needs, own, waiting_for, tell)
    )
    with opened as stack:
        levels: dict[str, str] = {}
        if stack.servers.database is not None:
            waiting_for("the isolation levels of the database")
            levels = asyncio.run(isolation_levels(stack.servers.database))
        yield stack, levels


def _cannot_run(designs: Mapping[str, Design], servers: Servers) -> dict[str, str]:
    """The designs that these servers cannot stand for, with the reason."""
    reasons = {name: why_not(design.resources(), servers) for name, design in designs.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _not_reached(
    designs: Mapping[str, Design],
    judged: Sequence[Judged],
    not_run: Mapping[str, str],
    error: KeyboardInterrupt | ServerUnavailable | DesignFailed,
) -> dict[str, str]:
    """Why designs are missing in a run that ended early: the first of them was at work, unless it has been judged."""
    done = {one.name for one in judged} | not_run.keys()
    missing = [name for name in designs if name not in done]
    reasons = dict.fromkeys(missing, "the run ended before")
    if missing and not judged[-1].history.cut_off and not isinstance(error, KeyboardInterrupt):
        reasons[missing[0]] = _why(error)
    return reasons


def _cut_off(so_far: Sequence[History], error: BaseException) -> Iterator[Judged]:
    """The design that was at work when a server went, or that failed, judged by what had happened so far."""
    for history in so_far:
        history.notes.append(f"the run was cut off: {_why(error)}")
        yield Judged(history.card.name, history, audit(history))


def _why(error: BaseException) -> str:
    """What ended a run, on one line."""
    return ". ".join((str(error).splitlines()[0], *notes_of(error)))


def notes_of(error: BaseException) -> Sequence[str]:
    """What a run noted of its operations when it was cut off; the error may have come of that which has the notes."""
    found: BaseException | None = error
    while found is not None:
        notes: Sequence[str] = getattr(found, "__notes__", ())
        if notes:
            return notes
        found = found.__cause__ or found.__context__
    return ()


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
    return f"{OURS}_{number}"


def _judge(
    name: str,
    design: Design,
    workload: Workload,
    settings: Settings,
    stack: Stack,
    run: str,
    streams: dict[str, tuple[StreamFacts, ...]],
    on_cut_off: Callable[[History], None],
) -> Judged:
    def on_delivered(delivered: Sequence[Delivered]) -> None:
        killed = bool(settings.cdc.restart_at_ns)
        streams[name] = tuple(stream_facts(delivered, "at least once", killed=killed))

    history = _played(name, design, workload, settings, stack, run, on_delivered, on_cut_off)
    return Judged(name, history, audit(history))


def _played(
    name: str,
    design: Design,
    workload: Workload,
    settings: Settings,
    stack: Stack,
    run: str,
    on_delivered: Callable[[Sequence[Delivered]], None] = lambda delivered: None,
    on_cut_off: Callable[[History], None] = lambda history: None,
) -> History:
    """Run a design on the servers. Raises ServerUnavailable, and DesignFailed for what it raises that is no outcome."""
    try:
        card = card_of(name, design)
        return run_design(
            design,
            card,
            workload,
            settings,
            stack.servers,
            run,
            on_delivered=on_delivered,
            on_cut_off=on_cut_off,
        )
    except ServerUnavailable:
        raise
    except Exception as error:
        stack.servers.ask()  # what a server's end looks like to a client is no fault of the design
        raise DesignFailed(name, error) from error


def _live_play(settings: Settings, stack: Stack, numbers: Iterator[int]) -> Live:
    """What runs a design on the servers that are up, each time under another name."""

    def play(name: str, design: Design, workload: Workload) -> History:
        history = _played(name, design, workload, settings, stack, _run_name(next(numbers)))
        if INTERRUPTED in history.notes:
            raise KeyboardInterrupt
        return history

    return play


def _try_delivery(
    settings: Settings,
    stack: Stack,
    number: int,
    streams: dict[str, tuple[StreamFacts, ...]],
    on_design: Callable[[str, DesignResult | None], None],
) -> None:
    """Kill the change stream's connector in every way that matters; ``number`` is that of the first run."""
    for place, trial in enumerate(TRIALS, start=number):
        on_design(f"the change stream, {trial.name}", None)
        sides = run_trial(trial, settings, stack.servers, _run_name(place))
        reached = trial is UNDISTURBED or all(one.killed for one in sides)
        streams[trial.name if reached else f"{trial.name}: too slow here, it was not killed"] = sides


async def isolation_levels(database: DatabaseServer) -> dict[str, str]:
    """What the database gives for each level that is asked for, by the anomalies that it lets happen.

    A YugabyteDB without ``yb_enable_read_committed_isolation`` runs READ COMMITTED as snapshot isolation and says
    nothing; here it shows. Raises ServerUnavailable.
    """
    try:
        async with Server(database.dsn, schema=f"{OURS}_probe") as server:
            executor = ServerExecutor(server)
            found = await verify(executor.target, server.facts.yugabyte, server.play)
    except ServerUnreachable as error:
        raise ServerUnavailable(str(error)) from None
    return in_force(found)


def in_force(found: VerifyResults) -> dict[str, str]:
    """What each level gives, and what is wrong with that."""
    return {
        f"{level.requested.upper()} in force": ". ".join((level.gives, *level.warnings)).rstrip(".")
        for level in found.levels
    }


def _simulations(
    judged: Sequence[Judged], designs: Mapping[str, Design], workload: Workload, settings: Settings
) -> tuple[dict[str, Simulated], bool]:
    """What the models say of the designs that ran to their end, and whether Ctrl-C ended it.

    A design that fails on them has nothing beside it: the live run is not thrown away for that.
    """
    beside: dict[str, Simulated] = {}
    try:
        for one in (one for one in judged if not one.history.cut_off):
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


def as_the_servers(settings: Settings, servers: Servers, levels: Mapping[str, str]) -> Settings:
    """The model of the servers that are really there: one of each, and a database with the isolation found in it."""
    database = replace(
        settings.database,
        dialect="yugabyte" if servers.product == YUGABYTE else "postgres",
        gateway="leader",
        pool_size=servers.pool_size(settings),
        read_committed=levels.get("READ COMMITTED in force", "").startswith("read committed"),
    )
    return replace(settings, database=database, replicated=False)


# -- facts ---------------------------------------------------------------------------------------------


def _with_levels(server: ServerFacts, levels: Mapping[str, str]) -> ServerFacts:
    """The facts of the database, with what each isolation level gives there; other servers' as they are."""
    if server.name != DATABASE:
        return server
    return server.model_copy(update={"settings": {**server.settings, **levels}})


def _families(settings: Settings, stack: Stack, own: bool) -> Iterator[FamilyFacts]:
    """What stands for each family."""
    leader = settings.database.leader
    for database in (one for one in stack.facts if one.name == DATABASE):
        named = f"{database.product} {database.version}"
        yield FamilyFacts(
            family="db",
            replicas=f"{named} as it was found" if own else f"one {named} in {leader}, without replicas",
            quorum="the server's own" if own else "none: a commit waits for the one server",
            recovery_point="none is shown" if own else "none is shown: there is no second copy",
            gateway=f"clients connect to the server in {leader}, each over its region's link",
        )
    if stack.servers.kafka is None:
        return
    if own:
        yield FamilyFacts(
            family="bus",
            replicas=f"clusters as they were found; that of {settings.kafka_leader} is the stretched one as well",
            quorum=f"acks=all waits for the replicas in sync; each topic has {stack.servers.replication}",
            recovery_point="none is shown",
            gateway="producers and consumers connect to the addresses that brokers advertise, over no link",
        )
    else:
        yield FamilyFacts(
            family="bus",
            replicas=f"one broker a region; the one in {settings.kafka_leader} is the stretched cluster as well",
            quorum="acks=all waits for the one broker",
            recovery_point="none is shown: there is no second copy, but what MirrorMaker copies",
            gateway="producers and consumers talk to a broker over their region's link to it",
        )
