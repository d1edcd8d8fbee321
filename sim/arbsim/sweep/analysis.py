"""From the runs of a sweep to its document: estimates, differences, sensitivity, the frontier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

import numpy as np

from arbsim import __version__
from arbsim.model import DesignCard, FindingKind, Verdict
from arbsim.runner import card_of, designs_of
from arbsim.scenario.parameter_paths import number_of
from arbsim.scenario.sweeps import Measure
from arbsim.sweep.intervals import (
    Floats,
    Statistic,
    bootstrap,
    clopper_pearson,
    mean_of,
    paired_difference,
    percentile_of,
)
from arbsim.sweep.measures import ABOUT, NOTHING, Runs, method_of, scale_of, significant, told, waits_of
from arbsim.sweep.plan import Plan
from arbsim.sweep.results import (
    Axis,
    BrokenClaim,
    Difference,
    Estimate,
    FailedRun,
    FrontierRow,
    Level,
    Measured,
    Parameter,
    Point,
    SweepManifest,
    SweepResults,
    Swing,
    Threshold,
    Witness,
)
from arbsim.sweep.task import Record

BROKEN, FAILED = 1, 5
RATIO = "replication lag / gap between operations on the hottest account"


@dataclass(frozen=True, slots=True)
class Sample:
    """The replications of one point that count, in order; one that failed is not among them."""

    point: int
    records: dict[int, Record]


def analyse(
    plan: Plan, samples: Sequence[Sample], failed: Sequence[FailedRun], file: str, replay: str
) -> SweepResults:
    """Return the document of a sweep that was run to its end.

    ``file`` is the scenario's as the replay lines of single runs have it; ``replay`` is the line of the sweep itself.
    """
    cards = {name: card_of(name, design) for name, design in designs_of(plan.scenario).items()}
    runs = _Runs(plan, samples)
    axis, levels = _along_axis(plan, runs)
    broken = tuple(_broken_claims(plan, samples, cards, file))
    return SweepResults(
        name=plan.scenario.name,
        question=plan.scenario.question or "",
        manifest=SweepManifest(
            arbsim=__version__,
            scenario=plan.scenario.describe(),
            identity=plan.setting.identity,
            seed=plan.scenario.seed,
            replay=replay,
        ),
        baseline=plan.baseline,
        precision=plan.precision,
        measures=plan.measures,
        parameters=tuple(
            Parameter(path=one.path, place=one.place.path, values=one.texts) for one in plan.parameters
        ),
        points=tuple(_points(plan, samples)),
        estimates=tuple(_estimates(plan, runs)),
        differences=tuple(_differences(plan, runs)),
        sensitivity=tuple(_sensitivity(plan, runs)),
        axis=axis,
        levels=levels,
        thresholds=() if axis.labels else tuple(_thresholds(plan.designs, levels)),
        frontier=tuple(_frontier(runs, cards)),
        witnesses=tuple(_witnesses(plan, runs, file)),
        broken_claims=broken,
        failed=tuple(failed),
        exit_code=FAILED if failed else BROKEN if broken else 0,
    )


class _Runs:
    """The runs by point and design, one by one and over several points."""

    def __init__(self, plan: Plan, samples: Sequence[Sample]) -> None:
        self.points = [sample.point for sample in samples]
        self.of = {
            (sample.point, design): Runs(
                {number: record[design] for number, record in sample.records.items()},
                plan.points[sample.point].operations,
            )
            for sample in samples
            for design in plan.designs
        }
        have = [sample.records.keys() for sample in samples]
        self.common = [number for number in (have[0] if have else ()) if all(number in one for one in have)]
        """Replications that every point has run; what is said of several points uses these alone."""
        self.seeds = len(self.common)

    def over(self, points: Sequence[int], design: str, measure: Measure) -> Statistic | None:
        """Return a measure over several points, all alike, as a statistic of seeds; None without operations.

        A seed stands for its runs at all of these points, which share its operations and weather: it is resampled
        whole.
        """
        several = [self.of[point, design] for point in points]
        about = ABOUT[measure]
        if about.form == "percentile":
            rows = [_merged([one.numbers[number]["waits"] for one in several]) for number in self.common]
            counts, middles = waits_of(rows)
            return percentile_of(about.percent, counts, middles) if counts.sum() else None
        column: Floats = np.zeros(self.seeds)
        for one in several:
            column = column + one.column(measure, self.common)
        divisor = len(several) if about.form == "rate" else sum(one.operations for one in several)
        mean, factor = mean_of(column), scale_of(about.form, 1) / divisor
        return lambda weights: mean(weights) * factor

    def measure(self, points: Sequence[int], design: str, measure: Measure) -> Measured:
        """Return a measure over several points with its interval."""
        statistic = self.over(points, design, measure) if self.seeds and points else None
        if statistic is None:
            return NOTHING
        interval = bootstrap(statistic, self.seeds)
        if measure == "violated" and interval.low is None and interval.estimate in (0, 1):
            # A seed is one trial, whatever number of points shares it.
            seen = self.seeds if interval.estimate else 0
            return told(clopper_pearson(seen, self.seeds), "clopper-pearson")
        return told(interval, method_of(interval, self.seeds))


def _merged(waits: Sequence[Mapping[str, int]]) -> dict[str, int]:
    together: Counter[str] = Counter()
    for one in waits:
        together.update(one)
    return dict(together)


# -- point by point ------------------------------------------------------------------------------------


def _points(plan: Plan, samples: Sequence[Sample]) -> Iterator[Point]:
    first = plan.scenario.seed
    for sample in samples:
        count = len(sample.records)
        ratio = plan.points[sample.point].lag_over_gap
        yield Point(
            number=sample.point,
            values=plan.values(sample.point),
            replications=count,
            operations=plan.points[sample.point].operations,
            first_seed=first,
            last_seed=first + max(sample.records, default=0),
            lag_over_gap=None if ratio is None else significant(ratio),
        )


def _estimates(plan: Plan, runs: _Runs) -> Iterator[Estimate]:
    for (point, design), several in runs.of.items():
        for measure in plan.measures:
            form = ABOUT[measure].form
            is_rate = form == "rate"
            counted = form in ("rate", "per_million") and len(several)
            yield Estimate(
                **several.measure(measure).model_dump(),
                point=point,
                design=design,
                measure=measure,
                runs=len(several),
                count=int(several.column(measure).sum()) if counted else None,
                inconclusive=_inconclusive(several) if is_rate else 0,
                first_seed=_first_seed(plan, several) if is_rate else None,
            )


def _inconclusive(runs: Runs) -> int:
    return sum(one["verdict"] == Verdict.INCONCLUSIVE.value for one in runs.numbers.values())


def _first_seed(plan: Plan, runs: Runs) -> int | None:
    for number, one in runs.numbers.items():
        if one["verdict"] == Verdict.VIOLATED.value:
            return plan.scenario.seed + number
    return None


def _differences(plan: Plan, runs: _Runs) -> Iterator[Difference]:
    for (point, design), several in runs.of.items():
        baseline = runs.of[point, plan.baseline]
        for measure in plan.measures if design != plan.baseline else ():
            measured, narrower = _difference(several, baseline, measure)
            yield Difference(
                **measured.model_dump(),
                point=point,
                design=design,
                baseline=plan.baseline,
                measure=measure,
                narrower=narrower,
            )


def _difference(runs: Runs, baseline: Runs, measure: Measure) -> tuple[Measured, float | None]:
    if runs.is_empty(measure) or baseline.is_empty(measure):
        return NOTHING, None
    one, other = runs.statistic(measure), baseline.statistic(measure)
    interval, narrower = paired_difference(one, other, len(runs))
    measured = told(interval, method_of(interval, len(runs)))
    return measured, None if narrower is None else significant(narrower)


def _broken_claims(
    plan: Plan, samples: Sequence[Sample], cards: Mapping[str, DesignCard], file: str
) -> Iterator[BrokenClaim]:
    """Yield, for each design that broke what it claims to prevent, the first run in which it did."""
    for design, card in cards.items():
        broken = [
            (sample.point, number, record[design]["found"])
            for sample in samples
            for number, record in sample.records.items()
            if record[design]["against"]
        ]
        claims = {*card.claims, *([FindingKind.STALE_READ] if card.fresh_reads else [])}
        for point, number, found in broken[:1]:
            yield BrokenClaim(
                design=design,
                point=point,
                values=plan.values(point),
                seed=plan.scenario.seed + number,
                replay=_replay_of(plan, point, plan.scenario.seed + number, file),
                kinds=tuple(kind for kind in FindingKind if kind.value in found and kind in claims),
                runs=len(broken),
            )


def _witnesses(plan: Plan, runs: _Runs, file: str) -> Iterator[Witness]:
    for design in plan.designs:
        for point in runs.points:
            seed = _first_seed(plan, runs.of[point, design])
            if seed is not None:
                line = _replay_of(plan, point, seed, file)
                yield Witness(design=design, point=point, seed=seed, replay=line)
                break


def _replay_of(plan: Plan, point: int, seed: int, file: str) -> str:
    """The command that runs one replication by itself."""
    values = "".join(f" --set {quote(f'{path}={text}')}" for path, text in plan.values(point).items())
    return f"arbsim run {file} --seed {seed}{values}"


# -- over all points -----------------------------------------------------------------------------------


def _sensitivity(plan: Plan, runs: _Runs) -> Iterator[Swing]:
    for index, parameter in enumerate(plan.parameters):
        groups = _by_value(plan, runs, index)
        for design in plan.designs if len(groups) > 1 and runs.seeds else ():
            for measure in plan.measures:
                levels = {text: runs.over(points, design, measure) for text, points in groups.items()}
                swing = _swing(levels, runs.seeds)
                if swing is not None:
                    measured, lowest, highest = swing
                    yield Swing(
                        **measured.model_dump(),
                        parameter=parameter.path,
                        design=design,
                        measure=measure,
                        lowest_at=lowest,
                        highest_at=highest,
                    )


def _by_value(plan: Plan, runs: _Runs, index: int) -> dict[str, list[int]]:
    """The points by the value that one parameter has there."""
    groups: dict[str, list[int]] = {text: [] for text in plan.parameters[index].texts}
    for point in runs.points:
        groups[plan.points[point].values[index]].append(point)
    return groups


def _swing(levels: Mapping[str, Statistic | None], seeds: int) -> tuple[Measured, str, str] | None:
    """Return how far apart the lowest and the highest level are, and which they are; None without operations."""
    known = {text: level for text, level in levels.items() if level is not None}
    if len(known) < len(levels):
        return None
    means = {text: float(level(np.ones((1, seeds)))[0]) for text, level in known.items()}
    lowest, highest = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    low, high = known[lowest], known[highest]
    interval = bootstrap(lambda weights: high(weights) - low(weights), seeds)
    return told(interval, method_of(interval, seeds)), lowest, highest


def _frontier(runs: _Runs, cards: Mapping[str, DesignCard]) -> Iterator[FrontierRow]:
    rows = {
        design: (runs.measure(runs.points, design, "violated"), runs.measure(runs.points, design, "fate_p99"))
        for design in cards
    }
    at_points: Counter[str] = Counter()
    for point in runs.points:
        here = {
            design: (runs.of[point, design].measure("violated"), runs.of[point, design].measure("fate_p99"))
            for design in cards
        }
        at_points.update(design for design in cards if _is_best(here[design], list(here.values())))
    for design, (violated, waited) in rows.items():
        yield FrontierRow(
            design=design,
            family=cards[design].family,
            agreement=cards[design].agreement,
            violated=violated,
            fate_p99=waited,
            on_frontier=_is_best(rows[design], list(rows.values())),
            on_frontier_at=at_points[design],
        )


def _is_best(row: tuple[Measured, Measured], rows: Sequence[tuple[Measured, Measured]]) -> bool:
    """Whether no other design is at least as good in both and better in one."""
    mine = _pair(row)
    if mine is None:
        return False
    others = [pair for pair in map(_pair, rows) if pair is not None and pair != mine]
    return not any(other[0] <= mine[0] and other[1] <= mine[1] for other in others)


def _pair(row: tuple[Measured, Measured]) -> tuple[float, float] | None:
    rate, waited = row[0].estimate, row[1].estimate
    return None if rate is None or waited is None else (rate, waited)


# -- along an axis -------------------------------------------------------------------------------------


def _along_axis(plan: Plan, runs: _Runs) -> tuple[Axis, tuple[Level, ...]]:
    """The rate of violating runs along the ratio of lag and gap or, where that does not vary, the first parameter."""
    groups: dict[float, list[int]] = {}
    for point in runs.points:
        ratio = plan.points[point].lag_over_gap
        groups.setdefault(-1.0 if ratio is None else significant(ratio), []).append(point)
    if len(groups) > 1 and -1.0 not in groups:
        return Axis(name=RATIO), tuple(_levels(plan, runs, groups))
    first = plan.parameters[0]
    numbers = [number_of(text, first.place) for text in first.texts]
    words = any(number is None for number in numbers)
    by_value = _by_value(plan, runs, 0).values()
    places = range(len(numbers)) if words else (float(number or 0) for number in numbers)
    groups = {float(place): points for place, points in zip(places, by_value, strict=True)}
    return Axis(name=first.path, labels=first.texts if words else ()), tuple(_levels(plan, runs, groups))


def _levels(plan: Plan, runs: _Runs, groups: Mapping[float, Sequence[int]]) -> Iterator[Level]:
    for x in sorted(groups):
        for design in plan.designs:
            points = groups[x]
            several = [runs.of[point, design] for point in points]
            count = sum(int(one.column("violated").sum()) for one in several)
            total = sum(map(len, several))
            if len(points) == 1:
                measured = several[0].measure("violated")
            else:
                measured = runs.measure(points, design, "violated")
            yield Level(**measured.model_dump(), design=design, x=x, runs=total, count=count)


def _thresholds(designs: Sequence[str], levels: Sequence[Level]) -> Iterator[Threshold]:
    for design in designs:
        mine = [level for level in levels if level.design == design]
        seen = next((place for place, level in enumerate(mine) if level.count), len(mine))
        half = len(mine)
        while half and mine[half - 1].runs and 2 * mine[half - 1].count >= mine[half - 1].runs:
            half -= 1
        yield Threshold(
            design=design,
            none_up_to=mine[seen - 1].x if seen else None,
            none_runs=sum(level.runs for level in mine[:seen]),
            first_seen_at=mine[seen].x if seen < len(mine) else None,
            half_from=mine[half].x if half < len(mine) else None,
        )
