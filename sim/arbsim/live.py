"""A live run, from a scenario to results: the same designs, workload, audit and comparison, on real servers."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from arbsim.audit import audit
from arbsim.audit.costs import EVERYWHERE, ms
from arbsim.model import Workload
from arbsim.results import DesignResult, FamilyFacts, LinkFacts, LiveFacts, ServerFacts, Simulated
from arbsim.runner import DesignFailed, Judged, Run, card_of, facts_of, finish, judge_design, settings_of
from arbsim.scenario import Scenario
from arbsim.worlds.api import Design
from arbsim.worlds.live.java import JavaMissing, fetch
from arbsim.worlds.live.local import Stack, local_stack, train
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.world import INTERRUPTED, run_design, why_not
from arbsim.worlds.virtual.settings import Settings

__all__ = ["JavaMissing", "LiveRun", "ServerUnavailable", "run_live", "set_up"]


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
    waiting_for: Callable[[str], None] = lambda server: None,
) -> LiveRun:
    """Run every design on servers of this machine, judge each, and put the model's word beside it.

    ``on_design`` is told when a design begins (result None) and when it is judged, ``waiting_for`` which server is
    being waited for. Raises ServerUnavailable where no design was judged before, and DesignFailed for a bug in one.
    """
    began = datetime.now(UTC)
    settings = settings_of(scenario, seed)
    judged: list[Judged] = []
    not_run: dict[str, str] = {}
    interrupted, unavailable = False, None
    needs = [design.resources() for design in designs.values()]
    with local_stack(settings, needs, waiting_for) as stack:
        for number, (name, design) in enumerate(designs.items(), start=1):
            reason = why_not(design.resources(), stack.servers)
            if reason is not None:
                not_run[name] = reason
                continue
            on_design(name, None)
            try:
                one = _judge(name, design, workload, settings, stack, f"arbsim_{os.getpid()}_{number}")
            except (KeyboardInterrupt, ServerUnavailable) as end:
                if not judged:
                    raise
                interrupted, unavailable = isinstance(end, KeyboardInterrupt), str(end)
                break
            judged.append(one)
            on_design(name, one.result)
            interrupted = INTERRUPTED in one.history.notes
            if interrupted:
                break
    modelled = _as_the_server(settings, stack)
    live = LiveFacts(
        began=began.strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine_facts(),
        servers=tuple(_servers(stack)),
        links=tuple(_links(stack)),
        not_run=not_run,
        simulated={
            one.name: simulated(judge_design(one.name, designs[one.name], workload, modelled).result)
            for one in judged
        },
    )
    facts = replace(facts_of(scenario, seed, replay), live=live, families=tuple(_families(settings, stack)))
    return LiveRun(finish(scenario, workload, facts, designs, judged), interrupted, unavailable or None)


def set_up(waiting_for: Callable[[str], None]) -> str:
    """Fetch the jars, and start and stop everything once so that later starts are fast.

    Returns what is there now. Raises JavaMissing and ServerUnavailable.
    """
    waiting_for("Fetching Kafka and Debezium with Maven")
    folder = fetch()
    train(waiting_for)
    return f"Kafka and Debezium are in {folder.name} of arbsim's cache folder"


def _judge(
    name: str, design: Design, workload: Workload, settings: Settings, stack: Stack, run: str
) -> Judged:
    card = card_of(name, design)
    try:
        history = run_design(design, card, workload, settings, stack.servers, run)
    except ServerUnavailable:
        raise
    except Exception as error:
        stack.servers.check()  # what a server's end looks like to a client is no fault of the design
        raise DesignFailed(name, error) from error
    return Judged(name, history, audit(history))


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


def _as_the_server(settings: Settings, stack: Stack) -> Settings:
    """The model of the servers that are really there: one of each, and the database's dialect."""
    database = settings.database
    if any(one.product == "PostgreSQL" for one in stack.descriptions):
        database = replace(database, dialect="postgres", gateway="leader")
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


def _servers(stack: Stack) -> Iterator[ServerFacts]:
    for one in stack.descriptions:
        yield ServerFacts(
            name=one.name,
            product=one.product,
            version=one.version,
            stands_for=one.stands_for,
            settings=dict(one.settings),
        )


def _links(stack: Stack) -> Iterator[LinkFacts]:
    for one in stack.links:
        yield LinkFacts(
            region=one.region,
            server=one.server,
            round_trip_ms=ms(one.round_trip_ns),
            measured_ms=None if one.measured_ns is None else ms(one.measured_ns),
        )


def _families(settings: Settings, stack: Stack) -> Iterator[FamilyFacts]:
    leader = settings.database.leader
    for one in stack.descriptions:
        if one.name == "database":
            yield FamilyFacts(
                family="db",
                replicas=f"one {one.product} {one.version} in {leader}, without replicas",
                quorum="none: a commit waits for the one server",
                recovery_point="none is shown: there is no second copy",
                gateway=f"clients connect to the server in {leader}, each over its region's link",
            )
        elif one.stands_for is not None:
            yield FamilyFacts(
                family="bus",
                replicas=f"one broker a region; the one in {settings.kafka_leader} is the stretched cluster as well",
                quorum="acks=all waits for the one broker",
                recovery_point="none is shown: there is no second copy, but what MirrorMaker copies",
                gateway="producers and consumers talk to a broker over their region's link to it",
            )
