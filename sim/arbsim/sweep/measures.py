"""What a sweep measures: how each number comes out of runs, in which unit, and with which interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from arbsim.model import VIOLATIONS, FindingKind, Verdict
from arbsim.scenario.sweeps import Measure
from arbsim.sweep.intervals import (
    FEWEST_RUNS,
    Floats,
    Interval,
    Statistic,
    as_array,
    bootstrap,
    clopper_pearson,
    mean_of,
    percentile_of,
)
from arbsim.sweep.results import Measured, Method
from arbsim.sweep.task import Numbers, bucket_middle_ns

Form = Literal["rate", "per_million", "money", "percentile"]

NS_PER_MS = 1_000_000
DIGITS = 6
"""Significant digits of what is written down."""


@dataclass(frozen=True, slots=True)
class About:
    """A measure: what it is called, its unit, and what it means."""

    title: str
    unit: str
    form: Form
    meaning: str
    kinds: tuple[FindingKind, ...] = ()
    percent: int = 0

    def read(self, numbers: Numbers) -> int:
        """Return what one run adds to it: 0 or 1, a count, or cents."""
        if self.form == "rate":
            return int(numbers["verdict"] == Verdict.VIOLATED.value)
        if not self.kinds:
            return int(numbers["wrong"])
        column = 1 if self.form == "money" else 0
        return sum(numbers["found"].get(kind.value, (0, 0))[column] for kind in self.kinds)


_ANOMALIES = tuple(kind for kind in VIOLATIONS if kind is not FindingKind.OVERDRAFT_OWN_ORDER)

ABOUT: dict[Measure, About] = {
    "violated": About("violating runs", "of runs", "rate", "The share of runs that violate."),
    "anomalies": About(
        "anomalies",
        "per million operations",
        "per_million",
        "Findings of every kind that violates; an overdraft in the design's own order is not counted twice.",
        _ANOMALIES,
    ),
    "overdrafts": About(
        "overdrafts",
        "per million operations",
        "per_million",
        "Accepted withdrawals that no order explains.",
        (FindingKind.OVERDRAFT,),
    ),
    "lost_updates": About(
        "lost updates",
        "per million operations",
        "per_million",
        "Accepted effects that a final balance lacks.",
        (FindingKind.LOST_UPDATE,),
    ),
    "stale_reads": About(
        "stale reads",
        "per million operations",
        "per_million",
        "Reads that miss what had been acknowledged before.",
        (FindingKind.STALE_READ,),
    ),
    "money_overdrawn": About(
        "money overdrawn",
        "per 1,000 operations",
        "money",
        "What accepted withdrawals took beyond what was there.",
        (FindingKind.OVERDRAFT,),
    ),
    "money_lost": About(
        "money lost",
        "per 1,000 operations",
        "money",
        "The amounts of accepted operations that a final balance lacks.",
        (FindingKind.LOST_UPDATE,),
    ),
    "wrong_rejections": About(
        "wrong rejections",
        "per million operations",
        "per_million",
        "Refused although every legal order had the funds.",
    ),
    "fate_p50": About(
        "time to fate, median", "ms", "percentile", "Of all operations of all runs together.", percent=50
    ),
    "fate_p99": About(
        "time to fate, p99", "ms", "percentile", "Of all operations of all runs together.", percent=99
    ),
}
"""Every measure, in the order in which it is told."""


class Runs:
    """The replications of one design at one point, by their numbers and in their order, as columns."""

    def __init__(self, numbers: Mapping[int, Numbers], operations: int) -> None:
        self.numbers = numbers
        self.operations = operations
        self._waits: tuple[Floats, Floats] | None = None
        self._measured: dict[Measure, Measured] = {}

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, measure: Measure, only: Sequence[int] | None = None) -> Floats:
        """Return what each run (or each of some) adds to a measure that is no percentile: whole numbers."""
        read = ABOUT[measure].read
        return as_array([read(self.numbers[one]) for one in (self.numbers if only is None else only)])

    def waits(self) -> tuple[Floats, Floats]:
        """Return the times to fate as counts, runs x buckets, and what each bucket stands for in milliseconds."""
        if self._waits is None:
            self._waits = waits_of([one["waits"] for one in self.numbers.values()])
        return self._waits

    def statistic(self, measure: Measure) -> Statistic:
        """Return the measure as a statistic of weighted runs."""
        about = ABOUT[measure]
        if about.form == "percentile":
            counts, middles = self.waits()
            return percentile_of(about.percent, counts, middles)
        mean = mean_of(self.column(measure))
        factor = scale_of(about.form, self.operations)
        return lambda weights: mean(weights) * factor

    def is_empty(self, measure: Measure) -> bool:
        """Whether there is nothing to measure: no runs, or no operation that learned its fate."""
        if not len(self):
            return True
        return ABOUT[measure].form == "percentile" and not self.waits()[0].sum()

    def measure(self, measure: Measure) -> Measured:
        """Return the estimate with its interval; it is worked out once."""
        if measure not in self._measured:
            self._measured[measure] = self._measure(measure)
        return self._measured[measure]

    def _measure(self, measure: Measure) -> Measured:
        if self.is_empty(measure):
            return NOTHING
        if ABOUT[measure].form == "rate":
            return told(clopper_pearson(int(self.column(measure).sum()), len(self)), "clopper-pearson")
        interval = bootstrap(self.statistic(measure), len(self))
        return told(interval, method_of(interval, len(self)))


def scale_of(form: Form, operations: int) -> float:
    """Return what a mean per run is multiplied with."""
    if form == "rate":
        return 1.0
    return (1_000_000 if form == "per_million" else 10) / max(
        1, operations
    )  # cents to units, by the thousand


def waits_of(rows: Sequence[dict[str, int]]) -> tuple[Floats, Floats]:
    """Return sparse counts as a table, and the milliseconds for which its columns stand."""
    buckets = sorted({int(bucket) for row in rows for bucket in row})
    place = {bucket: index for index, bucket in enumerate(buckets)}
    counts = np.zeros((len(rows), max(1, len(buckets))))
    for row, waits in enumerate(rows):
        for bucket, count in waits.items():
            counts[row, place[int(bucket)]] = count
    middles = [bucket_middle_ns(bucket) / NS_PER_MS for bucket in buckets] or [0.0]
    return counts, as_array(middles)


NOTHING = Measured(estimate=None, low=None, high=None, method="nothing")


def method_of(interval: Interval, runs: int) -> Method:
    """Return how a bootstrapped interval came about, or why there is none."""
    if runs < FEWEST_RUNS:
        return "too-few"
    if interval.low is not None:
        return "bootstrap"
    return "none-seen" if interval.estimate == 0 else "all-alike"


def told(interval: Interval, method: Method) -> Measured:
    """Return an interval as it is written down."""
    return Measured(
        estimate=significant(interval.estimate),
        low=0.0 if method == "none-seen" else _maybe(interval.low),
        high=_maybe(interval.high),
        one_sided=interval.one_sided,
        method=method,
    )


def _maybe(value: float | None) -> float | None:
    return None if value is None else significant(value)


def significant(value: float) -> float:
    """Return a number rounded to DIGITS significant digits: what a last bit does must not show."""
    return float(f"{value:.{DIGITS}g}")
