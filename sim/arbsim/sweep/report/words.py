"""How a sweep's numbers are said: always with their interval, and honestly where there is none."""

from __future__ import annotations

from arbsim.report.words import clean
from arbsim.scenario.sweeps import Measure
from arbsim.sweep.measures import ABOUT
from arbsim.sweep.results import Axis, FrontierRow, Measured, SweepResults, Swing, Threshold

CAVEATS = (
    "The intervals say how far chance in the seeds could be off, not how far the model is from a real system.",
    "All bounds hold at 95 % each; of many bounds some will be wrong.",
    "Operations of one run are not independent, so runs are counted and resampled, never operations.",
)


TWO: tuple[Measure, Measure] = ("violated", "fate_p99")
"""The measures by which designs are told apart: safety, and what it costs."""

FEW = 20
"""Replications below which the bootstrap is rough."""


def caveats(results: SweepResults) -> tuple[str, ...]:
    """What weakens every number of this sweep."""
    fewest = min((point.replications for point in results.points), default=0)
    if fewest >= FEW:
        return CAVEATS
    return (
        *CAVEATS,
        f"Some points have only {_of(fewest, 'replication')}: below {FEW} the bootstrapped intervals are too narrow.",
    )


def number(value: float | None) -> str:
    """A number with three digits that matter."""
    if value is None:
        return "-"
    if value == 0 or 0.001 <= abs(value) < 1e12:
        text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        return f"{float(text):g}" if "e" in text else text
    return f"{value:.2e}"


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return "-" if value is None else f"{number(100 * value)} %"


def rate(measured: Measured, count: int | None = None, runs: int | None = None) -> str:
    """A rate of runs with its interval: "37 of 200: 18.5 % (13.4 to 24.6)", "0 of 200: at most 1.5 %"."""
    counted = "" if count is None or runs is None else f"{count:,} of {runs:,}: "
    if measured.estimate is None:
        return "nothing was run"
    if measured.one_sided and measured.estimate == 0:
        return f"{counted or 'none: '}at most {percent(measured.high)}"
    if measured.one_sided:
        return f"{counted or 'all: '}at least {percent(measured.low)}"
    alike = " (every seed alike)" if measured.method == "all-alike" else ""
    return f"{counted}{percent(measured.estimate)}{_bounds(measured, 100)}{alike}"


def value(measured: Measured, measure: Measure) -> str:
    """A number of any measure with its interval."""
    if ABOUT[measure].form == "rate":
        return rate(measured)
    if measured.estimate is None:
        return "-"
    if measured.method == "none-seen":
        return "0 (none seen)"
    if measured.method == "all-alike":
        return f"{number(measured.estimate)} (all runs alike)"
    return number(measured.estimate) + _bounds(measured, 1)


def difference(measured: Measured, measure: Measure) -> str:
    """A difference with its interval; of rates in points of a percent."""
    if measured.estimate is None:
        return "-"
    scale = 100 if ABOUT[measure].form == "rate" else 1
    sign = "+" if measured.estimate > 0 else ""
    if measured.method in ("none-seen", "all-alike"):
        return f"{sign}{number(scale * measured.estimate)} (in every run)"
    return f"{sign}{number(scale * measured.estimate)}{_bounds(measured, scale)}"


def _bounds(measured: Measured, scale: int) -> str:
    if measured.low is None or measured.high is None:
        return ""
    return f" ({number(scale * measured.low)} to {number(scale * measured.high)})"


def title(measure: Measure) -> str:
    """A measure with its unit."""
    about = ABOUT[measure]
    return f"{about.title}, {about.unit}"


def scope(results: SweepResults) -> str:
    """How much was run, in one sentence."""
    counts = [point.replications for point in results.points]
    low, high = min(counts, default=0), max(counts, default=0)
    each = _of(high, "replication") if low == high else f"{low:,} to {_of(high, 'replication')}"
    designs = len({one.design for one in results.frontier})
    last = max((point.last_seed for point in results.points), default=results.manifest.seed)
    return (
        f"{_of(len(results.points), 'point')}, {each} of {_of(designs, 'design')} at each, "
        f"seeds {results.manifest.seed} to {last}; the same seeds everywhere"
    )


def _of(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def headline(results: SweepResults) -> str:
    """One sentence that answers for all designs."""
    total = len(results.frontier)
    broke = sum(1 for one in results.frontier if one.violated.estimate)
    against = len(results.broken_claims)
    if not any(point.replications for point in results.points):
        return "Nothing was run."
    if not broke:
        return f"None of {total} designs was seen to break in any run."
    how = f"{against} of them against their own claims" if against else "as declared"
    return f"{broke} of {total} designs {'breaks' if broke == 1 else 'break'} in some run, {how}."


def frontier(row: FrontierRow, results: SweepResults) -> str:
    """Whether a design is on the frontier: over the whole sweep, and at how many points by themselves."""
    over_all = "yes" if row.on_frontier else "no"
    return f"{over_all}; at {row.on_frontier_at:,} of {_of(len(results.points), 'point')}"


def threshold(one: Threshold, axis: Axis) -> str:
    """Where a design stops looking safe."""
    if one.first_seen_at is None:
        return f"no run violated anywhere ({one.none_runs:,} runs)"
    parts = []
    if one.none_up_to is not None:
        parts.append(f"none up to {number(one.none_up_to)} ({one.none_runs:,} runs)")
    parts.append(f"first seen at {number(one.first_seen_at)}")
    if one.half_from is not None:
        parts.append(f"at least half of the runs from {number(one.half_from)} on")
    return ", ".join(parts)


def strongest(results: SweepResults) -> list[Swing]:
    """What moves the rate of violating runs, the strongest first; where nothing does, the time to fate."""
    for measure in TWO:
        moved = [one for one in results.sensitivity if one.measure == measure and one.estimate]
        if moved:
            return sorted(moved, key=lambda one: -(one.estimate or 0))
    return []


def swing(one: Swing) -> str:
    """How far a parameter moves a measure."""
    unit = "points" if ABOUT[one.measure].form == "rate" else ABOUT[one.measure].unit
    return (
        f"{clean(one.parameter)} moves {ABOUT[one.measure].title} of {clean(one.design)} by "
        f"{difference(one, one.measure).lstrip('+')} {unit}: lowest at {clean(one.lowest_at)}, "
        f"highest at {clean(one.highest_at)}"
    )


def values(of: dict[str, str]) -> str:
    """A point's values in words."""
    return ", ".join(f"{clean(path)} {clean(text)}" for path, text in of.items())
