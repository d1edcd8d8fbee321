"""How long the local stack takes to start warm, beside the same programs started with nothing around them."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from arbsim.runner import designs_of, settings_of
from arbsim.scenario import load_scenario
from arbsim.worlds.api import Resources
from arbsim.worlds.live.java import JavaMissing, find_java
from arbsim.worlds.live.kafka import Broker, Flow, start_mirror_maker
from arbsim.worlds.live.local import local_stack
from arbsim.worlds.live.postgres import EmbeddedPostgres
from arbsim.worlds.live.processes import reserved_ports
from arbsim.worlds.virtual.settings import Settings
from benchmarks.measures import ROOT

REGIONS = ("east", "west")


def starting(rounds: int) -> dict[str, Any] | str:
    """Seconds from nothing to servers that answer, in turn; the first round of both warms the caches."""
    try:
        find_java()
    except JavaMissing as missing:
        return f"not run: {missing}"
    scenario = load_scenario(ROOT / "scenarios" / "two_regions_postgres.yaml")
    settings = settings_of(scenario, scenario.seed)
    needs = [design.resources() for design in designs_of(scenario).values()]
    ours, theirs = [], []
    for number in range(rounds + 1):
        print("live: starting the stack", file=sys.stderr)
        if number % 2:
            one, other = arbsim_s(settings, needs), bare_s()
        else:
            other, one = bare_s(), arbsim_s(settings, needs)
        if number:
            ours.append(one)
            theirs.append(other)
    return {
        "seconds_over_bare": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
        "local_stack_s": round(statistics.median(ours), 2),
        "bare_s": round(statistics.median(theirs), 2),
    }


def arbsim_s(settings: Settings, needs: list[Resources]) -> float:
    """The local stack, its links, and what it asks its servers before a run."""
    began = time.perf_counter()
    with local_stack(settings, needs, lambda server: None):
        return time.perf_counter() - began


def bare_s() -> float:
    """Two brokers and PostgreSQL at once, then MirrorMaker: no links, no questions."""
    began = time.perf_counter()
    java = find_java()
    with ExitStack() as stack:
        ports = iter(stack.enter_context(reserved_ports(8)))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        brokers = {
            region: Broker(region, home / region, [next(ports) for _ in range(4)], REGIONS)
            for region in REGIONS
        }
        for broker in brokers.values():
            broker.start(java, {region: broker.port_for(region) for region in REGIONS}, train=False)
            stack.callback(broker.child.kill)
        stack.enter_context(EmbeddedPostgres({"wal_level": "logical"}))

        async def ready() -> None:
            await asyncio.gather(*(broker.ready() for broker in brokers.values()))

        asyncio.run(ready())
        flows = [
            Flow(source, target, brokers[source].address)
            for source, target in (REGIONS, tuple(reversed(REGIONS)))
        ]
        stack.callback(start_mirror_maker(java, brokers, flows, home / "mirror", train=False).kill)
        return time.perf_counter() - began
