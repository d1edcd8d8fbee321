"""Repeats a race through one design after the other, on servers that are up, with delays that were measured before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from arbsim.agreement import Agreement, Agreements, Calibration
from arbsim.compare import operation_row
from arbsim.history import History
from arbsim.model import Workload
from arbsim.repeating.calibration import calibrate
from arbsim.repeating.pairs import Race
from arbsim.repeating.probes import Live
from arbsim.repeating.run import repeat
from arbsim.runner import card_of
from arbsim.worlds.api import Design
from arbsim.worlds.live.servers import Servers
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design as run_model


class Repetitions:
    """What has been found so far; a run that ends early keeps it."""

    def __init__(self, race: Race, count: int, settings: Settings, live: Live) -> None:
        """``settings`` are those of the model of the servers that are there, with the scenario's delays."""
        self._race = race
        self._count = count
        self._settings = settings
        self._live = live
        self._calibration: Calibration | None = None
        self._found: dict[str, Agreement] = {}

    def run(
        self, designs: Mapping[str, Design], servers: Servers, waiting_for: Callable[[str], None]
    ) -> None:
        """Calibrate, then repeat the race through each design; one that fails on the model is left out."""
        waiting_for("the delays of links and servers")
        settings, self._calibration = calibrate(self._settings, servers, designs, self._live)
        for name, design in designs.items():
            waiting_for(f"{name}, {self._count} repetitions")
            with suppress(_FailedOnTheModel):
                self._repeat(name, design, settings)

    def _repeat(self, name: str, design: Design, settings: Settings) -> None:
        def model(workload: Workload) -> History:
            try:
                return run_model(design, card_of(name, design), workload, settings)
            except Exception as error:
                raise _FailedOnTheModel from error

        longest_ns = max(settings.round_trip_ns.values())
        found = repeat(
            self._race,
            self._count,
            settings.seed,
            longest_ns,
            live=lambda workload: self._live(name, design, workload),
            model=model,
        )
        if found is not None:
            self._found[name] = found

    def found(self) -> Agreements | None:
        """What is known; None where it did not come to the end of the calibration."""
        if self._calibration is None:
            return None
        race = self._race
        return Agreements(
            asked=self._count,
            operations=(operation_row(race.first), operation_row(race.second)),
            calibration=self._calibration,
            designs=self._found,
        )


class _FailedOnTheModel(Exception):
    """The model cannot run a design that runs on servers."""
