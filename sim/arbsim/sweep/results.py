"""The document of a sweep: ``sweep.json`` holds it, ``--json`` prints it, tables and reports are rendered from it.

Money is in the account's unit, times are in milliseconds, rates are shares of runs. A bound is null where the
runs say nothing of it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from arbsim.document import Part
from arbsim.model import Agreement, Family, FindingKind
from arbsim.scenario.sweeps import Measure

SCHEMA_VERSION: Literal[1] = 1

Method = Literal["clopper-pearson", "bootstrap", "none-seen", "all-alike", "too-few", "nothing"]
"""How the bounds came about.

clopper-pearson: exact, for a rate of runs; bootstrap: BCa over whole runs; none-seen: every run has zero, so only
the rate of runs that have any is bounded; all-alike: every resample gives the same value; too-few: fewer than two
runs; nothing: there was nothing to measure.
"""


class Measured(Part):
    """An estimate with its bounds at 95 % confidence."""

    estimate: float | None
    low: float | None
    high: float | None
    one_sided: bool = Field(default=False, description="the one bound that is given holds alone at 95 %")
    method: Method


class Parameter(Part):
    """What the sweep varies: the name in the scenario, the full place, and the values."""

    path: str
    place: str
    values: tuple[str, ...]


class Point(Part):
    """One combination of values. Replication i has the seed ``first_seed`` + i."""

    number: int
    values: dict[str, str]
    replications: int
    operations: int = Field(description="operations of one run")
    first_seed: int
    last_seed: int
    lag_over_gap: float | None = Field(
        default=None,
        description="the time that news needs between the regions over the mean gap between operations on the"
        " hottest account",
    )


class Estimate(Measured):
    """One measure of one design at one point."""

    point: int
    design: str
    measure: Measure
    runs: int
    count: int | None = Field(description="violating runs, or what was counted in all runs together")
    inconclusive: int = Field(default=0, description="runs in which nothing was tested")
    first_seed: int | None = Field(default=None, description="the first seed whose run violated")


class Difference(Measured):
    """A design minus the baseline at one point, over the same seeds."""

    point: int
    design: str
    baseline: str
    measure: Measure
    narrower: float | None = Field(
        description="how many times as wide the interval would be if the designs had run on different seeds"
    )


class Swing(Measured):
    """How far one parameter moves a measure: the mean at the level where it is highest, less that at the lowest."""

    parameter: str
    design: str
    measure: Measure
    lowest_at: str
    highest_at: str


class Level(Measured):
    """The rate of violating runs of a design at one place of the chart's axis."""

    design: str
    x: float
    runs: int
    count: int


class Axis(Part):
    """What the chart of rates has across: the ratio of lag and gap, or the values of a parameter."""

    name: str
    labels: tuple[str, ...] = Field(default=(), description="values of a parameter that has no numbers")


class FrontierRow(Part):
    """A design over all points: how often it violates, and how long clients wait for their fate."""

    design: str
    family: Family
    agreement: Agreement
    violated: Measured
    fate_p99: Measured
    on_frontier: bool = Field(description="no other design is at least as good in both and better in one")
    on_frontier_at: int = Field(description="at how many of the points, each by itself, that is so")


class Threshold(Part):
    """Where a design stops looking safe along the axis; null where it does not happen in this sweep."""

    design: str
    none_up_to: float | None = Field(description="no run violated at any place up to here")
    none_runs: int = Field(description="how many runs that were, in all")
    first_seen_at: float | None
    half_from: float | None = Field(description="from here on at least half of the runs violate")


class FailedRun(Part):
    """A replication that failed three times by itself."""

    point: int
    values: dict[str, str]
    seed: int
    error: str


class Witness(Part):
    """The first run in which a design violated, at the first point at which one did."""

    design: str
    point: int
    seed: int
    replay: str = Field(description="the command that runs it by itself")


class BrokenClaim(Part):
    """A design that broke what it claims to prevent."""

    design: str
    point: int
    values: dict[str, str]
    seed: int
    replay: str
    kinds: tuple[FindingKind, ...]
    runs: int = Field(description="runs of the whole sweep in which it did")


class SweepManifest(Part):
    """What reproduces this document."""

    arbsim: str
    scenario: dict[str, Any]
    identity: str = Field(description="SHA-256 of all that decides a run")
    seed: int
    replay: str


class SweepResults(Part):
    """A sweep: every point, design and measure, each with its interval."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    question: str
    manifest: SweepManifest
    baseline: str
    precision: float | None
    measures: tuple[Measure, ...]
    parameters: tuple[Parameter, ...]
    points: tuple[Point, ...]
    estimates: tuple[Estimate, ...]
    differences: tuple[Difference, ...]
    sensitivity: tuple[Swing, ...]
    axis: Axis
    levels: tuple[Level, ...]
    thresholds: tuple[Threshold, ...]
    frontier: tuple[FrontierRow, ...]
    witnesses: tuple[Witness, ...]
    broken_claims: tuple[BrokenClaim, ...]
    failed: tuple[FailedRun, ...]
    exit_code: int = Field(description="5: runs failed; 1: a design broke its claim; 0: neither")
