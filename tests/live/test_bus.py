"""The bus designs on two real Kafka clusters with real MirrorMaker, each region's service a process of its own."""

import signal
from dataclasses import replace
from typing import Any

import pytest

from arbsim.audit import audit
from arbsim.designs.regional_deltas import RegionalDeltas
from arbsim.model import FindingKind, Kind, Operation, Outcome, Verdict, Workload
from arbsim.worlds.live.serving import KillService
from tests.live.stack import Live

MS = 1_000_000


AT_ONCE = Workload(
    (Operation(1, 0, "west", Kind.WITHDRAW, 1, 6_000), Operation(2, 0, "east", Kind.WITHDRAW, 1, 7_000)),
    {1: 10_000},
)
"""The race with all of the time that news takes between the regions (32 ms, and MirrorMaker's own) for both to decide:
a machine that is busy with something else may wake a service up late."""


def test_regional_deltas_overdraw_and_both_regions_end_at_minus_thirty(kafka: Live) -> None:
    result = audit(kafka.run("bus/regional-deltas", AT_ONCE))
    assert result.verdict is Verdict.VIOLATED
    assert result.as_declared == "yes"
    assert result.final["1"] == {"east": "-30.00", "west": "-30.00"}
    assert result.findings[FindingKind.OVERDRAFT].count >= 1
    assert result.findings[FindingKind.DIVERGENCE].count == 0
    assert result.findings[FindingKind.UNEXPLAINED].count == 0


def test_regional_snapshots_lose_the_older_of_two_concurrent_balances(kafka: Live) -> None:
    result = audit(kafka.run("bus/regional-snapshots", AT_ONCE))
    assert result.verdict is Verdict.VIOLATED
    assert result.findings[FindingKind.LOST_UPDATE].count >= 1
    assert result.findings[FindingKind.DIVERGENCE].count == 0
    assert result.findings[FindingKind.UNEXPLAINED].count == 0


@pytest.mark.parametrize("name", ["bus/single-writer", "bus/log-fold", "bus/shared-table-atomic"])
def test_a_design_with_one_agreed_order_holds(name: str, kafka: Live) -> None:
    result = kafka.judge(name)
    assert result.verdict is Verdict.NONE_SEEN
    assert result.outcomes.accepted == 2
    assert result.outcomes.rejected == 2
    assert {balance for stores in result.final.values() for balance in stores.values()} <= {"30.00", "40.00"}


def test_the_single_writer_holds_though_its_process_is_killed_at_work(kafka: Live) -> None:
    """Every 20 ms somebody withdraws; half of it must be refused. The writer dies in the middle, twice."""
    operations = tuple(
        Operation(number, number * 20 * MS, "west" if number % 2 else "east", Kind.WITHDRAW, 1, 200)
        for number in range(1, 101)
    )
    short_sessions = replace(kafka.settings, kafka=replace(kafka.settings.kafka, rebalance_ns=1_000 * MS))
    history = kafka.run(
        "bus/single-writer",
        Workload(operations, {1: 10_000}),
        short_sessions,
        (KillService("east", 500 * MS), KillService("east", 1_300 * MS)),
    )
    result = audit(history)
    assert result.counts["service_kills"] == 2
    assert result.outcomes.unknown == 0
    assert result.outcomes.accepted == 50
    assert result.final["1"] == {"east": "0.00"}
    assert {kind for kind, finding in result.findings.items() if finding.count} == set()


class Interrupts(RegionalDeltas):
    """Ctrl-C comes with the first answer."""

    name = "interrupts"

    async def decide(self, op: Operation, region: Any) -> Outcome:
        outcome = await super().decide(op, region)
        signal.raise_signal(signal.SIGINT)
        return outcome


def test_an_interrupted_run_is_not_held_to_news_that_was_still_on_its_way(kafka: Live) -> None:
    """West had accepted a withdrawal that east had not heard of: that is no divergence yet, and nothing was lost."""
    once = Workload((Operation(1, 0, "west", Kind.WITHDRAW, 1, 6_000),), {1: 10_000})
    history = kafka.run_design(Interrupts(), workload=once)
    assert history.cut_off
    assert [effect.store for effect in history.effects()] == ["west"]
    result = audit(history)
    assert (result.verdict, result.outcomes.accepted) == (Verdict.INCONCLUSIVE, 1)
