"""What a sweep has to run: the points, the seeds, and when a point has been run often enough."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from arbsim import __version__
from arbsim.scenario import Scenario
from arbsim.scenario.parameter_paths import Keys
from arbsim.scenario.sweep_check import Varied, as_fault, at_point, varied, written
from arbsim.scenario.sweeps import Measure
from arbsim.sweep.lag import lag_over_gap

POINTS_MAX = 1_000
"""Points that are run without being asked twice."""

AT_MOST = 10_000
"""Replications of a point where a precision is asked for and the scenario says no other cap."""

_NOT_IN_A_RUN = ("sweep", "expect", "silence", "name", "question")
"""Parts of a scenario that decide nothing in a run."""


class PlanError(Exception):
    """The sweep cannot be run as it is; the text says why and what to change."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every task of a sweep needs to know; it is sent to the workers.

    ``base`` is the scenario as JSON with a text in each place, ``keys`` are the places that vary. ``identity``
    is the digest of all that decides a run.
    """

    version: str
    identity: str
    base: str
    keys: tuple[Keys, ...]
    trace: Any


@dataclass(frozen=True, slots=True)
class Unit:
    """One replication of one point: one run of every design. ``values`` are those of the setting's keys."""

    point: int
    replication: int
    seed: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """One combination of values: its operations in one run, and the ratio of lag and gap, where there is one."""

    values: tuple[str, ...]
    operations: int
    lag_over_gap: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep before it is run. Points count from 0 in order of the values, the last parameter changing fastest."""

    scenario: Scenario
    setting: Setting
    parameters: tuple[Varied, ...]
    points: tuple[PlannedPoint, ...]
    designs: tuple[str, ...]
    baseline: str
    measures: tuple[Measure, ...]
    replications: int
    precision: float | None
    at_most: int

    def unit(self, point: int, replication: int) -> Unit:
        """One replication of a point. All points use the same seeds: common random numbers."""
        return Unit(point, replication, self.scenario.seed + replication, self.points[point].values)

    def values(self, point: int) -> dict[str, str]:
        """A point's values by the names of the parameters."""
        return dict(zip((one.path for one in self.parameters), self.points[point].values, strict=True))


def make_plan(scenario: Scenario, precision_ppm: int | None = None) -> Plan:
    """Work out a scenario's sweep; ``precision_ppm`` replaces the scenario's own.

    Raises PlanError where there is no sweep, or two values cannot stand together.
    """
    spec = scenario.sweep
    if spec is None:
        raise PlanError(
            "the scenario has no sweep: block, such as "
            "sweep: {vary: {kafka.mirror_lag: [5 ms, 40 ms, 160 ms]}, replications: 100}"
        )
    base = {key: value for key, value in written(scenario).items() if key not in _NOT_IN_A_RUN}
    base["name"] = "sweep"
    parameters = varied(base, spec)
    designs = tuple(entry.name for entry in scenario.designs)
    precision = spec.precision if precision_ppm is None else precision_ppm
    trace = scenario.workload.trace
    text = json.dumps(base, ensure_ascii=True, separators=(",", ":"))
    keys = tuple(one.place.keys for one in parameters)
    at_most = max(spec.at_most or AT_MOST, spec.replications)
    return Plan(
        scenario=scenario,
        setting=Setting(__version__, _identity(text, parameters, trace), text, keys, trace),
        parameters=parameters,
        points=tuple(_points(base, parameters, trace)),
        designs=designs,
        baseline=spec.baseline or designs[0],
        measures=spec.measures,
        replications=spec.replications,
        precision=None if precision is None else precision / 1_000_000,
        at_most=spec.replications if precision is None else at_most,
    )


def _identity(base: str, parameters: tuple[Varied, ...], trace: Any) -> str:
    """The digest of all that decides what a run of a point gives, and which point is which."""
    what = [
        base,
        [[".".join(one.place.keys), *one.texts] for one in parameters],
        getattr(trace, "sha256", ""),
    ]
    return hashlib.sha256(json.dumps(what).encode("ascii")).hexdigest()


def _points(base: Mapping[str, Any], parameters: Sequence[Varied], trace: Any) -> Iterator[PlannedPoint]:
    """Yield every combination. Raises PlanError for values that cannot stand together."""
    for values in product(*(one.texts for one in parameters)):
        placed = {one.place.keys: value for one, value in zip(parameters, values, strict=True)}
        try:
            scenario = at_point(base, placed, trace)
        except ValidationError as error:
            told = as_fault(error).context or {}
            where = ", ".join(f"{one.path} {value}" for one, value in zip(parameters, values, strict=True))
            raise PlanError(f"with {where}: {told['message']}; {told['hint']}".rstrip("; ")) from None
        yield PlannedPoint(values, _operations(scenario), lag_over_gap(scenario))


def _operations(scenario: Scenario) -> int:
    spec = scenario.workload
    if spec.generate is not None:
        return spec.generate.operations
    return len(spec.trace.operations if spec.trace is not None else spec.operations or ())


def looks(plan: Plan) -> Iterator[int]:
    """The numbers of replications after which a point is looked at: after every batch, and at the cap."""
    yield from range(plan.replications, plan.at_most, plan.replications)
    yield plan.at_most


def enough(plan: Plan, violated: Mapping[str, Sequence[bool]], count: int) -> bool:
    """Whether a point is known well enough after ``count`` replications; called with each of the looks in turn.

    ``violated`` says of each design's replications, those that failed left out, whether they violated.
    """
    if plan.precision is None or count >= plan.at_most:
        return True
    from arbsim.sweep.intervals import clopper_pearson

    rates = (clopper_pearson(sum(runs), len(runs)) for runs in violated.values())
    return all(rate.reach <= plan.precision for rate in rates)
