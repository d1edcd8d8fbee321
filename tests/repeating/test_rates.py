"""The intervals of rates and of their difference, against published figures and by their coverage."""

from __future__ import annotations

import math
from itertools import product

import pytest
from scipy.stats import binomtest

from arbsim.repeating.rates import CONFIDENCE, Interval, Pairs, agreeing, paired_difference, wilson


def test_wilson_s_interval_is_the_published_one() -> None:
    """81 of 263: Newcombe, Statistics in Medicine 17 (1998), 857-872, method 3."""
    interval = wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize("total", [1, 2, 7, 30, 300, 5_000])
def test_wilson_s_interval_is_that_of_scipy(total: int) -> None:
    """Which comes with sweeps alone: a live run does without its weight."""
    for count in sorted({0, 1, total // 3, total - 1, total}):
        theirs = binomtest(count, total).proportion_ci(CONFIDENCE, method="wilson")
        ours = wilson(count, total)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12, abs=1e-15)


def test_a_rate_of_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="a rate of nothing"):
        wilson(0, 0)


@pytest.mark.parametrize(
    ("pairs", "bounds"),
    [(Pairs(36, 12, 2, 0), (0.0569, 0.3404)), (Pairs(20, 12, 2, 16), (0.0562, 0.3292))],
)
def test_the_interval_for_pairs_is_the_published_one(pairs: Pairs, bounds: tuple[float, float]) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10."""
    interval = paired_difference(pairs)
    assert math.isclose(interval.estimate, 0.2)
    assert (round(interval.low, 4), round(interval.high, 4)) == bounds


@pytest.mark.parametrize(
    "shares",
    [(0.45, 0.05, 0.05, 0.45), (0.3, 0.2, 0.05, 0.45), (0.0, 0.04, 0.01, 0.95), (0.1, 0.3, 0.3, 0.3)],
)
def test_the_interval_for_pairs_holds_the_truth_about_as_often_as_it_says(
    shares: tuple[float, float, float, float],
) -> None:
    """All outcomes of 30 pairs, each with its probability."""
    total, held = 30, 0.0
    truth = shares[1] - shares[2]
    for both, live, simulated in product(range(total + 1), repeat=3):
        neither = total - both - live - simulated
        if neither < 0:
            continue
        interval = paired_difference(Pairs(both, live, simulated, neither))
        if interval.low <= truth <= interval.high:
            held += probability((both, live, simulated, neither), shares)
    assert 0.93 < held <= 1.0


def probability(counts: tuple[int, ...], shares: tuple[float, ...]) -> float:
    ways = math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))
    return ways * math.prod(share**count for share, count in zip(shares, counts, strict=True))


def test_pairs_that_never_differ_leave_room_for_what_was_not_seen() -> None:
    interval = paired_difference(Pairs(0, 0, 0, 300))
    assert interval.low == -interval.high
    assert 0.01 < interval.high < 0.02


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.10, 0.10, "agree"),
        (-0.02, 0.03, "agree"),
        (0.02, 0.11, "inconclusive"),
        (-0.30, 0.30, "inconclusive"),
        (0.05, 0.20, "inconclusive"),
        (0.11, 0.20, "disagree"),
        (-0.20, -0.11, "disagree"),
    ],
)
def test_rates_agree_where_their_difference_lies_within_the_margin(
    low: float, high: float, verdict: str
) -> None:
    assert agreeing(Interval((low + high) / 2, low, high)) == verdict


def test_three_hundred_repetitions_settle_it_also_where_one_in_five_pairs_differs() -> None:
    assert agreeing(paired_difference(Pairs(120, 30, 30, 120))) == "agree"
