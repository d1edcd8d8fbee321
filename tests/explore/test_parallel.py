"""A search that several processes share finds what one finds."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import pytest

from arbsim.cli.app import ending_politely
from arbsim.designs import catalogue
from arbsim.explore import parallel, search
from arbsim.explore.search import Explored, Task, explore_design
from arbsim.model import Accepted, Operation, Outcome, Verdict, Workload
from arbsim.runner import card_of
from arbsim.worlds.api import Design, Region
from arbsim.worlds.exhaustive.search import Progress
from tests.worlds.exhaustive.support import POSTGRES, TWO_WITHDRAWALS, YUGABYTE, Probe, workload

pytestmark = pytest.mark.skipif(not parallel.can_share(), reason="this system cannot copy a process")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LOOK", 3)
    monkeypatch.setattr(search, "ALONE", 3)
    monkeypatch.setattr(parallel, "RUNS_AT_A_TIME", 4)


def explored(design: Design, work: Workload, workers: int, *, reduced: bool = True) -> Explored:
    return explore_design(
        design,
        card_of(design.name, design),
        work,
        YUGABYTE,
        reduced=reduced,
        most_cuts=2_000,
        workers=workers,
    )


def told(found: Explored) -> Explored:
    """All but how many runs were given up, and the run that was made again from the names of its steps."""
    return replace(found, redundant=0, steps=0, shortest=None)


THREE_WITHDRAWALS = workload("east withdraw 70 1", "west withdraw 60 1", "east withdraw 20 1")


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("bus/regional-snapshots", TWO_WITHDRAWALS),
        ("bus/shared-table-atomic", TWO_WITHDRAWALS),
        ("db/serializable", THREE_WITHDRAWALS),
        ("db/select-then-update", TWO_WITHDRAWALS),
    ],
)
def test_the_result_does_not_depend_on_how_many_share_the_search(name: str, work: Workload) -> None:
    design = catalogue()[name]()
    alone, shared = explored(design, work, 1), explored(design, work, 2)
    assert shared.classes > 4
    assert told(alone) == told(shared)


def test_every_order_by_itself_can_be_shared_too() -> None:
    design = catalogue()["db/select-then-update"]()
    alone = explored(design, TWO_WITHDRAWALS, 1, reduced=False)
    shared = explored(design, TWO_WITHDRAWALS, 2, reduced=False)
    assert alone.orders == shared.orders == alone.classes
    assert alone.outcomes == shared.outcomes


def test_a_search_that_is_begun_anew_is_shared_sooner_and_never_where_it_is_void(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "ALONE", 5)
    share, begun = parallel.share, []

    def noted(task: Task, part: Any, found: Explored, progress: Progress, *others: Any) -> None:
        assert not task.footprints.void
        begun.append(progress.runs + progress.redundant)
        share(task, part, found, progress, *others)

    monkeypatch.setattr(parallel, "share", noted)
    found = explored(catalogue()["bus/shared-table"](), TWO_WITHDRAWALS, 2)
    assert found.verdict is Verdict.VIOLATED
    assert begun[-1] == search.LOOK


class Fails(Probe):
    """Raises in those orders in which the other operation came first."""

    name = "probe/fails"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        async with region.database.acquire() as conn, conn.transaction():
            await conn.execute("UPDATE acct SET balance = balance - $1 WHERE id = 1", op.amount)
            left = await conn.fetchval("SELECT balance FROM acct WHERE id = 1")
        if op.id == 3 and left == 70:
            raise ValueError("a bug in the design")
        return Accepted(left)


def test_what_a_design_raises_in_a_worker_is_raised() -> None:
    work = workload("east withdraw 10 1", "west withdraw 10 1", "east withdraw 10 1")
    with pytest.raises(Exception, match=r"^$") as raised:
        explore_design(Fails(), card_of("f", Fails()), work, POSTGRES, workers=2)
    assert str(raised.value.__cause__) == "a bug in the design"


def test_a_shared_search_can_be_stopped() -> None:
    design = catalogue()["db/select-for-update"]()

    def stop(progress: Progress) -> str | None:
        return "time" if progress.runs > 10 else None

    found = explore_design(design, card_of("a", design), THREE_WITHDRAWALS, YUGABYTE, workers=2, stop=stop)
    assert found.stopped == "time"
    assert 10 < found.classes < 598


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_ends_the_search_and_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    def killed(*_: object) -> None:
        os.kill(os.getpid(), how)

    monkeypatch.setattr(parallel, "take_in", killed)
    with ending_politely():
        found = explored(catalogue()["db/serializable"](), TWO_WITHDRAWALS, 2)
    assert found.stopped == "worker"
    assert "worker" in found.reasons
