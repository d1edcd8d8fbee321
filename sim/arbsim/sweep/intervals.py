"""Intervals: Clopper-Pearson for a rate of runs, the bootstrap of whole runs for everything else.

Operations of one run are not independent: they meet the same balances, queues and network weather. So runs are
what is counted and resampled, never operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri

CONFIDENCE = 0.95
RESAMPLES = 1999
WEIGHTS_MAX = 4_000_000
"""Weights that are held at once: resamples times runs."""

JACKKNIFE_MAX = 500
"""Groups of runs that are left out one by one, where there are more runs than that."""

FEWEST_RUNS = 2
"""Fewer runs than this say nothing of how much they differ."""

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Takes weights (resamples x runs) and returns one value for each resample."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bounds; a bound is None where the runs say nothing of it.

    ``one_sided``: the estimate is the least or the greatest possible, and the other bound holds with the same
    confidence alone.
    """

    estimate: float
    low: float | None
    high: float | None
    one_sided: bool = False

    @property
    def width(self) -> float | None:
        """How wide it is; None where a bound is missing."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def reach(self) -> float:
        """The distance to the farther bound; infinite where one is missing."""
        if self.low is None or self.high is None:
            return float("inf")
        return max(self.estimate - self.low, self.high - self.estimate)


@lru_cache(maxsize=100_000)
def clopper_pearson(count: int, runs: int) -> Interval:
    """Return the exact interval for a rate of which ``count`` of ``runs`` runs were seen.

    Clopper and Pearson, Biometrika 26 (1934). Two-sided; where the count is 0 or ``runs`` one-sided at the same
    confidence, which is the rule of three: 0 of n excludes rates above 1 - 0.05^(1/n), about 3/n.
    """
    if runs == 0:
        return Interval(float("nan"), None, None)
    if count == 0:
        return Interval(0.0, 0.0, 1.0 - (1.0 - CONFIDENCE) ** (1.0 / runs), one_sided=True)
    if count == runs:
        return Interval(1.0, (1.0 - CONFIDENCE) ** (1.0 / runs), 1.0, one_sided=True)
    tail = (1.0 - CONFIDENCE) / 2
    return Interval(
        count / runs,
        float(betaincinv(count, runs - count + 1, tail)),
        float(betaincinv(count + 1, runs - count, 1.0 - tail)),
    )


# -- the bootstrap of whole runs ---------------------------------------------------------------------------


@lru_cache(maxsize=8)
def resamples(runs: int, stream: int = 0, first: int = 0, count: int = RESAMPLES) -> Floats:
    """Return how often each run stands in each of ``count`` resamples: count x runs, drawn with replacement.

    The same numbers on every machine and every version of NumPy: a draw is SplitMix64 of its place. The same
    for every design and measure, so a difference of two designs is resampled as pairs.
    """
    index = np.arange(count * runs, dtype=np.uint64) + np.uint64((stream << 48) + first * runs)
    mixed = _splitmix64(index)
    chosen = ((mixed >> np.uint64(32)) * np.uint64(runs)) >> np.uint64(32)
    places = chosen.astype(np.int64) + np.repeat(np.arange(count), runs) * runs
    counted = np.bincount(places, minlength=count * runs)
    return counted.reshape(count, runs).astype(np.float64)


def _resampled(statistic: Statistic, runs: int, stream: int = 0) -> Floats:
    """Return the statistic of every resample, in parts that fit in memory."""
    part = min(RESAMPLES, max(1, WEIGHTS_MAX // runs))
    begins = range(0, RESAMPLES, part)
    parts = [statistic(resamples(runs, stream, first, min(part, RESAMPLES - first))) for first in begins]
    return np.concatenate(parts)


def _left_out(runs: int) -> Floats:
    """Return weights that leave out one run in turn, or of many runs one group of neighbours."""
    groups = min(runs, JACKKNIFE_MAX)
    group_of = np.arange(runs) * groups // runs
    return np.asarray(np.arange(groups)[:, None] != group_of, dtype=np.float64)


def _splitmix64(index: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) at some places of its stream."""
    z = (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bootstrap(statistic: Statistic, runs: int) -> Interval:
    """Return the bias-corrected and accelerated interval (Efron, JASA 82, 1987) of a statistic of whole runs.

    Where all resamples give the same value, the runs do not say how far it could be off: there are no bounds.
    """
    return _interval(statistic, runs, _resampled(statistic, runs))


def _interval(statistic: Statistic, runs: int, values: Floats) -> Interval:
    """Return the interval of a statistic; ``values`` are those of all resamples."""
    estimate = float(statistic(np.ones((1, runs)))[0])
    if runs < FEWEST_RUNS:
        return Interval(estimate, None, None)
    return Interval(estimate, *_bounds(values, estimate, statistic, runs))


def _bounds(
    values: Floats, estimate: float, statistic: Statistic, runs: int
) -> tuple[float | None, float | None]:
    ordered = np.sort(values)
    if ordered[0] == ordered[-1]:
        return None, None
    # Ties count half, or a discrete statistic would look biased.
    below = (np.count_nonzero(values < estimate) + np.count_nonzero(values <= estimate)) / (2 * len(values))
    bias = float(ndtri(min(max(below, 0.5 / len(values)), 1 - 0.5 / len(values))))
    without_one = statistic(_left_out(runs))
    # fsum: the same on every processor, in whatever order its vector units would add.
    spread = math.fsum(without_one) / len(without_one) - without_one
    cubes, squares = math.fsum(spread**3), math.fsum(spread**2)
    acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
    tail = float(ndtri((1 - CONFIDENCE) / 2))
    low, high = (_quantile(ordered, bias, acceleration, z) for z in (tail, -tail))
    return low, high


def _quantile(ordered: Floats, bias: float, acceleration: float, z: float) -> float:
    shifted = bias + z
    share = float(ndtr(bias + shifted / (1 - acceleration * shifted)))
    place = round(share * (len(ordered) + 1)) - 1
    return float(ordered[min(max(place, 0), len(ordered) - 1)])


def mean_of(values: Floats) -> Statistic:
    """Return the statistic that is the mean of a number of each run."""
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def percentile_of(percent: int, counts: Floats, middles: Floats) -> Statistic:
    """Return the statistic that is a percentile, by nearest rank, of all operations of all runs together.

    ``counts`` has runs x buckets; ``middles`` is what each bucket stands for. Counts are whole numbers, so the
    sums are exact in whatever order they are added.
    """

    def statistic(weights: Floats) -> Floats:
        sums = np.cumsum(weights @ counts, axis=1)
        ranks = np.ceil(sums[:, -1] * percent / 100)
        found: Floats = middles[np.argmax(sums >= ranks[:, None], axis=1)]
        return found

    return statistic


def paired_difference(one: Statistic, other: Statistic, runs: int) -> tuple[Interval, float | None]:
    """Return ``one`` minus ``other`` over the same runs, and how many times as wide it would be without the pairing.

    Without it means as if the two had been run on seeds of their own: resampled independently. Both widths are those
    of plain percentile intervals; None where the paired one has none.
    """

    def paired(weights: Floats) -> Floats:
        return one(weights) - other(weights)

    ones = _resampled(one, runs)
    values = ones - _resampled(other, runs)
    interval = _interval(paired, runs, values)
    if interval.width is None:
        return interval, None
    together = _percentile_width(values)
    apart = _percentile_width(ones - _resampled(other, runs, stream=1))
    return interval, apart / together if together > 0 else None


def _percentile_width(values: Floats) -> float:
    ordered = np.sort(values)
    tail = (1 - CONFIDENCE) / 2 * (len(ordered) + 1)
    return float(ordered[len(ordered) - round(tail)] - ordered[round(tail) - 1])


def as_array(values: Any) -> Floats:
    """Return numbers as a column for the statistics above."""
    return np.asarray(values, dtype=np.float64)
