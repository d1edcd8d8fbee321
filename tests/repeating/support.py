"""Two regions and one account, on the model of one server of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from arbsim.designs import catalogue
from arbsim.history import History
from arbsim.live import as_the_servers
from arbsim.model import Workload
from arbsim.runner import card_of, settings_of
from arbsim.scenario import load_scenario
from arbsim.workload import build_workload
from arbsim.worlds.live.links import Links
from arbsim.worlds.live.servers import Servers
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design
from tests.live.stack import SCENARIO

MS = 1_000_000

_scenario = load_scenario(str(SCENARIO))
_servers = Servers(None, cast(Links, None), Path(), None, "none here", None, lambda: None, lambda: None)
SETTINGS = as_the_servers(settings_of(_scenario, 42), _servers, {"READ COMMITTED in force": "read committed"})
WORKLOAD = build_workload(_scenario, 42)
LONGEST_NS = max(SETTINGS.round_trip_ns.values())


def with_kafka(**timings: int) -> Settings:
    return replace(SETTINGS, kafka=replace(SETTINGS.kafka, **timings))


def play(name: str, settings: Settings = SETTINGS) -> Callable[[Workload], History]:
    """Runs a design of the catalogue on the model."""
    design = catalogue()[name]()
    return lambda workload: run_design(design, card_of(name, design), workload, settings)
