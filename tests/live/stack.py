"""One stack of real servers for all live tests, and designs run on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbsim.audit import audit
from arbsim.delivery import Trial, run_trial
from arbsim.history import History
from arbsim.model import Workload
from arbsim.results import DesignResult, StreamFacts
from arbsim.runner import card_of, designs_of
from arbsim.scenario import Scenario
from arbsim.worlds.api import Design
from arbsim.worlds.live.servers import Stack
from arbsim.worlds.live.serving import KillService
from arbsim.worlds.live.world import run_design
from arbsim.worlds.virtual.settings import Settings

SCENARIO = Path(__file__).parents[2] / "scenarios" / "two_regions_postgres.yaml"

Judge = Callable[[str], DesignResult]


@dataclass(slots=True)
class Live:
    """The stack, and the scenario that is run on it."""

    scenario: Scenario
    settings: Settings
    workload: Workload
    stack: Stack
    runs: int = 0

    def run(
        self,
        name: str,
        workload: Workload | None = None,
        settings: Settings | None = None,
        kills: tuple[KillService, ...] = (),
    ) -> History:
        """Run a design of the scenario."""
        return self.run_design(designs_of(self.scenario, [name])[name], name, workload, settings, kills)

    def run_design(
        self,
        design: Design,
        name: str = "tested",
        workload: Workload | None = None,
        settings: Settings | None = None,
        kills: tuple[KillService, ...] = (),
        **stream: Any,
    ) -> History:
        """Run any design, under names that no other run has."""
        self.runs += 1
        return run_design(
            design,
            card_of(name, design),
            workload or self.workload,
            settings or self.settings,
            self.stack.servers,
            f"arbsim_test_{self.runs}",
            kills,
            **stream,
        )

    def trial(self, trial: Trial) -> tuple[StreamFacts, ...]:
        """Kill a connector."""
        self.runs += 1
        return run_trial(trial, self.settings, self.stack.servers, f"arbsim_test_{self.runs}")

    def judge(self, name: str) -> DesignResult:
        """Run a design and audit its history."""
        return audit(self.run(name))
