"""What may be said after a search: found bugs are found, and nothing holds that was not tried."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbsim.audit import Judgement, ShortAudits, short_audit
from arbsim.designs import catalogue
from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.designs.log_fold import LogFold
from arbsim.designs.regional_deltas import RegionalDeltas
from arbsim.explore.search import Explored, explore_design
from arbsim.explore.slices import slice_of
from arbsim.history import History
from arbsim.model import FindingKind, Verdict, Workload
from arbsim.runner import card_of
from arbsim.selftest.mutants import Mutant, mutants
from arbsim.worlds.api import Design, Region
from arbsim.worlds.exhaustive.kernel import ChoiceKernel, Learned
from arbsim.worlds.exhaustive.search import Progress
from arbsim.worlds.exhaustive.world import ChoiceWorld
from tests.worlds.exhaustive.support import POSTGRES, TWO_WITHDRAWALS, YUGABYTE, workload

ENOUGH = {
    FindingKind.OVERDRAFT: TWO_WITHDRAWALS,
    FindingKind.LOST_UPDATE: TWO_WITHDRAWALS,
    FindingKind.CONSERVATION: workload("east transfer 70 1 2", "west withdraw 10 1", a1=100, a2=100),
    FindingKind.DUPLICATE_EFFECT: workload("east deposit 70 1", "west withdraw 10 1"),
    FindingKind.DIVERGENCE: workload("east withdraw 70 1"),
}
"""Operations that are enough to show each kind of bug."""


@pytest.mark.parametrize("mutant", list(mutants()), ids=lambda mutant: mutant.design.name)
def test_every_planted_bug_is_found_in_some_order(mutant: Mutant) -> None:
    design = mutant.design
    found = explore_design(
        design, card_of(design.name, design), ENOUGH[mutant.kind], YUGABYTE, most_cuts=0,
        stop=lambda progress: "enough" if progress.runs >= 500 else None,
    )  # fmt: skip
    assert found.verdict is Verdict.VIOLATED
    assert any(mutant.kind in outcome.broken for outcome in found.outcomes)


def explore(design: Design, work: Workload = TWO_WITHDRAWALS, most: int | None = None) -> Explored:
    def stop(progress: Progress) -> str | None:
        return "time" if most is not None and progress.runs >= most else None

    return explore_design(design, card_of(design.name, design), work, POSTGRES, stop=stop)


@pytest.mark.parametrize("name", list(catalogue()))
def test_what_is_remembered_of_a_judgement_is_what_the_audit_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = ShortAudits.of

    def compared(audits: ShortAudits, history: History) -> Judgement:
        judged = remembered(audits, history)
        assert judged == short_audit(history)
        return judged

    monkeypatch.setattr(ShortAudits, "of", compared)
    work = workload(
        "east withdraw 70 1", "west deposit 20 1", "east read 0 1", "west transfer 60 1 2", a1=100, a2=0
    )
    design = catalogue()[name]()
    found = explore_design(
        design, card_of(design.name, design), work, YUGABYTE, most_cuts=0,
        stop=lambda progress: "enough" if progress.runs >= 20 else None,
    )  # fmt: skip
    assert found.classes


def test_a_complete_search_without_a_violation_holds() -> None:
    found = explore(AtomicUpdate())
    assert (found.verdict, found.reasons) == (Verdict.HOLDS, ())
    assert found.violating_orders == 0
    assert sum(reached.orders or 0 for reached in found.outcomes.values()) == found.orders


def test_a_search_that_is_stopped_never_holds() -> None:
    found = explore(AtomicUpdate(), most=1)
    assert (found.verdict, found.reasons) == (Verdict.INCONCLUSIVE, ("time",))


def test_a_violation_that_was_found_stays_found_when_the_search_is_stopped() -> None:
    assert explore(RegionalDeltas(), most=20).verdict is Verdict.VIOLATED


def test_ctrl_c_returns_what_was_covered() -> None:
    def interrupt(progress: Progress) -> str | None:
        if progress.runs == 2:
            raise KeyboardInterrupt
        return None

    found = explore_design(
        AtomicUpdate(), card_of("a", AtomicUpdate()), TWO_WITHDRAWALS, POSTGRES, stop=interrupt
    )
    assert found.classes == 2
    assert (found.verdict, found.reasons) == (Verdict.INCONCLUSIVE, ("interrupted",))


def test_where_nothing_contends_nothing_holds() -> None:
    apart = workload("east withdraw 70 1", "west withdraw 60 2", a1=100, a2=100)
    assert explore(AtomicUpdate(), apart).reasons == ("no-contention",)


def test_a_run_that_does_not_end_is_no_proof() -> None:
    design = AtomicUpdate()
    found = explore_design(design, card_of("a", design), TWO_WITHDRAWALS, POSTGRES, most_steps=3)
    assert (found.verdict, found.reasons) == (Verdict.INCONCLUSIVE, ("steps", "no-contention"))


def test_the_connector_s_restarts_are_left_out_and_it_is_said() -> None:
    design = AtomicUpdate(change_stream=True)
    killed = replace(POSTGRES, cdc=replace(POSTGRES.cdc, restart_at_ns=(1,)))
    found = explore_design(
        design, card_of("a", design), workload("east withdraw 70 1"), killed,
        stop=lambda progress: "time" if progress.runs >= 3 else None,
    )  # fmt: skip
    assert "limits" in found.reasons


def test_of_a_large_workload_the_busiest_account_is_explored() -> None:
    elsewhere = ["east withdraw 1 2"] * 3
    busiest = ["east withdraw 2 1", "east withdraw 3 1", "west withdraw 4 1", "east deposit 1 1"]
    many = workload(*elsewhere, *busiest, a1=100, a2=100)
    part = slice_of(many, 2)
    assert part.originals == (4, 6)
    assert [op.id for op in part.workload] == [1, 2]
    assert part.workload.accounts == {1: 10_000}
    assert not part.whole


def test_operations_that_can_break_the_rule_are_chosen_before_others() -> None:
    harmless = ["east withdraw 1 1", "west withdraw 1 1", "east withdraw 1 1"]
    at_stake = ["east withdraw 6 2", "west withdraw 3 2", "east withdraw 8 2"]
    part = slice_of(workload(*harmless, *at_stake, a1=10, a2=10), 2)
    assert part.originals == (5, 6)


def test_few_runs_come_to_nothing_where_fetches_come_after_the_appends_that_they_read() -> None:
    three = workload("east withdraw 70 1", "west withdraw 60 1", "east withdraw 20 1")
    found = explore(RegionalDeltas(), three)
    assert (found.stopped, found.classes) == (None, 129)
    assert found.redundant < 2 * found.classes


class Restless(AtomicUpdate):
    """Its service looks around now and then, for ever."""

    name = "probe/restless"

    async def serve(self, region: Region) -> None:
        while True:
            await region.sleep(1)


def test_a_service_that_never_rests_gives_no_proof() -> None:
    found = explore(Restless(), workload("east withdraw 1 1"))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reasons[0] == "steps"


class SharesInItsService(LogFold):
    """A subclass does not inherit that its tasks share nothing."""

    name = "probe/subclass"


def test_that_tasks_share_nothing_is_not_inherited() -> None:
    def tells_apart(design: Design) -> bool:
        learned = Learned(nothing_at_once=True)
        world = ChoiceWorld(design, card_of("a", design), TWO_WITHDRAWALS, YUGABYTE, learned)
        kernel = world.kernel
        assert isinstance(kernel, ChoiceKernel)
        return kernel.isolated

    assert tells_apart(LogFold())
    assert not tells_apart(SharesInItsService())
