"""A sweep ends with the same bytes however it was run, interrupted or disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.sweep.executors import LocalProcesses
from arbsim.sweep.plan import Setting, Unit
from arbsim.sweep.report import write_sweep
from arbsim.sweep.run import Progress
from arbsim.sweep.store import FILE
from arbsim.sweep.task import Batch, Done, OtherVersion, run_units
from tests.sweep.support import Breaking, Hands, Sabotaged, documents, swept, tiny_plan

ALL = [(point, replication) for point in range(4) for replication in range(4)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a sweep writes that one process ran from beginning to end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_sweep(swept(tiny_plan(), folder), folder)
    return documents(folder)


def test_every_point_is_run_as_often_as_asked_with_the_same_seeds(tmp_path: Path) -> None:
    hands = Hands()
    results = swept(tiny_plan(), tmp_path, hands)
    assert sorted(hands.ran) == ALL
    assert {unit.seed for units in hands.chunks for unit in units} == {7, 8, 9, 10}
    assert [point.replications for point in results.points] == [4] * 4
    assert results.exit_code == 0
    assert hands.closed


def test_two_processes_give_the_same_bytes_as_one(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    write_sweep(swept(tiny_plan(), tmp_path, LocalProcesses(2)), tmp_path)
    assert documents(tmp_path) == undisturbed


def test_an_interrupted_sweep_goes_on_and_runs_nothing_twice(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done >= 6:
            raise KeyboardInterrupt

    first = Hands()
    with pytest.raises(KeyboardInterrupt):
        swept(tiny_plan(), tmp_path, first, interrupt)
    assert first.closed
    second = Hands()
    write_sweep(swept(tiny_plan(), tmp_path, second), tmp_path)
    assert sorted([*first.ran, *second.ran]) == ALL
    assert documents(tmp_path) == undisturbed


def test_a_finished_sweep_starts_no_workers(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    (tmp_path / FILE).write_bytes(undisturbed[FILE])

    def told(progress: Progress) -> None:
        assert (progress.done, progress.planned, progress.found) == (16, 16, 16)
        assert (progress.points_done, progress.points) == (4, 4)

    hands = Hands()
    write_sweep(swept(tiny_plan(), tmp_path, hands, told), tmp_path)
    assert hands.chunks == []
    assert documents(tmp_path) == undisturbed


def test_more_replications_go_on_from_those_that_are_there(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    (tmp_path / FILE).write_bytes(undisturbed[FILE])
    hands = Hands()
    plan = replace(tiny_plan(), replications=6, at_most=6)
    results = swept(plan, tmp_path, hands)
    assert sorted(hands.ran) == [(point, number) for point in range(4) for number in (4, 5)]
    assert [point.last_seed for point in results.points] == [12] * 4


def test_kill_9_in_the_middle_loses_no_finished_run(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """The process kills itself as soon as some runs are on the disk; nobody can tidy up."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.sweep.support import swept, tiny_plan\n"
        "def told(progress):\n"
        "    if progress.done >= 5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "swept(tiny_plan(), Path(sys.argv[1]), told=told)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        check=False,
    )
    assert ended.returncode == -9
    assert (tmp_path / FILE).read_bytes().count(b"\n") > 5
    hands = Hands()
    write_sweep(swept(tiny_plan(), tmp_path, hands), tmp_path)
    assert len(hands.ran) <= 11
    assert documents(tmp_path) == undisturbed


# -- workers that fail -------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "sweep"
    marks.mkdir()
    write_sweep(swept(tiny_plan(), folder, Sabotaged(marks, (1, 2), times=2)), folder)
    assert len(list(marks.iterdir())) == 2
    assert documents(folder) == undisturbed


def test_a_run_that_kills_its_worker_every_time_is_given_up_and_the_rest_finishes(tmp_path: Path) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "sweep"
    marks.mkdir()
    results = swept(tiny_plan(), folder, Sabotaged(marks, (1, 2), times=1000))
    (failed,) = results.failed
    assert (failed.point, failed.seed) == (1, 9)
    assert "its worker died" in failed.error
    assert results.exit_code == 5
    assert [point.replications for point in results.points] == [4, 3, 4, 4]


def test_an_executor_that_breaks_between_two_chunks_loses_nothing(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    write_sweep(swept(tiny_plan(), tmp_path, Breaking(9)), tmp_path)
    assert documents(tmp_path) == undisturbed


def test_units_that_no_executor_takes_are_given_up_and_the_rest_of_the_sweep_goes_on(tmp_path: Path) -> None:
    results = swept(tiny_plan(), tmp_path, Breaking(9, 10, 11))
    (failed,) = results.failed
    assert "its worker died" in failed.error
    assert sum(point.replications for point in results.points) == 15


def test_a_run_that_raises_is_tried_three_times_and_told_with_its_seed(tmp_path: Path) -> None:
    tries = []

    def run(setting: Setting, units: tuple[Unit, ...]) -> Batch:
        done = list(run_units(setting, units).done)
        for place, one in enumerate(done):
            if (one.unit.point, one.unit.replication) == (2, 0):
                tries.append(one)
                done[place] = Done(one.unit, None, "ValueError: no (own.py:7)")
        return Batch(tuple(done), 0.0)

    results = swept(tiny_plan(), tmp_path, Hands(run))
    assert len(tries) == 3
    assert [(one.point, one.seed, one.error) for one in results.failed] == [
        (2, 7, "ValueError: no (own.py:7)")
    ]
    assert [point.replications for point in results.points] == [4, 4, 3, 4]
    # What failed is tried again the next time, and nothing else is.
    hands = Hands()
    assert swept(tiny_plan(), tmp_path, hands).exit_code == 0
    assert hands.ran == [(2, 0)]


def test_what_a_design_raises_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def decide(*given: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(AtomicUpdate, "decide", decide)
    plan = tiny_plan()
    (done,) = run_units(plan.setting, (plan.unit(0, 0),)).done
    assert done.record is None
    assert done.error.startswith("design db/atomic-update ended with ValueError: no (test_run.py:")


def test_workers_of_another_version_are_refused(tmp_path: Path) -> None:
    plan = tiny_plan()
    other = replace(plan, setting=replace(plan.setting, version="0.0.9"))
    with pytest.raises(OtherVersion) as raised:
        swept(other, tmp_path)
    assert (raised.value.ours, raised.value.workers) == ("0.0.9", plan.setting.version)


# -- how often is enough -----------------------------------------------------------------------------------


def test_with_a_precision_each_point_goes_on_until_it_is_known_well_enough(tmp_path: Path) -> None:
    plan = tiny_plan(
        "{vary: {kafka.mirror_lag: [0 ms, 100 ms]}, replications: 5, precision: 15 %, at_most: 40}",
    )
    results = swept(plan, tmp_path)
    rates = [one for one in results.estimates if one.measure == "violated"]
    for point in results.points:
        mine = [one for one in rates if one.point == point.number]
        reach = max(
            max((one.estimate or 0) - (one.low or 0), (one.high or 0) - (one.estimate or 0)) for one in mine
        )
        assert reach <= 0.15 or point.replications == 40
        assert point.replications % 5 == 0
    # 0 of 19 is the first that excludes 15 %: nobody stops before.
    assert min(point.replications for point in results.points) >= 19


def test_a_looser_precision_looks_at_fewer_of_the_runs_that_are_there(tmp_path: Path) -> None:
    strict = "{vary: {kafka.mirror_lag: [0 ms]}, replications: 5, precision: 15 %, at_most: 40}"
    loose = strict.replace("15 %", "40 %")
    once = swept(tiny_plan(loose), tmp_path / "loose")
    swept(tiny_plan(strict), tmp_path / "strict")
    hands = Hands()
    again = swept(tiny_plan(loose), tmp_path / "strict", hands)
    assert hands.chunks == []
    assert again == once
