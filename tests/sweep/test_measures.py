"""What one run adds to each measure, and how times are counted."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbsim.audit import audit
from arbsim.audit.costs import percentiles
from arbsim.history_file import load, save
from arbsim.runner import designs_of, run_scenario
from arbsim.scenario.sweep_check import changed
from arbsim.scenario.sweeps import MEASURES
from arbsim.sweep.analysis import Sample, analyse
from arbsim.sweep.lag import lag_over_gap
from arbsim.sweep.measures import ABOUT, Runs
from arbsim.sweep.plan import PlanError, make_plan
from arbsim.sweep.report import words
from arbsim.sweep.report.charts import charts_of
from arbsim.sweep.results import Axis, SweepResults
from arbsim.sweep.tables import write_estimates
from arbsim.sweep.task import Numbers, Record, bucket_middle_ns, bucket_of, numbers_of, record_of
from arbsim.workload import build_workload
from tests.scenario.texts import read
from tests.sweep.support import TINY, tiny, tiny_plan

ONE_POINT = "{vary: {kafka.mirror_lag: [10 ms]}, replications: 4}"


def numbers(
    verdict: str = "none-seen",
    found: dict[str, tuple[int, int]] | None = None,
    wait_ms: int = 10,
    **more: int,
) -> Numbers:
    return {
        "verdict": verdict,
        "against": more.get("against", 0),
        "found": {kind: list(pair) for kind, pair in (found or {}).items()},
        "wrong": more.get("wrong", 0),
        "waits": {str(bucket_of(wait_ms * 1_000_000)): 6},
    }


def results(*records: Record, points: int = 1, sweep: str = ONE_POINT) -> SweepResults:
    plan = tiny_plan(sweep)
    samples = [Sample(point, dict(enumerate(records))) for point in range(points)]
    return analyse(plan, samples, (), "tiny.yaml", "arbsim sweep tiny.yaml")


def pair(deltas: Numbers, atomic: Numbers) -> Record:
    return {"bus/regional-deltas": deltas, "db/atomic-update": atomic}


@given(st.integers(0, 2**62))
def test_a_time_is_counted_within_one_percent(time_ns: int) -> None:
    middle = bucket_middle_ns(bucket_of(time_ns))
    assert abs(middle - time_ns) <= max(0.5, time_ns / 127)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_buckets_keep_the_order_of_times(one: int, other: int) -> None:
    if one <= other:
        assert bucket_of(one) <= bucket_of(other)


def test_a_measure_adds_up_what_its_runs_found() -> None:
    found = {
        "overdraft": (2, 6000),
        "lost_update": (1, 1500),
        "overdraft_own_order": (5, 9999),
        "stale_read": (3, 0),
    }
    one = numbers("violated", found, wrong=4)
    read_ = {measure: ABOUT[measure].read(one) for measure in MEASURES if not measure.startswith("fate")}
    assert read_ == {
        "violated": 1,
        "anomalies": 3,
        "overdrafts": 2,
        "lost_updates": 1,
        "stale_reads": 3,
        "money_overdrawn": 6000,
        "money_lost": 1500,
        "wrong_rejections": 4,
    }


def test_counts_are_told_per_million_operations_and_money_per_thousand() -> None:
    broken = numbers("violated", {"overdraft": (1, 3000), "lost_update": (1, 600)})
    runs = Runs({0: broken, 1: numbers(), 2: broken, 3: numbers()}, operations=100)
    assert runs.measure("overdrafts").estimate == 5_000  # 2 in 400 operations
    assert runs.measure("money_overdrawn").estimate == 150.0  # 60.00 in 400 operations
    assert runs.measure("money_lost").estimate == 30.0
    assert runs.measure("violated").estimate == 0.5


def test_percentiles_are_those_of_all_operations_together_to_one_percent() -> None:
    plan = tiny_plan(ONE_POINT)
    records = {number: record_of(plan.setting, plan.unit(0, number)) for number in range(3)}
    runs = Runs({number: record["db/atomic-update"] for number, record in records.items()}, 6)
    waits = [
        bucket_middle_ns(int(bucket))
        for record in records.values()
        for bucket, count in record["db/atomic-update"]["waits"].items()
        for _ in range(count)
    ]
    exact = percentiles([round(wait) for wait in waits])
    assert runs.measure("fate_p50").estimate == pytest.approx(exact.p50_ms, rel=0.001)
    assert runs.measure("fate_p99").estimate == pytest.approx(exact.p99_ms, rel=0.001)


def test_where_no_run_has_any_only_the_rate_of_runs_is_bounded() -> None:
    runs = Runs(dict.fromkeys(range(50), numbers()), 6)
    none = runs.measure("overdrafts")
    assert (none.estimate, none.low, none.high, none.method) == (0, 0, None, "none-seen")
    rate = runs.measure("violated")
    assert rate.one_sided
    assert rate.high == pytest.approx(0.058155, abs=1e-6)


def test_without_runs_there_is_nothing_to_say() -> None:
    assert Runs({}, 6).measure("violated").method == "nothing"
    assert Runs({}, 6).measure("fate_p99").estimate is None


def test_the_first_violating_seed_and_the_untested_runs_are_told() -> None:
    safe = numbers()
    broken = numbers("violated", {"overdraft": (1, 100)})
    found = results(
        pair(numbers("inconclusive"), safe), pair(safe, safe), pair(broken, safe), pair(broken, safe)
    )
    (deltas,) = [
        one for one in found.estimates if (one.design, one.measure) == ("bus/regional-deltas", "violated")
    ]
    assert (deltas.count, deltas.runs, deltas.inconclusive, deltas.first_seed) == (2, 4, 1, 9)


def test_a_design_that_breaks_its_own_claim_is_told_with_its_seed_and_the_sweep_ends_with_1() -> None:
    broken = numbers("violated", {"overdraft": (1, 100)}, against=1)
    found = results(pair(numbers(), numbers()), pair(numbers(), broken), pair(numbers(), broken))
    (claim,) = found.broken_claims
    assert (claim.design, claim.seed, claim.runs) == ("db/atomic-update", 8, 2)
    assert [kind.value for kind in claim.kinds] == ["overdraft"]
    assert found.exit_code == 1


def test_differences_are_taken_seed_by_seed_from_the_baseline() -> None:
    slow = [pair(numbers(wait_ms=wait), numbers(wait_ms=2 * wait)) for wait in (10, 20, 30, 40)]
    found = results(*slow)
    (p50,) = [one for one in found.differences if one.measure == "fate_p50"]
    assert (p50.design, p50.baseline) == ("db/atomic-update", "bus/regional-deltas")
    assert p50.estimate == pytest.approx(20, rel=0.02)
    assert p50.narrower is not None


def test_the_parameter_that_moves_the_result_is_found() -> None:
    sweep = "{vary: {kafka.mirror_lag: [0 ms, 9 ms], kafka.linger: [0 ms, 5 ms]}, replications: 2}"
    plan = tiny_plan(sweep)
    broken, safe = numbers("violated", {"overdraft": (1, 100)}), numbers()
    samples = [
        Sample(point, {number: pair(broken if point >= 2 else safe, safe) for number in range(2)})
        for point in range(4)
    ]
    found = analyse(plan, samples, (), "", "")
    swings = {
        (one.parameter, one.design): (one.estimate, one.lowest_at, one.highest_at)
        for one in found.sensitivity
        if one.measure == "violated"
    }
    assert swings["kafka.mirror_lag", "bus/regional-deltas"] == (1.0, "0 ms", "9 ms")
    assert swings["kafka.linger", "bus/regional-deltas"][0] == 0.0
    assert swings["kafka.mirror_lag", "db/atomic-update"][0] == 0.0


def test_the_frontier_has_the_designs_that_no_other_beats_in_both() -> None:
    broken = numbers("violated", {"overdraft": (1, 100)}, wait_ms=5)
    assert [row.on_frontier for row in results(pair(broken, numbers(wait_ms=50))).frontier] == [True, True]
    assert [row.on_frontier for row in results(pair(broken, numbers(wait_ms=4))).frontier] == [False, True]


def test_a_design_stops_looking_safe_where_the_first_run_violates() -> None:
    sweep = "{vary: {kafka.mirror_lag: [0 ms, 10 ms, 100 ms, 1 s]}, replications: 2}"
    plan = tiny_plan(sweep)
    broken, safe = numbers("violated", {"overdraft": (1, 100)}), numbers()
    seen = [(safe, safe), (safe, broken), (broken, safe), (broken, broken)]
    samples = [
        Sample(point, {number: pair(one, safe) for number, one in enumerate(two)})
        for point, two in enumerate(seen)
    ]
    found = analyse(plan, samples, (), "", "")
    deltas, atomic = found.thresholds
    ratios = [point.lag_over_gap for point in found.points]
    assert (deltas.none_up_to, deltas.first_seen_at, deltas.half_from) == (ratios[0], ratios[1], ratios[1])
    assert (atomic.none_up_to, atomic.first_seen_at, atomic.half_from) == (ratios[3], None, None)
    assert (deltas.none_runs, atomic.none_runs) == (2, 8)


def test_lag_over_gap_is_the_longest_way_of_news_times_the_rate_on_the_hottest_account() -> None:
    scenario = read(TINY)  # 32 ms one way, 6 ms in MirrorMaker, 20 a second on one account
    lag_ms = 32 + scenario.kafka.mirror_lag / 1_000_000
    assert lag_over_gap(scenario) == pytest.approx(lag_ms * 20 / 1000)
    ten = read(TINY.replace("{1: 100.00}", "{count: 10, balance: 100.00}"))
    assert lag_over_gap(ten) == pytest.approx(lag_ms * 2 / 1000)


def test_two_values_that_cannot_stand_together_are_refused_with_both() -> None:
    sweep = "{vary: {workload.amounts.from: [1.00, 50.00], workload.amounts.to: [40.00, 60.00]}}"
    with pytest.raises(PlanError, match=r"amounts.from 50.00, workload.amounts.to 40.00: from is greater"):
        tiny_plan(sweep)


def test_the_table_has_a_row_for_every_point_design_and_measure() -> None:
    found = results(pair(numbers(), numbers()), pair(numbers("violated", {"overdraft": (1, 100)}), numbers()))
    file = io.StringIO()
    write_estimates(found, file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(rows) == 1 * 2 * len(MEASURES)
    first = rows[0]
    assert first["kafka.mirror_lag"] == "10 ms"
    assert (first["design"], first["measure"]) == ("bus/regional-deltas", "violated")
    assert (first["runs"], first["count"], first["estimate"]) == ("2", "1", "0.5")
    assert (first["first_seed"], first["last_seed"], first["first_violating_seed"]) == ("7", "8", "8")


@pytest.mark.parametrize(
    ("count", "runs", "said"),
    [
        (37, 200, "37 of 200: 18.5 % (13.4 to 24.6)"),
        (0, 200, "0 of 200: at most 1.49 %"),
        (200, 200, "200 of 200: at least 98.5 %"),
    ],
)
def test_a_rate_is_said_with_its_interval(count: int, runs: int, said: str) -> None:
    seen = [numbers("violated") if number < count else numbers() for number in range(runs)]
    measured = Runs(dict(enumerate(seen)), 6).measure("violated")
    assert words.rate(measured, count, runs) == said


def test_where_there_is_no_interval_it_is_said_why() -> None:
    none = Runs(dict.fromkeys(range(9), numbers()), 6)
    assert words.value(none.measure("overdrafts"), "overdrafts") == "0 (none seen)"
    alike = Runs(dict.fromkeys(range(9), numbers("violated", {"overdraft": (1, 5)})), 5)
    assert words.value(alike.measure("overdrafts"), "overdrafts") == "200,000 (all runs alike)"
    assert words.value(Runs({}, 6).measure("fate_p99"), "fate_p99") == "-"


def test_few_replications_are_a_caveat() -> None:
    found = results(pair(numbers(), numbers()))
    assert words.caveats(found)[-1].startswith("Some points have only 1 replication: below 20")


def test_one_replication_is_told_in_the_singular() -> None:
    one = results(pair(numbers(), numbers()))
    assert words.scope(one).startswith("1 point, 1 replication of 2 designs at each, seeds 7 to 7;")


def test_a_chart_names_the_levels_that_have_figures_where_another_has_none() -> None:
    safe = numbers()
    found = results(pair(safe, safe), points=3, sweep=ONE_POINT.replace("[10 ms]", "[10 ms, 20 ms, 30 ms]"))
    places = sorted({level.x for level in found.levels})
    levels = [
        level.model_copy(update={"x": float(place), **({} if place else {"estimate": None})})
        for place, x in enumerate(places)
        for level in found.levels
        if level.x == x
    ]
    words_along = Axis(name="database.dialect", labels=("first", "second", "third"))
    chart = charts_of(found.model_copy(update={"levels": tuple(levels), "axis": words_along}))["rates"]
    assert list(dict.fromkeys(row[0] for row in chart.rows)) == ["second", "third"]
    assert ">second<" in chart.svg
    assert ">third<" in chart.svg
    assert ">first<" not in chart.svg


@given(st.integers(0, 10_000))
@settings(max_examples=6, deadline=None)
def test_a_sweep_counts_what_the_audit_of_a_saved_history_finds(seed: int) -> None:
    scenario = tiny(ONE_POINT, TINY.replace("operations: 6", "operations: 20"))
    plan = make_plan(scenario)
    unit = replace(plan.unit(0, 0), seed=seed)
    scenario = changed(scenario, {"kafka.mirror_lag": "10 ms"})
    run = run_scenario(scenario, build_workload(scenario, seed), seed, designs_of(scenario), "")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        with path.open("w", encoding="utf-8") as file:
            save(run.saved, file)
        histories = load(path).histories
    judged = {one.card.name: numbers_of(one, audit(one)) for one in histories}
    assert record_of(plan.setting, unit) == judged
