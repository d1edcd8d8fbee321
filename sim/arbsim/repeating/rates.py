"""Rates of anomalies, their difference, and when the two are held to be equal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from arbsim.agreement import MARGIN, Agreeing

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its bounds."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """Repetitions by what came of them live and simulated: an anomaly in both, in one of them, in neither."""

    both: int
    only_live: int
    only_simulated: int
    neither: int

    @property
    def total(self) -> int:
        """How many there are."""
        return self.both + self.only_live + self.only_simulated + self.neither


def wilson(count: int, total: int) -> Interval:
    """Return Wilson's score interval for a rate (JASA 22, 1927). Raises ValueError for a total of 0."""
    if total < 1:
        raise ValueError("a rate of nothing")
    rate, square = count / total, _Z**2 / total
    middle = (rate + square / 2) / (1 + square)
    reach = _Z * math.sqrt(rate * (1 - rate) / total + square / (4 * total)) / (1 + square)
    # At 0 and at 1 a bound is the estimate itself, but for the last bits.
    return Interval(rate, max(0.0, min(rate, middle - reach)), min(1.0, max(rate, middle + reach)))


def paired_difference(pairs: Pairs) -> Interval:
    """Return the live rate minus the simulated one, with the interval for paired proportions.

    Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10: Wilson's limits of both rates, squared and added,
    less what the correlation of the pairs (with its continuity correction) takes away.
    """
    total = pairs.total
    live = wilson(pairs.both + pairs.only_live, total)
    simulated = wilson(pairs.both + pairs.only_simulated, total)
    phi = _correlation(pairs)

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))

    difference = (pairs.only_live - pairs.only_simulated) / total
    down = reach(live.estimate - live.low, simulated.high - simulated.estimate)
    up = reach(live.high - live.estimate, simulated.estimate - simulated.low)
    return Interval(difference, difference - down, difference + up)


def _correlation(pairs: Pairs) -> float:
    margins = (
        (pairs.both + pairs.only_live)
        * (pairs.only_simulated + pairs.neither)
        * (pairs.both + pairs.only_simulated)
        * (pairs.only_live + pairs.neither)
    )
    if margins == 0:
        return 0.0
    covariance: float = pairs.both * pairs.neither - pairs.only_live * pairs.only_simulated
    if covariance > 0:
        covariance = max(0.0, covariance - pairs.total / 2)
    return covariance / math.sqrt(margins)


def agreeing(difference: Interval) -> Agreeing:
    """Say whether two rates agree.

    They do where the interval of their difference lies within the margin either way, they do not where it lies
    beyond it, and else it is not decided: more repetitions are needed.
    """
    if difference.low >= -MARGIN and difference.high <= MARGIN:
        return "agree"
    if difference.low > MARGIN or difference.high < -MARGIN:
        return "disagree"
    return "inconclusive"
