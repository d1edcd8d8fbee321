"""The bus designs on two real Kafka clusters with real MirrorMaker, each region's service a process of its own."""

import signal
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any, ClassVar

import pytest

from arbsim.audit import audit
from arbsim.designs.regional_deltas import RegionalDeltas
from arbsim.history import History
from arbsim.model import Fate, FindingKind, Kind, Operation, Outcome, Verdict, Workload
from arbsim.worlds.live.processes import ServerUnavailable
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


class AnswersOnce(RegionalDeltas):
    """Something happens to the run with the first answer."""

    name = "answers-once"
    then: ClassVar[Callable[[], object]] = bool

    async def decide(self, op: Operation, region: Any) -> Outcome:
        outcome = await super().decide(op, region)
        AnswersOnce.then()
        return outcome


CUT_OFF = Workload(
    (
        Operation(1, 0, "west", Kind.WITHDRAW, 1, 6_000),
        Operation(2, 600_000 * MS, "east", Kind.DEPOSIT, 1, 1),
    ),
    {1: 10_000},
)
"""West will have accepted a withdrawal that east has not heard of: that is no divergence yet, and nothing was lost."""


def assert_nothing_is_final(history: History) -> None:
    assert history.cut_off
    assert [history.fate(number) for number in (1, 2)] == [Fate.ACCEPTED, None]
    assert next(history.effects()).store == "west"
    assert history.finals == {}
    result = audit(history)
    assert (result.verdict, result.outcomes.accepted, result.outcomes.unknown) == (Verdict.INCONCLUSIVE, 1, 1)


def test_an_interrupted_run_is_not_held_to_news_that_was_still_on_its_way(
    kafka: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnswersOnce, "then", lambda: signal.raise_signal(signal.SIGINT))
    assert_nothing_is_final(kafka.run_design(AnswersOnce(), workload=CUT_OFF))


def test_of_a_run_whose_server_goes_everything_is_kept_that_clients_and_services_had_noted(
    kafka: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Event()

    def check() -> None:
        if gone.is_set():
            raise ServerUnavailable("a broker has gone")

    monkeypatch.setattr(AnswersOnce, "then", gone.set)
    told: list[History] = []
    servers = replace(kafka.stack.servers, check=check)
    monkeypatch.setattr(kafka, "stack", replace(kafka.stack, servers=servers))
    with pytest.raises(ServerUnavailable):
        kafka.run_design(AnswersOnce(), workload=CUT_OFF, on_cut_off=told.append)
    (history,) = told
    assert_nothing_is_final(history)
