"""The intervals are those of the textbooks, and they cover what they say they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from arbsim.sweep import intervals
from arbsim.sweep.intervals import (
    Interval,
    bootstrap,
    clopper_pearson,
    mean_of,
    paired_difference,
    percentile_of,
    resamples,
)


@given(st.integers(2, 2000).flatmap(lambda runs: st.tuples(st.integers(1, runs - 1), st.just(runs))))
def test_a_rate_has_the_interval_that_scipy_gives(case: tuple[int, int]) -> None:
    count, runs = case
    ours = clopper_pearson(count, runs)
    theirs = stats.binomtest(count, runs).proportion_ci(method="exact")
    assert ours.low == pytest.approx(theirs.low, rel=1e-9)
    assert ours.high == pytest.approx(theirs.high, rel=1e-9)
    assert not ours.one_sided


@pytest.mark.parametrize("runs", [1, 10, 100, 2000])
def test_none_of_n_is_bounded_from_above_alone_by_the_rule_of_three(runs: int) -> None:
    found = clopper_pearson(0, runs)
    assert found.one_sided
    assert found.low == 0
    assert found.high is not None
    assert (1 - found.high) ** runs == pytest.approx(0.05)
    if runs >= 100:
        assert found.high == pytest.approx(3 / runs, rel=0.02)


def test_all_of_n_is_bounded_from_below_alone() -> None:
    none, every = clopper_pearson(0, 40), clopper_pearson(40, 40)
    assert none.high is not None
    assert every.low == pytest.approx(1 - none.high)
    assert (every.estimate, every.high, every.one_sided) == (1.0, 1.0, True)


def test_no_runs_say_nothing() -> None:
    found = clopper_pearson(0, 0)
    assert found.low is None
    assert found.high is None


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.93])
@pytest.mark.parametrize("runs", [20, 100])
def test_a_rate_is_covered_at_least_as_often_as_is_said(rate: float, runs: int) -> None:
    covered = math.fsum(
        float(stats.binom.pmf(count, runs, rate))
        for count in range(runs + 1)
        if _holds(clopper_pearson(count, runs), rate)
    )
    assert covered >= 0.95


@pytest.mark.parametrize("rate", [0.005, 0.03, 0.1, 0.3, 0.5, 0.9])
def test_looking_again_after_every_batch_costs_less_than_two_percent_of_coverage(rate: float) -> None:
    """Going on until an interval is narrow picks its end by what was seen; how much that costs is computed exactly."""
    batch, cap, precision = 50, 500, 0.05
    alive = {0: 1.0}
    covered = 0.0
    step = [float(stats.binom.pmf(count, batch, rate)) for count in range(batch + 1)]
    for runs in range(batch, cap + 1, batch):
        after: dict[int, float] = {}
        for count, chance in alive.items():
            for more, part in enumerate(step):
                after[count + more] = after.get(count + more, 0.0) + chance * part
        alive = {}
        for count, chance in after.items():
            found = clopper_pearson(count, runs)
            if found.reach <= precision or runs == cap:
                covered += chance if _holds(found, rate) else 0.0
            else:
                alive[count] = chance
    assert covered >= 0.93


def _holds(interval: Interval, value: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= value <= interval.high


# -- the bootstrap -----------------------------------------------------------------------------------------


def test_a_mean_of_runs_has_the_interval_that_scipys_bootstrap_gives() -> None:
    values = np.random.RandomState(5).exponential(size=60)
    ours = bootstrap(mean_of(values), 60)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(1))
    assert ours.estimate == pytest.approx(values.mean())
    assert ours.width is not None
    # Both are drawn: over many samples ours lie about 2 % of the width around scipy's, to either side.
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.1 * ours.width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.1 * ours.width)


def test_every_resample_has_as_many_runs_as_there_are_and_draws_them_alike() -> None:
    drawn = resamples(50)
    assert (drawn.sum(axis=1) == 50).all()
    assert drawn.sum(axis=0) == pytest.approx(len(drawn), rel=0.1)
    assert drawn.var() == pytest.approx(1 - 1 / 50, rel=0.05)
    assert (drawn != resamples(50, stream=1)).any()


def test_operations_of_one_run_are_not_independent_so_runs_are_resampled() -> None:
    """Runs have rates of their own. A binomial interval over all operations misses the mean; ours does not."""
    draws = np.random.RandomState(11)
    runs, operations, trials = 40, 200, 300
    ours = binomial = 0
    for _ in range(trials):
        rates = draws.beta(2, 18, size=runs)
        counts = draws.binomial(operations, rates).astype(float)
        found = bootstrap(mean_of(counts), runs)
        ours += _holds(found, 0.1 * operations)
        binomial += _holds(clopper_pearson(int(counts.sum()), runs * operations), 0.1)
    assert ours / trials > 0.91
    assert binomial / trials < 0.6


def test_runs_that_are_all_alike_have_no_interval_rather_than_an_empty_one() -> None:
    assert bootstrap(mean_of(np.zeros(30)), 30) == Interval(0.0, None, None)
    assert bootstrap(mean_of(np.full(30, 4.0)), 30) == Interval(4.0, None, None)


def test_many_runs_are_resampled_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.RandomState(8).exponential(size=90)
    at_once = bootstrap(mean_of(values), 90)
    monkeypatch.setattr(intervals, "WEIGHTS_MAX", 5_000)
    assert bootstrap(mean_of(values), 90) == at_once


def test_leaving_out_groups_of_runs_gives_nearly_the_interval_of_leaving_out_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.RandomState(9).exponential(size=400)
    each = bootstrap(mean_of(values), 400)
    monkeypatch.setattr(intervals, "JACKKNIFE_MAX", 50)
    groups = bootstrap(mean_of(values), 400)
    assert each.width is not None
    assert groups.low == pytest.approx(each.low, abs=0.03 * each.width)
    assert groups.high == pytest.approx(each.high, abs=0.03 * each.width)


def test_one_run_has_no_interval() -> None:
    assert bootstrap(mean_of(np.array([3.0])), 1) == Interval(3.0, None, None)


def test_a_percentile_is_that_of_all_operations_of_all_runs_by_nearest_rank() -> None:
    counts = np.array([[1.0, 0.0, 1.0], [0.0, 98.0, 0.0]])
    middles = np.array([1.0, 2.0, 9.0])
    once = np.ones((1, 2))
    assert percentile_of(99, counts, middles)(once)[0] == 2.0
    assert percentile_of(100, counts, middles)(once)[0] == 9.0
    assert percentile_of(1, counts, middles)(once)[0] == 1.0


def test_pairing_narrows_the_difference_of_what_moves_together() -> None:
    draws = np.random.RandomState(3)
    shared = draws.normal(size=80)
    one = mean_of(shared + 0.1 * draws.normal(size=80) + 1.0)
    other = mean_of(shared)
    found, narrower = paired_difference(one, other, 80)
    assert narrower is not None
    assert narrower > 5
    assert _holds(found, 1.0)


def test_pairing_does_nothing_for_what_is_independent() -> None:
    draws = np.random.RandomState(4)
    _, narrower = paired_difference(mean_of(draws.normal(size=200)), mean_of(draws.normal(size=200)), 200)
    assert narrower == pytest.approx(1.0, abs=0.15)
